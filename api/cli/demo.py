"""motionseek demo"""

from __future__ import annotations

from pathlib import Path

import click

from motionseek.cli._common import FILE, as_json, emit, example, index_progress, table


@click.command("demo")
@click.argument("folder", type=FILE, default=Path("demo"))
@click.option("--model", "-m", default="starter", show_default=True, help="Name or folder.")
@as_json
@example("motionseek demo")
def verb(folder: Path, model: str, as_json: bool) -> None:
    """Make sample recordings in FOLDER, index them, ask, and write FOLDER/report.html. Needs no network."""
    from motionseek.demo import run

    with index_progress() as progress:
        result = run(folder, model=model, say=lambda what: click.echo(what, err=True), progress=progress)
    if as_json:
        emit(result.to_json())
        return
    for question, found in result.answers:
        rows = [
            (m.rank, Path(m.uri).stem, f"{m.start_s:.1f}-{m.end_s:.1f}", f"{m.score:.2f}", m.through, m.caption)
            for m in found
        ]
        table(question, ("#", "recording", "span_s", "score", "through", "caption"), rows)
        click.echo()
    clocks = [
        (
            s.title,
            "refused" if s.alignment.offset_s is None else f"{s.alignment.offset_s:+.3f}",
            f"{s.true_offset_s:+.3f}",
            f"{s.alignment.confidence:.2f}",
        )
        for s in result.syncs
    ]
    table("sensor clocks against their films", ("recording", "offset_s", "true_offset_s", "confidence"), clocks)
    click.echo(f"\n{result.report}")
