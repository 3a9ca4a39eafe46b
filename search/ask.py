"""Questions on a log of activities, answered from its segments and nothing else.

A small closed grammar, of which every word must be understood:

    when | how long | how often | did I … ACTIVITY          the spans, their sum, their number, yes or no
    when did I first | last ACTIVITY                         one span
    … before | after ACTIVITY                               only what lies before its first start or after its first end
    what did I do first | last | before | after ACTIVITY     the activity
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motionseek.errors import QueryError, UsageError
from motionseek.search.llm import Endpoint, answer_freely
from motionseek.search.segments import NOTHING, Segment

Kind = Literal["when", "how long", "how often", "whether", "what", "free"]
_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"(for )?how long|how much time|how many (seconds|minutes)", "how long"),
    (r"how often|how many times", "how often"),
    (r"at what time|when", "when"),
    (r"what", "what"),
    (r"did|was|were|have|has|is|does|do", "whether"),
)
_WORD = re.compile(r"(?:[^\W_]|')+")
"""Letters and digits of any script."""
_FILLER = frozenset(
    (
        *("a", "an", "the", "i", "we", "he", "she", "they", "it", "you", "person", "somebody", "someone", "there"),
        *("did", "do", "does", "doing", "done", "was", "were", "is", "are", "be", "been", "have", "has", "had"),
        *("in", "total", "altogether", "of", "for", "at", "on", "to", "time", "times", "ever", "any"),
        *("start", "started", "begin", "began", "spend", "spent", "happen", "happened", "happens", "came", "comes"),
    )
)
_IRREGULAR = {
    "ran": "run",
    "sat": "sit",
    "stood": "stand",
    "lay": "lie",
    "lain": "lie",
    "lying": "lie",
    "fell": "fall",
    "fallen": "fall",
    "threw": "throw",
    "thrown": "throw",
    "swam": "swim",
    "rode": "ride",
    "ridden": "ride",
    "slept": "sleep",
    "bent": "bend",
    "danced": "dance",
    "dancing": "dance",
    "went": "go",
    "drew": "draw",
}
UNDERSTOOD = (
    'when, how long, how often or whether ("did I") you did something, first or last, before or after something else, '
    'and what you did first, last, before or after something: "how long did I walk before running?"'
)


@dataclass(frozen=True)
class Answer:
    """What was asked, what the segments say, and which of them say it.

    kind: "free" where a language model has answered, which no segment proves.   value: seconds, a number of times, yes
    or no, a label, or None where it never happened or is answered by spans.
    """

    question: str
    kind: Kind
    text: str
    value: float | int | bool | str | None
    evidence: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if not self.text:
            raise UsageError("an answer says something")

    def to_json(self) -> dict[str, Any]:
        value = round(self.value, 3) if isinstance(self.value, float) else self.value
        return {
            "question": self.question,
            "kind": self.kind,
            "text": self.text,
            "value": value,
            "evidence": [segment.to_json() for segment in self.evidence],
        }


def ask(segments: Sequence[Segment], classes: Sequence[str], question: str, *, llm: Endpoint | None = None) -> Answer:
    """Answer a question from segments in time order.

    llm: asked where the question is none that is understood; without it, that raises QueryError, saying what is.
    """
    try:
        return _exactly(segments, classes, question)
    except QueryError:
        if llm is None:
            raise
    return Answer(question, "free", answer_freely(llm, segments, question), None, ())


def _exactly(segments: Sequence[Segment], classes: Sequence[str], question: str) -> Answer:
    words = _WORD.findall(question.lower())
    said = " ".join(words)
    begun = [(kind, found.end()) for pattern, kind in _KINDS if (found := re.match(rf"({pattern})\b", said))]
    if not begun:
        raise _not_understood(question, classes)
    kind, end = begun[0]
    words = said[end:].split()
    relation, reference = "", ""
    for word in ("before", "after"):
        if words.count(word) == 1 and not relation:
            at = words.index(word)
            relation, reference = word, _activity(words[at + 1 :], classes, question)
            words = words[:at]
    which = [word for word in ("first", "last") if word in words]
    if len(which) > 1 or {"before", "after"} & set(words):
        raise _not_understood(question, classes)
    words = [word for word in words if word not in which]
    if kind == "what":
        if [w for w in words if w not in _FILLER] or bool(which) == bool(relation):
            raise _not_understood(question, classes)
        return _what(segments, question, which, relation, reference)
    label = _activity(words, classes, question)
    mine = [s for s in segments if s.label == label]
    if relation:
        mine = _beside(segments, mine, relation, reference)
    if which:
        mine = mine[:1] if which == ["first"] else mine[-1:]
    where = f" {relation} {reference}" if relation else ""
    return _said(question, kind, label, where, tuple(mine))


def _said(question: str, kind: Kind, label: str, where: str, mine: tuple[Segment, ...]) -> Answer:
    spans = ", ".join(f"{s.start_s:.1f}-{s.end_s:.1f} s" for s in mine)
    if not mine:
        value: float | int | bool | None = {"how long": 0.0, "how often": 0, "whether": False}.get(kind)
        return Answer(question, kind, f"{label}{where}: never", value, ())
    match kind:
        case "how long":
            total_s = sum(s.duration_s for s in mine)
            return Answer(question, kind, f"{label}{where}: {total_s:.1f} s ({spans})", total_s, mine)
        case "how often":
            times = "once" if len(mine) == 1 else f"{len(mine)} times"
            return Answer(question, kind, f"{label}{where}: {times} ({spans})", len(mine), mine)
        case "whether":
            return Answer(question, kind, f"yes, {label}{where}: {spans}", True, mine)
    return Answer(question, kind, f"{label}{where}: {spans}", None, mine)


def _what(segments: Sequence[Segment], question: str, which: Sequence[str], relation: str, reference: str) -> Answer:
    known = [s for s in segments if s.label != NOTHING]
    if which:
        found = known[:1] if which == ["first"] else known[-1:]
        name = which[0]
    else:
        at = [i for i, s in enumerate(segments) if s.label == reference]
        if not at:
            return Answer(question, "what", f"{reference} never happened", None, ())
        beside = segments[: at[0]][::-1] if relation == "before" else segments[at[0] + 1 :]
        # What follows is something else, even where nothing lies between two stretches of the same.
        found = [s for s in beside if s.label not in (NOTHING, reference)][:1]
        name = f"{relation} {reference}"
    if not found:
        return Answer(question, "what", f"{name}: nothing that the log knows", None, ())
    (one,) = found
    return Answer(question, "what", f"{name}: {one.label} ({one.start_s:.1f}-{one.end_s:.1f} s)", one.label, (one,))


def _beside(segments: Sequence[Segment], mine: Sequence[Segment], relation: str, reference: str) -> list[Segment]:
    """Those before the first start of the reference, or after its first end; none where it never happened."""
    other = next((s for s in segments if s.label == reference), None)
    if other is None:
        return []
    if relation == "before":
        return [s for s in mine if s.end_s <= other.start_s + 1e-9]
    return [s for s in mine if s.start_s >= other.end_s - 1e-9]


def stem(word: str) -> str:
    """walking, walked, walks → walk; ran → run; jogging → jog."""
    word = _IRREGULAR.get(word, word)
    for ending in ("ing", "ed", "s"):
        cut = word.removesuffix(ending)
        if cut != word and len(cut) >= 3 and not word.endswith("ss"):
            word = cut[:-1] if ending != "s" and cut[-1] == cut[-2] and cut[-1] not in "lsf" else cut
            break
    return word.removesuffix("e") if len(word) > 3 else word


def _activity(words: Sequence[str], classes: Sequence[str], question: str) -> str:
    """The one class that the words name, wholly or by a first word that no other class has."""
    asked = [stem(word) for word in words]
    names = {name: [stem(w) for w in _WORD.findall(name.lower())] for name in (*classes, NOTHING)}
    whole = [name for name, stems in names.items() if set(stems) <= set(asked)]
    if whole:
        longest = max(len(names[name]) for name in whole)
        found = [name for name in whole if len(names[name]) == longest]
    else:
        found = [name for name, stems in names.items() if stems and stems[0] in asked]
    if len(found) > 1:
        raise QueryError(f"{question!r} may mean {' or '.join(found)}: name one of them")
    rest = {word for word, root in zip(words, asked, strict=True) if word not in _FILLER}
    if not found:
        raise _not_understood(question, classes, sorted(rest))
    rest -= {word for word, root in zip(words, asked, strict=True) if root in names[found[0]]}
    if rest:
        raise _not_understood(question, classes, sorted(rest))
    return found[0]


def _not_understood(question: str, classes: Sequence[str], words: Sequence[str] = ()) -> QueryError:
    what = f" ({', '.join(words)})" if words else ""
    return QueryError(f"{question!r} is not understood{what}. Ask {UNDERSTOOD}. This log knows: {', '.join(classes)}")
