"""Models as folders: `model.json`, the card, and `weights.safetensors`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motionseek.encoders.base import Embeddings, Encoder
from motionseek.encoders.imu2clip import Stack, StackConfig
from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder
from motionseek.encoders.preprocess import PREPROCESSING
from motionseek.encoders.text import TextConfig, TextTower
from motionseek.encoders.towers import ActionTower, MotionTower, StackTower, WordTower
from motionseek.errors import ModelError, UsageError
from motionseek.types import Bool, Modality

WEIGHTS = Path(__file__).parent / "weights"
FORMAT = 1

_KINDS: Mapping[str, tuple[Callable[..., Any], Callable[[Any], nn.Module], Callable[..., Any]]] = {
    "action": (ActionConfig, ActionEncoder, ActionTower),
    "motion": (MotionConfig, MotionEncoder, MotionTower),
    "imu2clip": (StackConfig, Stack, StackTower),
    "text": (TextConfig, TextTower, WordTower),
}
"""What model.json may call an encoder: its configuration, its network, and the encoder around it."""


class Model:
    """Encoders that belong together.

    card: model.json as it is: what it is, data, licence, results.     fingerprint: sha256 of weights, configuration
    and preprocessing.     encoders: (space, modality) → Encoder.
    """

    def __init__(
        self, name: str, card: Mapping[str, Any], fingerprint: str, encoders: Mapping[tuple[str, str], Encoder]
    ) -> None:
        self.name = name
        self.card = card
        self.fingerprint = fingerprint
        self.encoders = dict(encoders)

    @property
    def spaces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(space for space, _ in self.encoders))

    def encoder(self, modality: Modality, space: str | None = None) -> Encoder:
        """The encoder of a modality; the first that has it where no space is named. Raises ModelError."""
        for (its_space, its_modality), encoder in self.encoders.items():
            if its_modality == modality and space in (None, its_space):
                return encoder
        held = ", ".join(f"{m} in {s}" for s, m in self.encoders)
        wanted = f"{modality} in the space {space!r}" if space else modality
        raise ModelError(f"model {self.name} has no encoder for {wanted}; it has {held}")

    def encode_imu(
        self, imu: npt.ArrayLike, mask: Bool | None = None, *, space: str | None = None, raw: bool = False
    ) -> Embeddings:
        """imu (B, 7, 6, L): acc m/s², gyro rad/s on the encoder's grid, slots PARTS then "unknown"; mask (B, 7, L)."""
        return self.encoder("imu", space).encode(imu, mask, raw=raw)

    def encode_pose(
        self, pose: npt.ArrayLike, mask: Bool | None = None, *, space: str | None = None, raw: bool = False
    ) -> Embeddings:
        """pose (B, 6, 12, L) as `preprocess.normalise_pose` gives it; mask (B, 6, L)."""
        return self.encoder("pose", space).encode(pose, mask, raw=raw)

    def encode_text(self, texts: Sequence[str], *, space: str | None = None, raw: bool = False) -> Embeddings:
        """N sentences → global_ (N, D)."""
        return self.encoder("text", space).encode(texts, raw=raw)

    def encode_video(
        self,
        frames: npt.NDArray[np.uint8],
        mask: Bool | None = None,
        *,
        space: str | None = None,
        raw: bool = False,
    ) -> Embeddings:
        """frames (B, F, H, W, 3) uint8 RGB; mask (B, F) → global_ (B, D), token (B, 1, F, D)."""
        return self.encoder("video", space).encode(frames, mask, raw=raw)

    def __repr__(self) -> str:
        return f"Model({self.name}, {', '.join(f'{s}/{m}' for s, m in self.encoders)})"


def available() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(p.parent.name for p in WEIGHTS.glob("*/model.json")))


