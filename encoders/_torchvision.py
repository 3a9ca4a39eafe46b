"""One repair, in one place: torchvision beside a torch that its compiled extension was not built for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> None:
    """Make `import torchvision`, and with it open_clip, work on a torch without CUDA. Call it before either.

    torchvision's wheel links CUDA. On a CPU torch its operators are not registered, and its import dies on the first
    of them that it describes. Declaring those makes all of torchvision but its compiled operators usable, and none of
    these is used here. Where the extension loads, or torchvision is already imported, nothing is done.
    """
    if "torchvision" in sys.modules or _extension_loads():
        return
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SCHEMA)


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    for library in (path for folder in folders or () for path in sorted(Path(folder).glob("_C.*"))):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        except OSError:
            return False
        return True
    return False
