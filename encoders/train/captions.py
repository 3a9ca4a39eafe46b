"""Sentences about motion: what the text tower learns to read, and what a clip's labels are called."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_WALK = (
    *("walking", "walk", "a person walks", "a person is walking", "someone walks forward", "a man walking straight"),
    *("a woman walks slowly", "taking a walk", "a person walks at a steady pace", "strolling", "walking around"),
    *("C walks around the room", "a human walks a few steps", "on foot", "going for a walk", "pacing"),
)
_RUN = (
    *("running", "run", "a person runs", "a person is running", "someone runs forward", "a man running fast"),
    *("sprinting", "jogging", "a person jogs", "running quickly", "dashing", "a human is jogging forward"),
)
_KICK = ("kicking", "a person kicks", "someone kicks with the leg", "a kick", "kicking forward")
_PUNCH = ("punching", "a person punches", "boxing", "someone throws a punch", "fighting with the fists")
_SLASH = (
    *("swinging a sword", "a person slashes", "sword fighting", "a person strikes with a sword"),
    *("swinging a stick", "swordplay", "fencing"),
)
_DANCE = ("dancing", "dance", "a person dances", "someone is dancing", "moving to music")
_BOW = ("bowing", "a person bows", "bending forward to greet", "someone bows down politely", "bend over")

BANDAI_CAPTIONS: Mapping[str, tuple[str, ...]] = {
    "bow": _BOW,
    "bye": ("waving goodbye", "a person waves goodbye", "waving a hand", "waving"),
    "byebye": ("waving goodbye", "a person says bye with the hand", "waving both hands", "waving"),
    "call": ("beckoning", "a person calls somebody over with the hand", "waving someone to come here"),
    "dance-long": _DANCE,
    "dance-short": _DANCE,
    "dash": (*_RUN, "sprinting", "a person dashes forward", "running very fast"),
    "fight": _PUNCH,
    "guide": ("pointing the way", "a person shows the way with the arm", "gesturing with one arm", "pointing"),
    "kick": _KICK,
    "punch": _PUNCH,
    "respond": ("raising a hand", "a person raises a hand", "nodding"),
    "run": _RUN,
    "slash": _SLASH,
    "throw": ("throwing", "a person throws something", "throwing a ball", "someone throws with one arm"),
    "walk": _WALK,
    "walk-back": ("walking backwards", "a person walks backward", "stepping back", "walking", "a person walks"),
    "walk-left": ("walking to the left", "side stepping to the left", "walking", "a person walks sideways"),
    "walk-right": ("walking to the right", "side stepping to the right", "walking", "a person walks sideways"),
    "walk-turn-left": (*_WALK, "walking and turning left", "a person walks and turns left", "turning left"),
    "walk-turn-right": (*_WALK, "walking and turning right", "a person walks and turns right", "turning right"),
    "raise-up-both-hands": ("raising both hands", "a person raises both arms", "lifting both arms up", "hands up"),
    "raise-up-left-hand": ("raising the left hand", "a person lifts the left arm", "left hand up", "raising an arm"),
    "raise-up-right-hand": (
        "raising the right hand",
        "a person lifts the right arm",
        "right hand up",
        "raising an arm",
    ),
    "wave-both-hands": ("waving both hands", "a person waves with both arms", "waving", "waving the arms overhead"),
    "wave-left-hand": ("waving the left hand", "a person waves with the left arm", "waving", "waving one hand"),
    "wave-right-hand": ("waving the right hand", "a person waves with the right arm", "waving", "waving one hand"),
}
"""What each content of the Bandai-Namco Research Motiondataset may be called."""

_WHO = ("", "a person ", "someone ", "a man ", "a woman ", "the person ", "a human ", "he ", "she ", "C ", "a child ")
_HOW = (
    *("", "", "", " slowly", " quickly", " fast", " forward", " backwards", " in place", " around", " again"),
    *(" twice", " for a while", " to the left", " to the right", " outside", " in a room", " on the ground"),
    *(" with the right hand", " with the left hand", " with both hands", " up and down", " carefully", " happily"),
)
# base form, third person, -ing form
_VERBS = tuple(
    tuple(line.split(","))
    for line in """
