"""Writes the tables of docs/results.md from what the benchmarks left:  python docs/make_results.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; everything else of the page is written by hand. A
number is the mean over seeds, with half of the 95 % interval of that mean (Student's t) where seeds differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("results.md")
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
BOTH_WAYS = ("imu_to_skeleton", "skeleton_to_imu")
Row = Sequence[str]

_SIX = "mobifall", "zero_shot_of_6", "sentences, set back"


def held(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | Sequence[float], digits: int = 3) -> str:
    """`.523 ± .022` from [mean, half interval], `.523` where there is no interval."""
    mean, half = (value, 0.0) if isinstance(value, int | float) else value
    said = _bare(mean, digits)
    return f"{said} ± {_bare(half, digits)}" if half else said


def _bare(value: float, digits: int) -> str:
    said = f"{abs(value):.{digits}f}"
    sign = "−" if value < 0 and float(said) else ""
    return sign + (said.removeprefix("0") if digits else said)


def skeletons() -> str:
    rows = []
    for name, found in held("utd_mhad")["main"]["summary"].items():
        forth, back = (found["cut"][way] for way in BOTH_WAYS)
        cells = [*(number(forth[k]) for k in ("R@1", "R@5", "MRR", "same action", "R@1 within action"))]
        rows.append([name, *cells, number(back["R@1"]), number(back["R@5"]), number(back["MRR"])])
    head = ["sensor → skeleton", "R@1", "R@5", "MRR", "same action", "R@1 within action"]
    return table([*head, "skeleton → sensor R@1", "R@5", "MRR"], rows)


def whole_trials() -> str:
    rows = []
    for name, found in held("utd_mhad")["main"]["summary"].items():
        rows.append([name, *(number(found["whole"][way]["R@1"]) for way in BOTH_WAYS)])
    return table(["whole trials", "sensor → skeleton R@1", "skeleton → sensor R@1"], rows)


def ablations() -> str:
    part = held("utd_mhad")["ablations"]
    rows = []
    for name, found in part["summary"].items():
        forth, back = (found["cut"][way] for way in BOTH_WAYS)
        cells = [number(forth[k]) for k in ("R@1", "R@5", "MRR", "same action")]
        seeds, cpu_s = str(len(part["runs"][name])), number(found["cpu_s"][0], 0)
        rows.append([name, *cells, number(back["R@1"]), seeds, cpu_s])
    head = ["what is trained", "R@1", "R@5", "MRR", "same action", "skeleton → sensor R@1", "seeds", "CPU s"]
    return table(head, rows)


def words() -> str:
    keys = ("mAP", "R@1 of the words", "accuracy", "macro-F1")
    found = held("utd_mhad")["text"]["summary"]
    return table(["", *keys], [[name, *(number(row[k]) for k in keys)] for name, row in found.items()])


def robust() -> str:
    report = held("robustness")
    rows = []
    for name, ways in report["R@1"].items():
        lost = report["lost"][name]
        for i, (way, found) in enumerate(ways.items()):
            less = number(lost[way]) if way in lost else ""
            rows.append([name if i == 0 else "", way, number(found["engine"]), less, number(found["one phase"])])
    return table(["query", "how", "R@1", "lost by it", "R@1 with one phase only"], rows)


def thigh() -> str:
    found = held("starter")["utd_mhad"]
    rows = [[way, number(row["accuracy"]), number(row["macro_f1"])] for way, row in found["thigh_zero_shot"].items()]
    rows.append(["chance", number(found["chance_top1"]), ""])
    return table(["classes said by", "accuracy", "macro-F1"], rows)


def phone() -> str:
    zero, others = held("starter")["mobifall"], held("mobifall")["summary"]["other people in training"]
    rows = []
    for word, one in ((w, r) for w, r in zero.items() if isinstance(r, Mapping) and "AP" in r):
        more = others[word]
        cells = [number(one["share"]), number(one["AP"]), number(one["P@10"], 1), number(more["AP"])]
        rows.append([f'"{word}"', *cells, number(more["P@10"], 2)])
    head = ["", "share of windows (chance)", "AP, zero-shot", "P@10", "AP, other people in training", "P@10"]
    return table(head, rows)


def phone_classes() -> str:
    ways = held("starter")["mobifall"]["zero_shot_of_6"]
    rows = [[f"zero-shot: {w}", number(r["accuracy"]), number(r["macro_f1"])] for w, r in ways.items()]
    trained = held("mobifall")["summary"]["other people in training"]["macro_f1_of_6"]
    return table(["six activities", "accuracy", "macro-F1"], [*rows, ["other people in training", "", number(trained)]])


def again() -> str:
    first, second = held("starter"), held("starter_again")

    def row(said: str, *path: str) -> Row:
        values: list[Any] = [first, second]
        for name in path:
            values = [value[name] for value in values]
        return [said, *(number(value) for value in values)]

    words = [name for name, one in first["mobifall"].items() if isinstance(one, Mapping) and "AP" in one]
    rows = [
        row("simulated, style held out: a left wrist's words, mAP", "held_out", "words_of_wrist_mAP"),
        row("simulated, style held out: five sensors' tokens → pose, R@1 of 256", "held_out", "tokens_of_five_R@1"),
    ]
    rows += [row(f'phone: "{word}", AP', "mobifall", word, "AP") for word in words]
    rows.append(row("phone: six activities, sentences, set back, macro-F1", *_SIX, "macro_f1"))
    rows += [
        row(f"thigh: six actions, {way}, accuracy", "utd_mhad", "thigh_zero_shot", way, "accuracy")
        for way in first["utd_mhad"]["thigh_zero_shot"]
    ]
    rows.append(row("UTD-MHAD: sensor → skeleton, whole trials, R@1", "utd_mhad", "imu_to_skeleton", "R@1"))
    return table(["", "the starter", "trained again"], rows)


def training() -> str:
    report = held("training")
    rate, memory = report["speed"]["windows_per_s"], report["peak_memory_of_one_step"]
    rows = [
        ["windows/s, forward, backward and optimiser on one batch in memory (the bound)", number(rate["bound"], 0)],
        ["windows/s of training, windows varied", number(rate["loop"], 0)],
        ["… share of the bound", number(report["speed"]["ratio"], 2)],
        ["windows/s of training, nothing varied", number(rate["loop without variation"], 0)],
        ["… share of the bound", number(report["speed"]["ratio_without_variation"], 2)],
        [f"peak memory of a step of MoBind on {memory['items']:,} items, MiB", number(memory["whole_mib"], 0)],
    ]
    for name, mib in memory.items():
        if name.startswith("in_pieces_of_"):
            pieces = name.removeprefix("in_pieces_of_").removesuffix("_mib")
            rows.append([f"… in pieces of {pieces} windows, MiB", number(mib, 0)])
    return table(["", ""], rows)


def retrieval() -> str:
    rows = []
    for name, found in held("retrieval")["results"].items():
        plain, looked = found["without tokens"], found["with tokens"]
        cells = [number(each[side]["R@1"]) for each in (plain, looked) for side in ("engine", "numpy")]
        same = [number(looked["same_first"]), number(looked["same_ten"])]
        rows.append([name, number(found["chance_R@1"]), *cells, *same])
    head = ["", "chance", "R@1 by the index", "… numpy", "R@1 with tokens", "… numpy", "same first", "same ten"]
    return table(head, rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "skeletons": skeletons,
    "whole trials": whole_trials,
    "ablations": ablations,
    "words": words,
    "robustness": robust,
    "thigh": thigh,
    "phone": phone,
    "phone classes": phone_classes,
    "retrieval": retrieval,
    "again": again,
    "training": training,
}
"""Name in the page → what makes it."""


def page(text: str) -> str:
    """The page with all its tables made anew. Raises KeyError for a table that nobody makes."""

    def made(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: ([^>]+) -->\n.*?<!-- end -->", made, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
