"""Draws figures of staged video onto a picture with smooth edges: only the patch that they cover is drawn larger."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pipelines.corpora.staged_figures import JOINT, Array, Body, Colour
from pipelines.corpora.staged_scenes import SMOOTHING, Camera, Light, shaded

SHADOW_GAIN = 0.68
Point = tuple[float, float]


class Patch(NamedTuple):
    """A part of a picture, SMOOTHING times larger, to be drawn on."""

    draw: ImageDraw.ImageDraw
    origin: tuple[int, int]


@contextmanager
def enlarged(canvas: Image.Image, box: Sequence[float]) -> Iterator[Patch | None]:
    """A patch of a picture (left, top, right, bottom) to draw on; put back when left. None: it lies outside."""
    width, height = canvas.size
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    right, bottom = min(width, int(box[2]) + 1), min(height, int(box[3]) + 1)
    if left >= right or top >= bottom:
        yield None
        return
    size = ((right - left) * SMOOTHING, (bottom - top) * SMOOTHING)
    patch = canvas.crop((left, top, right, bottom)).resize(size, Image.Resampling.NEAREST)
    yield Patch(ImageDraw.Draw(patch), (left, top))
    canvas.paste(patch.reduce(SMOOTHING), (left, top))


def darken(canvas: Image.Image, dark: Image.Image, corners: Sequence[Point]) -> None:
    """Put the shadowed background where a polygon lies."""
    columns, rows = [corner[0] for corner in corners], [corner[1] for corner in corners]
    left, top = max(0, int(min(columns))), max(0, int(min(rows)))
    right, bottom = min(canvas.width, int(max(columns)) + 1), min(canvas.height, int(max(rows)) + 1)
    if left >= right or top >= bottom:
        return
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).polygon([(column - left, row - top) for column, row in corners], fill=255)
    canvas.paste(dark.crop((left, top, right, bottom)), (left, top), mask)


class Look(NamedTuple):
    """The colours of a figure in the light of its recording: (lit side, shaded side) of every part."""

    skin: tuple[Colour, Colour]
    hair: tuple[Colour, Colour]
    shirt: tuple[Colour, Colour]
    second: tuple[Colour, Colour]
    trousers: tuple[Colour, Colour]
    shoes: tuple[Colour, Colour]


def look_of(body: Body, light: Light, column_share: float, row_share: float) -> Look:
    """A figure's colours at its place in the picture."""

    def both(colour: Colour) -> tuple[Colour, Colour]:
        return light.lit(colour, column_share, row_share), light.lit(colour, column_share, row_share, 0.72)

    return Look(*(both(c) for c in (body.skin, body.hair, body.shirt, body.second, body.trousers, body.shoes)))


def shadow_rings(places: Array, camera: Camera) -> Array:
    """Outlines (T, 12, 2) in pixels of the shadow below a figure whose joints are at (T, J, 3)."""
    centre = places.mean(axis=1)
    reach = 0.16 + 1.4 * places[..., [0, 2]].std(axis=1)
    turn = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    ring = np.zeros((len(places), 12, 3))
    ring[..., 0] = centre[:, None, 0] + reach[:, None, 0] * np.cos(turn)
    ring[..., 2] = centre[:, None, 2] + reach[:, None, 1] * np.sin(turn)
    return camera.project(ring)[..., :2]


def paint_figure(canvas: Image.Image, body: Body, look: Look, seen: Array, focal: float) -> None:
    """Draw a figure whose joints are seen at (J, 3): column, row, distance."""
    per_metre = focal / float(seen[JOINT["pelvis"], 2])
    if seen[:, 2].min() < 0.4:
        return
    margin = 0.16 * body.girth * per_metre + 2
    left, top = seen[:, :2].min(axis=0) - margin
    right, bottom = seen[:, :2].max(axis=0) + margin
    with enlarged(canvas, (left, top, right, bottom)) as patch:
        if patch is None:
            return
        points = (seen[:, :2] - patch.origin) * SMOOTHING
        _Pen(patch.draw, points.tolist(), seen[:, 2].tolist(), per_metre * SMOOTHING).figure(body, look)


