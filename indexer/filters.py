"""What to look at: typed values → SQL that Lance evaluates. No text of a user ever becomes SQL unquoted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import get_args

import numpy as np

from motionseek.errors import QueryError
from motionseek.indexer.quality import FLAGS
from motionseek.types import ANY_PART, MODALITIES, PARTS, Status

STATUSES: tuple[Status, ...] = get_args(Status)
Names = str | tuple[str, ...] | None


def quote(value: str) -> str:
    """A string as an SQL literal. Raises QueryError for a NUL, which no name holds."""
    if "\0" in value:
        raise QueryError(f"{value!r} holds a NUL character, which nothing in an archive does")
    return "'" + value.replace("'", "''") + "'"


def one_of(column: str, values: Iterable[str]) -> str:
    """`column` is one of `values`; no value at all matches nothing."""
    quoted = sorted({quote(v) for v in values})
    return f"{column} IN ({', '.join(quoted)})" if quoted else "false"


@dataclass(frozen=True)
class Filter:
    """Which windows count. Fields join with AND, several values of one field with OR; None does not restrict.

    start_s, end_s: windows that overlap this stretch, on their stream's clock.  min_quality: 0 to 1.
    without: windows that have none of these of `quality.FLAGS`.
    status: of the recording, "ok" or "partial" (failed recordings have no windows).
    """

    modality: Names = None
    recording_id: Names = None
    person: Names = None
    part: Names = None
    label: Names = None
    min_quality: float | None = None
    status: Names = None
    start_s: float | None = None
    end_s: float | None = None
    without: Names = None

    def __post_init__(self) -> None:
        for name in ("modality", "recording_id", "person", "part", "label", "status", "without"):
            value = getattr(self, name)
            if value is None:
                continue
            values = (value,) if isinstance(value, str) else value
            if not isinstance(values, Collection) or not all(isinstance(v, str) for v in values):
                raise QueryError(f"{name} takes a name or several, not {value!r}")
            object.__setattr__(self, name, tuple(values))
        for name in ("min_quality", "start_s", "end_s"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
                raise QueryError(f"{name} takes a finite number, not {value!r}")
            object.__setattr__(self, name, float(value))
        vocabularies = {"modality": MODALITIES, "part": (*PARTS, ANY_PART), "status": STATUSES, "without": FLAGS}
        for name, known in vocabularies.items():
            for value in getattr(self, name) or ():
                if value not in known:
                    raise QueryError(f"{name} {value!r} is not known; use one of: {', '.join(known)}")

    def to_sql(self) -> str:
        """On the table `windows`; "" where nothing restricts. `status` is the recording's: see `recordings_sql`."""
        clauses = [one_of(c, v) for c in ("modality", "recording_id", "person") if (v := getattr(self, c)) is not None]
        clauses += [_any_of(c, v) for c, v in (("parts", self.part), ("labels", self.label)) if v is not None]
        if self.min_quality is not None:
            clauses.append(f"quality >= {self.min_quality!r}")
        if self.without:
            clauses.append(f"NOT {_any_of('flags', self.without)}")
        if self.start_s is not None:
            clauses.append(f"end_s > {self.start_s!r}")
        if self.end_s is not None:
            clauses.append(f"start_s < {self.end_s!r}")
        return " AND ".join(clauses)

    def recordings_sql(self) -> str:
        """On the table `recordings`: the fields that a recording itself has."""
        clauses = [one_of(c, v) for c in ("recording_id", "status") if (v := getattr(self, c)) is not None]
        if self.label is not None:
            clauses.append(_any_of("labels", self.label))
        return " AND ".join(clauses)


def _any_of(column: str, values: Names) -> str:
    quoted = sorted({quote(v) for v in values or ()})
    return f"array_has_any({column}, [{', '.join(quoted)}])" if quoted else "false"
