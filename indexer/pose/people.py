"""Several people followed from picture to picture, each keeping a number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from motionseek.indexer.pose.region import Body, Region, UInt8, size_of
from motionseek.indexer.pose.smooth import OneEuro
from motionseek.types import Float32

LOOK_AGAIN_S = 0.5
"""How often newcomers are looked for while somebody is followed."""
MEMORY_S = 2.0
"""How long somebody who was lost keeps a number."""
SAME_OVERLAP = 0.5
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
    confidence (17,), presence."""

    number: int
    region: Region
    seen_s: float
    followed: bool = True
    t_s: list[float] = field(default_factory=list)
    joints: list[Float32] = field(default_factory=list)
    confidence: list[Float32] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)

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
        self.presence.append(body.presence)
        picture = self.region.picture
        hips, rim = self._guides(t_s, body.guides, body.size) / picture
        self.region = Region.around(hips, rim, picture)
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
        again = t_s - self._looked_s >= LOOK_AGAIN_S
        if not self.followed or ((again or self._lost) and self._wanted):
            self._welcome(self._estimator.detect(picture), t_s)
            if again and self._wanted and self._most > 1:
                self._welcome(_closely(self._estimator, picture), t_s)
            self._looked_s = t_s if again else self._looked_s
        self._lost = False
        for person in self.followed:
            body = self._estimator.look(picture, person.region)
            if body is not None and not self._taken(person, body, t_s):
                person.update(t_s, body)
            else:
                person.followed, self._lost = False, True
        self.everybody = [person for person in self.everybody if person.t_s]

    @property
    def _wanted(self) -> bool:
        return len(self.followed) < self._most

    def _welcome(self, regions: list[Region], t_s: float) -> None:
        """Who is not followed yet: somebody lost a moment ago near there, or somebody new."""
        for region in regions:
            if not self._wanted or any(region.overlap(p.region) > SAME_OVERLAP for p in self.followed):
                continue
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


def _closely(estimator: Estimator, picture: UInt8) -> list[Region]:
    """People who are too small in the whole picture: as seen in squares along it, each half over the next."""
    height, width = picture.shape[:2]
    side = min(height, width)
    count = -(-2 * (max(height, width) - side) // side) + 1
    found = []
    for first in np.linspace(0, max(height, width) - side, count).astype(int).tolist() if count > 1 else []:
        x, y = (first, 0) if width > height else (0, first)
        square = np.ascontiguousarray(picture[y : y + side, x : x + side])
        for region in estimator.detect(square):
            across, down = (region.middle + np.array([x, y], np.float32)).tolist()
            found.append(Region.at(across, down, float(region.side), float(region.angle_rad), size_of(picture)))
    return found
