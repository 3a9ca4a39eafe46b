"""Answers by windows of motion: for models that see one window at a time, as the published ones do."""

from __future__ import annotations

from motionseek.search.by_motion import APART_S, by_chance
from motionseek.search.candidates import timed
from motionseek.search.encode import window_probes
from motionseek.search.loaded import Loaded
from motionseek.search.moments import Found
from motionseek.search.plan import Plan
from motionseek.search.query import Query
from motionseek.search.results import Clock

WINDOWS = 300
"""Candidates, at least."""


def by_window(loaded: Loaded, asked: Query, plan: Plan, wanted: int, clock: Clock) -> Found:
    """What one plan finds: the windows nearest to any window of the query, of at least `wanted` recordings.

    The offset is that of the two windows, and as fine as the shifts at which the query is looked up (0.2 s).
    """
    opened = plan.opened
    with clock("encode"):
        probes = window_probes(asked, loaded.encoder(plan.space, "imu" if asked.modality == "imu" else "pose"))
    with clock("candidates"):
        best = timed(opened.index, plan.kept, probes, max(WINDOWS, 4 * wanted), APART_S, wanted)
    start_s, end_s = asked.meant

    def span(i: int) -> tuple[float, float]:
        return start_s + float(best.offset_s[i]), end_s + float(best.offset_s[i])

    levels = {"global": best.score}
    sure = by_chance(opened.columns, best, best.score)
    return Found(plan, asked, best.row, best.score, best.score, levels, best.offset_s, span, sure)
