"""Who does what when in a staged video: one action in a clip, rare or many actions in a long recording."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.corpora.staged_actors import Actor, Cast, Moving, Rng, Script, Span
from pipelines.corpora.staged_figures import AT
from pipelines.corpora.staged_moves import ACTIONS, CLASSLESS, GET_UP, Action, perform, walk
from pipelines.corpora.staged_scenes import Camera, Light
from pipelines.corpora.staged_things import THINGS, make_thing

GETTING_UP = "get_up"
UP_AGAIN = {"lying": GET_UP, "seated": ACTIONS["stand_up"]}
MOST_ITEMS = 10_000
APART_SECONDS = 0.6  # least time between two actions of one figure
OVERLAPPING = 0.15  # share of actions that begin before another figure's has ended


class RecordingKind(NamedTuple):
    """How much happens in a long recording.

    Args:
        action_share: of the time, at most, with actions.
        distraction_share: of the time, at most, with movement that is no action; None: nearly always.
    """

    action_share: float
    distraction_share: float | None


KINDS = {"sparse": RecordingKind(0.08, 0.06), "busy": RecordingKind(0.2, None)}


def clip_script(
    generator: Rng,
    label: str | None,
    cast: Sequence[Cast],
    camera: Camera,
    light: Light,
    num_pictures: int,
    rate_hz: float,
) -> Script:
    """One action (None: a movement of no class) of the first figure; a second may stand by."""
    width_metres = camera.width / camera.focal * float(np.linalg.norm(camera.place))
    aside = float(generator.uniform(-0.2, 0.2)) * width_metres
    actor = Actor(generator, cast[0], camera, aside, 0.0, num_pictures)
    action = ACTIONS[label] if label else CLASSLESS[str(generator.choice(list(CLASSLESS)))]
    name = label or "classless"
    if action.ends == "seated" or action.starts == "seated" or generator.random() < 0.5:
        actor.place_stool(generator)
    if action.starts == "seated" or (action.seated and actor.seat is not None and generator.random() < 0.5):
        actor.sit(generator)
    elif generator.random() < (0.4 if label == "turn_around" else 0.06):
        actor.turn_away()
    most = min(action.seconds[1], num_pictures / rate_hz - 4.0 / rate_hz)
    length = max(2, round(generator.uniform(min(action.seconds[0], most), most) * rate_hz))
    onset = int(generator.integers(2, num_pictures - length - 1))
    actor.do(generator, action, onset, length, rate_hz)
    spans = [Span(onset, onset + length, name, cast[0].name)]
    script = Script([actor.track()], [], spans if label else [], [] if label else spans)
    if len(cast) > 1:
        other_aside = aside + float(np.sign(-aside) or 1.0) * float(generator.uniform(1.0, 1.5))
        other = Actor(generator, cast[1], camera, other_aside, float(generator.uniform(-1.2, 0.3)), num_pictures)
        if generator.random() < 0.5:
            other.place_stool(generator)
            if generator.random() < 0.3:
                other.sit(generator)
        if generator.random() < 0.5:
            _idle(generator, other, 0, num_pictures, rate_hz, script.distractions, most=1)
        script.tracks.append(other.track())
    for kind in _some_things(generator, 2):
        share = 1.0 if generator.random() < 0.4 else 0.0
        script.things.append(_moving(generator, kind, camera, light, num_pictures, rate_hz, script.distractions, share))
    return script


def recording_script(
    generator: Rng,
    kind: RecordingKind,
    labels: Sequence[str],
    cast: Sequence[Cast],
    camera: Camera,
    light: Light,
    num_pictures: int,
    rate_hz: float,
) -> Script:
    """Actions of several figures one after the other; the last of the cast only walks through."""
    spacing = 0.28 * camera.width / camera.focal * float(np.linalg.norm(camera.place))
    places = generator.permutation(np.arange(len(cast) - 1) - (len(cast) - 2) / 2.0)
    actors = [
        Actor(generator, one, camera, spacing * float(place + generator.uniform(-0.2, 0.2)),
              float(generator.uniform(-0.7, 0.4)), num_pictures)
        for one, place in zip(cast[:-1], places, strict=True)
    ]  # fmt: skip
    for actor in actors:
        if {"sit_down", "stand_up"} & set(labels) or generator.random() < 0.5:
            actor.place_stool(generator)
            if generator.random() < 0.4:
                actor.sit(generator)
    script = Script([], [], [], [])
    plan = _plan(generator, actors, labels, round(kind.action_share * num_pictures), rate_hz)
    _perform(generator, plan, num_pictures, rate_hz, script)
    budget = None if kind.distraction_share is None else round(kind.distraction_share * num_pictures)
    if budget is None:
        for actor in actors:
            _idle_between(generator, actor, script, num_pictures, rate_hz)
        for _ in range(max(1, round(num_pictures / rate_hz / 40.0))):
            _walk_through(generator, cast[-1], camera, script, num_pictures, rate_hz)
        for name in _some_things(generator, 3) or ["fan"]:
            share = float(generator.uniform(0.4, 0.8))
            script.things.append(
                _moving(generator, name, camera, light, num_pictures, rate_hz, script.distractions, share)
            )
    else:
        _distract_rarely(generator, cast[-1], camera, light, script, num_pictures, rate_hz, budget)
    script.tracks.extend(actor.track() for actor in actors)
    return script


class _Item(NamedTuple):
    """Something that an actor is to do."""

    actor: Actor
    action: Action
    name: str
    num_pictures: int


def _plan(generator: Rng, actors: Sequence[Actor], labels: Sequence[str], budget: int, rate_hz: float) -> list[_Item]:
    """Actions in their order, each label once before any comes twice where it can be, until the budget is spent."""
    plan: list[_Item] = []
    stances = [actor.stance for actor in actors]
    waiting: list[str] = []
    for _ in range(MOST_ITEMS):
        number = int(generator.integers(len(actors)))
        actor, stance = actors[number], stances[number]
        if not waiting:
            waiting = [str(label) for label in generator.permutation(np.array(labels))]
        if stance.state == "standing" and stance.is_away and "turn_around" in labels:
            able = ["turn_around"]
        else:
            has_stool = actor.seat is not None
            able = [label for label in waiting if stance.allows(ACTIONS[label], has_stool=has_stool)]
        if able:
            name, action = able[0], ACTIONS[able[0]]
        elif stance.state in UP_AGAIN:
            name, action = GETTING_UP, UP_AGAIN[stance.state]
        else:
            waiting = []  # what is left, nobody like this can do
            continue
        length = _length(generator, action, rate_hz)
        if length > budget:
            break
        budget -= length if name != GETTING_UP else 0
        plan.append(_Item(actor, action, name, length))
        stances[number] = stance.after(action)
        waiting = [label for label in waiting if label != name]
    return plan


def _length(generator: Rng, action: Action, rate_hz: float) -> int:
    return max(2, round(generator.uniform(*action.seconds) * rate_hz))


def _perform(generator: Rng, plan: Sequence[_Item], num_pictures: int, rate_hz: float, script: Script) -> None:
    """Spread what is planned over the time and write it into the tracks."""
    apart = round(APART_SECONDS * rate_hz)
    free = num_pictures - sum(item.num_pictures + apart for item in plan) - 2 * apart
    assert free >= 0
    gaps = [int(gap) for gap in generator.dirichlet(np.ones(len(plan) + 1)) * free]
    time = apart
    ends: dict[int, int] = {}
    before: tuple[_Item, int] | None = None
    for item, gap in zip(plan, gaps, strict=False):
        onset = time + gap
        if before and before[0].actor is not item.actor and generator.random() < OVERLAPPING:
            overlapped = before[1] + int(generator.uniform(0.2, 0.8) * before[0].num_pictures)
            onset = max(overlapped, ends.get(id(item.actor), 0) + apart)
        item.actor.do(generator, item.action, onset, item.num_pictures, rate_hz)
        span = Span(onset, onset + item.num_pictures, item.name, item.actor.cast.name)
        (script.distractions if item.name == GETTING_UP else script.actions).append(span)
        ends[id(item.actor)] = span.offset
        before = (item, onset)
        time = max(time, span.offset + apart)


def _idle_between(generator: Rng, actor: Actor, script: Script, num_pictures: int, rate_hz: float) -> None:
    """Fill the time between a figure's actions with movements of no class."""
    taken = sorted(span[:2] for span in (*script.actions, *script.distractions) if span.who == actor.cast.name)
    apart = round(0.3 * rate_hz)
    begin = 1
    for onset, offset in [*taken, (num_pictures, num_pictures)]:
        _idle(generator, actor, begin, onset - apart, rate_hz, script.distractions, most=1000)
        begin = offset + apart


