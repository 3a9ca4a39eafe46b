"""motionseek verify"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table


@click.command("verify")
@archive_option
@as_json
@example("motionseek verify --archive archive")
def verb(archive: Path, as_json: bool) -> None:
    """Check an archive: keys, references, vectors, indexes. The exit code is 1 where something is wrong."""
    from motionseek.indexer.verify import verify

    findings = verify(archive)
    if as_json:
        emit({"archive": str(archive), "findings": [asdict(finding) for finding in findings]})
    elif not findings:
        click.echo(f"{archive}: nothing is wrong")
    else:
        table("", ("kind", "table", "rows", "detail"), [(f.kind, f.table, f.count, f.detail) for f in findings])
    sys.exit(1 if findings else 0)
