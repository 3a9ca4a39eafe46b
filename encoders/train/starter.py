"""The recipe of the starter weights: simulated sensors and keypoints on motion capture and on procedural motion."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from motionseek.encoders.model import load_model, save_model
from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionEncoder
from motionseek.encoders.simulate.captions import CAPTIONS
from motionseek.encoders.simulate.mocap import read_bandai_npz
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.procedural import GENERATORS, ONE_SHOT
from motionseek.encoders.text import TextConfig, TextTower, encode_texts
from motionseek.encoders.train.action_objective import ActionObjective
from motionseek.encoders.train.captions import BANDAI_CAPTIONS, sentence
from motionseek.encoders.train.data import SIMULATED, SIMULATION, Corpus, Int, Simulated, build_corpus
from motionseek.encoders.train.distil import distil
from motionseek.encoders.train.evaluate import action_report, motion_report
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.motion_objective import MotionObjective
from motionseek.errors import UsageError

Say = Callable[[str], None]


@dataclass(frozen=True)
class StarterRecipe:
    """What `starter.toml` says. Paths are relative to the data folder.

    held_out_style: a style of the Bandai-Namco data that is only validated on.     speeds: each clip is also played
    at a random speed between these.     procedural: clips of each generator.     one_shot: of each that does its motion
    once a clip, because one clip of a rhythm shows it many times.     motion_from: a model whose `motion`
    networks are taken as they are; they are trained where this is empty.
    """

    bandai: tuple[str, ...] = ("bandai-namco/bnr_dataset1.npz", "bandai-namco/bnr_dataset2.npz")
    captions: str = "text/kitml_captions.json"
    held_out_style: str = "feminine"
    speeds: tuple[float, float] = (0.8, 1.25)
    procedural: int = 64
    procedural_s: float = 12.0
    one_shot: int = 256
    text_steps: int = 950
    action_steps: int = 1400
    motion_steps: int = 2000
    batch: int = 128
    seed: int = 0
    motion_from: str = ""

    @classmethod
    def load(cls, path: Path) -> StarterRecipe:
        """Raises UsageError for a key that the recipe does not have."""
        values = tomllib.loads(path.read_text())
        values.pop("objective", None)
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise UsageError(f"{path}: unknown key {sorted(unknown)[0]!r}; known: {[f.name for f in fields(cls)]}")
        return cls(**cast(Any, {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}))


def _jobs(recipe: StarterRecipe, data: Path) -> Iterator[tuple[Motion, float]]:
    rng = np.random.default_rng(recipe.seed)
    for name in recipe.bandai:
        for motion in read_bandai_npz(data / name):
            content, style = motion.labels
            split = "val" if style == recipe.held_out_style else "train"
            yield _relabel(motion, f"{split}/{content}"), 1.0
            if split == "train":
                yield _relabel(motion, f"{split}/{content}"), float(rng.uniform(*recipe.speeds))
    for label, generate in GENERATORS.items():
        longest_s = 5.0 if label in ONE_SHOT else recipe.procedural_s
        clips = recipe.one_shot if label in ONE_SHOT else recipe.procedural
        for i in range(clips + clips // 8):
            split = "train" if i < clips else "val"
            motion = generate(rng, longest_s * float(rng.uniform(0.5, 1.0)))
            yield _relabel(motion, f"{split}/{motion.labels[1]}"), 1.0


def _relabel(motion: Motion, label: str) -> Motion:
    return Motion(motion.name, motion.rate_hz, motion.position_m, motion.rotation, (label,), motion.source)


def captions_of(label: str) -> tuple[str, ...]:
    """What a clip of the corpus may be called; its label is "split/content"."""
    content = label.split("/", 1)[1]
    return BANDAI_CAPTIONS[content] if content in BANDAI_CAPTIONS else CAPTIONS[content]


def _cached_corpus(recipe: StarterRecipe, data: Path, work: Path, say: Say) -> Corpus:
    names = ("imu", "points_m", "start", "length", "label")
    made = recipe.procedural, recipe.procedural_s, recipe.one_shot
    key = json.dumps([SIMULATION, recipe.bandai, recipe.held_out_style, recipe.speeds, made, recipe.seed])
    done = work / "corpus.json"
    if done.is_file() and (held := json.loads(done.read_text()))["key"] == key:
        arrays = {n: np.load(work / f"{n}.npy", mmap_mode="r") for n in names}
        return Corpus(**arrays, labels=tuple(held["labels"]))
    say("simulating sensors and keypoints …")
    corpus = build_corpus(_jobs(recipe, data), seed=recipe.seed)
    for name in names:
        np.save(work / f"{name}.npy", getattr(corpus, name))
    done.write_text(json.dumps({"key": key, "labels": corpus.labels}))
    return corpus


def _text_tower(recipe: StarterRecipe, data: Path, work: Path, say: Say) -> TextTower:
    """Taught once; a kept one that other settings or sentences made is made anew."""
    captions = data / recipe.captions
    read = hashlib.sha256(captions.read_bytes()).hexdigest() if captions.is_file() else None
    key = json.dumps([read, recipe.text_steps, recipe.seed])
    done = work / "text.safetensors"
    if done.is_file():
        with safe_open(done, "pt") as file:
            same = (file.metadata() or {}).get("key") == key
        if same:
            state = load_file(done)
            text = TextTower(TextConfig(words=len(state["known"]) if "known" in state else 0))
            text.load_state_dict(state)
            return text.eval()
    text = distil(
        TextConfig(),
        captions_json=captions if captions.is_file() else None,
        steps=recipe.text_steps,
        seed=recipe.seed,
        work=work / "text",
        say=say,
    )
    temporary = done.with_name(f"{done.name}.tmp")
    save_file(text.state_dict(), temporary, metadata={"key": key})
    os.replace(temporary, done)
    return text


def train_starter(recipe: StarterRecipe, data: Path, out: Path, *, say: Say = print) -> None:
    """Train all five encoders and write the model folder `out`; what is done already is kept in `out`.work.

    Raises UsageError where the recipe's data is not there, MissingExtra where the text tower's teacher is not.
    """
    for name in recipe.bandai:
        if not (data / name).is_file():
            raise UsageError(f"{data / name} is not there: the recipe needs the Bandai-Namco motion as npz (see docs)")
    kept, origin = _kept_motion(recipe.motion_from) if recipe.motion_from else (None, {})
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(recipe.seed)

    text = _text_tower(recipe, data, work, say)
    corpus = _cached_corpus(recipe, data, work, say)
    split = np.array([label.split("/", 1)[0] for label in corpus.labels])[corpus.label]
    train: Int = np.flatnonzero(split == "train")
    val: Int = np.flatnonzero(split == "val")
    say(f"{len(train)} training clips ({corpus.length[train].sum() / 180_000:.1f} h), {len(val)} for validation")
    captions = {label: captions_of(label) for label in corpus.labels}
    others = sorted({sentence(rng) for _ in range(4000)})

    def encode(texts: list[str]) -> torch.Tensor:
        return encode_texts(text, texts)

    actions = _actions(recipe, corpus, train, captions, others, encode, work, say)
    results = {"actions": action_report(corpus, val, actions, captions, encode)}
    say(json.dumps(results["actions"], indent=1))
    motion = _motion(recipe, corpus, train, work, say) if kept is None else kept
    results["motion"] = motion_report(corpus, val, motion)
    say(json.dumps(results["motion"], indent=1))
    save_model(
        out,
        {**CARD, "recipe": asdict(recipe), **origin, "validation": results},
        {
            ("clip", "text"): text,
            ("clip", "imu"): actions[0],
            ("clip", "pose"): actions[1],
            ("motion", "imu"): motion[0],
            ("motion", "pose"): motion[1],
        },
    )
    say(f"wrote {out}")


def _kept_motion(name: str) -> tuple[tuple[MotionEncoder, MotionEncoder], dict[str, str]]:
    """The two networks of another model's `motion` space, and what the card says of where they come from."""
    model = load_model(name, device="cpu")
    imu, pose = (getattr(model.encoder(side, "motion"), "net", None) for side in ("imu", "pose"))
    if not isinstance(imu, MotionEncoder) or not isinstance(pose, MotionEncoder):
        raise UsageError(f"motion_from = {name!r}: its motion space is of another kind; leave it out to train one")
    return (imu, pose), {"motion_of": f"{model.name} {model.fingerprint}"}


