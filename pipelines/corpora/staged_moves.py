"""What figures of staged video do: actions and class-less movements as curves of joint angles.

Every move takes the pose that the figure rests in and gives (T, P) poses that begin in it; most end in it as well.
Speed, size, side and number of repetitions are drawn anew each time.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pipelines.corpora.staged_figures import AT, NAMES, Array, Body

Keys = list[tuple[float, dict[str, float]]]
Rng = np.random.Generator
Move = Callable[[Rng, Body, Array, float], tuple[Keys, dict[str, float]]]
"""(generator, body, rest, seconds) -> key poses at shares of the time, and the angles that the move ends with."""


class Action(NamedTuple):
    """One kind of movement.

    Args:
        seconds: shortest and longest time it takes.
        starts, ends: "standing", "seated" or "lying".
        seated: it can also be done by somebody who sits.
    """

    move: Move
    seconds: tuple[float, float]
    starts: str = "standing"
    ends: str = "standing"
    seated: bool = False


def perform(action: Action, generator: Rng, body: Body, rest: Array, num_pictures: int, seconds: float) -> Array:
    """The poses of an action: (T, P), from `rest` at the first picture on."""
    keys, ends = action.move(generator, body, rest, seconds)
    keys = [(u, {n: v + generator.normal(0.0, 0.03) for n, v in key.items()}) for u, key in keys]
    return animate(rest, keys, ends, num_pictures)


def animate(rest: Array, keys: Keys, ends: dict[str, float], num_pictures: int) -> Array:
    """Curves through key poses: every angle goes smoothly from rest through its own keys to its end."""
    poses = np.repeat(rest[None], num_pictures, axis=0)
    time = np.arange(1, num_pictures + 1) / num_pictures
    for name in {*ends, *(name for _, key in keys for name in key)}:
        start = float(rest[AT[name]])
        points = [(0.0, start), *((u, key[name]) for u, key in keys if name in key), (1.0, ends.get(name, start))]
        times, values = (np.array(column) for column in zip(*points, strict=True))
        place = np.clip(np.searchsorted(times, time, side="left") - 1, 0, len(times) - 2)
        u = (time - times[place]) / np.maximum(times[place + 1] - times[place], 1e-9)
        poses[:, AT[name]] = values[place] + (values[place + 1] - values[place]) * u * u * (3.0 - 2.0 * u)
    return poses


def standing(generator: Rng, x: float, z: float, yaw: float) -> Array:
    """A pose to rest in: arms hang, or hands on hips, before the belly, folded."""
    pose = np.zeros(len(NAMES))
    spread = generator.uniform(0.05, 0.22)
    values = {"x": x, "z": z, "yaw": yaw, "bend": generator.uniform(-0.03, 0.1), "look": generator.normal(0.0, 0.2)}
    arms = {
        "hang": {"flex": 0.0, "abduct": 0.13, "rotate": 0.0, "elbow": 0.2},
        "hips": {"flex": -0.25, "abduct": 0.75, "rotate": -0.9, "elbow": 1.5},
        "belly": {"flex": 0.25, "abduct": 0.1, "rotate": -0.7, "elbow": 1.1},
        "folded": {"flex": 0.5, "abduct": 0.15, "rotate": -1.1, "elbow": 1.9},
    }[str(generator.choice(["hang", "hang", "hang", "hips", "belly", "folded"]))]
    for side in "lr":
        values |= {f"{name}_{side}": value + generator.normal(0.0, 0.06) for name, value in arms.items()}
        values |= {f"spread_{side}": spread + generator.normal(0.0, 0.02), f"knee_{side}": 0.05, f"hip_{side}": 0.03}
    for name, value in values.items():
        pose[AT[name]] = value
    return pose


def seated(generator: Rng, rest: Array) -> dict[str, float]:
    """Angles of somebody who sits, hands on the thighs."""
    del rest
    angle = generator.uniform(1.4, 1.6)
    ends = {"bend": generator.uniform(0.0, 0.2), "lift": 0.0, "pitch": 0.0, "roll": 0.0, "nod": 0.0}
    for side in "lr":
        ends |= {f"hip_{side}": angle, f"knee_{side}": angle, f"spread_{side}": generator.uniform(0.08, 0.25)}
        ends |= {f"flex_{side}": 0.45, f"abduct_{side}": 0.12, f"rotate_{side}": -0.2, f"elbow_{side}": 0.7}
    return ends


def _arm(side: str, flex: float, abduct: float, rotate: float, elbow: float) -> dict[str, float]:
    return {f"flex_{side}": flex, f"abduct_{side}": abduct, f"rotate_{side}": rotate, f"elbow_{side}": elbow}


def _leg(side: str, hip: float, knee: float) -> dict[str, float]:
    return {f"hip_{side}": hip, f"knee_{side}": knee}


def _legs(hip: float, knee: float) -> dict[str, float]:
    return _leg("l", hip, knee) | _leg("r", hip, knee)


def _sides(generator: Rng) -> tuple[str, str, float]:
    """The side that acts, the other one, and the sign of a turn towards the other one."""
    return ("l", "r", -1.0) if generator.random() < 0.5 else ("r", "l", 1.0)


def _wave(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest
    side, _, _ = _sides(generator)
    times = max(2, round(seconds * generator.uniform(1.2, 1.8)))
    size = generator.uniform(0.35, 0.6)
    whole_arm = generator.random() < 0.35
    middle = (0.2, 2.45, 1.4, 0.35) if whole_arm else (0.25, generator.uniform(1.1, 1.7), 1.5, 1.2)
    keys: Keys = [(0.18, _arm(side, *middle))]
    for number in range(2 * times):
        turn = size * (1 if number % 2 else -1)
        there = {f"abduct_{side}": middle[1] + 0.6 * turn} if whole_arm else {f"elbow_{side}": middle[3] + turn}
        keys.append((0.18 + 0.64 * (number + 0.5) / (2 * times), {**_arm(side, *middle), **there}))
    return [*keys, (0.83, _arm(side, *middle))], {}


def _clap(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del rest
    times = max(2, round(seconds * generator.uniform(1.3, 2.0)))
    flex, elbow = generator.uniform(0.6, 1.2), generator.uniform(1.0, 1.3)
    reach = float(np.clip((body.shoulders - 0.03) / (body.forearm * np.sin(elbow)), 0.0, 0.95))
    closed, opened = -float(np.arcsin(reach)), generator.uniform(0.1, 0.4)
    keys: Keys = [(0.15, _arm("l", flex, 0.1, opened, elbow) | _arm("r", flex, 0.1, opened, elbow))]
    for number in range(times):
        for part, rotate, abduct in ((0.35, closed, 0.0), (0.85, opened, 0.15)):
            u = 0.17 + 0.66 * (number + part) / times
            keys.append((u, _arm("l", flex, abduct, rotate, elbow) | _arm("r", flex, abduct, rotate, elbow)))
    return keys, {}


def _point(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, seconds
    side, _, turn = _sides(generator)
    sideways = generator.uniform(-0.1, 1.45)
    aim = _arm(side, generator.uniform(1.35, 1.75), sideways, 0.0, 0.08)
    if sideways > 0.8:
        aim[f"flex_{side}"] = 0.3
        aim[f"abduct_{side}"] = generator.uniform(1.3, 1.75)
    look = {"look": -turn * sideways * 0.6, "twist": -turn * 0.15}
    reached = generator.uniform(0.2, 0.32)
    return [(reached, aim | look), (generator.uniform(0.68, 0.78), aim | look), (0.96, {"look": rest[AT["look"]]})], {}


def _throw(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    side, other, turn = _sides(generator)
    back = _arm(side, -0.5, generator.uniform(1.5, 1.9), 1.3, generator.uniform(1.5, 2.0))
    over = _arm(side, 1.7, 1.7, 1.2, 0.7)
    front = _arm(side, generator.uniform(0.9, 1.3), -0.1, 0.0, 0.1)
    balance = _arm(other, 1.2, 0.3, 0.0, 0.3)
    wind_up, release = generator.uniform(0.3, 0.4), generator.uniform(0.5, 0.58)
    return [
        (wind_up, back | balance | {"twist": -0.8 * turn, "bend": -0.2} | _leg(other, 0.7, 0.6)),
        ((wind_up + release) / 2.0, over | {"twist": 0.0, "bend": 0.0} | _leg(other, 0.4, 0.1)),
        (release, front | {"twist": 0.8 * turn, "bend": 0.5} | _leg(other, 0.35, 0.2) | _leg(side, -0.4, 0.3)),
        (release + 0.1, _arm(side, 0.4, -0.25, 0.0, 0.3) | {"bend": 0.55, "twist": 0.9 * turn}),
    ], {}


def _punch(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest
    side, other, turn = _sides(generator)
    guard = _arm(side, 0.55, 0.15, -0.3, 2.2) | _arm(other, 0.55, 0.15, -0.3, 2.2)
    times = max(1, min(4, round(seconds * generator.uniform(1.0, 1.6))))
    alternate = generator.random() < 0.6
    keys: Keys = [(0.17, guard | _leg(other, 0.25, 0.3) | {"twist": -0.2 * turn, f"hip_{side}": -0.15})]
    for number in range(times):
        fist, sign = (other, -turn) if alternate and number % 2 else (side, turn)
        out = _arm(fist, generator.uniform(1.4, 1.75), -0.1, 0.0, 0.1) | {"twist": 0.6 * sign, "bend": 0.15}
        start, span = 0.2 + 0.62 * number / times, 0.62 / times
        keys += [(start, guard), (start + 0.45 * span, out), (start + 0.9 * span, guard | {"twist": 0.0})]
    return [*keys, (0.84, guard)], {}


def _kick(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    side, other, turn = _sides(generator)
    high = generator.uniform(0.95, 1.55)
    arms = _arm(side, -0.3, 0.7, 0.0, 0.5) | _arm(other, 0.6, 0.6, 0.0, 0.6)
    if generator.random() < 0.5:  # from behind, as a ball is kicked
        prepared = _leg(side, -0.6, 1.1) | {"bend": 0.2}
    else:  # knee first
        prepared = _leg(side, 1.1, 1.7) | {"bend": -0.05}
    hit = _leg(side, high, 0.08) | {"bend": -0.25, "twist": 0.3 * turn} | _leg(other, 0.0, 0.2)
    back = _leg(side, 0.6, 0.8) | {"bend": 0.05}
    return [(0.32, prepared | arms), (0.5, hit | arms), (0.58, hit), (0.74, back)], {}


def _jump(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest
    times = 2 if seconds > 1.6 and generator.random() < 0.7 else 1
    height = generator.uniform(0.2, 0.5)
    high_arms = generator.random() < 0.6
    swing = generator.uniform(1.8, 2.8) if high_arms else generator.uniform(0.5, 1.2)
    keys: Keys = []
    for number in range(times):
        u = [(number + part) / times for part in (0.28, 0.42, 0.56, 0.7, 0.82)]
        down = (
            _legs(1.1, 1.5)
            | {"bend": 0.55, "lift": 0.0}
            | _arm("l", -0.7, 0.2, 0.0, 0.2)
            | _arm("r", -0.7, 0.2, 0.0, 0.2)
        )
        off = _legs(0.0, 0.05) | {"bend": 0.0, "lift": 0.02}
        up = {"lift": height, **_legs(0.3, 0.6)} | _arm("l", swing, 0.3, 0.0, 0.2) | _arm("r", swing, 0.3, 0.0, 0.2)
        keys += [(u[0], down), (u[1], off), (u[2], up), (u[3], {"lift": 0.02, **_legs(0.2, 0.3)})]
        keys += [(u[4], {"lift": 0.0, "bend": 0.35, **_legs(0.8, 1.1)})]
    return keys, {}


def _squat(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest
    times = 2 if seconds > 1.9 and generator.random() < 0.6 else 1
    deep = generator.uniform(1.7, 2.2)
    reach = generator.uniform(1.2, 1.6) if generator.random() < 0.7 else 0.4
    keys: Keys = []
    for number in range(times):
        down = _legs(deep, deep + 0.25) | {"bend": generator.uniform(0.35, 0.6)}
        arms = _arm("l", reach + 0.3, 0.05, -0.1, 0.2) | _arm("r", reach + 0.3, 0.05, -0.1, 0.2)
        keys += [((number + 0.42) / times, down | arms), ((number + 0.55) / times, down | arms)]
        if number + 1 < times:
            keys.append(((number + 1.0) / times, _legs(0.15, 0.2) | {"bend": 0.05}))
    return keys, {}


def _bow(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, seconds
    deep = generator.uniform(0.75, 1.5)
    arms = {f"flex_{side}": deep * 0.75 + rest[AT[f"flex_{side}"]] * 0.3 for side in "lr"}
    low = {"bend": deep, "nod": generator.uniform(0.1, 0.4), **arms, **_legs(0.05, 0.08)}
    return [(generator.uniform(0.35, 0.42), low), (generator.uniform(0.55, 0.68), low)], {}


def _sit_down(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, seconds
    half = (
        _legs(1.1, 1.15)
        | {"bend": generator.uniform(0.5, 0.8)}
        | _arm("l", 0.4, 0.15, 0.0, 0.3)
        | _arm("r", 0.4, 0.15, 0.0, 0.3)
    )
    ends = seated(generator, rest)
    return [(0.5, half), (0.8, {n: ends[n] for n in ends if "hip" in n or "knee" in n} | {"bend": 0.45})], ends


def _stand_up(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, seconds
    upright = standing(generator, 0.0, 0.0, 0.0)
    ends = {n: float(upright[AT[n]]) for n in NAMES if n not in ("x", "z", "yaw")}
    lean = {n: float(rest[AT[n]]) for n in NAMES if "hip" in n or "knee" in n}
    return [(0.25, lean | {"bend": 0.7}), (0.5, _legs(1.1, 1.15) | {"bend": 0.65})], ends


def _fall(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    side, other, turn = _sides(generator)
    way = str(generator.choice(["forward", "backward", "sideways", "collapse"]))
    ends = {"bend": 0.1, "twist": generator.uniform(-0.3, 0.3), "lift": 0.0}
    low, high = {"forward": (2.2, 3.0), "backward": (0.1, 0.7)}.get(way, (0.7, 1.5))  # no arm lifts the body
    for arm in (side, other):
        ends |= _arm(arm, generator.uniform(low, high), 0.15, 0.0, generator.uniform(0.2, 1.0))
    hip = 0.0 if way == "forward" else generator.uniform(0.1, 0.5)
    ends |= _leg(side, hip, generator.uniform(0.1, 0.9)) | _leg(other, 0.3 * hip, generator.uniform(0.1, 0.4))
    flail = _arm("l", 0.9, 0.9, 0.0, 0.5) | _arm("r", 0.9, 0.9, 0.0, 0.5)
    stagger = {"bend": -0.15 if way == "backward" else 0.35} | _leg(side, 0.5, 0.6)
    keys: Keys = [(0.25, stagger | flail)]
    if way in ("forward", "backward"):
        ends["pitch"] = 1.5 if way == "forward" else -1.5
        keys.append((0.78, {"pitch": ends["pitch"], "bend": 0.0}))
    else:
        ends["roll"] = turn * 1.45
        knees = 1.9 if way == "collapse" else 0.9
        keys += [(0.45, _legs(0.6 * knees, knees) | {"bend": 0.5, "roll": 0.25 * turn}), (0.82, {"roll": ends["roll"]})]
        ends |= _leg(side, 0.7, 1.0) | {"bend": 0.3}
    return keys, ends


def _turn_around(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body
    turn = (1.0 if generator.random() < 0.5 else -1.0) * generator.uniform(2.7, 3.5)
    yaw = float(rest[AT["yaw"]])
    steps = max(2, round(2.2 * seconds))
    keys: Keys = [(0.12, {"look": 0.5 * np.sign(turn), "twist": 0.25 * np.sign(turn)})]
    for number in range(steps):
        foot, u = "lr"[number % 2], 0.08 + 0.84 * (number + 0.5) / steps
        lifted, put = _leg(foot, 0.45, 0.8), _leg(foot, 0.05, 0.08)
        keys += [(u, lifted | {"yaw": yaw + turn * (number + 0.5) / steps}), (u + 0.42 * 0.84 / steps, put)]
    return [*keys, (0.85, {"look": 0.2 * np.sign(turn), "twist": 0.0})], {"yaw": yaw + turn, "look": 0.0}


def _get_up(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    upright = standing(generator, 0.0, 0.0, 0.0)
    del body, seconds
    ends = {n: float(upright[AT[n]]) for n in NAMES if n not in ("x", "z", "yaw")}
    crouch = _legs(1.9, 2.1) | {"bend": 0.7, "pitch": 0.15 * rest[AT["pitch"]], "roll": 0.0, "twist": 0.0}
    return [(0.45, crouch | _arm("l", 0.9, 0.2, 0.0, 0.4) | _arm("r", 0.9, 0.2, 0.0, 0.4)), (0.6, {"pitch": 0.0})], ends


def _scratch_head(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    side, _, _ = _sides(generator)
    up = _arm(side, 1.3, 0.7, 0.2, 2.3) | {"nod": 0.2}
    wiggle = up | {f"elbow_{side}": 2.1}
    return [(0.3, up), (0.42, wiggle), (0.52, up), (0.62, wiggle), (0.7, up)], {}


def _look_around(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    first = generator.choice([-1.0, 1.0]) * generator.uniform(0.6, 1.1)
    return [(0.25, {"look": first, "twist": 0.3 * first}), (0.45, {"look": first}), (0.7, {"look": -0.6 * first})], {}


def _shift_weight(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, seconds
    side, _, turn = _sides(generator)
    keys: Keys = [(0.5, {"side": 0.12 * turn, "roll": -0.06 * turn, f"knee_{side}": 0.5, f"hip_{side}": 0.3})]
    return keys, {"look": float(rest[AT["look"]]) + generator.normal(0.0, 0.3)}


def _check_watch(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    side, _, turn = _sides(generator)
    look = _arm(side, 0.6, 0.2, -0.9, 1.7) | {"nod": 0.45, "look": 0.2 * turn}
    return [(0.3, look), (0.7, look)], {}


def _stretch(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    high = generator.uniform(2.2, 2.9)
    up = _arm("l", high, 0.3, 0.0, 0.5) | _arm("r", high, 0.3, 0.0, 0.5) | {"bend": -0.15}
    return [(0.4, up), (0.6, up)], {}


def _half_raise(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    side, _, _ = _sides(generator)
    return [(0.45, _arm(side, generator.uniform(0.3, 0.8), generator.uniform(0.2, 0.6), 0.3, 1.0))], {}


def _lean(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, rest, seconds
    keys: Keys = [(0.45, {"bend": generator.uniform(0.2, 0.35), "side": generator.uniform(-0.25, 0.25)})]
    return keys, {}


def _step_aside(generator: Rng, body: Body, rest: Array, seconds: float) -> tuple[Keys, dict[str, float]]:
    del body, seconds
    side, other, _ = _sides(generator)
    steps: Keys = [(0.25, _leg(side, 0.4, 0.6)), (0.45, _leg(side, 0.05, 0.05)), (0.5, _leg(other, 0.05, 0.05)),
                   (0.7, _leg(other, 0.4, 0.6))]  # fmt: skip
    away = generator.uniform(-0.25, 0.25)
    return steps, {"x": float(rest[AT["x"]]) + away, "yaw": float(rest[AT["yaw"]]) + generator.normal(0.0, 0.15)}


ACTIONS = {
    "wave": Action(_wave, (1.2, 2.4), seated=True),
    "clap": Action(_clap, (1.2, 2.4), seated=True),
    "point": Action(_point, (1.2, 2.4), seated=True),
    "throw": Action(_throw, (1.0, 1.8)),
    "punch": Action(_punch, (1.0, 2.2)),
    "kick": Action(_kick, (0.9, 1.7)),
    "jump": Action(_jump, (0.9, 2.2)),
    "squat": Action(_squat, (1.2, 2.4)),
    "bow": Action(_bow, (1.2, 2.4)),
    "sit_down": Action(_sit_down, (0.9, 1.8), ends="seated"),
    "stand_up": Action(_stand_up, (0.9, 1.8), starts="seated"),
    "fall": Action(_fall, (0.8, 1.6), ends="lying"),
    "turn_around": Action(_turn_around, (1.0, 2.2)),
}
GET_UP = Action(_get_up, (1.6, 2.6), starts="lying")
CLASSLESS = {
    "scratch_head": Action(_scratch_head, (1.4, 2.6), seated=True),
    "look_around": Action(_look_around, (1.2, 2.6), seated=True),
    "shift_weight": Action(_shift_weight, (1.0, 2.2)),
    "check_watch": Action(_check_watch, (1.3, 2.4), seated=True),
    "stretch": Action(_stretch, (1.6, 2.8), seated=True),
    "half_raise": Action(_half_raise, (0.8, 1.6), seated=True),
    "lean": Action(_lean, (1.2, 2.4), seated=True),
    "step_aside": Action(_step_aside, (0.9, 1.5)),
}


def walk(rest: Array, to_x: float, to_z: float, num_pictures: int, pictures_per_second: float, pace_hz: float) -> Array:
    """Somebody walks from where `rest` stands to another place: (T, P), facing the way."""
    poses = np.repeat(rest[None], num_pictures, axis=0)
    share = np.linspace(0.0, 1.0, num_pictures)
    from_x, from_z = rest[AT["x"]], rest[AT["z"]]
    poses[:, AT["x"]] = from_x + (to_x - from_x) * share
    poses[:, AT["z"]] = from_z + (to_z - from_z) * share
    poses[:, AT["yaw"]] = np.arctan2(to_x - from_x, to_z - from_z)
    phase = 2.0 * np.pi * pace_hz * np.arange(num_pictures) / pictures_per_second
    for side, sign in (("l", 1.0), ("r", -1.0)):
        poses[:, AT[f"hip_{side}"]] = 0.05 + 0.45 * sign * np.sin(phase)
        poses[:, AT[f"knee_{side}"]] = 0.15 + 0.5 * np.clip(sign * np.cos(phase), 0.0, None)
        poses[:, AT[f"flex_{side}"]] = -0.4 * sign * np.sin(phase)
        poses[:, AT[f"elbow_{side}"]] = 0.3
    return poses
