"""The starter model on real sensors that its training never saw.

    python benchmarks/starter.py [--model FOLDER] [--subjects 2 4 6] [--out benchmarks/results/starter.json]

MobiFall: a phone in the trouser pocket with its raw clocks; each word against all 2.56 s windows of the activities.
UTD-MHAD: one worn sensor and a skeleton; zero-shot recognition of the thigh's actions, and which skeleton trial a
sensor trial belongs to, among all trials of a subject set. Actions are recognised in three ways: by the data set's own
names; by three everyday sentences each, written before any of them was tried; by these with every class set back by how
it scores on windows that nobody labelled, which are those of the other people (`motionseek.encoders.zero_shot`; how
strongly was chosen on MobiFall). And the last with the thigh's sensor turned into the axes that training takes for the
usual ones (THIGH_AXES, as a `recording.json` tells them). How the model was trained was chosen with --subjects 1 3 5.
The data is read from $MOTIONSEEK_DATA, else ../shared/data.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from machine import DATA, machine

from motionseek.encoders.model import Model, load_model
from motionseek.encoders.preprocess import imu_grid, pose_grid
from motionseek.encoders.train.downstream import accuracy, macro_f1
from motionseek.encoders.train.evaluate import average_precision
from motionseek.encoders.zero_shot import class_vectors, zero_shot
from motionseek.indexer.readers import discover, read
from motionseek.indexer.readers.checks import turned
from motionseek.types import Bool, Float32, Imu, Span

WORDS = {
    "jumping": ("JUM",),
    "jogging": ("JOG",),
    "running": ("JOG",),
    "walking": ("WAL",),
    "climbing stairs": ("STU", "STN"),
    "walking upstairs": ("STU",),
    "walking downstairs": ("STN",),
    "standing still": ("STD",),
    "sitting down": ("SCH",),
}
CLASSES = {
    "JUM": "jumping",
    "JOG": "jogging",
    "WAL": "walking",
    "STU": "walking upstairs",
    "STN": "walking downstairs",
    "STD": "standing still",
}
PHONE_SENTENCES = {
    "JUM": ("jumping", "a person jumps up and down", "someone jumps"),
    "JOG": ("jogging", "a person runs", "someone is jogging"),
    "WAL": ("walking", "a person walks forward", "someone is walking"),
    "STU": ("walking upstairs", "a person climbs stairs", "someone goes up the stairs"),
    "STN": ("walking downstairs", "a person descends stairs", "someone goes down the stairs"),
    "STD": ("standing still", "a person stands still", "someone is standing"),
}
THIGH_SENTENCES = {
    "forward lunge (left foot forward)": (
        "lunging forward",
        "a forward lunge",
        "a person takes a big step forward and bends the knees",
    ),
    "jogging in place": ("jogging", "jogging in place", "a person jogs on the spot"),
    "sit to stand": ("standing up", "standing up from a chair", "a person gets up from sitting"),
    "squat (two arms stretch out)": ("squatting", "doing squats", "a person squats down and up again"),
    "stand to sit": ("sitting down", "sitting down on a chair", "a person sits down"),
    "walking in place": ("walking", "walking in place", "a person walks on the spot"),
}
THIGH_AXES = "z,-x,-y"
"""The data set does not say how the sensor was strapped on. On subjects 1, 3 and 5 its -x reads 1 g where they stand,
and its -y where they sit; the thigh turns about its z."""
WINDOW_S = 2.56


def phone_trials(path: Path) -> Iterator[tuple[str, int, Imu]]:
    with np.load(path, allow_pickle=False) as d:
        arrays = {k: d[k] for k in d.files}
    acc_at = np.cumsum(arrays["acc_len"]) - arrays["acc_len"]
    gyro_at = np.cumsum(arrays["gyro_len"]) - arrays["gyro_len"]
    for i, activity in enumerate(arrays["activity"]):
        acc = slice(acc_at[i], acc_at[i] + arrays["acc_len"][i])
        gyro = slice(gyro_at[i], gyro_at[i] + arrays["gyro_len"][i])
        streams = []
        for part, values in (("acc", "acc_mps2"), ("gyro", "gyro_rps")):
            rows = acc if part == "acc" else gyro
            t_s, first = np.unique(arrays[f"{part}_t_ns"][rows] * 1e-9, return_index=True)
            streams += [t_s, arrays[values][rows][first]]
        yield str(activity), int(arrays["subject"][i]), Imu(*streams, placement="right_pocket")


@dataclass(frozen=True, eq=False)
class PhoneWindows:
    """x (N, 7, 6, L), mask (N, 7, L), activity (N,) codes, person (N,)."""

    x: Float32
    mask: Bool
    activity: npt.NDArray[np.str_]
    person: npt.NDArray[np.int64]

    def of(self, kept: npt.NDArray[np.bool_]) -> PhoneWindows:
        return PhoneWindows(self.x[kept], self.mask[kept], self.activity[kept], self.person[kept])


def phone_windows(path: Path) -> PhoneWindows:
    """All 2.56 s windows of the activities; those of the short ones overlap by half."""
    length = round(WINDOW_S * 50)
    windows, masks, activities, people = [], [], [], []
    for activity, person, imu in phone_trials(path):
        if activity in ("FOL", "CSI", "CSO"):
            continue
        grid = imu_grid([imu], 50.0)
        step = length if activity in ("STD", "WAL") else length // 2
        for start in range(0, grid.x.shape[2] - length + 1, step):
            if grid.mask[3, start : start + length].mean() > 0.9:
                windows.append(grid.x[:, :, start : start + length])
                masks.append(grid.mask[:, start : start + length])
                activities.append(activity)
                people.append(person)
    return PhoneWindows(np.stack(windows), np.stack(masks), np.array(activities), np.array(people))


def mobifall(model: Model, path: Path) -> dict[str, object]:
    """Average precision and precision@10 of each word over all windows of all activities; macro-F1 of six classes."""
    held = phone_windows(path)
    z = model.encode_imu(held.x, held.mask, space="clip").global_
    words = model.encode_text(list(WORDS), space="clip").global_
    classes = model.encode_text(list(CLASSES.values()), space="clip").global_
    assert z is not None
    assert words is not None
    assert classes is not None
    kept = np.isin(held.activity, list(CLASSES))
    ways = zero_shot_ways(model, z[kept], held.activity[kept], held.person[kept], CLASSES, PHONE_SENTENCES)
    return {
        "windows": len(z),
        "window_s": WINDOW_S,
        **words_report(z, held.activity, words, classes),
        "zero_shot_of_6": ways,
    }


def zero_shot_ways(
    model: Model,
    z: Float32,
    label: npt.NDArray[np.str_],
    person: npt.NDArray[np.int64],
    names: dict[str, str],
    sentences: dict[str, tuple[str, ...]],
) -> dict[str, dict[str, object]]:
    """Unit vectors (N, D) of labelled windows → accuracy, macro-F1 and what was said for what, of each way to say the
    classes."""

    def encode(texts: list[str]) -> Float32:
        out = model.encode_text(texts, space="clip").global_
        assert out is not None
        return out

    true = (label[:, None] == np.array(list(names))).argmax(1)
    told = class_vectors(encode, {c: sentences[c] for c in names}, ("{}",))
    back = np.zeros((len(z), len(names)), np.float32)
    for who in np.unique(person):
        back[person == who] = zero_shot(z[person == who], told, z[person != who])
    scores = {
        "names": zero_shot(z, encode(list(names.values()))),
        "sentences": zero_shot(z, told),
        "sentences, set back": back,
    }
    guesses = {way: of.argmax(1) for way, of in scores.items()}
    return {
        way: {
            "accuracy": round(accuracy(true, g), 3),
            "macro_f1": round(macro_f1(true, g), 3),
            "said": said_for(true, g, list(names)),
        }
        for way, g in guesses.items()
    }


def said_for(true: npt.NDArray[np.int64], guess: npt.NDArray[np.int64], names: list[str]) -> dict[str, dict[str, int]]:
    """Class → how often each class was said for it, for indices (N,) into `names`."""
    found = {name: Counter(guess[true == i].tolist()) for i, name in enumerate(names)}
    return {name: {names[j]: n for j, n in said.most_common()} for name, said in found.items()}


def words_report(z: Float32, activity: npt.NDArray[np.str_], words: Float32, classes: Float32) -> dict[str, object]:
    """Unit vectors of windows (N, D), of WORDS and of CLASSES → AP and P@10 of each word, macro-F1 of the classes."""
    report: dict[str, object] = {}
    for word, text in zip(WORDS, words, strict=True):
        relevant = np.isin(activity, WORDS[word])
        score = z @ text
        report[word] = {
            "AP": round(average_precision(score, relevant), 3),
            "P@10": float(relevant[np.argsort(-score)[:10]].mean()),
            "share": round(float(relevant.mean()), 3),
        }
    kept = np.isin(activity, list(CLASSES))
    guess = (z[kept] @ classes.T).argmax(1)
    label = (activity[kept][:, None] == np.array(list(CLASSES))).argmax(1)
    report["macro_f1_of_6"] = round(macro_f1(label, guess), 3)
    return report


def utd(model: Model, path: Path, subjects: tuple[int, ...]) -> dict[str, object]:
    """IMU → skeleton R@1 and R@5 by tokens among all trials of `subjects`; zero-shot top-1 of the six thigh actions."""
    tokens: dict[str, list[npt.NDArray[np.float32]]] = {"imu": [], "pose": []}
    seen: dict[str, list[npt.NDArray[np.bool_]]] = {"imu": [], "pose": []}
    labels, z, told, parts, people = [], [], [], [], []
    imu_encoder, pose_encoder = model.encoder("imu", "motion"), model.encoder("pose", "motion")
    for source in discover([path]):
        recording = read(source)
        subject = int(recording.imus[0].person)
        if subject not in subjects:
            continue
        span = Span(0.0, 4.0)
        grids = {"imu": imu_grid(recording.imus, 50.0, span), "pose": pose_grid(recording.poses[0], 50.0, span)}
        for name, encoder in (("imu", imu_encoder), ("pose", pose_encoder)):
            out = encoder.encode(grids[name].x[None], grids[name].mask[None])
            assert out.token is not None
            assert out.mask is not None
            tokens[name].append(out.token[0])
            seen[name].append(out.mask[0])
        usual = [
            replace(imu, acc_mps2=turned(imu.acc_mps2, THIGH_AXES), gyro_rps=turned(imu.gyro_rps, THIGH_AXES))
            for imu in recording.imus
        ]
        for vectors, grid in ((z, grids["imu"]), (told, imu_grid(usual, 50.0, span))):
            vector = model.encode_imu(grid.x[None], grid.mask[None], space="clip").global_
            assert vector is not None
            vectors.append(vector[0])
        labels.append(recording.labels[0])
        parts.append(recording.imus[0].placement)
        people.append(subject)
    a, b = (np.stack(tokens[m]).reshape(len(labels), -1) for m in ("imu", "pose"))
    am, bm = (np.stack(seen[m]).reshape(len(labels), -1).astype(np.float32) for m in ("imu", "pose"))
    score = a @ b.T / np.maximum(am @ bm.T, 1)
    better = (score >= score.diagonal()[:, None]).sum(1)
    thigh = np.array(["thigh" in p for p in parts])
    actions = sorted(set(np.array(labels)[thigh]))
    ways, turned_ways = (
        zero_shot_ways(
            model,
            np.stack(vectors)[thigh],
            np.array(labels)[thigh],
            np.array(people)[thigh],
            {action: action for action in actions},
            THIGH_SENTENCES,
        )
        for vectors in (z, told)
    )
    ways["sentences, set back, axes told"] = turned_ways["sentences, set back"]
    return {
        "subjects": list(subjects),
        "trials": len(labels),
        "imu_to_skeleton": {"R@1": round(float((better <= 1).mean()), 3), "R@5": round(float((better <= 5).mean()), 3)},
        "chance_R@1": round(1 / len(labels), 4),
        "thigh_zero_shot": ways,
        "thigh_actions": actions,
        "chance_top1": round(1 / len(actions), 3),
    }


def held_out(model: Model) -> dict[str, float]:
    """What its card says of simulated motion in a style that training never saw: a wrist and its words, five sensors
    and their pose."""
    said = model.card["validation"]
    return {
        "words_of_wrist_mAP": said["actions"]["left_wrist"]["mAP"],
        "tokens_of_five_R@1": said["motion"]["5 sensors"]["token"]["R@1"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--subjects", type=int, nargs="+", default=[2, 4, 6], help="of UTD-MHAD")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = load_model(args.model)
    report = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "machine": machine(),
        "held_out": held_out(model),
        "mobifall": mobifall(model, DATA / "mobifall" / "mobifall_subjects_1-7.npz"),
        "utd_mhad": utd(model, DATA / "utd-mhad" / "utd_mhad_subjects_1-6.npz", tuple(args.subjects)),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
