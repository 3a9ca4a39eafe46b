"""Options of the verbs that follow one recording's activities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motionseek.cli._common import Verb, archive_option
from motionseek.types import Modality

if TYPE_CHECKING:
    from motionseek.search.archive import Archive
    from motionseek.search.timeline import Timeline

_OPTIONS = (
    click.option(
        "--class",
        "classes",
        multiple=True,
        metavar="NAME[=SENTENCE]",
        help="An activity to look for, and a sentence it is compared by; repeat, also for more sentences.  "
        "[default: everyday activities]",
    ),
    click.option(
        "--through",
        type=click.Choice(("imu", "pose", "video")),
        help="Which windows are compared.  [default: the first of pose, imu, video that is indexed]",
    ),
    click.option("--person", help="Whose, where there are several."),
    click.option(
        "--level", type=float, help='Cosine that "nothing of these" has: where no sentence reaches it, nothing fits.'
    ),
    click.option("--switch", type=click.FloatRange(min=0), help="Price of a change: higher, and segments are longer."),
    archive_option,
)


def timeline_options(verb: Verb) -> Verb:
    """The options that `timeline_of` takes."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


def timeline_of(
    recording: str,
    *,
    classes: tuple[str, ...],
    through: Modality | None,
    person: str | None,
    level: float | None,
    switch: float | None,
    archive: str,
) -> tuple[Archive, Timeline]:
    """The archive, and the timeline that the options ask for."""
    from motionseek.search.archive import open as open_archive
    from motionseek.search.timeline import CLASSES, LEVEL, SWITCH

    named: dict[str, tuple[str, ...]] = {}
    for name, equals, sentence in (written.partition("=") for written in classes):
        # Written again with another sentence, a name has several.
        told = (sentence.strip(),) if equals else CLASSES.get(name.strip(), (name.strip(),))
        named[name.strip()] = named.get(name.strip(), ()) + told
    opened = open_archive(archive)
    return opened, opened.timeline(
        recording,
        named or None,
        through=through,
        person=person,
        level=LEVEL if level is None else level,
        switch=SWITCH if switch is None else switch,
    )
