"""How sure a hit is: what else fits the same moment as well.

A search always has a best hit, also for what is in no recording. Two measures of chance, each from the archive itself:

`against_rivals`, for vectors. The query competes for the moment with RIVALS, everyday activities (for a query without
words, with other windows of the archive) that have little to do with it, cosine below UNRELATED:

    confidence = 1 / (1 + sum over rivals of exp((cosine(rival) - cosine(query)) / (TEMPERATURE * spread)))

the share of the moment that the query wins (the maximum concept matching of Ming et al. 2022, where spread is the
standard deviation of all rivals' cosines with the archive's windows of that modality, so that it does not matter how
narrow a space is). On simulated takes, hits of confidence 0.8 were right in 8 to 9 of 10 cases.

`against_chance`, for tokens of motion. The scores of the candidates in other recordings have a tail, taken as
exponential; it says how many unrelated places of this archive would reach the score by chance, E, and

    confidence = exp(-E)

is the probability that none does, as for the hits of a sequence search (Karlin and Altschul 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motionseek.types import Float32, Float64

UNRELATED = 0.5
TEMPERATURE = 0.5
"""Chosen by the Brier score of hits on simulated takes that are not reported (benchmarks/timeline.py)."""
FEWEST = 20
"""With fewer rivals, or candidates elsewhere, nothing is said."""
SAMPLE = 256

RIVALS = tuple(
    sentence
    for line in """
a person walks; a person runs; jogging; walking backwards; limping; marching; climbing stairs; walking downstairs
climbing a ladder; crawling; jumping up and down; hopping on one leg; skipping rope; doing jumping jacks
leaping forward; standing still; sitting on a chair; lying on the ground; sitting down
standing up; kneeling; squatting; doing lunges
bending over; picking something up; putting something down; lifting a box; carrying a box; pushing something
pulling a rope; throwing a ball; catching a ball; kicking a ball; punching; boxing; fencing with a sword; swinging a bat
swinging a racket; playing golf; bowling; shooting a basketball; dribbling a ball; swimming; rowing a boat; paddling
skiing; skating; surfing; riding a bicycle; riding a horse; driving a car; waving a hand; clapping
pointing at something; raising both arms; stretching; turning around; spinning; dancing; doing a cartwheel
doing a backflip; rolling on the floor; falling down; stumbling
balancing on one foot; doing push-ups; doing sit-ups; lifting weights
doing yoga; bowing; nodding; shaking the head; looking around; drinking from a cup; eating with a fork
cutting vegetables; stirring a pot; washing the dishes; washing the hands; brushing the teeth; combing the hair
putting on a jacket; tying shoes; opening a door; knocking on a door; typing on a keyboard; writing with a pen
reading a book; talking on the phone; using a phone; playing the guitar; playing the piano; playing drums
playing the violin; sweeping the floor; mopping the floor; vacuuming; wiping a table; hammering a nail; sawing wood
digging a hole; raking leaves; painting a wall; ironing clothes; folding laundry; sewing; knitting; drawing a circle
shaking hands; hugging somebody; patting a dog; scratching the head; sneezing; pouring water; opening a bottle
stacking boxes; turning a wheel; cranking a handle; climbing a rope; hanging by the hands; swinging on a swing
sleeping; breathing quietly; shivering; sneaking; tiptoeing
""".strip().splitlines()
    for sentence in line.split("; ")
)


@dataclass(frozen=True, eq=False)
class Rivals:
    """What a query competes with. vector: (R, D), unit-normalised.   spread: modality → standard deviation of their
    cosines with its windows."""

    vector: Float32
    spread: dict[str, float]


def against_rivals(rivals: Rivals, modality: str, probe: Float32, windows: Float32) -> Float64:
    """probe (D,), windows (N, D) of one modality → confidence (N,), NaN where there are too few rivals to say."""
    far = rivals.vector[rivals.vector @ probe < UNRELATED]
    spread = rivals.spread.get(modality, 0.0)
    if len(far) < FEWEST or spread <= 0:
        return np.full(len(windows), np.nan)
    lead = (windows @ far.T - (windows @ probe)[:, None]) / (TEMPERATURE * spread)
    confidence: Float64 = 1 / (1 + np.exp(np.minimum(lead, 700.0)).sum(axis=1, dtype=np.float64))
    return confidence


def against_chance(score: float, elsewhere: Float32) -> float:
    """A score, and those of the candidates elsewhere (M,) → confidence, NaN where they are too few."""
    if len(elsewhere) < FEWEST:
        return float("nan")
    middle, upper = np.quantile(elsewhere.astype(np.float64), [0.5, 0.75])
    # The excess of the upper half over the middle has the median ln 2 of its mean, where it is exponential.
    mean_excess = max((upper - middle) / np.log(2), 1e-6)
    expected = len(elsewhere) / 2 * np.exp(np.clip((middle - score) / mean_excess, -700, 50))
    return float(np.exp(-expected))