walk,walks,walking;run,runs,running;jog,jogs,jogging;sprint,sprints,sprinting;jump,jumps,jumping;hop,hops,hopping
leap,leaps,leaping;skip,skips,skipping;jump rope,jumps rope,jumping rope;do jumping jacks,does jumping jacks,doing jumping jacks
bounce,bounces,bouncing;stand,stands,standing;stand still,stands still,standing still;sit,sits,sitting
sit down,sits down,sitting down;stand up,stands up,standing up;get up,gets up,getting up;lie down,lies down,lying down
lie,lies,lying;rest,rests,resting;sleep,sleeps,sleeping;squat,squats,squatting;crouch,crouches,crouching;kneel,kneels,kneeling
lunge,lunges,lunging;climb stairs,climbs stairs,climbing stairs;go upstairs,goes upstairs,going upstairs
walk up the stairs,walks up the stairs,walking up the stairs;go downstairs,goes downstairs,going downstairs
walk down the stairs,walks down the stairs,walking down the stairs;descend stairs,descends stairs,descending stairs
climb,climbs,climbing;ride a bicycle,rides a bicycle,riding a bicycle;cycle,cycles,cycling;bike,bikes,biking;drive,drives,driving
fall,falls,falling;trip,trips,tripping;stumble,stumbles,stumbling;wave,waves,waving;clap,claps,clapping;point,points,pointing
push,pushes,pushing;pull,pulls,pulling;knock on the door,knocks on the door,knocking on the door;throw a ball,throws a ball,throwing a ball
throw,throws,throwing;catch,catches,catching;kick,kicks,kicking;punch,punches,punching;box,boxes,boxing;swim,swims,swimming
swing a bat,swings a bat,swinging a bat;swing a racket,swings a racket,swinging a racket;serve,serves,serving;bowl,bowls,bowling
swing a sword,swings a sword,swinging a sword;shoot a basketball,shoots a basketball,shooting a basketball
dance,dances,dancing;spin,spins,spinning;turn around,turns around,turning around;turn left,turns left,turning left
turn right,turns right,turning right;rotate,rotates,rotating;do a cartwheel,does a cartwheel,doing a cartwheel;roll,rolls,rolling
do a backflip,does a backflip,doing a backflip;flip,flips,flipping;crawl,crawls,crawling;stretch,stretches,stretching
bend over,bends over,bending over;bow,bows,bowing;pick something up,picks something up,picking something up
lift a box,lifts a box,lifting a box;put something down,puts something down,putting something down;carry a box,carries a box,carrying a box
raise the arms,raises the arms,raising the arms;raise a hand,raises a hand,raising a hand;lift weights,lifts weights,lifting weights
curl the arms,curls the arms,curling the arms;cross the arms,crosses the arms,crossing the arms;swipe,swipes,swiping
draw a circle,draws a circle,drawing a circle;draw a triangle,draws a triangle,drawing a triangle;write,writes,writing
look around,looks around,looking around;look up,looks up,looking up;look down,looks down,looking down;nod,nods,nodding
shake the head,shakes the head,shaking the head;step back,steps back,stepping back;step sideways,steps sideways,stepping sideways
hike,hikes,hiking;march,marches,marching;stroll,strolls,strolling;limp,limps,limping;tiptoe,tiptoes,tiptoeing;balance,balances,balancing
wash the hands,washes the hands,washing the hands;wash the body,washes the body,washing the body;brush the teeth,brushes the teeth,brushing the teeth
cook,cooks,cooking;cut vegetables,cuts vegetables,cutting vegetables;stir,stirs,stirring;eat,eats,eating;drink,drinks,drinking
read,reads,reading;type,types,typing;talk,talks,talking;use a phone,uses a phone,using a phone;clean,cleans,cleaning;sweep,sweeps,sweeping
mop the floor,mops the floor,mopping the floor;open a door,opens a door,opening a door;play guitar,plays guitar,playing guitar
play basketball,plays basketball,playing basketball;play football,plays football,playing football;play tennis,plays tennis,playing tennis
ski,skis,skiing;skate,skates,skating;row,rows,rowing;dig,digs,digging;hammer,hammers,hammering;paint,paints,painting;saw,saws,sawing
exercise,exercises,exercising;warm up,warms up,warming up;do yoga,does yoga,doing yoga;do push-ups,does push-ups,doing push-ups
do sit-ups,does sit-ups,doing sit-ups;get in a car,gets in a car,getting in a car;get out of a car,gets out of a car,getting out of a car
""".replace("\n", ";").split(";")
    if line.strip()
)


def sentence(rng: np.random.Generator) -> str:
    """A random short sentence about something that a body does."""
    base, third, ing = _VERBS[rng.integers(len(_VERBS))]
    who, how = _WHO[rng.integers(len(_WHO))], _HOW[rng.integers(len(_HOW))]
    if not who:
        return (ing if rng.random() < 0.75 else base) + how
    style = rng.random()
    text = who + (third if style < 0.5 else f"is {ing}") + how
    if rng.random() < 0.2:
        text += " and " + _VERBS[rng.integers(len(_VERBS))][1 if style < 0.5 else 2]
    return text