class _Pen:
    """Draws one figure: its parts from the farthest to the nearest."""

    def __init__(self, draw: ImageDraw.ImageDraw, points: list[Point], depths: list[float], scale: float) -> None:
        self.draw, self.points, self.depths, self.scale = draw, points, depths, scale

    def figure(self, body: Body, look: Look) -> None:
        depths, at = self.depths, JOINT
        parts = [((depths[at["pelvis"]] + depths[at["chest"]]) / 2.0, "torso", "")]
        parts.append((depths[at["head"]] - 0.05, "head", ""))
        for side in "lr":
            parts.append((depths[at[f"knee_{side}"]], "leg", side))
            parts.append(((depths[at[f"elbow_{side}"]] + depths[at[f"hand_{side}"]]) / 2.0, "arm", side))
        for _, part, side in sorted(parts, key=lambda part: -part[0]):
            if part == "torso":
                self._torso(body, look)
            elif part == "head":
                self._head(body, look)
            elif part == "leg":
                self._leg(body, look, side)
            else:
                self._arm(body, look, side)

    def _torso(self, body: Body, look: Look) -> None:
        at, points, girth = JOINT, self.points, body.girth
        shoulders = points[at["shoulder_l"]], points[at["shoulder_r"]]
        hips = points[at["hip_l"]], points[at["hip_r"]]
        self._limb(*hips, 0.085 * girth, 0.085 * girth, look.trousers)
        pelvis, chest = points[at["pelvis"]], points[at["chest"]]
        self._limb(_between(pelvis, chest, 0.12), _between(pelvis, chest, 0.88), 0.1 * girth, 0.1 * girth, look.shirt)
        outline = [_between(h, s, 0.1) for h, s in zip(hips, shoulders, strict=True)]
        self.draw.polygon([shoulders[0], shoulders[1], outline[1], outline[0]], fill=look.shirt[0])
        self._limb(*shoulders, 0.055 * girth, 0.055 * girth, look.shirt)
        if body.pattern in ("stripes", "bars"):
            for share in (0.25, 0.5, 0.75):
                if body.pattern == "stripes":
                    ends = [_between(h, s, share) for h, s in zip(hips, shoulders, strict=True)]
                else:
                    ends = [_between(*hips, share), _between(*shoulders, share)]
                self.draw.line(ends, fill=look.second[0], width=max(1, round(0.045 * self.scale)))
        elif body.pattern == "panel":
            middle = [_between(*shoulders, 0.3), _between(*shoulders, 0.7), _between(*hips, 0.7), _between(*hips, 0.3)]
            self.draw.polygon(middle, fill=look.second[0])
        elif body.pattern == "sash":
            self.draw.line([shoulders[0], hips[1]], fill=look.second[0], width=max(1, round(0.07 * self.scale)))

    def _head(self, body: Body, look: Look) -> None:
        at, points = JOINT, self.points
        head, face = points[at["head"]], points[at["face"]]
        self._limb(points[at["chest"]], head, 0.05 * body.girth, 0.04, look.skin)
        radius = body.head * self.scale
        if body.long_hair:
            back = (2.0 * head[0] - face[0], 2.0 * head[1] - face[1])
            self._disc(_between(head, _between(back, points[at["chest"]], 0.5), 0.5), 0.95 * radius, look.hair[1])
        faces_camera = self.depths[at["face"]] < self.depths[at["head"]]
        front = _between(head, face, 0.32)
        if faces_camera:
            self._disc(head, 1.06 * radius, look.hair[0])
            self._disc((front[0], front[1] + 0.18 * radius), 0.86 * radius, look.skin[0])
        else:
            self._disc((front[0], front[1] + 0.18 * radius), 0.86 * radius, look.skin[1])
            self._disc(head, 1.06 * radius, look.hair[0])

    def _leg(self, body: Body, look: Look, side: str) -> None:
        hip, knee, ankle, toe = (self.points[JOINT[f"{name}_{side}"]] for name in ("hip", "knee", "ankle", "toe"))
        girth = body.girth
        self._limb(ankle, toe, 0.04, 0.032, look.shoes)
        shin = look.trousers if body.trouser > 0.6 else look.skin
        self._limb(knee, ankle, 0.055 * girth, 0.04 * girth, shin)
        self._limb(hip, knee, 0.08 * girth, 0.058 * girth, look.trousers)

    def _arm(self, body: Body, look: Look, side: str) -> None:
        shoulder, elbow, hand = (self.points[JOINT[f"{name}_{side}"]] for name in ("shoulder", "elbow", "hand"))
        girth = body.girth
        upper = look.shirt if body.sleeve > 0.45 else look.skin
        lower = look.shirt if body.sleeve > 0.9 else look.skin
        if body.sleeve <= 0.45:
            self._limb(shoulder, elbow, 0.045 * girth, 0.038 * girth, look.skin)
            self._limb(shoulder, _between(shoulder, elbow, 0.4), 0.052 * girth, 0.05 * girth, look.shirt)
        else:
            self._limb(shoulder, elbow, 0.05 * girth, 0.042 * girth, upper)
        self._limb(elbow, _between(elbow, hand, 0.85), 0.04 * girth, 0.032 * girth, lower)
        self._disc(hand, 0.045 * self.scale, look.skin[0])

    def _limb(self, a: Point, b: Point, radius_a: float, radius_b: float, colours: tuple[Colour, Colour]) -> None:
        """A capsule from a to b, its shaded side below."""
        ra, rb = radius_a * self.scale, radius_b * self.scale
        self._capsule(a, b, ra, rb, colours[1])
        shift_a, shift_b = 0.22 * ra, 0.22 * rb
        self._capsule(
            (a[0] - shift_a, a[1] - shift_a), (b[0] - shift_b, b[1] - shift_b), 0.72 * ra, 0.72 * rb, colours[0]
        )

    def _capsule(self, a: Point, b: Point, ra: float, rb: float, colour: Colour) -> None:
        along = (b[0] - a[0], b[1] - a[1])
        length = (along[0] ** 2 + along[1] ** 2) ** 0.5
        if length > 1e-6:
            x, y = -along[1] / length, along[0] / length
            corners = [(a[0] + ra * x, a[1] + ra * y), (b[0] + rb * x, b[1] + rb * y),
                       (b[0] - rb * x, b[1] - rb * y), (a[0] - ra * x, a[1] - ra * y)]  # fmt: skip
            self.draw.polygon(corners, fill=colour)
        self._disc(a, ra, colour)
        self._disc(b, rb, colour)

    def _disc(self, centre: Point, radius: float, colour: Colour) -> None:
        column, row = centre
        self.draw.ellipse((column - radius, row - radius, column + radius, row + radius), fill=colour)


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def paint_stool(picture: Image.Image, camera: Camera, top: Array, radius: float, colour: Colour) -> None:
    """A stool whose seat is centred at `top` (3,) metres."""
    turn = np.linspace(0.0, 2.0 * np.pi, 17)
    ring = np.stack([np.cos(turn), np.zeros(17), np.sin(turn)], axis=1) * radius
    feet = top * np.array([1.0, 0.0, 1.0])
    corners = np.concatenate([top + 1.1 * ring, feet + 1.1 * ring])
    seen = camera.project(corners)
    if seen[:, 2].min() < 0.4:
        return
    box = (*(seen[:, :2].min(axis=0) - 3), *(seen[:, :2].max(axis=0) + 3))
    with enlarged(picture, box) as patch:
        if patch is None:
            return

        def points(places: Array) -> list[Point]:
            pixels = (camera.project(places)[:, :2] - patch.origin) * SMOOTHING
            return [(float(column), float(row)) for column, row in pixels]

        thick = max(1, round(0.04 * camera.focal / float(seen[0, 2]) * SMOOTHING))
        for leg in range(1, 17, 4):
            patch.draw.line(points(np.stack([top + 0.85 * ring[leg], feet + ring[leg]])), shaded(colour, 0.6), thick)
        patch.draw.polygon(points(top + ring - [0.0, 0.05, 0.0]), fill=shaded(colour, 0.7))
        patch.draw.polygon(points(top + ring), fill=colour)
