"""Recordings whose clocks are known to be right or wrong by known amounts, found out from their files alone."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stand_ins import a_recording
from swings import body, forearm

from motionseek.cli import cli
from motionseek.encoders.model import Model
from motionseek.encoders.simulate.headcam import HeadCamera, HeadMotion, write_film
from motionseek.errors import UsageError
from motionseek.indexer.pipeline import index
from motionseek.search.archive import open as open_archive
from motionseek.search.audit import AuditReport, Finding
from motionseek.search.audit_page import page, write_page
from motionseek.types import Imu

pytest.importorskip("cv2", reason="pip install 'motionseek[camera]'")

HEADER = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"


def write(folder: Path, manifest: dict, imu: Imu) -> None:
    table = np.column_stack([imu.gyro_t_s, imu.acc_mps2, imu.gyro_rps])
    np.savetxt(folder / "imu.csv", table, delimiter=",", header=HEADER, comments="")
    (folder / "recording.json").write_text(json.dumps({"imu": {"path": "imu.csv"} | manifest.pop("imu"), **manifest}))


def body_recording(folder: Path, late_s: float) -> None:
    folder.mkdir(parents=True)
    t_s, seen_s = np.arange(0, 20, 0.01), np.arange(0, 20, 1 / 30)
    track = body(seen_s)
    np.save(folder / "pose.npy", np.concatenate([track.xy_px, track.confidence[..., None]], axis=2))
    pose = {"path": "pose.npy", "rate_hz": 30, "image_size": [640, 480], "person": "0"}
    write(folder, {"imu": {"placement": "left_wrist"}, "pose": pose}, forearm(t_s, clock_s=t_s + late_s))


def camera_recording(folder: Path, seed: int, offset_s: float, sensor_seed: int | None = None) -> None:
    folder.mkdir(parents=True)
    motion = HeadMotion.random(np.random.default_rng(seed), 8.0)
    write_film(folder / "film.mp4", motion, HeadCamera(size=(200, 112)), np.random.default_rng(0))
    worn = motion if sensor_seed is None else HeadMotion.random(np.random.default_rng(sensor_seed), 8.0)
    imu = worn.imu(rng=np.random.default_rng(1), offset_s=offset_s)
    write(folder, {"imu": {"placement": "head"}, "video": {"path": "film.mp4"}}, imu)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, model) -> Path:
    root = tmp_path_factory.mktemp("audited")
    body_recording(root / "in" / "body_right", 0.0)
    body_recording(root / "in" / "body_late", 1.25)
    camera_recording(root / "in" / "camera_right", 0, 0.0)
    camera_recording(root / "in" / "camera_off", 1, -0.5)
    camera_recording(root / "in" / "strangers", 2, 0.0, sensor_seed=3)
    (root / "in" / "broken").mkdir()
    (root / "in" / "broken" / "recording.json").write_text("{")
    camera_recording(root / "in" / "gone", 4, 0.0)
    index([str(root / "in"), a_recording(0, 6.0)], root / "archive", models=[model])
    (root / "in" / "gone" / "recording.json").unlink()
    return root / "archive"


@pytest.fixture(scope="module")
def report(archive):
    return open_archive(archive).audit()


def test_every_recording_gets_its_verdict(report):
    verdicts = {Path(f.uri).name: (f.verdict, f.check) for f in report.findings}
    assert verdicts.pop("body_right") == ("ok", "body")
    assert verdicts.pop("body_late") == ("off", "body")
    assert verdicts.pop("camera_right") == ("ok", "camera")
    assert verdicts.pop("camera_off") == ("off", "camera")
    assert verdicts.pop("strangers") == ("refused", "camera")
    assert verdicts.pop("gone") == ("failed", "")
    assert [verdict for verdict, _ in verdicts.values()] == ["failed", "failed"]
    assert report.counts == {"failed": 3, "off": 2, "refused": 1, "unchecked": 0, "ok": 2}


def test_worst_first_with_the_right_offsets(report):
    assert [f.verdict for f in report.findings] == ["failed"] * 3 + ["off"] * 2 + ["refused"] + ["ok"] * 2
    late, off = report.findings[3:5]
    assert late.alignment.offset_s == pytest.approx(-1.25, abs=0.01)
    assert off.alignment.offset_s == pytest.approx(-0.5, abs=0.005)
    assert all(f.reason for f in report.findings if f.verdict in ("failed", "refused"))


def test_tolerance_and_bad_arguments(archive, model):
    opened = open_archive(archive)
    assert opened.audit(tolerance_s=2.0).counts["off"] == 0
    for wrong in ({"max_offset_s": 0}, {"max_offset_s": np.nan}, {"tolerance_s": -1}, {"tolerance_s": np.nan}):
        with pytest.raises(UsageError, match="max_offset_s"):
            opened.audit(**wrong)
    words = {at: encoder for at, encoder in model.encoders.items() if at[0] == "clip"}
    with pytest.raises(UsageError, match='no "motion" space'):
        opened.audit(model=Model("words", dict(model.card), model.fingerprint, words))


def test_on_the_command_line(archive, tmp_path):
    done = CliRunner().invoke(cli, ["audit", "--archive", str(archive), "--csv", str(tmp_path / "a.csv"), "--json"])
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["counts"]["off"] == 2
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == [finding["verdict"] for finding in said["findings"]]
    assert float(rows[3]["offset_s"]) == said["findings"][3]["alignment"]["offset_s"]
    shown = CliRunner().invoke(cli, ["audit", "--archive", str(archive)])
    assert "2 off" in shown.stdout


def test_a_page_with_pictures_worst_first(report, tmp_path):
    write_page(report, tmp_path / "audit.html")
    drawn = (tmp_path / "audit.html").read_text(encoding="utf-8")
    articles = drawn.split("<article>")[1:]
    assert [re.search(r'class="verdict"[^>]*>(\w+)<', a)[1] for a in articles] == [f.verdict for f in report.findings]
    for article, finding in zip(articles, report.findings, strict=True):
        assert html.escape(finding.uri) in article
        assert html.escape(finding.reason) in article
        assert article.count("<svg") == (0 if finding.alignment is None else 3)
    late = articles[3]
    assert "-1.25" in late
    assert not re.search(r"nan|inf,|src=|href=", drawn, re.IGNORECASE)
    with pytest.raises(UsageError, match="cannot be written"):
        write_page(report, tmp_path / "no" / "such" / "folder.html")


def test_names_on_the_page_are_no_markup():
    finding = Finding("ab", "<uri>", "body", "ok", "", "<b>ann", "")
    assert "<b>ann" not in page(AuditReport((finding,), 0.1))
    assert "body &lt;b&gt;ann" in page(AuditReport((finding,), 0.1))


def test_the_page_shows_the_traces_apart_and_then_together(report):
    shown = report.findings[3].alignment.evidence
    for offset_s, near in ((-1.25, True), (0.0, False)):
        sensor = np.interp(shown.media_t_s, shown.sensor_t_s + offset_s, shown.sensor)
        both = np.isfinite(sensor) & np.isfinite(shown.media)
        r = np.corrcoef(sensor[both], shown.media[both])[0, 1]
        assert (r > 0.8) == near
    peak_s = shown.offset_s[shown.score.argmax()]
    assert peak_s == pytest.approx(-1.25, abs=0.03)
