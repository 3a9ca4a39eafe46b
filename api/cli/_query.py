"""How a query is written on the command line, for every verb that takes one."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import click

from motionseek.cli._common import Verb, units_option
from motionseek.errors import QueryError
from motionseek.indexer.quality import FLAGS
from motionseek.types import MODALITIES, Modality

if TYPE_CHECKING:
    from motionseek.search.archive import Archive
    from motionseek.search.query import Query
    from motionseek.search.results import Rerank, SearchResult

_OPTIONS = (
    click.argument("text", required=False),
    click.option(
        "--imu",
        "imus",
        multiple=True,
        metavar="F[@a-b]",
        help="A sensor file or recording, or seconds a to b of it; repeat for several sensors of one wearer.",
    ),
    click.option("--pose", metavar="F[@a-b]", help="A recording with body pose."),
    click.option("--video", metavar="F[@a-b]", help="A video."),
    click.option(
        "--like", "likes", multiple=True, metavar="RECORDING@a-b", help="A moment of the archive; see --recording."
    ),
    click.option("--not", "nots", multiple=True, metavar="TEXT", help="A sentence that moments must not fit."),
    click.option(
        "--placement",
        "-p",
        "placements",
        multiple=True,
        help="Where the sensor of each --imu is worn, in their order, for instance right_wrist.",
    ),
    units_option,
    click.option(
        "--target", "-t", type=click.Choice(MODALITIES), default="video", show_default=True, help="What to find."
    ),
    click.option(
        "--through", type=click.Choice(MODALITIES), help="Look only at windows of this.  [default: whatever fits best]"
    ),
    click.option("--k", "-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many moments."),
    click.option("--page", type=click.IntRange(min=1), default=1, show_default=True, help="The next k, and so on."),
    click.option(
        "--rerank",
        type=click.Choice(("none", "local", "token")),
        help="Score the best candidates by parts or by tokens.  [default: token for motion, none for text]",
    ),
    click.option("--all", "every", is_flag=True, help="Several moments of a recording, not only its best."),
    click.option(
        "--min-confidence",
        type=click.FloatRange(0, 1),
        default=0.0,
        help="Leave away what chance explains as well: with 0.95, one search in twenty for what is not there finds "
        "something.",
    ),
    click.option(
        "--label", "labels", multiple=True, help="Only recordings with this label; repeat for any of several."
    ),
    click.option("--recording", "recordings", multiple=True, help="Only this one: its id, or where it lies."),
    click.option("--person", "people", multiple=True, help="Only this person."),
    click.option("--part", "body_parts", multiple=True, help="Only windows that have this part of the body."),
    click.option("--from", "start_s", type=float, help="Only windows that end after this second of their recording."),
    click.option("--to", "end_s", type=float, help="Only windows that start before this second."),
    click.option("--min-quality", type=click.FloatRange(0, 1), help="Least share of a window that is really there."),
    click.option(
        "--without",
        "flaws",
        multiple=True,
        type=click.Choice(FLAGS),
        help="Only windows whose signal does not have this flaw; repeat for several.",
    ),
    click.option("--status", type=click.Choice(("ok", "partial")), help="Only recordings that were read so."),
)


def query_options(verb: Verb) -> Verb:
    """The options of `search`; `answer` takes them."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


def answer(
    archive: str,
    *,
    text: str | None,
    imus: tuple[str, ...],
    pose: str | None,
    video: str | None,
    likes: tuple[str, ...],
    nots: tuple[str, ...],
    placements: tuple[str, ...],
    units: dict[str, str],
    target: Modality,
    through: Modality | None,
    k: int,
    page: int,
    rerank: Rerank | None,
    every: bool,
    min_confidence: float,
    labels: tuple[str, ...],
    recordings: tuple[str, ...],
    people: tuple[str, ...],
    body_parts: tuple[str, ...],
    start_s: float | None,
    end_s: float | None,
    min_quality: float | None,
    flaws: tuple[str, ...],
    status: str | None,
) -> tuple[Archive, Query, SearchResult]:
    """The archive, what it was asked, and what it answers. Several of the query's options make a sum."""
    from motionseek.indexer.filters import Filter
    from motionseek.search.archive import open as open_archive

    query = _asked(text, imus, placements, units, pose, video, likes, nots)
    opened = open_archive(archive)
    where = Filter(
        label=labels or None,
        recording_id=tuple(map(opened.recording_id, recordings)) or None,
        person=people or None,
        part=body_parts or None,
        start_s=start_s,
        end_s=end_s,
        min_quality=min_quality,
        without=flaws or None,
        status=status,
    )
    found = opened.search(
        query,
        target=target,
        k=k,
        offset=k * (page - 1),
        rerank=rerank,
        where=where,
        group=not every,
        through=through,
        min_confidence=min_confidence,
    )
    return opened, query, found


def _asked(
    text: str | None,
    imus: tuple[str, ...],
    placements: tuple[str, ...],
    units: dict[str, str],
    pose: str | None,
    video: str | None,
    likes: tuple[str, ...],
    nots: tuple[str, ...],
) -> Query:
    """The query that the options write, a sum where they are several. Raises QueryError for none."""
    if text is None and not imus and not likes and pose is None and video is None:
        raise QueryError("give a query: a sentence, --imu, --pose, --video or --like; --not only takes away from one")
    if placements and len(placements) != len(imus):
        raise QueryError(
            f"--placement says where the sensor of each --imu is worn: {len(placements)} placements for {len(imus)}"
        )

    from motionseek.search.expression import is_expression
    from motionseek.search.query import Query

    terms: list[tuple[float, Query]] = []
    if text is not None:
        terms.append((1.0, Query.parse(text, units=units) if is_expression(text) else Query.of_text(text)))
    worn: tuple[str | None, ...] = placements or (None,) * len(imus)
    sensors = [
        Query.from_file(path, modality="imu", placement=where, units=units)
        for path, where in zip(imus, worn, strict=True)
    ]
    if sensors:
        terms.append((1.0, reduce(Query.worn_with, sensors)))
    if pose is not None:
        terms.append((1.0, Query.from_file(pose, modality="pose", units=units)))
    if video is not None:
        terms.append((1.0, Query.from_file(video, modality="video", units=units)))
    terms += [(1.0, Query.of_moment(written)) for written in likes]
    terms += [(-1.0, Query.of_text(sentence)) for sentence in nots]
    return Query.sum_of(terms)
