"""The starter's text tower: a small CLIP-style transformer in open_clip's own form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from motionseek.encoders._torchvision import import_torchvision


@dataclass(frozen=True)
class TextConfig:
    """Sizes of an open_clip TextTransformer; the vocabulary is CLIP's byte-pair encoding."""

    width: int = 96
    heads: int = 4
    layers: int = 4
    context_length: int = 32
    output_dim: int = 256
    vocab_size: int = 49408


class TextTower(nn.Module):
    """Sentences → vectors. `tokenize` then `forward`: (B, context_length) int64 → (B, output_dim)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        import_torchvision()
        from open_clip.transformer import TextTransformer

        self.transformer = TextTransformer(**asdict(config))

    def tokenize(self, texts: list[str]) -> Tensor:
        return cast(Tensor, _tokenizer(self.config.context_length)([t.lower().strip(" .!") for t in texts]))

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.transformer(tokens))


@lru_cache(maxsize=4)
def _tokenizer(context_length: int) -> Any:
    import_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context_length)


@torch.no_grad()
def encode_texts(tower: TextTower, texts: list[str], batch: int = 256) -> Tensor:
    """(N, output_dim), not normalised."""
    tower.eval()
    return torch.cat([tower(tower.tokenize(texts[i : i + batch])) for i in range(0, len(texts), batch)])
