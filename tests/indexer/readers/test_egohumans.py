from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motionseek.errors import DamagedFile
from motionseek.indexer.readers import discover, read


def test_pickled_poses_are_refused_once_and_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "01_tagging" / "001_tagging" / "processed_data" / "poses2d" / "cam01" / "rgb"
    folder.mkdir(parents=True)
    frame = np.array([{"human_name": "aria01", "keypoints": np.zeros((17, 3))}], dtype=object)
    for i in range(1, 4):
        np.save(folder / f"{i:05d}.npy", frame, allow_pickle=True)
    (source,) = discover([tmp_path])
    assert source.format == "egohumans"
    with pytest.raises(DamagedFile, match="pickled objects"):
        read(source)
    with pytest.raises(DamagedFile, match="Object arrays"):
        read(folder / "00001.npy")
