"""Things of staged video that move but do not act: curtain, plant, fan, screen, ball, shadow."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipelines.corpora.staged_drawing import darken, enlarged
from pipelines.corpora.staged_figures import Array, Colour, colour_of
from pipelines.corpora.staged_scenes import Camera, Light, Painter, shaded

Rng = np.random.Generator


class Thing(NamedTuple):
    """Something that can move.

    Args:
        kind: a name in THINGS.
        place: (3,) where it stands or hangs, metres.
        across: (3,) unit vector along its face, to the right of the camera.
        size: of its larger side, metres.
        detail: numbers from 0 to 1 that make it differ from others of its kind.
    """

    kind: str
    place: Array
    across: Array
    size: float
    colour: Colour
    second: Colour
    detail: Array


class Kind(NamedTuple):
    """How a kind of thing moves and looks.

    Args:
        path: (detail, seconds since it began to move, seconds it moves for) -> its state; rest is 0.
        paint: draws it in a state; None: it darkens what it passes.
        extent: box around the place in units of its size: left, right, below, above.
        is_there_at_rest: otherwise it comes and goes.
        seconds: shortest and longest time it moves for where little is to move.
    """

    path: Callable[[Array, Array, float], Array]
    paint: Callable[[Painter, Thing, float], None] | None
    extent: tuple[float, float, float, float]
    is_there_at_rest: bool
    seconds: tuple[float, float]


def make_thing(generator: Rng, kind: str, camera: Camera, light: Light) -> Thing:
    """One thing behind the people (a ball may pass in front of them)."""
    right, forward = camera.axes[0], camera.axes[2] * np.array([1.0, 0.0, 1.0])
    forward = forward / np.linalg.norm(forward)
    behind = 0.0 if kind == "ball" else float(generator.uniform(0.9, 2.2))
    if kind == "ball":
        behind = float(generator.choice([-0.5, 0.8]))
    away = float(np.linalg.norm(camera.place)) + behind
    aside = generator.uniform(-0.42, 0.42) * camera.width / camera.focal * away
    height = {"curtain": generator.uniform(1.9, 2.3), "screen": generator.uniform(1.0, 1.6)}.get(kind, 0.0)
    place = np.array([camera.place[0], 0.0, camera.place[2]]) + right * aside
    place = place + forward * away * np.sqrt(max(0.2, 1.0 - (camera.place[1] / away) ** 2))
    place[1] = float(height)
    size = {"curtain": 1.6, "plant": 1.0, "fan": 1.1, "screen": 0.7, "ball": 0.12, "shadow": 1.0}[kind]
    colour, second = (light.lit(colour_of(generator.integers(30, 235, 3))) for _ in range(2))
    return Thing(kind, place, right, size * float(generator.uniform(0.8, 1.3)), colour, second, generator.random(6))


def paint_thing(canvas: Image.Image, dark: Image.Image, thing: Thing, state: float, camera: Camera) -> None:
    """Draw a thing onto a picture; `dark` is the background in shadow."""
    kind = THINGS[thing.kind]
    if state == 0.0 and not kind.is_there_at_rest:
        return
    if kind.paint is None:
        _paint_shadow(canvas, dark, thing, state)
        return
    centre = thing.place if thing.kind != "ball" else _ball_at(thing, state)
    left, right, below, above = (edge * thing.size for edge in kind.extent)
    up = np.array([0.0, 1.0, 0.0])
    corners = [centre + thing.across * x + up * y for x in (left, right) for y in (below, above)]
    seen = camera.project(np.stack(corners))
    if float((centre - camera.place) @ camera.axes[2]) < 0.5:
        return
    box = (seen[:, 0].min() - 2, seen[:, 1].min() - 2, seen[:, 0].max() + 2, seen[:, 1].max() + 2)
    with enlarged(canvas, box) as patch:
        if patch is not None:
            kind.paint(Painter(patch.draw, camera, patch.origin), thing, state)


def _sway(detail: Array, seconds: Array, length: float) -> Array:
    """To and fro, growing and dying away."""
    envelope = np.clip(np.minimum(seconds, length - seconds) / 0.8, 0.0, 1.0)
    return np.asarray(envelope * np.sin(2.0 * np.pi * (0.4 + 0.8 * detail[0]) * seconds))


def _spin(detail: Array, seconds: Array, length: float) -> Array:
    del length
    return np.asarray(seconds * (4.0 + 6.0 * detail[0]))


def _blink(detail: Array, seconds: Array, length: float) -> Array:
    del length
    return np.asarray(np.floor(seconds * (1.0 + 4.0 * detail[0])) + 1.0)


def _pass(detail: Array, seconds: Array, length: float) -> Array:
    """From just above 0 to 1 while it passes, or the other way round."""
    share = np.clip(seconds / length, 1e-3, 1.0)
    return share if detail[1] < 0.5 else 1.001 - share


def _paint_curtain(painter: Painter, thing: Thing, state: float) -> None:
    num, width = 7, 0.55 * thing.size
    edges = [thing.across * width * (number / num - 0.5) for number in range(num + 1)]
    low = np.array([0.0, -thing.size, 0.0])
    sways = [thing.across * (0.16 * state * thing.size * (0.6 + 0.4 * np.sin(1.7 * n))) for n in range(num + 1)]
    for number in range(num):
        a, b = edges[number], edges[number + 1]
        corners = np.stack([a, b, b + low + sways[number + 1], a + low + sways[number]]) + thing.place
        painter.polygon(corners, shaded(thing.colour, 1.0 if number % 2 else 0.8))


def _paint_plant(painter: Painter, thing: Thing, state: float) -> None:
    up = np.array([0.0, 1.0, 0.0]) * thing.size
    half = thing.across * 0.14 * thing.size
    leaf = colour_of(np.array([50, 110, 45]) * (0.6 + 0.8 * thing.detail[2]))
    for number in range(9):
        lean = (number - 4) * 0.11 + 0.05 * np.sin(9.0 * thing.detail[3] * number)
        middle = thing.place + 0.6 * up + thing.across * thing.size * (0.5 * lean + 0.06 * state)
        tip = thing.place + (0.95 - 0.5 * abs(lean)) * up + thing.across * thing.size * (lean + 0.2 * state)
        root, tone = thing.place + 0.3 * up, shaded(leaf, 0.8 + 0.1 * (number % 4))
        painter.line(root, middle, 0.03 * thing.size, tone)
        painter.polygon(np.stack([middle - half * 0.3, tip, middle + half * 0.3, root]), tone)
    pot = [thing.place - half, thing.place + half, thing.place + 1.2 * half + 0.32 * up]
    painter.polygon(np.stack([*pot, thing.place - 1.2 * half + 0.32 * up]), thing.colour)


def _paint_fan(painter: Painter, thing: Thing, state: float) -> None:
    up = np.array([0.0, 1.0, 0.0])
    hub = thing.place + up * thing.size
    painter.line(thing.place, hub, 0.05, shaded(thing.colour, 0.6))
    turn = np.linspace(0.0, 2.0 * np.pi, 17)
    ring = hub + 0.3 * thing.size * (np.cos(turn)[:, None] * thing.across + np.sin(turn)[:, None] * up)
    painter.polygon(ring, shaded(thing.colour, 0.8))
    for blade in range(3):
        angle = state + blade * 2.0 * np.pi / 3.0 + thing.detail[4]
        tips = [
            hub + 0.28 * thing.size * (np.cos(angle + d) * thing.across + np.sin(angle + d) * up) for d in (0.0, 0.7)
        ]
        painter.polygon(np.stack([hub, *tips]), thing.second)


def _paint_screen(painter: Painter, thing: Thing, state: float) -> None:
    right, up = thing.across * thing.size, np.array([0.0, 0.6 * thing.size, 0.0])
    corner = thing.place - 0.5 * right
    painter.polygon(np.stack([corner, corner + right, corner + right + up, corner + up]), (18, 18, 20))
    look = np.random.default_rng([int(state), int(1e6 * thing.detail[5])])  # every state has a content of its own
    for number in range(4):
        low, left = 0.08 + 0.22 * number, float(look.uniform(0.05, 0.4))
        wide = float(look.uniform(0.1, 0.95 - left))
        bar = corner + left * right + low * up
        tone = colour_of(look.integers(40, 250, 3))
        painter.polygon(np.stack([bar, bar + wide * right, bar + wide * right + 0.2 * up, bar + 0.2 * up]), tone)


def _ball_at(thing: Thing, state: float) -> Array:
    bounces = 0.0 if thing.detail[2] < 0.4 else abs(np.sin(state * np.pi * (2.0 + 3.0 * thing.detail[3])))
    rise = thing.size + (0.3 + 0.7 * thing.detail[4]) * bounces
    start = thing.place - thing.across * (thing.across @ thing.place)  # it crosses the whole view
    return np.asarray(start + thing.across * (state - 0.5) * 9.0 + np.array([0.0, rise, 0.0]))


def _paint_ball(painter: Painter, thing: Thing, state: float) -> None:
    turn = np.linspace(0.0, 2.0 * np.pi, 17)
    up = np.array([0.0, 1.0, 0.0])
    ring = np.cos(turn)[:, None] * thing.across + np.sin(turn)[:, None] * up
    centre = _ball_at(thing, state)
    painter.polygon(centre + thing.size * ring, shaded(thing.colour, 0.75))
    painter.polygon(centre + thing.size * (0.75 * ring + 0.18 * (up - thing.across)), thing.colour)


def _paint_shadow(canvas: Image.Image, dark: Image.Image, thing: Thing, state: float) -> None:
    """Somebody outside the view, or a cloud: the picture darkens in a patch that passes."""
    width, height = canvas.size
    half = (0.1 + 0.2 * thing.detail[2]) * width
    centre = -half + state * (width + 2.0 * half)
    top = height * (0.1 + 0.4 * thing.detail[3])
    lean = (thing.detail[4] - 0.5) * height
    corners = [(centre - half, height), (centre + half, height), (centre + half * 0.6 + lean, top), (centre - half * 0.6 + lean, top)]  # fmt: skip  # noqa: E501
    darken(canvas, dark, corners)


THINGS = {
    "curtain": Kind(_sway, _paint_curtain, (-0.5, 0.5, -1.05, 0.02), True, (2.0, 5.0)),
    "plant": Kind(_sway, _paint_plant, (-0.8, 0.8, -0.05, 1.05), True, (2.0, 5.0)),
    "fan": Kind(_spin, _paint_fan, (-0.35, 0.35, 0.0, 1.35), True, (2.0, 6.0)),
    "screen": Kind(_blink, _paint_screen, (-0.5, 0.5, 0.0, 0.62), True, (1.5, 4.0)),
    "ball": Kind(_pass, _paint_ball, (-1.0, 1.0, -1.0, 1.0), False, (1.5, 3.5)),
    "shadow": Kind(_pass, None, (0.0, 0.0, 0.0, 0.0), False, (1.5, 4.0)),
}
