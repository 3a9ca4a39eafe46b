"""Recognising activities by words alone (the zero-shot way of IMU2CLIP's Table 3, Moon et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from motionseek.types import Float32

TEMPLATES = ("{}", "a person is {}", "someone is {}", "a video of a person {}")
FEW = 20
"""Chosen on MobiFall, where less is better still as long as the others do all that the classes name."""
EncodeText = Callable[[list[str]], Float32]


def class_vectors(
    encode_text: EncodeText, classes: Sequence[str] | Mapping[str, Sequence[str]], templates: Sequence[str] = TEMPLATES
) -> Float32:
    """One unit vector a class (C, D): the mean of what its names say in every template.

    classes: names, or class → the names that it goes by.     encode_text: sentences → unit vectors.
    """
    named = classes if isinstance(classes, Mapping) else {name: (name,) for name in classes}
    vectors = []
    for names in named.values():
        mean = encode_text([t.format(name) for name in names for t in templates]).mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    return np.stack(vectors).astype(np.float32)


def zero_shot(vectors: Float32, classes: Float32, others: Float32 | None = None, few: int = FEW) -> Float32:
    """Unit window vectors (N, D) and class vectors (C, D) → cosines (N, C).

    others: (M, D) windows that nobody has labelled, of the same sensors. Some sentences lie near everything, so each
    class is set back by how much more than the other classes it scores on them: by half of that where there are `few`,
    and by all of it the more there are.
    """
    scores = vectors @ classes.T
    if others is not None:
        usual = (others @ classes.T).sum(axis=0) / (len(others) + few)
        scores = scores - (usual - usual.mean())
    return np.asarray(scores, np.float32)