def _settings(recipe: StarterRecipe, steps: int) -> FitSettings:
    return FitSettings(steps=steps, lr=1.5e-3, weight_decay=0.02, betas=(0.9, 0.98), warmup=100, seed=recipe.seed)


def _actions(
    recipe: StarterRecipe,
    corpus: Corpus,
    clips: Int,
    captions: Mapping[str, Sequence[str]],
    others: list[str],
    encode: Callable[[list[str]], torch.Tensor],
    work: Path,
    say: Say,
) -> tuple[ActionEncoder, ActionEncoder]:
    """Sensors and pose of `clips` → the vectors of their captions, and none of `others`."""
    torch.manual_seed(recipe.seed)
    sides = ActionConfig("imu", trend=True), ActionConfig("pose", trend=True)
    objective = ActionObjective(sides, others=F.normalize(encode(others), dim=-1))
    data = Simulated(
        corpus,
        clips,
        recipe.batch,
        replace(SIMULATED, mounting_deg=40, free_mounting=0.5, damp=0.5, cross_axis=0.3, shake=0.15),
        recipe.seed,
        slots=lambda rng: rng.choice(7, int(rng.integers(2, 6)), replace=False),
        captions={label: F.normalize(encode(list(captions[label])), dim=-1) for label in corpus.labels},
    )
    settings = _settings(recipe, recipe.action_steps)
    fit(objective, data, None, settings, work=work / "actions", key=asdict(recipe), say=say, name="actions")
    return objective.imu.cpu(), objective.pose.cpu()


