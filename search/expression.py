"""Queries written in one line: `"jumping" + clip.mp4@12-15 - 0.5 * "cycling"`.

    expression  [-] term  ( + | - ) term …
    term        [WEIGHT *] "a sentence"
                [WEIGHT *] [imu: | pose: | video: | PLACEMENT:] FILE[@a-b]
                [WEIGHT *] RECORDING@a-b                    a moment of the archive, by its id

A FILE with spaces in its name stands in single quotes. `+` and `-` stand between spaces, so that they may be part of a
file's name. A placement says where the sensor of a file is worn: `left_wrist:watch.csv@10-15`. The sensors of one
wearer are one term: `left_wrist:a.csv & left_knee:b.csv`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal

from motionseek.errors import QueryError
from motionseek.search.query import Query, split_span
from motionseek.types import PART_OF_PLACEMENT

_TOKEN = re.compile(
    r"\s*(?:(?P<text>\"[^\"]*\")"
    r"|(?P<sign>[+\-&*])(?=\s|\"|'|$|\d+(?:\.\d+)?\s*\*)"
    r"|(?P<number>\d+(?:\.\d+)?)\s*(?=\*)"
    r"|(?P<file>(?:[\w]+:)?'[^']*'(?:@[\d.\-]+)?|[^\s\"'*]+))"
)
_MOMENT = re.compile(r"[0-9a-f]{4,64}")
_SENSES = ("imu", "pose", "video")


def is_expression(written: str) -> bool:
    """A plain sentence has no double quotes in it."""
    return '"' in written


def parse(written: str, *, units: Mapping[str, str] | None = None) -> Query:
    """The query that a line says. units: of its plain sensor files, as for `Imu.load`.

    Raises QueryError, saying where it stops making sense.
    """
    tokens = _tokens(written)
    terms: list[tuple[float, Query]] = []
    at = 0
    while at < len(tokens) or not terms:
        sign = 1.0
        if at < len(tokens) and tokens[at] in (("sign", "+"), ("sign", "-")):
            sign = -1.0 if tokens[at][1] == "-" else 1.0
            at += 1
        elif terms:
            raise _wrong(written, f"+ or - is missing before {tokens[at][1]}")
        weight = 1.0
        if at + 1 < len(tokens) and tokens[at][0] == "number":
            weight = float(tokens[at][1])
            at += 2
        if at >= len(tokens) or tokens[at][0] not in ("text", "file"):
            raise _wrong(written, "a term is missing" + (f" before {tokens[at][1]}" if at < len(tokens) else ""))
        query = _term(*tokens[at], units)
        at += 1
        while at + 1 < len(tokens) and tokens[at] == ("sign", "&"):
            query = query.worn_with(_term(*tokens[at + 1], units))
            at += 2
        terms.append((sign * weight, query))
    return Query.sum_of(terms)


def _tokens(written: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    text = written.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _wrong(written, f"{text[at:].strip()[:20]} is no term")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _term(kind: str, written: str, units: Mapping[str, str] | None) -> Query:
    if kind == "text":
        return Query.of_text(written[1:-1])
    if kind != "file":
        raise QueryError(f"{written} is no term of a query")
    before, colon, rest = written.partition(":")
    modality: Literal["imu", "pose", "video"] | None = None
    placement = None
    if colon and before in (*_SENSES, *PART_OF_PLACEMENT):
        written = rest
        placement = None if before in _SENSES else before
        modality = before if before in _SENSES else "imu"  # type: ignore[assignment]
    written = re.sub(r"^'(.*)'", r"\1", written)
    if modality is None and not os.path.exists(written):
        file, span = split_span(written)
        if span is not None and _MOMENT.fullmatch(str(file)) and not file.exists():
            return Query.of_moment(written)
    return Query.from_file(written, modality=modality, placement=placement, units=units)


def _wrong(written: str, why: str) -> QueryError:
    return QueryError(
        f'{written}: {why}. A query is written like "jumping" + clip.mp4@12-15 - 0.5 * "cycling", with spaces around '
        "+ and -; a plain sentence has no double quotes in it"
    )
