"""A small archive, filled by a model with random weights."""

from __future__ import annotations

import pytest
from stand_ins import a_recording, random_model

from motionseek.encoders.model import Model
from motionseek.indexer.pipeline import index


@pytest.fixture(scope="session")
def model() -> Model:
    return random_model()


@pytest.fixture(scope="session")
def takes():
    return [
        *(a_recording(seed, 12.0 + seed) for seed in range(8)),
        a_recording(8, 3.0),
        a_recording(9, video=False, text=True),
        a_recording(10, pose=False, video_s=(4.0, 9.0)),
        a_recording(11, imu=False),
    ]


@pytest.fixture(scope="session")
def archive_dir(tmp_path_factory, model, takes):
    folder = tmp_path_factory.mktemp("archives") / "archive"
    report = index(takes, folder, models=[model])
    assert not report.failed
    return folder
