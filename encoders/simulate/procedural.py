"""Motions that freely licensed motion capture lacks, made up: a random person, a random way of doing it, every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from numpy.random import Generator

from motionseek.encoders.simulate import gait, gestures, jumping, posture
from motionseek.encoders.simulate.captions import CAPTIONS, caption_key
from motionseek.encoders.simulate.motion import Motion

__all__ = ["CAPTIONS", "GENERATORS", "caption_key"]

GENERATORS: Mapping[str, Callable[[Generator, float], Motion]] = MappingProxyType(
    {
        "jump": jumping.jump,
        "jumping jack": jumping.jumping_jack,
        "jump rope": jumping.jump_rope,
        "hop": jumping.hop,
        "stand": posture.stand,
        "sit": posture.sit,
        "lie": posture.lie,
        "sit down": posture.sit_down,
        "stand up": posture.stand_up,
        "squat": posture.squat,
        "lunge": posture.lunge,
        "walk": gait.walk,
        "jog": gait.jog,
        "run": gait.run,
        "climb stairs": gait.climb_stairs,
        "descend stairs": gait.descend_stairs,
        "cycle": posture.cycle_ride,
        "fall": posture.fall,
        "turn around": posture.turn_around,
        "bend over": posture.bend_over,
        "pick up": posture.pick_up,
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
    }
)
"""label → (rng, duration_s) → a Motion of that duration at 50 Hz, labels = (label, variant)."""