def _idle(generator: Rng, actor: Actor, begin: int, end: int, rate_hz: float, spans: list[Span], *, most: int) -> None:
    """Movements of no class within [begin, end); they lead back to where they began."""
    time = begin + int(generator.uniform(0.0, 0.8) * rate_hz)
    for _ in range(most):
        rest = actor.poses[min(time, len(actor.poses) - 1)].copy()
        is_seated, is_lying = rest[AT["hip_l"]] > 1.2, abs(rest[AT["pitch"]]) > 0.8 or abs(rest[AT["roll"]]) > 0.8
        fitting = [name for name, action in CLASSLESS.items() if action.seated or not is_seated]
        name = fitting[int(generator.integers(len(fitting)))]
        length = _length(generator, CLASSLESS[name], rate_hz)
        if time + length >= end or is_lying:
            return
        poses = perform(CLASSLESS[name], generator, actor.cast.body, rest, length, length / rate_hz)
        actor.poses[time : time + length] = poses
        spans.append(Span(time, time + length, name, actor.cast.name))
        time += length + int(generator.uniform(0.1, 1.2) * rate_hz)


def _walk_through(
    generator: Rng,
    cast: Cast,
    camera: Camera,
    script: Script,
    num_pictures: int,
    rate_hz: float,
    most: int | None = None,
) -> int:
    """Somebody crosses the view behind the others; how many pictures that takes (0: there was no room)."""
    half = 0.5 * camera.width / camera.focal * float(np.linalg.norm(camera.place)) * 1.35 + 0.5
    length = round(2.0 * half / generator.uniform(1.1, 1.7) * rate_hz)
    if length >= num_pictures - 2 or (most is not None and length > most):
        return 0
    side = float(generator.choice([-1.0, 1.0]))
    actor = Actor(generator, cast, camera, -side * half, float(generator.uniform(-1.6, -0.8)), num_pictures)
    rest = actor.poses[0]
    to = camera.axes[0] * 2.0 * half * side
    onset = int(generator.integers(1, num_pictures - length))
    pace = float(generator.uniform(0.8, 1.05))
    actor.poses[onset : onset + length] = walk(
        rest, float(rest[AT["x"]] + to[0]), float(rest[AT["z"]] + to[2]), length, rate_hz, pace
    )
    actor.present[:] = False
    actor.present[onset : onset + length] = True
    script.tracks.append(actor.track())
    script.distractions.append(Span(onset, onset + length, "walk", cast.name))
    return length


