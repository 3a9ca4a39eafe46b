"""Motions that freely licensed motion capture lacks, made up: a random person, a random way of doing it, every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from numpy.random import Generator

from motionseek.encoders.simulate import exercise, gait, gestures, jumping, on_the_spot, posture, transition
from motionseek.encoders.simulate.captions import CAPTIONS
from motionseek.encoders.simulate.motion import Motion

__all__ = ["CAPTIONS", "GENERATORS", "ONE_SHOT"]

GENERATORS: Mapping[str, Callable[[Generator, float], Motion]] = MappingProxyType(
    {
        "jump": jumping.jump,
        "jumping jack": jumping.jumping_jack,
        "jump rope": jumping.jump_rope,
        "hop": jumping.hop,
        "stand": posture.stand,
        "sit": posture.sit,
        "lie": posture.lie,
        "sit down": transition.sit_down,
        "stand up": transition.stand_up,
        "squat": exercise.squat,
        "lunge": exercise.lunge,
        "walk": gait.walk,
        "jog": gait.jog,
        "run": gait.run,
        "climb stairs": gait.climb_stairs,
        "descend stairs": gait.descend_stairs,
        "cycle": exercise.cycle_ride,
        "fall": transition.fall,
        "turn around": transition.turn_around,
        "bend over": transition.bend_over,
        "pick up": transition.pick_up,
        "clap": gestures.clap,
        "push": gestures.push,
        "knock": gestures.knock,
        "draw circle": gestures.draw_circle,
        "punch": gestures.punch,
        "kick": gestures.kick,
        "throw": gestures.throw,
        "wave": gestures.wave,
        "raise hands": gestures.raise_hands,
        "swing": gestures.swing,
        "arm curl": gestures.arm_curl,
        "walk on the spot": on_the_spot.walk_on_the_spot,
        "jog on the spot": on_the_spot.jog_on_the_spot,
    }
)
"""label → (rng, duration_s) → a Motion of that duration at 50 Hz, labels = (label, variant); both stand in CAPTIONS."""

ONE_SHOT = frozenset({"sit down", "stand up", "fall"})
"""Labels of what happens once, somewhere in the duration: the rest of a long motion is the stillness around it."""
