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
@click.option("--llm", metavar="URL", help="Endpoint, such as http://127.0.0.1:11434/v1, for questions of other kinds.")
@click.option("--model", help="The language model of --llm.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that --llm may take to answer.",
)
@click.option("--plain-http", is_flag=True, help="Let the log go unencrypted to another machine.")
@as_json
@example(
    'motionseek ask 3f2a9c41 "how long did I walk before running?"',
    'motionseek ask 3f2a9c41 "was it a lazy day?" --llm http://127.0.0.1:11434/v1 --model llama3.2',
)
def verb(
    recording: str,
    question: str,
    llm: str | None,
    model: str | None,
    timeout_s: float,
    plain_http: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Answer a question on one recording from its log: when, how long, how often, first, last, before, after.

    RECORDING is a recording_id, how one begins, or where the recording lies. The answer is counted from the log's
    segments, which are its evidence; a question that is not understood is refused, or with --llm put to a language
    model behind any OpenAI-compatible endpoint, which is given the log and nothing else. Its key is read from
    $MOTIONSEEK_LLM_KEY.
    """
    if (llm is None) != (model is None):
        raise click.UsageError("--llm and --model go together")
    from motionseek.search.llm import Endpoint

    endpoint = None if llm is None or model is None else Endpoint(llm, model, timeout_s, plain_http)
    _, timeline = timeline_of(recording, **asked)
    found = timeline.ask(question, llm=endpoint)
    if as_json:
        emit(found.to_json())
    else:
        click.echo(found.text)
