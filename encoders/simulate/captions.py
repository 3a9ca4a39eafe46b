"""What people call the made-up motions: sentences for training text encoders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType


def _sided(sides: Iterable[str], *sentences: str) -> dict[str, tuple[str, ...]]:
    return {side: tuple(sentence.format(side) for sentence in sentences) for side in sides}


_LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "jump": {
        "continuous": (
            *("jumping", "jump up and down", "a person jumps up and down", "someone is jumping on the spot"),
            *("jumping in place on both feet", "hopping in place on both feet", "bouncing up and down"),
            *("a person keeps jumping without a break", "repeated vertical jumps", "continuous jumping"),
        ),
        "with pauses": (
            *("jumping", "a person jumps straight up", "someone jumps, lands and jumps again", "a vertical jump"),
            *("jumping as high as possible", "a person crouches and leaps up", "single jumps with rests between"),
            *("squat jump", "jump up"),
        ),
        "forward": (
            *("jumping forward", "a person jumps forward with both feet", "someone leaps ahead", "long jumps"),
            *("a standing long jump", "jumping ahead again and again", "a person leaps forward"),
        ),
    },
    "jumping jack": {
        "": (
            *("jumping jacks", "a person does jumping jacks", "star jumps", "doing jumping jacks for exercise"),
            *("someone jumps with arms and legs spreading", "jumping while raising both arms overhead"),
            *("jumping jack exercise",),
        )
    },
    "jump rope": {
        "": (
            *("jumping rope", "a person skips rope", "rope skipping", "someone jumps with a skipping rope"),
            *("quick small jumps over a rope", "skipping with a jump rope"),
        )
    },
    "hop": _sided(
        ("left leg", "right leg"),
        *("hopping", "hopping on one leg", "a person hops on the {}", "someone hops on one foot"),
        *("jumping on the {} only", "one-legged hops on the {}", "hopping on the {}"),
    ),
    "stand": {
        "still": (
            *("standing", "standing still", "a person stands still", "someone stands without moving"),
            *("standing upright and quiet", "standing motionless", "a person is standing and waiting"),
            *("no movement while standing",),
        ),
        "fidgeting": (
            *("standing", "a person stands and looks around", "standing and shifting weight"),
            *("someone stands around, fidgeting", "waiting on foot", "a person is standing, moving a little"),
        ),
    },
    "sit": {
        "": (
            *("sitting", "sitting still", "a person sits on a chair", "someone is seated", "sitting quietly"),
            *("a person remains seated", "sitting at a desk without moving"),
        )
    },
    "lie": {
        variant: (
            *("lying down", "lying still", f"a person lies {variant}", f"lying {variant}", "resting in bed"),
            *(f"someone is lying {variant} without moving", "a person is lying down"),
        )
        for variant in ("on the back", "on the side", "face down")
    },
    "sit down": {
        "": (
            *("sitting down", "sit down", "a person sits down on a chair", "someone takes a seat"),
            *("going from standing to sitting", "a person lowers onto a chair", "stand to sit"),
        )
    },
    "stand up": {
        "": (
            *("standing up", "stand up", "a person gets up from a chair", "someone rises from a seat"),
            *("going from sitting to standing", "getting up", "sit to stand"),
        )
    },
    "squat": {
        "": (
            *("squats", "squatting", "a person does squats", "someone squats down and comes up again"),
            *("bending the knees deeply and rising", "squat exercise", "repeated deep knee bends"),
        )
    },
    "lunge": {
        **_sided(
            ("left leg", "right leg"),
            *("lunges", "a person lunges with the {} in front", "forward lunge with the {}", "lunge exercise"),
            *("stepping forward with the {} into a lunge", "someone does lunges on the {}"),
        ),
        "alternating": (
            *("lunges", "alternating lunges", "a person lunges with one leg, then the other", "lunge exercise"),
            *("stepping forward into lunges", "someone does forward lunges"),
        ),
    },
    "walk": {
        "straight": (
            *("walking", "walk", "a person walks forward", "someone is walking", "walking straight ahead"),
            *("strolling along", "a person is walking at a steady pace", "walking on level ground"),
        ),
        "curved": (
            *("walking", "walking in a circle", "a person walks along a curve", "someone walks around"),
            *("walking round a bend", "a person walks and turns", "walking in a wide arc"),
        ),
    },
    "jog": {
        "": (
            *("jogging", "jog", "a person is jogging", "someone jogs along", "running slowly"),
            *("a person goes for a jog", "jogging at an easy pace", "a slow run"),
        )
    },
    "walk on the spot": {
        "": (
            *("walking in place", "walking on the spot", "a person walks in place", "marching in place", "walking"),
            *("someone marches on the spot", "stepping in place", "a person is walking without getting anywhere"),
        )
    },
    "jog on the spot": {
        "": (
            *("jogging in place", "jogging on the spot", "a person jogs in place", "running in place", "jogging"),
            *("someone runs on the spot", "a person is jogging without getting anywhere", "running slowly in place"),
        )
    },
    "run": {
        "": (
            *("running", "run", "a person is running", "someone runs fast", "running forward"),
            *("a person runs at speed", "sprinting ahead", "running quickly"),
        )
    },
    "climb stairs": {
        variant: (
            *("climbing stairs", "walking upstairs", "a person walks up the stairs", "going up stairs"),
            *("someone climbs a staircase", "stepping up stair by stair", "ascending stairs", *extra),
        )
        for variant, extra in (("", ()), ("hand on the rail", ("climbing stairs with a hand on the rail",)))
    },
    "descend stairs": {
        variant: (
            *("descending stairs", "walking downstairs", "a person walks down the stairs", "going down stairs"),
            *("someone comes down a staircase", "stepping down stair by stair", *extra),
        )
        for variant, extra in (("", ()), ("hand on the rail", ("going down stairs with a hand on the rail",)))
    },
    "cycle": {
        "": (
            *("cycling", "riding a bicycle", "a person pedals a bike", "someone is biking", "pedalling"),
            *("a person rides a stationary bike", "bicycle riding"),
        )
    },
    "fall": {
        "": (
            *("falling", "a person falls forward", "someone falls down and stays on the ground", "a fall"),
            *("falling to the floor and lying still", "a person trips and hits the ground"),
        )
    },
    "turn around": _sided(
        ("left", "right"),
        *("turning around", "a person turns to the {}", "turning on the spot", "someone turns around"),
        *("rotating to the {} while standing", "spinning around to the {}"),
    ),
    "bend over": {
        "": (
            *("bending over", "bend down", "a person bends forward at the waist", "someone bends over"),
            *("bowing deeply and coming up", "leaning down with the upper body"),
        )
    },
    "pick up": _sided(
        ("left hand", "right hand", "both hands"),
        *("picking something up", "a person picks something up from the floor with the {}"),
        *("bending down to lift an object", "someone reaches to the ground with the {}"),
        *("picking up an object with the {}", "pick up and stand again"),
    ),
    "clap": {
        "": (
            *("clapping", "a person claps", "clapping hands", "someone applauds", "hands clap together"),
            *("a person claps both hands in front of the body", "applause"),
        )
    },
    "push": {
        "": (
            *("pushing", "a person pushes forward with both hands", "two-handed push", "someone pushes something away"),
            *("pushing with both arms", "shoving an object ahead"),
        )
    },
    "knock": _sided(
        ("left hand", "right hand"),
        *("knocking", "knocking on a door", "a person knocks on a door with the {}", "someone knocks with the {}"),
        *("rapping at a door", "knock with the {}"),
    ),
    "draw circle": {
        **_sided(
            ("left hand", "right hand"),
            *("drawing a circle", "a person draws circles in the air with the {}", "circular motion of the {}"),
            *("someone circles the {}", "drawing a big circle with the {}", "the {} goes round and round"),
        ),
        "both arms": (
            *("arm circles", "a person circles both arms", "swinging both arms in circles", "both arms go round"),
            *("someone does arm circles", "rotating the outstretched arms"),
        ),
    },
    "punch": {
        **_sided(
            ("left hand", "right hand"),
            *("punching", "a person punches with the {}", "a jab with the {}", "someone throws {} punches"),
            *("boxing with the {}", "punch with the {}"),
        ),
        "alternating": (
            *("punching", "boxing", "a person punches with both hands in turn", "shadow boxing"),
            *("someone throws left and right punches", "alternating punches"),
        ),
    },
    "kick": _sided(
        ("left leg", "right leg"),
        *("kicking", "a person kicks with the {}", "kicking a ball", "a forward kick of the {}"),
        *("someone swings the {} and kicks", "kick with the {}"),
    ),
    "throw": _sided(
        ("left hand", "right hand"),
        *("throwing", "a person throws a ball with the {}", "overarm throw", "someone throws something with the {}"),
        *("throwing with the {}", "pitching a ball with the {}"),
    ),
    "wave": _sided(
        ("left hand", "right hand", "both hands"),
        *("waving", "a person waves with the {}", "waving the {}", "someone waves hello with the {}"),
        *("greeting by waving the {}", "waving goodbye with the {}"),
    ),
    "raise hands": _sided(
        ("left hand", "right hand", "both hands"),
        *("raising hands", "a person raises the {}", "lifting the {} overhead", "someone puts the {} up"),
        *("holding the {} up high", "raising the {} and lowering again"),
    ),
    "swing": {
        "bat": (
            *("swinging a bat", "baseball swing", "a person swings a bat with both hands", "batting"),
            *("someone hits with a bat", "a two-handed swing", "swinging at a ball"),
        ),
        **_sided(
            ("racket in the left hand", "racket in the right hand"),
            *("swinging a racket", "tennis swing", "a person swings a {}", "playing a forehand with a {}"),
            *("someone hits a ball with a {}", "a tennis stroke"),
        ),
    },
    "arm curl": {
        **_sided(
            ("left hand", "right hand", "both hands"),
            *("arm curls", "a person curls a weight with the {}", "bicep curls with the {}", "lifting dumbbells"),
            *("bending the elbow of the {} again and again", "someone lifts a weight with the {}"),
        ),
        "alternating": (
            *("arm curls", "alternating bicep curls", "a person curls weights with each arm in turn"),
            *("someone lifts dumbbells left and right in turn", "bicep curls", "bending one elbow after the other"),
        ),
    },
}

CAPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        f"{label}, {variant}" if variant else label: sentences
        for label, variants in _LABELS.items()
        for variant, sentences in variants.items()
    }
)
"""Sentences by variant, such as "wave, left hand", or by label where there is one variant only. Those of one-sided
gestures name the side or say nothing of it."""
