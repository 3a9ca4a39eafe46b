"""The report is one self-contained page that shows what it was given."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from motionseek.demo.report import Hit, Line, Question, SyncAnswer, write_report
from motionseek.errors import MediaError
from motionseek.types import Alignment, Moment, Span

T_S = np.arange(0, 10, 0.1)


def moment(caption: str) -> Moment:
    return Moment(1, "id", "uri", "video", 2.0, 7.0, 0.8125, {"global": 0.8}, "imu", offset_s=-1.25, caption=caption)


def hit(caption: str = "a person jumps") -> Hit:
    frames = np.full((3, 12, 16, 3), 200, np.uint8)
    lines = {"acceleration": Line(T_S, 9.8 + np.sin(T_S)), "turning": Line(T_S, np.abs(np.cos(T_S)))}
    score = Line(T_S[10:40], np.cos(T_S[10:40]))
    return Hit(moment(caption), "jump forward", Span(0.0, 10.0), frames, "left_wrist", lines, score, ("imu",))


def synced(offset_s: float | None) -> SyncAnswer:
    found = Alignment(offset_s, None, 0.4, (), "gyro x limb", {}, "" if offset_s else "several offsets fit")
    pulse = np.exp(-((T_S - 4) ** 2))
    return SyncAnswer("sword", "head", found, Line(T_S - 1.5, pulse), Line(T_S, pulse), 1.5)


class Balance(HTMLParser):
    """Fails where a tag is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(tmp_path: Path) -> str:
    questions = [
        Question("jumping", "text → video", [hit(), hit("<script>alert(1)</script>")], {"total": 12.6}),
        Question("nothing of the kind", "text → video", []),
    ]
    path = write_report(tmp_path / "report.html", {"recordings": 33}, questions, [synced(1.498), synced(None)])
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_beside_it_and_is_well_formed(page: str) -> None:
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert "url(" not in page
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert balance.seen.count("img") == 6
    assert balance.seen.count("article") == 2


def test_it_says_what_was_found_and_what_is_simulated(page: str) -> None:
    for text in ("jumping", "jump forward", "0.812", "0:02.0", "0:07.0", "13 ms", "Partly simulated", "left wrist"):
        assert text in page, text
    assert "Nothing was found" in page


def test_what_recordings_say_cannot_become_markup(page: str) -> None:
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_shaded_stretch_lies_where_the_moment_is(page: str) -> None:
    assert re.search(r'<rect class="hit" x="200\.0" y="0" width="500\.0"', page)


def test_alignment_brings_the_two_lines_together(page: str) -> None:
    before, after = re.findall(r"<figcaption><b>(?:Each|After).*?</svg>", page, re.DOTALL)[:2]

    def peaks(figure: str) -> list[float]:
        lines = [
            np.array([p.split(",") for p in points.split()], float) for points in re.findall('points="(.*?)"', figure)
        ]
        return [float(line[line[:, 1].argmin(), 0]) for line in lines]

    assert abs(np.diff(peaks(before))[0]) > 50
    assert abs(np.diff(peaks(after))[0]) < 5
    assert "+1.498 s" in page
    assert "off by 2 ms" in page
    assert "several offsets fit" in page


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", {}, [])
