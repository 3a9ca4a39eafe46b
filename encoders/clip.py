"""Any open_clip model as two encoders of the `clip` space: text, and video as frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders._modules import fingerprint
from motionseek.encoders._torchvision import import_torchvision
from motionseek.encoders.base import Embeddings, Encoder
from motionseek.errors import ModelError, UsageError
from motionseek.types import Bool, Float32, Level, Modality

LOCAL, HUB = "local-dir:", "hf-hub:"
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")
FRAMES_PER_PASS = 64
PIXELS_PER_PASS = 1 << 24
TEXTS_PER_PASS = 256


class OpenClip:
    """A frozen open_clip model: `.text` and `.video`, both in one space.

    name: a name that open_clip knows ("ViT-B-32"), or "local-dir:FOLDER" with open_clip_config.json and weights in
    it, or "hf-hub:OWNER/MODEL".
    weights: for a known name, a file (.safetensors, or .pt/.pth/.bin read with weights_only), a folder as above, or
    one of open_clip's tags ("laion2b_s34b_b79k"), which is downloaded. There is no default: a network without
    trained weights answers at random, and nothing in its answers would show it.
    device: "cpu", "cuda"…; the GPU where there is one, by default.
    space: what its space is called; another name than "clip" lets it stand beside a model that has that one.
    Raises ModelError where the model, its weights or the hub cannot be had.
    """

    def __init__(
        self, name: str, weights: str | Path | None = None, *, device: str | None = None, space: str = "clip"
    ) -> None:
        self.name = name
        name, tag_or_file = _source(name, weights)
        import_torchvision()
        import open_clip

        config = _config(name)
        options: dict[str, Any] = {}
        tag = open_clip.get_pretrained_cfg(name, tag_or_file) if tag_or_file else None
        if tag and bool(tag.get("quick_gelu")) != bool(config.get("quick_gelu")):
            if config.get("quick_gelu"):
                raise ModelError(f"{tag_or_file} was not trained with QuickGELU: use {name.replace('-quickgelu', '')}")
            options["force_quick_gelu"] = config["quick_gelu"] = True
        try:
            # weights_only and require_pretrained: never a pickle, never random weights.
            model = open_clip.create_model(
                name, tag_or_file, weights_only=True, require_pretrained=True, pretrained_text=False, **options
            )
            self.tokenizer = open_clip.get_tokenizer(name)
            if name.startswith(HUB):
                config = open_clip.get_model_config(name)
        except Exception as error:
            raise ModelError(_why(name, tag_or_file, bool(tag), error)) from error
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model: nn.Module = model.to(self.device).eval().requires_grad_(False)
        self.preprocess = Preprocess.of(open_clip.get_model_preprocess_cfg(model))
        words = [type(self.tokenizer).__name__, getattr(self.tokenizer, "context_length", 0)]
        self.fingerprint = fingerprint(self.model, config, vars(self.preprocess), words)
        self.space = space
        self.text = TextEncoder(self)
        self.video = VideoEncoder(self)

    @property
    def encoders(self) -> Mapping[tuple[str, str], Encoder]:
        return {(self.space, "text"): self.text, (self.space, "video"): self.video}


class TextEncoder:
    """Sentences → global vectors. No template is put around them; what is longer than the context is cut."""

    modality: Modality = "text"
    levels: tuple[Level, ...] = ("global",)
    rate_hz = 0.0
    window_s = 0.0

    def __init__(self, clip: OpenClip) -> None:
        self._clip = clip
        self.space = clip.space
        self.fingerprint = clip.fingerprint

    @torch.inference_mode()
    def encode(self, batch: Sequence[str], mask: Bool | None = None, *, raw: bool = False) -> Embeddings:
        """B sentences → global_ (B, D). Raises UsageError where the batch is not a list of them."""
        if isinstance(batch, str) or not all(isinstance(sentence, str) for sentence in batch):
            raise UsageError("encode_text needs a list of sentences")
        clip = self._clip
        parts = [
            clip.model.encode_text(clip.tokenizer(list(batch[i : i + TEXTS_PER_PASS]) or [""]).to(clip.device))  # type: ignore[operator]
            for i in range(0, max(1, len(batch)), TEXTS_PER_PASS)
        ]
        return Embeddings(global_=_vectors(torch.cat(parts)[: len(batch)], raw))


class VideoEncoder:
    """Frames → one token a frame, of one part, and their mean as the global vector, as IMU2CLIP pools them.

    The published recipe shows the model 10 frames of a 5 s window: 2 frames a second.
    """

    modality: Modality = "video"
    levels: tuple[Level, ...] = ("global", "token")
    rate_hz = 2.0
    window_s = 5.0

    def __init__(self, clip: OpenClip) -> None:
        self._clip = clip
        self.space = clip.space
        self.fingerprint = clip.fingerprint

    @torch.inference_mode()
    def encode(self, batch: npt.NDArray[np.uint8], mask: Bool | None = None, *, raw: bool = False) -> Embeddings:
        """Frames (B, F, H, W, 3) uint8 RGB, mask (B, F) → global_ (B, D), token (B, 1, F, D), mask (B, 1, F).

        Masked frames are not looked at: their tokens are zero; a window without frames has the zero vector.
        Raises UsageError where the shapes or the type are others.
        """
        if batch.ndim != 5 or batch.shape[-1] != 3 or batch.dtype != np.uint8 or not batch.size:
            raise UsageError(f"encode_video takes frames (B, F, H, W, 3) of uint8, not {batch.dtype} {batch.shape}")
        windows, frames = batch.shape[:2]
        there = np.ones((windows, frames), bool) if mask is None else np.asarray(mask, bool)
        if there.shape != (windows, frames):
            raise UsageError(f"the mask of frames {batch.shape} has shape (B, F), not {there.shape}")
        window, frame = np.nonzero(there)
        step = max(1, min(FRAMES_PER_PASS, PIXELS_PER_PASS // (batch.shape[2] * batch.shape[3])))
        parts = [self._features(batch[window[i : i + step], frame[i : i + step]]) for i in range(0, len(window), step)]
        # One blank frame tells the width where there is no frame at all.
        features = torch.cat(parts) if parts else self._features(np.zeros_like(batch[:1, 0]))[:0]
        token = features.new_zeros(windows, frames, features.shape[-1])
        token[torch.from_numpy(there).to(token.device)] = features
        count = torch.from_numpy(there.sum(1, keepdims=True)).to(token).clamp_min(1.0)
        pooled = token.sum(1) / count
        return Embeddings(global_=_vectors(pooled, raw), token=_vectors(token[:, None], raw), mask=there[:, None])

    def _features(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        clip = self._clip
        x = torch.from_numpy(np.ascontiguousarray(frames)).to(clip.device)
        features: Tensor = clip.model.encode_image(clip.preprocess(x))  # type: ignore[operator]
        return features.float()


@dataclass(frozen=True)
class Preprocess:
    """What open_clip's evaluation transform does to one PIL image, done to a batch of frames at once."""

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Preprocess:
        """From open_clip's preprocess_cfg. Raises ModelError for a way to resize that it does not know."""
        size = config["size"]
        height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
        mean, std = (
            tuple(float(v) for v in (values if isinstance(values, Sequence) else [values] * 3))
            for values in (config["mean"], config["std"])
        )
        mode, interpolation = config["resize_mode"], config["interpolation"]
        if mode not in ("shortest", "longest", "squash"):
            raise ModelError(f"open_clip_config.json: resize_mode {mode!r} is not one of shortest, longest, squash")
        interpolation = "bilinear" if interpolation == "bilinear" else "bicubic"
        return cls((int(height), int(width)), mean, std, interpolation, mode, int(config["fill_color"]))

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The size that a frame of this size is scaled to, before cropping or padding."""
        if self.resize_mode == "squash":
            return self.size
        ratios = (height / self.size[0], width / self.size[1])
        if self.resize_mode == "shortest" and self.size[0] == self.size[1]:
            # torchvision cuts the longer side's fraction off where open_clip's own resizing rounds.
            short = min(height, width)
            return int(self.size[0] * height / short), int(self.size[1] * width / short)
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        return round(height / ratio), round(width / ratio)

    def __call__(self, frames: Tensor) -> Tensor:
        """frames (N, H, W, 3) uint8 → (N, 3, h, w) float32."""
        x = frames.permute(0, 3, 1, 2).float()
        height, width = self.resized(x.shape[-2], x.shape[-1])
        # PIL, which the models were trained through, scales one axis after the other, in whole grey levels.
        for size in ((x.shape[-2], width), (height, width)):
            if size != tuple(x.shape[-2:]):
                x = F.interpolate(x, size, mode=self.interpolation, antialias=True, align_corners=False)
                x = x.clamp(0, 255).round()
        pads = [max(0, want - have) for want, have in zip(self.size, x.shape[-2:], strict=True)]
        if any(pads):
            (top, left), (bottom, right) = zip(*((p // 2, (p + 1) // 2) for p in pads), strict=True)
            x = F.pad(x, (left, right, top, bottom), value=float(self.fill_color))
        top, left = (round((have - want) / 2) for want, have in zip(self.size, x.shape[-2:], strict=True))
        x = x[..., top : top + self.size[0], left : left + self.size[1]] / 255
        return (x - x.new_tensor(self.mean)[:, None, None]) / x.new_tensor(self.std)[:, None, None]


def _source(name: str, weights: str | Path | None) -> tuple[str, str | None]:
    """What open_clip calls them: (name, tag or file). Raises ModelError where there is nothing to load."""
    if name.startswith((LOCAL, HUB)):
        if weights is not None:
            raise ModelError(f"{name} brings its own weights: leave out weights={str(weights)!r}")
        folder = name.removeprefix(LOCAL)
        if name.startswith(LOCAL) and not (Path(folder) / "open_clip_config.json").is_file():
            raise ModelError(f"{folder}: no open_clip_config.json in it, so it is not a folder of an open_clip model")
        return name, None
    if weights is None or not str(weights):
        raise ModelError(
            f"open_clip model {name!r} was asked for without weights, and its answers would be random: "
            "give weights=FILE (.safetensors), a folder with open_clip_config.json, or one of open_clip's tags"
        )
    path = Path(weights)
    if path.is_dir():
        return _source(f"{LOCAL}{path}", None)
    if path.is_file():
        if path.suffix not in WEIGHT_FILES:
            raise ModelError(f"{path}: open_clip weights are one of {', '.join(WEIGHT_FILES)}")
    elif path.suffix in WEIGHT_FILES or path.name != str(weights):
        raise ModelError(f"{path}: there is no such file of weights")
    return name, str(weights)


def _config(name: str) -> dict[str, Any]:
    """The architecture as JSON values. Raises ModelError for a name that is not known."""
    import open_clip

    if name.startswith(LOCAL):
        path = Path(name.removeprefix(LOCAL)) / "open_clip_config.json"
        try:
            config: dict[str, Any] = dict(json.loads(path.read_text())["model_cfg"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: not the description of an open_clip model ({error})") from error
        return config
    if name.startswith(HUB):
        return {}
    known = open_clip.get_model_config(name.replace("/", "-"))
    if known is None:
        near = get_close_matches(name, open_clip.list_models(), n=5, cutoff=0.3)
        raise ModelError(f"open_clip has no model {name!r}; it has {', '.join(near or ['ViT-B-32'])} and others")
    return dict(known)


def _why(name: str, weights: str | None, is_tag: bool, error: Exception) -> str:
    import open_clip

    reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    if name.startswith(LOCAL):
        return f"{name.removeprefix(LOCAL)}: the open_clip model in it cannot be loaded ({reason})"
    if name.startswith(HUB):
        return f"{name} cannot be fetched ({reason}). Without the hub, give a local file: weights=FILE.safetensors"
    if weights is not None and Path(weights).is_file():
        return f"{weights}: not weights of {name} that can be read without running code from them ({reason})"
    if not is_tag:
        tags = open_clip.list_pretrained_tags_by_model(name)
        return f"{weights!r} is neither a file nor a tag of {name}; its tags: {', '.join(tags) or 'none'}"
    return (
        f"the weights {weights!r} of {name} cannot be fetched ({reason}). "
        "Without the hub, download them elsewhere and give the file: weights=FILE.safetensors"
    )


def _vectors(x: Tensor, raw: bool) -> Float32:
    x = x.float()
    vectors: Float32 = (x if raw else F.normalize(x, dim=-1)).cpu().numpy()
    return vectors
