"""motionseek ask"""

from __future__ import annotations

from typing import Any

import click

from motionseek.cli._common import as_json, emit, example
from motionseek.cli._timeline import timeline_of, timeline_options


@click.command("ask")
@click.argument("recording")
@click.argument("question")
@timeline_options
@as_json
@example('motionseek ask 3f2a9c41 "how long did I walk before running?"')
def verb(recording: str, question: str, as_json: bool, **asked: Any) -> None:
    """Answer a question on one recording from its log: when, how long, how often, first, last, before, after.

    RECORDING is a recording_id, or how it begins. The answer is counted from the log's segments, which are its
    evidence; a question that is not understood is refused.
    """
    _, timeline = timeline_of(recording, **asked)
    found = timeline.ask(question)
    if as_json:
        emit(found.to_json())
    else:
        click.echo(found.text)
