"""motionseek remove"""

from __future__ import annotations

from dataclasses import asdict

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table


@click.command("remove")
@click.argument("recordings", nargs=-1, metavar="[RECORDING]...")
@archive_option
@click.option("--source", metavar="PATTERN", help="Also those that lie at these paths, as in a shell: '*/walk/*'.")
@click.option("--dry-run", is_flag=True, help="Say which would be removed; remove nothing.")
@as_json
@example(
    "motionseek remove 0f82b816da14 --archive archive",
    "motionseek remove --source '/data/2024/*' --archive archive --dry-run",
)
def verb(recordings: tuple[str, ...], archive: str, source: str | None, dry_run: bool, as_json: bool) -> None:
    """Take recordings out of an archive, by their ids or by where they lie. The files themselves stay."""
    from motionseek.indexer.remove import remove

    removed = remove(archive, recordings, source=source, dry_run=dry_run)
    if as_json:
        emit({"archive": str(archive), "dry_run": dry_run, "removed": [asdict(one) for one in removed]})
        return
    done = ("would be removed", "would be forgotten there") if dry_run else ("removed", "forgotten there")
    table(
        "", ("", "recording", "source"), [(done[not r.whole], r.recording_id[:12], ", ".join(r.uris)) for r in removed]
    )
