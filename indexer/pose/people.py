"""Several people followed from picture to picture, each keeping a number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from motionseek.indexer.pose.region import Body, Region, UInt8
from motionseek.indexer.pose.smooth import OneEuro
from motionseek.types import Float32, Float64

LOOK_AGAIN_S = 0.5
"""How often newcomers are looked for while somebody is followed."""
MEMORY_S = 2.0
"""How long somebody who was lost keeps a number."""
SAME_OVERLAP = 0.3
"""Regions that overlap more are of one person."""
SAME_BODY = 0.1
"""Two bodies whose landmarks lie closer together than this, in body sizes, are one body found twice."""


class Estimator(Protocol):
    """Finds people in single pictures (H, W, 3) uint8 RGB."""

    name: str

    def detect(self, picture: UInt8) -> list[Region]:
        """Where people are, the surest first."""

    def look(self, picture: UInt8, region: Region) -> Body | None:
        """The person in a region; None where there is nobody."""


@dataclass(eq=False)
class Person:
    """Somebody who was seen, and whether he still is. One entry a picture: its time, joints (17, 2) in pixels,
    confidence (17,)."""

    number: int
    region: Region
    seen_s: float
    followed: bool = True
    t_s: list[float] = field(default_factory=list)
    joints: list[Float64] = field(default_factory=list)
    confidence: list[Float32] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found_again(self.region)

    def found_again(self, region: Region) -> None:
        """As at first sight: what is smoothed starts anew."""
        self.region, self.followed = region, True
        # MediaPipe's constants; the points that the region follows from are held stiller.
        self._joints, self._guides = OneEuro(0.05, 80.0), OneEuro(0.01, 10.0)

    def update(self, t_s: float, body: Body) -> None:
        self.t_s.append(t_s)
        self.joints.append(self._joints(t_s, body.joints, body.size))
        self.confidence.append(body.confidence)
        self.region = Region.around(*self._guides(t_s, body.guides, body.size))
        self.seen_s = t_s


class People:
    """Follows up to `most` people through pictures given in order."""

    def __init__(self, estimator: Estimator, *, most: int) -> None:
        self.name = estimator.name
        self._estimator, self._most = estimator, most
        self.everybody: list[Person] = []
        self._looked_s = -np.inf
        self._lost = False
        """Whether somebody went missing in the last picture."""

    @property
    def followed(self) -> list[Person]:
        return [person for person in self.everybody if person.followed]

    def step(self, t_s: float, picture: UInt8) -> None:
        """picture: (H, W, 3) uint8 RGB, shown at t_s."""
        followed = self.followed
        due = self._lost or t_s - self._looked_s >= LOOK_AGAIN_S
        if not followed or (due and len(followed) < self._most):
            self._looked_s = t_s
            for region in self._estimator.detect(picture):
                if len(self.followed) < self._most and not self._known(region):
                    self._welcome(region, t_s)
        self._lost = False
        for person in self.followed:
            body = self._estimator.look(picture, person.region)
            if body is not None and not self._taken(person, body, t_s):
                person.update(t_s, body)
            else:
                person.followed, self._lost = False, True
        self.everybody = [person for person in self.everybody if person.t_s]

    def _known(self, region: Region) -> bool:
        return any(region.overlap(person.region) > SAME_OVERLAP for person in self.followed)

    def _welcome(self, region: Region, t_s: float) -> None:
        """Somebody lost a moment ago near there, or somebody new."""
        lost = [p for p in self.everybody if not p.followed and t_s - p.seen_s <= MEMORY_S]
        nearest = max(lost, key=lambda p: region.overlap(p.region), default=None)
        if nearest is not None and region.overlap(nearest.region) > SAME_OVERLAP:
            nearest.found_again(region)
        else:
            number = max((p.number for p in self.everybody), default=-1) + 1
            self.everybody.append(Person(number, region, t_s))

    def _taken(self, person: Person, body: Body, t_s: float) -> bool:
        """Whether somebody else, who comes before `person`, is already this body in this picture."""
        for other in self.followed:
            if other is not person and other.t_s and other.t_s[-1] == t_s:
                apart = np.linalg.norm(other.joints[-1] - body.joints, axis=1)
                if float(np.median(apart)) < SAME_BODY * body.size:
                    return True
        return False
