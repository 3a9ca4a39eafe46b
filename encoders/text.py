"""The starter's text tower: a small CLIP text transformer, and CLIP's byte-pair encoding.

Weights have the names and the form of open_clip's TextTransformer. The network is written out here because importing
open_clip takes longer than a whole search.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.errors import ModelError
from motionseek.imports import without_collecting


@dataclass(frozen=True)
class TextConfig:
    """Sizes of an open_clip TextTransformer; the vocabulary is CLIP's byte-pair encoding.

    words: how many of the vocabulary's tokens have a vector of their own; all others share one. 0: all have their own.
    """

    width: int = 96
    heads: int = 4
    layers: int = 4
    context_length: int = 32
    output_dim: int = 256
    vocab_size: int = 49408
    words: int = 0


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, causal: Tensor) -> Tensor:
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False, attn_mask=causal)[0]
        out: Tensor = x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))
        return out


class TextTransformer(nn.Module):
    """Pre-norm, causal; a sentence's vector is the projected last token (Radford et al. 2021, section 2.4)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.width
        rows = config.words + 1 if config.words else config.vocab_size
        self.token_embedding = nn.Embedding(rows, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        blocks = nn.ModuleList([_Block(width, config.heads) for _ in range(config.layers)])
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, config.output_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)
        deep = (2 * config.layers) ** -0.5
        for block in cast("list[_Block]", list(blocks)):
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * deep)
            wide, narrow = cast(nn.Linear, block.mlp["c_fc"]), cast(nn.Linear, block.mlp["c_proj"])
            nn.init.normal_(wide.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(narrow.weight, std=width**-0.5 * deep)

    def forward(self, rows: Tensor, last: Tensor) -> Tensor:
        """rows (B, L) of the embedding, last (B,) where each sentence ends → (B, output_dim)."""
        length = rows.shape[1]
        causal = torch.full((length, length), float("-inf"), device=rows.device).triu_(1)
        x = self.token_embedding(rows) + self.positional_embedding[:length]
        for block in cast(nn.ModuleList, self.transformer["resblocks"]):
            x = block(x, causal)
        out: Tensor = self.ln_final(x[torch.arange(len(x), device=x.device), last]) @ self.text_projection
        return out


class TextTower(nn.Module):
    """Sentences → vectors. `tokenize` then `forward`: (B, L) int64 → (B, output_dim)."""

    known: Tensor
    _row: Tensor

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = TextTransformer(config)
        if config.words:
            self.register_buffer("known", torch.arange(config.words, dtype=torch.int32))

    def tokenize(self, texts: list[str]) -> Tensor:
        """(N, context_length) int64, zero after a sentence's end."""
        plain = [t.lower().strip(" .!") for t in texts]
        return cast(Tensor, _open_clip_tokenizer().tokenize(plain, self.config.context_length))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, L), cut anywhere behind the longest sentence."""
        last = tokens.argmax(dim=-1)  # the end of a sentence is the vocabulary's last token
        if self.config.words:
            row = torch.full((self.config.vocab_size,), self.config.words, device=tokens.device)
            row[self.known.long()] = torch.arange(self.config.words, device=tokens.device)
            tokens = row[tokens]
        return cast(Tensor, self.transformer(tokens, last))

    @torch.no_grad()
    def keeping(self, tokens: Tensor) -> TextTower:
        """The same tower with vectors of their own for `tokens` only; what it never learned shares their mean.

        tokens: any of the vocabulary, for instance all that training read.
        """
        if self.config.words:
            return self
        known = torch.unique(tokens).int()
        small = TextTower(TextConfig(**{**self.config.__dict__, "words": len(known)}))
        state = self.state_dict()
        own = state["transformer.token_embedding.weight"]
        kept = own[known.long()]
        state["transformer.token_embedding.weight"] = torch.cat([kept, kept.mean(0, keepdim=True)])
        small.load_state_dict({**state, "known": known})
        return small.train(self.training)

    def open_clip_state(self) -> dict[str, Tensor]:
        """The weights as open_clip.transformer.TextTransformer of the same sizes loads them."""
        state = dict(self.transformer.state_dict())
        if self.config.words:
            own = state["token_embedding.weight"]
            full = own[-1].expand(self.config.vocab_size, -1).clone()
            full[self.known.long()] = own[:-1]
            state["token_embedding.weight"] = full
        return state


@lru_cache(maxsize=1)
def _open_clip_tokenizer() -> Any:
    """open_clip's own tokenizer, without what importing the whole of open_clip costs."""
    package = importlib.util.find_spec("open_clip")
    file = Path(package.origin).with_name("tokenizer.py") if package and package.origin else None
    spec = importlib.util.spec_from_file_location("_open_clip_tokenizer", file) if file else None
    if spec is None or spec.loader is None:
        raise ModelError("open_clip, whose vocabulary text is read with, is not installed: pip install open_clip_torch")
    module = importlib.util.module_from_spec(spec)
    with without_collecting():
        spec.loader.exec_module(module)
    return module


@torch.no_grad()
def encode_texts(tower: TextTower, texts: list[str], batch: int = 256) -> Tensor:
    """(N, output_dim), not normalised."""
    tower.eval()
    return torch.cat([tower(tower.tokenize(texts[i : i + batch])) for i in range(0, len(texts), batch)])
