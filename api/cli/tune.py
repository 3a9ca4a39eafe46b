"""motionseek tune"""

from __future__ import annotations

import sys

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table


@click.command("tune")
@archive_option
@click.option("--recall", type=float, default=0.99, show_default=True, help="Least share of the best to be found.")
@click.option("--p95-ms", type=float, default=20.0, show_default=True, help="Time in which 95 % of answers come.")
@click.option("--model", "-m", "models", multiple=True, help="Model to search with, where the archive's is not named.")
@as_json
@example("motionseek tune --recall 0.99 --p95-ms 20 --archive archive")
def verb(archive: str, recall: float, p95_ms: float, models: tuple[str, ...], as_json: bool) -> None:
    """Choose how an archive is searched: the kind of index, lists and candidates, measured with its own windows.

    What is chosen is kept in the archive, and used when the index is built again. Where both aims cannot be met,
    recall comes first, and the exit code is 1. The time is that of one query after the other, its vectors given.
    """
    from motionseek.search.tune import tune

    found = tune(
        archive, recall=recall, p95_ms=p95_ms, models=models, progress=lambda doing: click.echo(doing, err=True)
    )
    if as_json:
        emit({"archive": str(archive), "recall": recall, "p95_ms": p95_ms, "indexes": [t.to_json() for t in found]})
    else:
        rows = [
            (
                f"{t.space} {t.level}",
                t.kind,
                t.windows,
                f"{_span(t.nprobe)} of {t.nlist}" if t.nprobe else "all",
                t.candidates or "",
                f"{t.recall:.3f}",
                f"{t.winner_kept:.3f}" if t.candidates else "",
                f"{t.p95_ms:.1f}",
                "yes" if t.met else "no",
            )
            for t in found
        ]
        table(
            "", ("index", "kind", "windows", "lists", "candidates", "recall", "winner kept", "p95 ms", "aims met"), rows
        )
    sys.exit(0 if all(t.met for t in found) else 1)


def _span(numbers: tuple[int, ...]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"
