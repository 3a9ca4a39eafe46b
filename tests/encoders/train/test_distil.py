"""The text tower learns its teacher's cosines; what the teacher said is asked for once."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from motionseek.encoders.text import TextConfig
from motionseek.encoders.train import distil as module
from motionseek.encoders.train.distil import distil

WORDS = ["walking", "jumping", "sitting", "running", "waving", "lying"]


def test_it_learns_cosines_and_keeps_what_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def teach(_: Any, __: Any, texts: list[str], say: Any) -> Tensor:
        """Stands in for the sentence encoder, which may not be installed: a sentence is the sum of its words."""
        asked.append(len(texts))
        words = [[np.random.default_rng(zlib.crc32(w.encode())).normal(size=384) for w in t.split()] for t in texts]
        return F.normalize(torch.tensor(np.array([np.sum(w, axis=0) for w in words]), dtype=torch.float32), dim=-1)

    monkeypatch.setattr(module, "_teacher", lambda: (None, None, WORDS))
    monkeypatch.setattr(module, "_teach", teach)
    said: list[str] = []
    settings: dict[str, Any] = {"captions_json": None, "sentences": 300, "batch": 32, "lr": 0.02, "say": said.append}
    tower = distil(TextConfig(width=32, layers=1), steps=60, work=tmp_path, **settings)
    untaught = distil(TextConfig(width=32, layers=1), steps=1, **settings)
    after, before = (float(line.split("cosine ")[1].split(" ")[0]) for line in said if "held-out" in line)
    assert after > before + 0.2
    assert tower.config.words < tower.config.vocab_size

    again = distil(TextConfig(width=32, layers=1), steps=60, work=tmp_path, **settings)
    assert len(asked) == 2
    assert all(torch.equal(a, b) for a, b in zip(tower.parameters(), again.parameters(), strict=True))
    assert untaught.config == tower.config