def _some_things(generator: Rng, most: int) -> list[str]:
    kinds = list(THINGS)
    return [kinds[int(n)] for n in generator.permutation(len(kinds))[: int(generator.integers(0, most + 1))]]


def _moving(
    generator: Rng,
    kind: str,
    camera: Camera,
    light: Light,
    num_pictures: int,
    rate_hz: float,
    spans: list[Span],
    share: float,
) -> Moving:
    """A thing that moves again and again, for about a share of the time."""
    moving = Moving(make_thing(generator, kind, camera, light), np.zeros(num_pictures))
    time = int(generator.uniform(0.0, 2.0) * rate_hz) if share < 1.0 else 0
    while share > 0.0 and time < num_pictures:
        length = round(generator.uniform(2.0, 5.0) * rate_hz) if share < 1.0 else num_pictures
        if kind in ("ball", "shadow"):
            length = min(length, round(generator.uniform(*THINGS[kind].seconds) * rate_hz))
        _move(moving, time, length, rate_hz, spans)
        time += length + round(generator.exponential(length / rate_hz * (1.0 - share) / share) * rate_hz) + 1
    return moving


def _move(moving: Moving, onset: int, length: int, rate_hz: float, spans: list[Span]) -> None:
    length = min(length, len(moving.states) - onset)
    kind = THINGS[moving.thing.kind]
    seconds = np.arange(length) / rate_hz
    moving.states[onset : onset + length] = kind.path(moving.thing.detail, seconds, length / rate_hz)
    if kind.is_there_at_rest and moving.thing.kind in ("fan", "screen"):  # they stay as they were left
        moving.states[onset + length :] = moving.states[onset + length - 1]
    spans.append(Span(onset, onset + length, moving.thing.kind, ""))


def _distract_rarely(
    generator: Rng,
    walker: Cast,
    camera: Camera,
    light: Light,
    script: Script,
    num_pictures: int,
    rate_hz: float,
    budget: int,
) -> None:
    """Movements that are no actions, one at a time, until their share of the time is spent."""
    budget -= sum(span.offset - span.onset for span in script.distractions)
    if generator.random() < 0.5:
        budget -= _walk_through(generator, walker, camera, script, num_pictures, rate_hz, budget)
    things = [
        Moving(make_thing(generator, kind, camera, light), np.zeros(num_pictures))
        for kind in _some_things(generator, 4)
    ]
    script.things.extend(things)
    for number in range(50 if things else 0):
        moving = things[number % len(things)]
        length = round(generator.uniform(*THINGS[moving.thing.kind].seconds) * rate_hz)
        onset = int(generator.integers(1, max(2, num_pictures - length)))
        if length > budget or np.any(np.diff(moving.states[onset - 1 : onset + length + 2])):
            continue
        if moving.thing.kind in ("fan", "screen") and np.any(moving.states):
            continue  # it has moved once; that would change how it was left
        _move(moving, onset, length, rate_hz, script.distractions)
        budget -= length


def is_moving(script: Script, num_pictures: int) -> NDArray[np.bool_]:
    """Which pictures (T,) differ from the one before by more than light and noise."""
    moves = np.zeros(num_pictures, dtype=np.bool_)
    for track in script.tracks:
        changed = np.any(np.diff(track.poses, axis=0) != 0, axis=1) & (track.present[1:] | track.present[:-1])
        moves[1:] |= changed | (track.present[1:] != track.present[:-1])
    for moving in script.things:
        moves[1:] |= np.diff(moving.states) != 0
    return moves
