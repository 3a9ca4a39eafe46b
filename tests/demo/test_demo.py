"""The demo as a user runs it: the right clips first, clocks found again, a page that a browser shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from motionseek.demo import DemoResult, run
from motionseek.demo.recordings import GOPRO_CLIP
from motionseek.demo.run import SENSOR
from motionseek.indexer.readers import read
from motionseek.search.archive import open as open_archive
from motionseek.types import Moment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    """A run of the demo; over the folder $MOTIONSEEK_DEMO, where one was made already."""
    made = os.environ.get("MOTIONSEEK_DEMO")
    return run(made or tmp_path_factory.mktemp("demo"))


def _labels(moment: Moment) -> set[str]:
    return {*read(Path(moment.uri)).labels, Path(moment.uri).name}


@pytest.mark.parametrize(
    ("word", "label", "first"), [("jumping", "jump", 2), ("walking", "walk", 6), ("running", "run", 2)]
)
def test_the_right_clips_come_first(result: DemoResult, word: str, label: str, first: int) -> None:
    answers = {asked.strip("“”"): found for asked, found in result.answers}
    for moment in list(answers[word])[:first]:
        assert _labels(moment) & {label, GOPRO_CLIP}, (word, moment)


@pytest.mark.parametrize(("word", "label"), [("jumping", "jump"), ("walking", "walk"), ("running", "run")])
def test_the_sensors_alone_answer_too(result: DemoResult, word: str, label: str) -> None:
    best = open_archive(result.archive).search(word, target="imu", k=1)[0]
    assert _labels(best) & {label, GOPRO_CLIP}


def test_the_real_walk_is_found_through_its_imu(result: DemoResult) -> None:
    found = open_archive(result.archive).search("walking", target="video", k=10)
    walk = [m for m in found if m.uri.endswith(GOPRO_CLIP)]
    assert walk
    assert walk[0].through == "imu"


def test_the_watch_finds_its_film_at_its_offset(result: DemoResult) -> None:
    best = result.answers[-1][1][0]
    name, _, span = SENSOR
    assert Path(best.uri).name == name
    truth = read(Path(best.uri)).extra["truth"]["imu_offset_s"]
    assert best.offset_s == pytest.approx(truth, abs=0.05)
    assert best.start_s == pytest.approx(span.start_s + truth, abs=0.05)


def test_shifted_clocks_are_found_again_or_refused(result: DemoResult) -> None:
    accepted = [s for s in result.syncs if s.alignment.accepted]
    assert len(accepted) >= 5
    for s in accepted:
        assert s.alignment.offset_s == pytest.approx(s.true_offset_s, abs=0.05), s.title


def test_a_second_run_adds_nothing(result: DemoResult) -> None:
    before = open_archive(result.archive).store.windows(columns=["window_id"])
    again = run(result.report.parent)
    assert again.indexed.indexed == 0
    assert not again.indexed.failed
    assert open_archive(again.archive).store.windows(columns=["window_id"]).equals(before)


def test_a_browser_shows_the_report(result: DemoResult, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    quiet += ["--no-first-run", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"]
    page = result.report.resolve().as_uri()
    dom = subprocess.run([browser, *quiet, "--dump-dom", page], capture_output=True, timeout=120, check=True).stdout
    text = dom.decode()
    assert "jumping" in text
    assert text.count("<img") >= 20
    assert "{{" not in text
    picture = tmp_path / "report.png"
    shot = [f"--screenshot={picture}", "--window-size=1200,2400"]
    subprocess.run([browser, *quiet, *shot, page], capture_output=True, timeout=120, check=True)
    assert picture.stat().st_size > 50_000
