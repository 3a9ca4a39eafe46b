"""Models as folders: `model.json`, the card, and `weights.safetensors`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from motionseek.encoders import imu2clip, mobind
from motionseek.encoders.base import Embeddings, Encoder
from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder
from motionseek.encoders.preprocess import PREPROCESSING
from motionseek.encoders.text import TextConfig, TextTower
from motionseek.encoders.towers import ActionTower, MobindTower, MotionTower, SensorTower, WordTower
from motionseek.errors import ModelError, MotionseekError, UsageError
from motionseek.types import Bool, Modality

WEIGHTS = Path(__file__).parent / "weights"
FORMAT = 2

_KINDS: Mapping[str, tuple[Callable[..., Any], Callable[[Any], nn.Module], Callable[..., Any]]] = {
    "action": (ActionConfig, ActionEncoder, ActionTower),
    "motion": (MotionConfig, MotionEncoder, MotionTower),
    "text": (TextConfig, TextTower, WordTower),
    **{kind: (config, network, SensorTower) for kind, (config, network) in imu2clip.KINDS.items()},
    **{kind: (config, network, MobindTower) for kind, (config, network) in mobind.KINDS.items()},
}
"""What model.json may call an encoder: its configuration, its network, and the encoder around it."""


class _Built(Mapping[tuple[str, str], Encoder]):
    """Encoders that are built when they are first asked for."""

    def __init__(self, builders: Mapping[tuple[str, str], Callable[[], Encoder]]) -> None:
        self._builders = dict(builders)
        self._built: dict[tuple[str, str], Encoder] = {}

    def __getitem__(self, key: tuple[str, str]) -> Encoder:
        if key not in self._built:
            self._built[key] = self._builders[key]()
        return self._built[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._builders)

    def __len__(self) -> int:
        return len(self._builders)


class Model:
    """Encoders that belong together.

    card: model.json as it is: what it is, data, licence, results.     fingerprint: sha256 of weights, configuration
    and preprocessing.     encoders: (space, modality) → Encoder, built when first asked for.
    """

    def __init__(
        self, name: str, card: Mapping[str, Any], fingerprint: str, encoders: Mapping[tuple[str, str], Encoder]
    ) -> None:
        self.name = name
        self.card = card
        self.fingerprint = fingerprint
        self.encoders = encoders

    @property
    def spaces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(space for space, _ in self.encoders))

    def encoder(self, modality: Modality, space: str | None = None) -> Encoder:
        """The encoder of a modality; the first that has it where no space is named. Raises ModelError."""
        for its_space, its_modality in self.encoders:
            if its_modality == modality and space in (None, its_space):
                return self.encoders[its_space, its_modality]
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
    starter, which has a `clip` space already. A folder whose card says `with` lends the encoders that it lacks in its
    own spaces from that other model, as IMU2CLIP lends text and video from the CLIP that it was trained against.

    device: the GPU where there is one, by default. Raises ModelError, naming what is missing and what to do.
    """
    if isinstance(name_or_folder, str) and name_or_folder.startswith("open_clip:"):
        return _load_open_clip(name_or_folder, device)
    folder = WEIGHTS / name_or_folder if str(name_or_folder) in available() else Path(name_or_folder)
    card, weight_file = read_card(folder)
    try:
        with safe_open(weight_file, "pt") as f:
            held = set(f.keys())
    except SafetensorError as e:
        raise ModelError(f"{folder}: weights.safetensors cannot be read ({e}); get the model again") from e
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    fingerprint = _fingerprint(card, weight_file)
    lender = None
    if card.get("with"):
        lender = load_model(card["with"], device=device)
        fingerprint = hashlib.sha256(f"{fingerprint} {lender.fingerprint}".encode()).hexdigest()
    builders: dict[tuple[str, str], Callable[[], Encoder]] = {}
    for entry in card["encoders"]:
        builders[entry["space"], entry["modality"]] = partial(
            _build, entry, card.get("shared", {}), weight_file, held, fingerprint, where
        )
    own_spaces = {space for space, _ in builders}
    for key in lender.encoders if lender else ():
        if key[0] in own_spaces and key not in builders and lender:
            builders[key] = partial(_borrowed, lender, key, fingerprint)
    return Model(card.get("name", folder.name), card, fingerprint, _Built(builders))