def _motion(
    recipe: StarterRecipe, corpus: Corpus, clips: Int, work: Path, say: Say
) -> tuple[MotionEncoder, MotionEncoder]:
    """Sensors against pose at the same time; the projection sees whole windows with all sensors."""
    torch.manual_seed(recipe.seed)

    def some(rng: np.random.Generator) -> Int:
        return np.sort(rng.choice(6, int(rng.choice([1, 2, 3, 4, 5], p=[0.3, 0.2, 0.2, 0.15, 0.15])), replace=False))

    long, whole = (clips[corpus.length[clips] >= least] for least in (100, 240))
    objective = MotionObjective(projection_from=Simulated(corpus, whole if len(whole) else long, 256, SIMULATED))
    data = Simulated(corpus, long, recipe.batch, SIMULATED, recipe.seed, slots=some, pose_of_slots=True)
    settings = _settings(recipe, recipe.motion_steps)
    fit(objective, data, None, settings, work=work / "motion", key=asdict(recipe), say=say, name="motion")
    return objective.imu.cpu(), objective.pose.cpu()


CARD = {
    "name": "starter",
    "description": "Small encoders for wearable IMU, body pose and text, so that everything works with no download.",
    "licence": "CC BY-NC 4.0: trained on the Bandai-Namco Research Motiondataset; not for commercial use.",
    "data": [
        "Bandai-Namco Research Motiondataset 1 and 2, CC BY-NC 4.0, © 2022 Bandai Namco Research Inc. (Kobayashi et "
        "al. 2023): body motion, from which sensors and keypoints were simulated.",
        "Procedural motion of this package (jumping, stairs, sitting, standing …): simulated too.",
        "KIT Motion-Language captions (Plappert et al. 2016) and generated sentences, read by all-MiniLM-L6-v2, whose "
        "vectors the text tower was taught.",
    ],
    "not_in_training": "any real sensor, any real video; CMU and DeepMimic motion",
    "cannot": [
        "tell what hands do with objects, or anything that does not move the body",
        "read pose from pixels: it needs keypoints",
        "judge that nothing fits: scores rank, they are not probabilities",
    ],
}
