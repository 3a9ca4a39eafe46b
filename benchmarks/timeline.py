"""Zero-shot activity logs of long takes whose every moment is known.

    python benchmarks/timeline.py [--model starter] [--out benchmarks/results/timeline.json]

Takes of about two minutes are put together from motions that fade into each other (`simulate.take`); five sensors and
a body are simulated from the whole take. Settings were chosen on the takes of one split (the style that the starter
was validated on, and made-up motion), and are reported on the other (CMU and DeepMimic motion, which no training saw,
and made-up motion of other persons). Motion capture is read from $MOTIONSEEK_DATA, else ../shared/data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from machine import DATA, machine

from motionseek.encoders.simulate.camera import Camera, view
from motionseek.encoders.simulate.mocap import read_amc, read_bandai_npz, read_deepmimic
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.procedural import GENERATORS, ONE_SHOT
from motionseek.encoders.simulate.sensors import virtual_imu
from motionseek.encoders.simulate.take import faded, followed
from motionseek.indexer.pipeline import index
from motionseek.search.archive import Archive
from motionseek.search.archive import open as open_archive
from motionseek.search.segments import NOTHING, Segment, segmented
from motionseek.search.timeline import CLASSES
from motionseek.types import Modality, Narration, Recording

RATE_HZ = 50.0
FADE_S = 0.6
PLACEMENTS = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head")
FRAME_S = 0.1

MADE_UP = {
    "stand": "standing",
    "sit": "sitting",
    "lie": "lying",
    "walk": "walking",
    "jog": "running",
    "run": "running",
    "jump": "jumping",
    "jumping jack": "jumping",
    "climb stairs": "climbing",
    "cycle": "cycling",
    "squat": "squatting",
    "wave": "waving",
    "clap": "clapping",
    "throw": "throwing",
    "punch": "punching",
    "kick": "kicking",
    "fall": "falling",
    "push": NOTHING,
    "draw circle": NOTHING,
    "arm curl": NOTHING,
    "lunge": NOTHING,
    "turn around": NOTHING,
}
STYLE = "feminine"
BANDAI = {
    "walk": "walking",
    "run": "running",
    "dash": "running",
    "kick": "kicking",
    "punch": "punching",
    "throw": "throwing",
    "bye": "waving",
    "wave-both-hands": "waving",
    "bow": NOTHING,
    "dance-long": NOTHING,
    "slash": NOTHING,
}
CMU = {"02_01": "walking", "02_03": "running", "02_04": "jumping", "02_05": "punching", "01_01": "jumping"}
CMU |= {"02_06": NOTHING, "02_07": NOTHING}
DEEPMIMIC = {"walk": "walking", "run": "running", "jog": "running", "jump": "jumping", "punch": "punching"}
DEEPMIMIC |= {"kick": "kicking", "crawl": "crawling", "dance_a": NOTHING, "cartwheel": NOTHING, "spin": NOTHING}
CYCLIC = frozenset({"walk", "run", "jog", "crawl"})


@dataclass(frozen=True, eq=False)
class Take:
    """A recording, and what happens in it: (start_s, end_s, class or NOTHING), without gaps."""

    recording: Recording
    truth: tuple[tuple[float, float, str], ...]


Bank = list[tuple[str, Motion]]


def bank(split: str, data: Path) -> Bank:
    """(label, motion at 50 Hz) of what the takes of a split are made of, each 4 to 15 s long."""
    rng = np.random.default_rng({"chosen on": 11, "reported": 12}[split])
    found: Bank = []
    for name, label in MADE_UP.items():
        for _ in range(3):
            motion = GENERATORS[name](rng, 5.0 if name in ONE_SHOT else float(rng.uniform(5, 14)))
            found.append((label, motion))
    if split == "chosen on":
        for part in (1, 2):
            for motion in read_bandai_npz(data / "bandai-namco" / f"bnr_dataset{part}.npz"):
                content, style = motion.labels
                if style == STYLE and content in BANDAI and motion.duration_s >= 3:
                    found.append((BANDAI[content], motion))
    else:
        for trial, label in CMU.items():
            home = data / "cmu-mocap" / trial[:2]
            if (home / f"{trial}.amc").is_file():
                found.append((label, read_amc(home / f"{trial[:2]}.asf", home / f"{trial}.amc")))
        for name, label in DEEPMIMIC.items():
            once = read_deepmimic(data / "deepmimic" / f"humanoid3d_{name}.txt")
            loops = max(1, int(np.ceil(6.0 / once.duration_s))) if name in CYCLIC else 1
            motion = read_deepmimic(data / "deepmimic" / f"humanoid3d_{name}.txt", loops=loops)
            found += [(label, motion)] * 3
    ready: Bank = []
    for label, raw in found:
        motion = raw.resample(RATE_HZ)
        if motion.duration_s < 4.0:
            motion = faded([motion] * int(np.ceil(4.5 / max(motion.duration_s - FADE_S, 0.7))), fade_s=FADE_S / 2)
        ready.append((label, motion.crop(0, min(len(motion.position_m), round(15 * RATE_HZ)))))
    return ready


def takes(split: str, data: Path, count: int, *, seconds: float = 120.0) -> list[Take]:
    """Long takes of a split, the same ones every time."""
    rng = np.random.default_rng({"chosen on": 1, "reported": 2}[split])
    held = bank(split, data)
    by_label = {label: [m for other, m in held if other == label] for label, _ in held}
    made = []
    for number in range(count):
        clips: list[Motion] = []
        names: list[str] = []
        while sum(c.duration_s for c in clips) < seconds:
            others = [name for name in by_label if name != NOTHING and (not names or name != names[-1])]
            idle = names and names[-1] != NOTHING and rng.random() < 0.25
            label = NOTHING if idle else str(rng.choice(others))
            clips.append(by_label[label][rng.integers(len(by_label[label]))])
            names.append(label)
        motion = faded(clips, fade_s=FADE_S, name=f"{split} {number}")
        lasts_s = np.array([len(c.position_m) for c in clips]) / RATE_HZ - FADE_S
        edges_s = np.concatenate([[0.0], np.cumsum(lasts_s) + FADE_S / 2])
        edges_s[-1] = motion.duration_s
        spans = zip(edges_s[:-1].tolist(), edges_s[1:].tolist(), names, strict=True)
        truth = tuple((start_s, end_s, name) for start_s, end_s, name in spans)
        made.append(Take(_recording(motion, rng, truth), truth))
    return made


def _recording(motion: Motion, rng: np.random.Generator, truth: Sequence[tuple[float, float, str]]) -> Recording:
    worn = tuple(virtual_imu(motion, placement, rng=rng, mounting_deg=20.0) for placement in PLACEMENTS)
    seen = followed(motion.resample(30.0))
    camera = Camera.around(seen, float(rng.uniform(-90, 90)), float(rng.uniform(0, 15)), image_size=(640, 480))
    pose = view(seen, camera, rng=rng, noise_px=0.8, drop=0.02)
    told = tuple(Narration(start_s, end_s, name) for start_s, end_s, name in truth)
    return Recording(hashlib.sha256(motion.name.encode()).hexdigest(), motion.name, worn, None, (pose,), told)


Spans = Sequence[tuple[float, float, str]]


def frames(spans: Spans, seconds: float) -> np.ndarray:
    """The label of every tenth of a second."""
    middle_s = (np.arange(int(seconds / FRAME_S)) + 0.5) * FRAME_S
    labels = np.full(len(middle_s), NOTHING, dtype=object)
    for start_s, end_s, label in spans:
        labels[(middle_s >= start_s) & (middle_s < end_s)] = label
    return labels


def rates(pairs: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator) -> dict[str, object]:
    """Shares of all frames, with the 95 % interval over takes; of those with an activity; of those with none."""
    hits = np.array([(truth == said).mean() for truth, said in pairs])
    truth, said = (np.concatenate(side) for side in zip(*pairs, strict=True))
    active = truth != NOTHING
    means = hits[rng.integers(0, len(hits), (2000, len(hits)))].mean(axis=1)
    _, counts = np.unique(truth.astype(str), return_counts=True)
    return {
        "frames_right": round(float((truth == said).mean()), 3),
        "frames_right_95": [round(float(q), 3) for q in np.quantile(means, (0.025, 0.975))],
        "activity_right": round(float((truth == said)[active].mean()), 3),
        "activity_wrong": round(float(((truth != said) & (said != NOTHING))[active].mean()), 3),
        "activity_missed": round(float((said == NOTHING)[active].mean()), 3),
        "nothing_right": round(float((said == NOTHING)[~active].mean()), 3),
        "chance_commonest_label": round(float(counts.max() / counts.sum()), 3),
        "seconds": round(len(truth) * FRAME_S),
    }


def by_windows(archive: Archive, recording_id: str, through: str) -> tuple[Segment, ...]:
    """What the log was before: windows as they are, one sentence a class, at their middles."""
    loaded = archive._loaded
    opened = loaded.open("clip", "global")
    columns = opened.columns
    mine = columns.recording == columns.recordings.index(recording_id)
    rows = np.flatnonzero(mine & (columns.modality == through))
    rows = rows[np.argsort(columns.start_s[rows], kind="stable")]
    text = loaded.encoder("clip", "text").encode([told[1] for told in CLASSES.values()]).global_
    assert text is not None
    cosine = opened.index.vectors(rows) @ text.T
    spans_s = columns.start_s[rows], columns.end_s[rows]
    return segmented(*spans_s, cosine, tuple(CLASSES), level=0.5, temperature=0.05, switch=3.0)


def stretches(archive: Archive, made: Sequence[Take], through: Modality) -> dict[str, object]:
    """How well moments of text queries lie on what they found: overlap (intersection over union) of the best moment of
    each recording with the stretch it hit, beside that of a bare 5 s window in the middle of the same moment."""
    grown, bare = [], []
    for name, (_, sentence, *_) in CLASSES.items():
        for moment in archive.search(sentence, target=through, through=through, k=len(made)):
            (take,) = (t for t in made if t.recording.recording_id == moment.recording_id)
            middle_s = (moment.start_s + moment.end_s) / 2
            hit = [(a, b) for a, b, label in take.truth if label == name and a <= middle_s < b]
            if hit:
                grown.append(_iou(hit[0], (moment.start_s, moment.end_s)))
                bare.append(_iou(hit[0], (middle_s - 2.5, middle_s + 2.5)))
    return {
        "moments": len(grown),
        "overlap": round(float(np.mean(grown)), 3),
        "overlap_of_a_window": round(float(np.mean(bare)), 3),
    }


def _iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (max(a[1], b[1]) - min(a[0], b[0]))


ABSENT = (
    *("swimming", "playing the guitar", "skiing", "rowing a boat", "doing push-ups", "brushing the teeth"),
    *("washing the dishes", "hammering a nail", "playing tennis", "opening a door", "drinking water"),
    *("typing on a keyboard", "mopping the floor", "driving a car", "cutting vegetables", "writing"),
)


def confidences(archive: Archive, made: Sequence[Take], through: Modality) -> dict[str, object]:
    """Of the best five moments of each sentence, by confidence: how many are right; and how many of the sentences of
    which nothing is there are answered with a confidence above one half."""
    truth = {t.recording.recording_id: t.truth for t in made}
    sure, right, absent = [], [], 0
    for name, sentence in [*((name, told[1]) for name, told in CLASSES.items()), *((None, s) for s in ABSENT)]:
        found = archive.search(sentence, target=through, through=through, k=5)
        for m in found:
            middle_s = (m.start_s + m.end_s) / 2
            sure.append(m.confidence or 0.0)
            right.append(any(a <= middle_s < b and label == name for a, b, label in truth[m.recording_id]))
        absent += name is None and (found[0].confidence or 0.0) > 0.5
    edges = (0.0, 0.2, 0.5, 0.8, 0.95, 1.01)
    of = np.digitize(sure, edges) - 1
    table = {
        f"{low:g}-{min(high, 1):g}": {
            "moments": int((of == i).sum()),
            "right": round(float(np.mean(right, where=of == i)), 3),
        }
        for i, (low, high) in enumerate(pairwise(edges))
        if (of == i).any()
    }
    return {"right_by_confidence": table, "absent_sentences": len(ABSENT), "absent_answered_above_0.5": absent}


def measure(split: str, data: Path, folder: Path, model: str, count: int) -> dict[str, object]:
    made = takes(split, data, count)
    index([take.recording for take in made], folder, models=[model])
    archive = open_archive(folder)
    rng = np.random.default_rng(0)
    report: dict[str, object] = {"takes": count}
    senses: tuple[Modality, ...] = ("pose", "imu")
    for through in senses:
        now, before = [], []
        for take in made:
            recording_id, seconds = take.recording.recording_id, take.truth[-1][1]
            truth = frames(take.truth, seconds)
            said = archive.timeline(recording_id, through=through).segments
            was = by_windows(archive, recording_id, through)
            now.append((truth, frames([(s.start_s, s.end_s, s.label) for s in said], seconds)))
            before.append((truth, frames([(s.start_s, s.end_s, s.label) for s in was], seconds)))
        report[through] = {
            "log": rates(now, rng),
            "log_of_whole_windows": rates(before, rng),
            "moments": stretches(archive, made, through),
            "confidence": confidences(archive, made, through),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--takes", type=int, default=20)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report = {
            "model": args.model,
            "machine": machine(),
            **{s: measure(s, DATA, Path(scratch) / s, args.model, args.takes) for s in ("chosen on", "reported")},
        }
    text = json.dumps(report, indent=1)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