def load_model(name_or_folder: str | Path, *, device: str | None = None) -> Model:
    """A model that comes with the package, a model folder, or "open_clip:NAME:WEIGHTS[@SPACE]".

    SPACE (default "clip") names an open_clip model's own space: "@frames" lets it stand in one archive with the
    starter, which has a `clip` space already.

    device: the GPU where there is one, by default. Raises ModelError, naming what is missing and what to do.
    """
    if isinstance(name_or_folder, str) and name_or_folder.startswith("open_clip:"):
        return _load_open_clip(name_or_folder, device)
    folder = WEIGHTS / name_or_folder if str(name_or_folder) in available() else Path(name_or_folder)
    card_file, weight_file = folder / "model.json", folder / "weights.safetensors"
    if not card_file.is_file() or not weight_file.is_file():
        raise ModelError(
            f"{name_or_folder}: neither a model folder (model.json and weights.safetensors) nor one of the models that "
            f"come with motionseek: {', '.join(available()) or 'none'}"
        )
    try:
        card = json.loads(card_file.read_text())
        weights = load_file(weight_file)
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as e:
        raise ModelError(f"{folder}: cannot be read ({e}); get the model again") from e
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    fingerprint = _fingerprint(card, weight_file)
    encoders: dict[tuple[str, str], Encoder] = {}
    for entry in _entries(card, card_file):
        encoders[entry["space"], entry["modality"]] = _build(entry, weights, fingerprint, where, folder)
    return Model(card.get("name", folder.name), card, fingerprint, encoders)


def _entries(card: Any, card_file: Path) -> list[dict[str, Any]]:
    entries = card.get("encoders") if isinstance(card, dict) else None
    if card.get("format") != FORMAT or card.get("preprocessing") != PREPROCESSING or not isinstance(entries, list):
        raise ModelError(
            f"{card_file}: made for another version of motionseek (format {card.get('format')}, preprocessing "
            f"{card.get('preprocessing')}; this is {FORMAT} and {PREPROCESSING}); train it again"
        )
    return cast(list[dict[str, Any]], entries)


def _build(
    entry: Mapping[str, Any], weights: Mapping[str, Tensor], fingerprint: str, device: torch.device, folder: Path
) -> Encoder:
    if entry.get("kind") not in _KINDS:
        raise ModelError(f"{folder}: encoder kind {entry.get('kind')!r} is not one of {', '.join(_KINDS)}")
    config, network, tower = _KINDS[entry["kind"]]
    prefix = f"{entry['space']}.{entry['modality']}."
    state = {name.removeprefix(prefix): w.float() for name, w in weights.items() if name.startswith(prefix)}
    try:
        net = network(config(**entry["config"]))
        net.load_state_dict(state)
    except (TypeError, RuntimeError) as e:
        raise ModelError(f"{folder}: the weights of {prefix[:-1]} do not fit its card ({e})") from e
    return cast(Encoder, tower(net, entry["modality"], entry["space"], fingerprint, device))


def save_model(folder: Path, card: Mapping[str, Any], networks: Mapping[tuple[str, str], nn.Module]) -> None:
    """Write networks, keyed (space, modality), as a model folder in half precision. The card is written last."""
    kinds = {network: kind for kind, (_, network, _) in _KINDS.items()}
    entries, tensors = [], {}
    for (space, modality), net in networks.items():
        if type(net) not in kinds:
            raise UsageError(f"a {type(net).__name__} cannot be saved; use one of {', '.join(_KINDS)}")
        config = asdict(cast(Any, net).config)
        entries.append({"space": space, "modality": modality, "kind": kinds[type(net)], "config": config})
        for name, tensor in net.state_dict().items():
            half = tensor.half() if tensor.is_floating_point() else tensor
            tensors[f"{space}.{modality}.{name}"] = half.contiguous().cpu().clone()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "weights.safetensors")
    full = {"format": FORMAT, "preprocessing": PREPROCESSING, **card, "encoders": entries}
    (folder / "model.json").write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n")


def _fingerprint(card: Mapping[str, Any], weight_file: Path) -> str:
    """sha256 of what decides the vectors: not the card's words."""
    digest = hashlib.sha256()
    digest.update(json.dumps([card["preprocessing"], card["encoders"]], sort_keys=True).encode())
    with weight_file.open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _load_open_clip(spec: str, device: str | None) -> Model:
    from motionseek.encoders.clip import HUB, LOCAL, OpenClip

    source, _, space = spec.removeprefix("open_clip:").rpartition("@")
    if not source or not space.isidentifier():
        source, space = spec.removeprefix("open_clip:"), "clip"
    name, _, weights = (source, "", "") if source.startswith((LOCAL, HUB)) else source.partition(":")
    clip = OpenClip(name, weights or None, device=device, space=space)
    card = {"name": spec, "description": f"open_clip {name}", "licence": "that of its weights"}
    return Model(spec, card, clip.fingerprint, clip.encoders)
