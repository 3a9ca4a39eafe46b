"""motionseek verify"""

from __future__ import annotations

import sys

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table


@click.command("verify")
@archive_option
@click.option("--repair", "mend", is_flag=True, help="Mend what is wrong; what needs its source is marked for `index`.")
@as_json
@example("motionseek verify --archive archive", "motionseek verify --repair --archive archive")
def verb(archive: str, mend: bool, as_json: bool) -> None:
    """Check an archive: keys, references, vectors, indexes. The exit code is 1 where something is wrong.

    With --repair, rows that are too many are taken out and indexes are built again. Recordings of which rows are lost
    or not to be trusted are marked: `index` their sources again, and exactly those are encoded again. The exit code is
    then 1 where such are left.
    """
    from motionseek.indexer.repair import repair
    from motionseek.indexer.verify import verify

    findings = repair(archive) if mend else verify(archive)
    if as_json:
        emit({"archive": str(archive), "findings": [finding.to_json() for finding in findings]})
    elif not findings:
        click.echo(f"{archive}: nothing is wrong")
    else:
        rows = [(f.kind, f.table, f.count, f.detail, f.mended) for f in findings]
        table(
            "",
            ("kind", "table", "rows", "detail", "mended")[: 5 if mend else 4],
            [row[: 5 if mend else 4] for row in rows],
        )
    sys.exit(1 if any(finding.redo or not mend for finding in findings) else 0)
