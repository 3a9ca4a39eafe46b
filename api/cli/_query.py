"""How a query is written on the command line, for every verb that takes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from motionseek.cli._common import Verb
from motionseek.errors import QueryError
from motionseek.types import MODALITIES, Modality

if TYPE_CHECKING:
    from motionseek.search.archive import Archive
    from motionseek.search.results import Rerank, SearchResult

_OPTIONS = (
    click.argument("text", required=False),
    click.option("--imu", metavar="F[@a-b]", help="A sensor file or recording, or seconds a to b of it."),
    click.option("--pose", metavar="F[@a-b]", help="A recording with body pose."),
    click.option("--video", metavar="F[@a-b]", help="A video."),
    click.option(
        "--like", "likes", multiple=True, metavar="RECORDING@a-b", help="A moment of the archive, by its recording_id."
    ),
    click.option("--not", "nots", multiple=True, metavar="TEXT", help="A sentence that moments must not fit."),
    click.option("--placement", help="Where the sensor of --imu is worn, for instance right_wrist."),
    click.option(
        "--target", "-t", type=click.Choice(MODALITIES), default="video", show_default=True, help="What to find."
    ),
    click.option("--k", "-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many moments."),
    click.option(
        "--rerank",
        type=click.Choice(("none", "local", "token")),
        help="Score the best candidates by parts or by tokens.  [default: token for motion, none for text]",
    ),
    click.option("--all", "every", is_flag=True, help="Several moments of a recording, not only its best."),
    click.option(
        "--label", "labels", multiple=True, help="Only recordings with this label; repeat for any of several."
    ),
    click.option("--recording", "recordings", multiple=True, help="Only this recording_id."),
    click.option("--person", "people", multiple=True, help="Only this person."),
    click.option("--min-quality", type=click.FloatRange(0, 1), help="Least share of a window that is really there."),
)


def query_options(verb: Verb) -> Verb:
    """The options of `search`; `answer` takes them."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


def answer(
    archive: Path,
    *,
    text: str | None,
    imu: str | None,
    pose: str | None,
    video: str | None,
    likes: tuple[str, ...],
    nots: tuple[str, ...],
    placement: str | None,
    target: Modality,
    k: int,
    rerank: Rerank | None,
    every: bool,
    labels: tuple[str, ...],
    recordings: tuple[str, ...],
    people: tuple[str, ...],
    min_quality: float | None,
) -> tuple[Archive, SearchResult]:
    """The archive, and what it answers. Several of the query's options make a sum. Raises QueryError for none."""
    senses: tuple[tuple[Literal["imu", "pose", "video"], str | None], ...]
    senses = (("imu", imu), ("pose", pose), ("video", video))
    if text is None and not likes and all(path is None for _, path in senses):
        raise QueryError("give a query: a sentence, --imu, --pose, --video or --like; --not only takes away from one")
    if placement is not None and imu is None:
        raise QueryError("--placement says where the sensor of --imu is worn: give --imu too")

    from motionseek.indexer.filters import Filter
    from motionseek.search.archive import open as open_archive
    from motionseek.search.query import Query

    opened = open_archive(archive)
    terms = [] if text is None else [(1.0, Query.of_text(text))]
    terms += [
        (1.0, Query.from_file(path, modality=modality, placement=placement if modality == "imu" else None))
        for modality, path in senses
        if path is not None
    ]
    terms += [(1.0, Query.of_moment(written)) for written in likes]
    terms += [(-1.0, Query.of_text(sentence)) for sentence in nots]
    where = Filter(
        label=labels or None, recording_id=recordings or None, person=people or None, min_quality=min_quality
    )
    query = Query.sum_of(terms)
    return opened, opened.search(query, target=target, k=k, rerank=rerank, where=where, group=not every)