def read_card(folder: Path) -> tuple[dict[str, Any], Path]:
    """model.json, checked, and the weights' path. Raises ModelError."""
    card_file, weight_file = folder / "model.json", folder / "weights.safetensors"
    if not card_file.is_file() or not weight_file.is_file():
        raise ModelError(
            f"{folder}: neither a model folder (model.json and weights.safetensors) nor one of the models that "
            f"come with motionseek: {', '.join(available()) or 'none'}"
        )
    try:
        card = json.loads(card_file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise ModelError(f"{card_file}: cannot be read ({e}); get the model again") from e
    if not isinstance(card, dict) or not isinstance(card.get("encoders"), list):
        raise ModelError(f"{card_file}: lists no encoders; get the model again")
    if card.get("format") != FORMAT or card.get("preprocessing") != PREPROCESSING:
        raise ModelError(
            f"{card_file}: made for another version of motionseek (format {card.get('format')}, preprocessing "
            f"{card.get('preprocessing')}; this is {FORMAT} and {PREPROCESSING}); train it again"
        )
    for entry in card["encoders"]:
        if not isinstance(entry, dict) or not {"space", "modality", "kind", "config"} <= set(entry):
            raise ModelError(f"{card_file}: an encoder lacks its space, modality, kind or config; get the model again")
        if entry["kind"] not in _KINDS:
            raise ModelError(f"{card_file}: encoder kind {entry['kind']!r} is not one of {', '.join(_KINDS)}")
    return card, weight_file


def build_network(entry: Mapping[str, Any], shared: Mapping[str, str], weight_file: Path, held: set[str]) -> nn.Module:
    """One encoder's network, with its weights in float32. Raises ModelError naming what does not fit."""
    config, network, _ = _KINDS[entry["kind"]]
    prefix = f"{entry['space']}.{entry['modality']}."
    stored = {name: name for name in held if name.startswith(prefix)}
    stored |= {name: other for name, other in shared.items() if name.startswith(prefix)}
    with safe_open(weight_file, "pt") as f:
        state = {name.removeprefix(prefix): f.get_tensor(other) for name, other in stored.items()}
    state = {name: w.float() if w.is_floating_point() else w for name, w in state.items()}
    try:
        net = network(config(**entry["config"]))
        net.load_state_dict(state)
    except (TypeError, RuntimeError) as e:
        raise ModelError(f"{weight_file.parent}: the weights of {prefix[:-1]} do not fit its card ({e})") from e
    return net


def _build(
    entry: Mapping[str, Any],
    shared: Mapping[str, str],
    weight_file: Path,
    held: set[str],
    fingerprint: str,
    device: torch.device,
) -> Encoder:
    net = build_network(entry, shared, weight_file, held)
    tower = _KINDS[entry["kind"]][2]
    return cast(Encoder, tower(net, entry["modality"], entry["space"], fingerprint, device))


def verify_model(name_or_folder: str | Path) -> list[str]:
    """What is wrong with a model: its card, weights that do not fit it or are not finite, encoders that do not encode.

    Nothing wrong is an empty list.
    """
    try:
        model = load_model(name_or_folder, device="cpu")
    except ModelError as error:
        return [str(error)]
    problems = []
    rng = np.random.default_rng(0)
    for space, modality in model.encoders:
        try:
            encoder = model.encoders[space, cast(Modality, modality)]
            encoded = encoder.encode(_example(encoder, modality, rng))
        except MotionseekError as error:
            problems.append(str(error))
            continue
        found = {n: getattr(encoded, n) for n in ("global_", "local", "token")}
        for level, x in found.items():
            if x is not None and not np.isfinite(x).all():
                problems.append(f"{name_or_folder}: {modality} in {space} gives {level} vectors that are not finite")
    for entry in model.card.get("encoders", []):
        net = getattr(model.encoders[entry["space"], entry["modality"]], "net", None)
        for name, weight in net.state_dict().items() if net else ():
            if weight.is_floating_point() and not weight.isfinite().all():
                problems.append(f"{name_or_folder}: {entry['space']}.{entry['modality']}.{name} is not finite")
    return list(dict.fromkeys(problems))


def _example(encoder: Encoder, modality: str, rng: np.random.Generator) -> Any:
    if modality == "text":
        return ["a person jumps", "walking"]
    length = round(encoder.window_s * encoder.rate_hz)
    if modality == "video":
        size = getattr(encoder, "frame_size", None) or 224
        return rng.integers(0, 256, (1, 2, size, size, 3), np.uint8)
    parts, channels = (7, 6) if modality == "imu" else (6, 6 if getattr(encoder, "pose_form", "") == "picture" else 12)
    return rng.normal(size=(2, parts, channels, length)).astype(np.float32)


def _borrowed(lender: Model, key: tuple[str, str], fingerprint: str) -> Encoder:
    encoder = lender.encoders[key]
    encoder.fingerprint = fingerprint
    return encoder


def save_model(
    folder: Path, card: Mapping[str, Any], networks: Mapping[tuple[str, str], nn.Module], *, half: bool = True
) -> None:
    """Write networks, keyed (space, modality), as a model folder; tensors that are equal are stored once.

    half: in half precision. The card is written last, and each file is whole or not there.
    """
    kinds = {network: kind for kind, (_, network, _) in _KINDS.items()}
    entries, tensors = [], {}
    first: dict[bytes, str] = {}
    shared: dict[str, str] = {}
    for (space, modality), net in networks.items():
        if type(net) not in kinds:
            raise UsageError(f"a {type(net).__name__} cannot be saved; use one of {', '.join(_KINDS)}")
        config = asdict(cast(Any, net).config)
        entries.append({"space": space, "modality": modality, "kind": kinds[type(net)], "config": config})
        for name, tensor in net.state_dict().items():
            kept = (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous().cpu().clone()
            full_name = f"{space}.{modality}.{name}"
            described = f"{kept.dtype} {tuple(kept.shape)}".encode()
            digest = hashlib.sha256(described + kept.flatten().view(torch.uint8).numpy().tobytes()).digest()
            if (other := first.setdefault(digest, full_name)) == full_name:
                tensors[full_name] = kept
            else:
                shared[full_name] = other
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.part").write_bytes(save(tensors))
    (folder / "weights.part").rename(folder / "weights.safetensors")
    full = {"format": FORMAT, "preprocessing": PREPROCESSING, **card, "encoders": entries, "shared": shared}
    (folder / "model.part").write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n")
    (folder / "model.part").rename(folder / "model.json")


def _fingerprint(card: Mapping[str, Any], weight_file: Path) -> str:
    """sha256 of what decides the vectors: not the card's words."""
    digest = hashlib.sha256()
    digest.update(json.dumps([card[k] for k in ("preprocessing", "encoders", "shared")], sort_keys=True).encode())
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
