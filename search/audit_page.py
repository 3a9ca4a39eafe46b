"""An audit as one HTML page: worst first, each check with what it was judged by, drawn. It needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from motionseek.errors import UsageError
from motionseek.search.audit import AuditReport, Finding
from motionseek.types import Alignment, Evidence, Float64

DRAWN = 200
"""So many findings, the worst, are drawn; the others are lines."""
WIDE, HIGH = 560, 96
COLOURS = {"failed": "#8f1d1d", "off": "#c2401a", "refused": "#8a6d00", "unchecked": "#666", "ok": "#1d7a3a"}
SENSOR, MEDIA, MARK = "#c2571a", "#1f5fa8", "#1d7a3a"
STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; color: #222 }}
h1 {{ font-size: 1.4rem }} h2 {{ font-size: 1rem; margin: 0; overflow-wrap: anywhere; font-weight: 600 }}
article {{ border: 1px solid #ddd; border-radius: 8px; padding: .8rem 1rem; margin: 1rem 0 }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: .4rem 1rem }}
figure {{ margin: .5rem 0 0 }} figcaption {{ font-size: .82rem; color: #555 }}
svg {{ width: 100%; height: auto; background: #fafafa; border: 1px solid #eee }}
.verdict {{ color: #fff; border-radius: 4px; padding: .1rem .5rem; margin-right: .5rem; font-size: .85rem }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ text-align: left; padding: .15rem .6rem .15rem 0 }}
p {{ margin: .3rem 0 }} .sensor {{ color: {SENSOR} }} .media {{ color: {MEDIA} }}
"""


def write_page(report: AuditReport, path: str | Path) -> None:
    """Raises UsageError where the file cannot be written."""
    try:
        Path(path).write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def page(report: AuditReport) -> str:
    counts = " ".join(f"{_pill(verdict)}{count}&ensp;" for verdict, count in report.counts.items() if count)
    usual = "".join(f"<p>{escape(c)}: usually {s:+.4f} s</p>" for c, s in report.usual_s.items())
    drawn, rest = report.findings[:DRAWN], report.findings[DRAWN:]
    lines = "".join(_line(finding) for finding in rest)
    table = f"<table><tr><th>verdict<th>recording<th>check<th>offset<th>reason</tr>{lines}</table>" if rest else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Audit of clocks</title><style>{STYLE}</style>'
        f"<h1>{len(report.findings)} checks of clocks, worst first</h1><p>{counts}</p>{usual}"
        f'<p><span class="sensor">■ sensor</span> <span class="media">■ body or picture</span>: how fast each moves '
        f"in the liveliest 20 s. An offset is what to add to the sensor's time to get the media's; beyond "
        f"{report.tolerance_s:g} s anywhere in a recording it is off.</p>"
        + "".join(_article(finding, report.tolerance_s) for finding in drawn)
        + table
        + "</html>\n"
    )


def _pill(verdict: str) -> str:
    return f'<span class="verdict" style="background:{COLOURS[verdict]}">{verdict}</span>'


def _line(finding: Finding) -> str:
    cells = (_pill(finding.verdict), escape(finding.uri), finding.check, _offset(finding), escape(finding.reason))
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells) + "</tr>"


def _offset(finding: Finding) -> str:
    a = finding.alignment
    return "" if a is None or a.offset_s is None else f"{a.offset_s:+.4f} s"


def _article(finding: Finding, tolerance_s: float) -> str:
    said = [finding.check and escape(f"{finding.check} {finding.person or finding.camera}".strip())]
    a = finding.alignment
    if a is not None:
        drift = "" if a.drift_ppm is None else f"drift {a.drift_ppm:+.1f} ± {a.drift_error_ppm:.1f} ppm"
        said += [_offset(finding) and f"<b>{_offset(finding)}</b>", drift, f"confidence {a.confidence:.2f}", a.method]
    head = f"<h2>{_pill(finding.verdict)}{escape(finding.uri)}</h2><p>{' · '.join(s for s in said if s)}</p>"
    reason = f"<p>{escape(finding.reason)}</p>" if finding.reason else ""
    return f"<article>{head}{reason}{_pictures(a, tolerance_s)}</article>"


def _pictures(a: Alignment | None, tolerance_s: float) -> str:
    if a is None or a.evidence is None:
        return ""
    shown = [("as recorded", _traces(a.evidence, 0.0))]
    guess_s = a.offset_s if a.offset_s is not None else (a.aliases_s[0] if a.aliases_s else None)
    if guess_s is not None:
        name = "after the alignment" if a.accepted else f"at the likeliest offset, {guess_s:+.3f} s (refused)"
        shown.append((name, _traces(a.evidence, guess_s)))
    first_s, last_s = a.evidence.offset_s[[0, -1]]
    shown.append(
        (f"how well each offset fits, {first_s:+.1f} to {last_s:+.1f} s", _scores(a.evidence, guess_s, tolerance_s))
    )
    figures = "".join(f"<figure>{svg}<figcaption>{escape(name)}</figcaption></figure>" for name, svg in shown)
    return f'<div class="pictures">{figures}</div>'


def _traces(e: Evidence, offset_s: float) -> str:
    """Both on the media's clock, each to its own height."""
    low_s, high_s = float(e.media_t_s[0]), float(e.media_t_s[-1])
    lines = []
    for t_s, value, colour in ((e.media_t_s, e.media, MEDIA), (e.sensor_t_s + offset_s, e.sensor, SENSOR)):
        inside = (t_s >= low_s) & (t_s <= high_s)
        lines.append(_polyline(t_s[inside], value[inside], (low_s, high_s), colour))
    return _svg(lines)


def _scores(e: Evidence, offset_s: float | None, tolerance_s: float) -> str:
    span = float(e.offset_s[0]), float(e.offset_s[-1])
    left, right = (_x(np.array([at]), span)[0] for at in (-tolerance_s, tolerance_s))
    drawn = [f'<rect x="{left:.1f}" y="0" width="{max(right - left, 1):.1f}" height="{HIGH}" fill="#e6f2e9"/>']
    if offset_s is not None:
        at = _x(np.array([offset_s]), span)[0]
        drawn.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{HIGH}" stroke="{MARK}" stroke-dasharray="4 3"/>')
    return _svg([*drawn, _polyline(e.offset_s, e.score, span, "#333")])


def _polyline(t_s: Float64, value: Float64, span: tuple[float, float], colour: str) -> str:
    """A line that breaks where values are NaN."""
    there = np.isfinite(value)
    if not there.any():
        return ""
    low, high = float(value[there].min()), float(value[there].max())
    y = HIGH - 4 - (value - low) / max(high - low, 1e-9) * (HIGH - 8)
    x = _x(t_s, span)
    breaks = np.flatnonzero(np.diff(there.astype(np.int8))) + 1
    runs = [run for run in np.split(np.arange(len(value)), breaks) if there[run[0]]]
    path = " ".join("M" + " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[r], y[r], strict=True)) for r in runs)
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>'


def _x(t_s: Float64, span: tuple[float, float]) -> Float64:
    x: Float64 = (t_s - span[0]) / max(span[1] - span[0], 1e-9) * WIDE
    return x


def _svg(drawn: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img">{"".join(drawn)}</svg>'
