"""Articulated people for staged video: poses as joint angles, bodies with clothes, and where their joints are.

World: metres, y up, the floor at y = 0. A figure that faces +z has its left at +x. Angles are radians.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[int, int, int]

# x, z: where the feet stand; lift: of the lowest point above the floor; yaw, pitch, roll: of the whole body.
_WHOLE = ("x", "z", "lift", "yaw", "pitch", "roll", "bend", "side", "twist", "nod", "look")
_ARM = ("flex", "abduct", "rotate", "elbow")
_LEG = ("hip", "spread", "knee")
NAMES = (*_WHOLE, *(f"{name}_{side}" for side in "lr" for name in (*_ARM, *_LEG)))
AT = {name: place for place, name in enumerate(NAMES)}

JOINTS = ("pelvis", "chest", "head", "face", *(f"{name}_{side}" for side in "lr" for name in (
    "shoulder", "elbow", "hand", "hip", "knee", "ankle", "toe")))  # fmt: skip
JOINT = {name: place for place, name in enumerate(JOINTS)}

SKINS = ((238, 203, 180), (224, 180, 148), (196, 146, 108), (150, 102, 70), (104, 68, 48), (74, 50, 38))
HAIRS = ((30, 26, 24), (70, 46, 30), (120, 80, 44), (190, 160, 100), (150, 150, 150), (140, 60, 30))


class Body(NamedTuple):
    """Proportions (metres) and clothes of one figure.

    Args:
        pattern: of the shirt: "plain", "stripes", "bars", "panel" or "sash".
        sleeve, trouser: share of the arm and of the leg that is covered.
    """

    height: float
    torso: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    foot: float
    shoulders: float
    hips: float
    head: float
    girth: float
    skin: Colour
    hair: Colour
    long_hair: bool
    shirt: Colour
    second: Colour
    pattern: str
    trousers: Colour
    shoes: Colour
    sleeve: float
    trouser: float


def make_body(generator: np.random.Generator) -> Body:
    """A body that no other stream of random numbers gives: small or tall, slight or stout, in clothes of its own."""
    height = float(generator.uniform(1.35, 1.95))
    ratio = generator.uniform(0.93, 1.07, 8)
    girth = float(generator.uniform(0.8, 1.35))
    skin = np.array(SKINS[int(generator.integers(len(SKINS)))]) + generator.integers(-10, 11, 3)
    hair = np.array(HAIRS[int(generator.integers(len(HAIRS)))]) + generator.integers(-10, 11, 3)
    return Body(
        height=height,
        torso=0.30 * height * float(ratio[0]),
        upper_arm=0.175 * height * float(ratio[1]),
        forearm=0.19 * height * float(ratio[2]),
        thigh=0.245 * height * float(ratio[3]),
        shin=0.245 * height * float(ratio[4]),
        foot=0.11 * height * float(ratio[5]),
        shoulders=0.115 * height * float(ratio[6]) * (0.8 + 0.2 * girth),
        hips=0.06 * height * float(ratio[7]) * (0.8 + 0.2 * girth),
        head=0.066 * height * float(generator.uniform(0.92, 1.12)) + 0.01,
        girth=girth,
        skin=colour_of(skin),
        hair=colour_of(hair),
        long_hair=bool(generator.random() < 0.4),
        shirt=colour_of(generator.integers(20, 240, 3)),
        second=colour_of(generator.integers(20, 240, 3)),
        pattern=str(generator.choice(["plain", "plain", "stripes", "bars", "panel", "sash"])),
        trousers=colour_of(generator.integers(15, 200, 3)),
        shoes=colour_of(generator.integers(10, 230, 3)),
        sleeve=float(generator.choice([0.35, 0.5, 0.95, 1.0, 1.0])),
        trouser=float(generator.choice([0.5, 1.0, 1.0, 1.0])),
    )


def colour_of(values: NDArray[Any]) -> Colour:
    """Three numbers as a colour, each cut to 0 to 255."""
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue


def joints(body: Body, pose: Array) -> Array:
    """Where the joints are: (T, J, 3) metres, for poses (T, P); see NAMES and JOINTS.

    The lowest point of the body touches the floor (`lift` above it). The foot that bears the weight stays where it is.
    """
    angles = {name: pose[:, place] for name, place in AT.items()}
    zero = np.zeros((len(pose), 3))
    pelvis_turn = _turned(_about("y", angles["yaw"]), _about("x", angles["pitch"]), _about("z", angles["roll"]))
    chest_turn = _turned(
        pelvis_turn, _about("x", angles["bend"]), _about("z", angles["side"]), _about("y", angles["twist"])
    )
    head_turn = _turned(chest_turn, _about("x", angles["nod"]), _about("y", angles["look"]))
    chest = _along(chest_turn, (0.0, body.torso, 0.0))
    head = chest + _along(chest_turn, (0.0, 0.03 * body.height, 0.0))
    head = head + _along(head_turn, (0.0, body.head * 1.05, 0.02))
    placed = {"pelvis": zero, "chest": chest, "head": head}
    placed["face"] = head + _along(head_turn, (0.0, -0.1 * body.head, body.head))
    for side, sign in (("l", 1.0), ("r", -1.0)):
        placed |= _arm(body, angles, side, sign, chest, chest_turn)
        placed |= _leg(body, angles, side, sign, pelvis_turn)
    places = np.stack([placed[name] for name in JOINTS], axis=1)
    return _grounded(body, places, angles)


def _arm(
    body: Body, angles: dict[str, Array], side: str, sign: float, chest: Array, chest_turn: Array
) -> dict[str, Array]:
    shoulder = chest + _along(chest_turn, (sign * body.shoulders, -0.02, 0.0))
    upper = _turned(
        chest_turn,
        _about("x", -angles[f"flex_{side}"]),
        _about("z", sign * angles[f"abduct_{side}"]),
        _about("y", sign * angles[f"rotate_{side}"]),
    )
    elbow = shoulder + _along(upper, (0.0, -body.upper_arm, 0.0))
    lower = _turned(upper, _about("x", -angles[f"elbow_{side}"]))
    hand = elbow + _along(lower, (0.0, -body.forearm, 0.0))
    return {f"shoulder_{side}": shoulder, f"elbow_{side}": elbow, f"hand_{side}": hand}


def _leg(body: Body, angles: dict[str, Array], side: str, sign: float, pelvis_turn: Array) -> dict[str, Array]:
    hip = _along(pelvis_turn, (sign * body.hips, 0.0, 0.0))
    upper = _turned(pelvis_turn, _about("x", -angles[f"hip_{side}"]), _about("z", sign * angles[f"spread_{side}"]))
    knee = hip + _along(upper, (0.0, -body.thigh, 0.0))
    ankle = knee + _along(_turned(upper, _about("x", angles[f"knee_{side}"])), (0.0, -body.shin, 0.0))
    toe = ankle + _along(pelvis_turn, (0.2 * sign * body.foot, -0.015, body.foot))
    return {f"hip_{side}": hip, f"knee_{side}": knee, f"ankle_{side}": ankle, f"toe_{side}": toe}


def _grounded(body: Body, places: Array, angles: dict[str, Array]) -> Array:
    """Put the lowest point on the floor, and the bearing foot, or for who walks the pelvis, where the figure stands."""
    thick = np.full(len(JOINTS), 0.04 * body.girth)
    thick[[JOINT["pelvis"], JOINT["chest"]]] = 0.09 * body.girth
    thick[JOINT["head"]] = body.head
    lowest = (places[:, :, 1] - thick).min(axis=1)
    ankles = places[:, [JOINT["ankle_l"], JOINT["ankle_r"]]]
    bearing = np.exp(-(ankles[:, :, 1] - ankles[:, :, 1].min(axis=1, keepdims=True)) / 0.08)
    bearing /= bearing.sum(axis=1, keepdims=True)
    foot = (ankles * bearing[:, :, None]).sum(axis=1)
    at = np.stack([angles["x"] - foot[:, 0], angles["lift"] - lowest, angles["z"] - foot[:, 2]], axis=1)
    return np.asarray(places + at[:, None, :])


def _along(turn: Array, vector: tuple[float, float, float]) -> Array:
    return turn[..., 0] * vector[0] + turn[..., 1] * vector[1] + turn[..., 2] * vector[2]


def _turned(first: Array, *others: Array) -> Array:
    """The product of rotations (T, 3, 3), written out: a matrix product may round otherwise with other threads."""
    for other in others:
        first = (first[:, :, :, None] * other[:, None, :, :]).sum(axis=2)
    return first


def _about(axis: str, angle: Array) -> Array:
    """Rotation matrices (T, 3, 3) about an axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    one, zero = np.ones_like(angle), np.zeros_like(angle)
    rows = {
        "x": (one, zero, zero, zero, cosine, -sine, zero, sine, cosine),
        "y": (cosine, zero, sine, zero, one, zero, -sine, zero, cosine),
        "z": (cosine, -sine, zero, sine, cosine, zero, zero, zero, one),
    }[axis]
    return np.asarray(np.stack(rows, axis=-1).reshape(len(angle), 3, 3))
