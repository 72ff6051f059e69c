"""Places of staged video: cameras, lights, procedural rooms and yards, painted once into a background picture."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.corpora.staged_figures import Array, Colour, colour_of

NEAR_METRES = 0.2
SMOOTHING = 2  # pictures are drawn so many times larger and averaged


class Camera(NamedTuple):
    """A pinhole camera: where it stands, where it looks, how wide.

    Args:
        place: (3,) metres.
        axes: (3, 3) rows: right, up, forward.
        focal: in pixels.
    """

    place: Array
    axes: Array
    focal: float
    width: int
    height: int

    def project(self, points: Array) -> Array:
        """(..., 3) metres to (..., 3): column and row in pixels, distance along the view in metres."""
        away = points - self.place
        # Written out: a matrix product may round otherwise with other numbers of threads, and bytes are to be the same.
        seen = np.stack([away[..., 0] * x + away[..., 1] * y + away[..., 2] * z for x, y, z in self.axes], axis=-1)
        depth = np.maximum(seen[..., 2], NEAR_METRES)
        column = self.width / 2.0 + self.focal * seen[..., 0] / depth
        row = self.height / 2.0 - self.focal * seen[..., 1] / depth
        return np.stack([column, row, depth], axis=-1)

    @property
    def yaw(self) -> float:
        """Heading of a figure that faces the camera from in front of it."""
        return float(np.arctan2(-self.axes[2, 0], -self.axes[2, 2]))


def make_camera(
    generator: np.random.Generator, width: int, height: int, *, share: tuple[float, float], target: Array
) -> Camera:
    """A camera that sees somebody of 1.7 m at `target`, as tall as a share of the picture (lowest, highest)."""
    yaw = generator.uniform(-np.pi, np.pi)
    pitch = generator.uniform(0.0, 0.5)
    view = generator.uniform(0.75, 1.05)  # vertical angle
    focal = height / 2.0 / np.tan(view / 2.0)
    distance = focal * 1.7 / (height * generator.uniform(*share))
    forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([-np.cos(yaw), 0.0, np.sin(yaw)])
    up = np.cross(right, forward)
    shift = generator.uniform(-0.12, 0.12) * width / focal * distance
    place = target + np.array([0.0, 0.9, 0.0]) - forward * distance + right * shift
    place[1] = max(place[1], 0.5)
    return Camera(place, np.stack([right, up, forward]), focal, width, height)


class Box(NamedTuple):
    """A piece of furniture or a building: lowest corner, size (metres), colour."""

    corner: tuple[float, float, float]
    size: tuple[float, float, float]
    colour: Colour


class Place(NamedTuple):
    """A room or a yard: colours, textures, things that stand in it.

    Args:
        half: half its width and depth, metres.
        wall, floor: textures: "plain", "bricks", "planks", "tiles" or "stripes".
        pictures: things on walls: (which wall, where along it, height, width, height, colour).
        grain: strength of the fine texture.
    """

    is_outdoor: bool
    half: tuple[float, float]
    ceiling: float
    wall: str
    floor: str
    wall_colour: Colour
    floor_colour: Colour
    sky_colour: Colour
    pictures: tuple[tuple[int, float, float, float, float, Colour], ...]
    boxes: tuple[Box, ...]
    grain: float


def make_place(generator: np.random.Generator) -> Place:
    """A place that no other stream of random numbers gives."""
    half = (float(generator.uniform(2.8, 4.5)), float(generator.uniform(2.8, 4.5)))
    is_outdoor = bool(generator.random() < 0.3)
    boxes = []
    for _ in range(int(generator.integers(3, 8))):
        size = (
            float(generator.uniform(0.4, 1.6)),
            float(generator.uniform(0.4, 1.9)),
            float(generator.uniform(0.4, 0.9)),
        )
        along, out = generator.uniform(-0.9, 0.9), generator.uniform(0.82, 0.95) * generator.choice([-1.0, 1.0])
        x, z = (along * half[0], out * half[1]) if generator.random() < 0.5 else (out * half[0], along * half[1])
        corner = (float(x) - size[0] / 2.0, 0.0, float(z) - size[2] / 2.0)
        boxes.append(Box(corner, size, colour_of(generator.integers(30, 200, 3))))
    pictures = tuple(
        (
            int(generator.integers(4)),
            float(generator.uniform(-0.7, 0.7)),
            float(generator.uniform(0.9, 1.5)),
            float(generator.uniform(0.3, 1.4)),
            float(generator.uniform(0.3, 0.9)),
            colour_of(generator.integers(30, 250, 3)),
        )
        for _ in range(int(generator.integers(0, 5)))
    )
    base = generator.integers(90, 230)
    return Place(
        is_outdoor,
        half,
        float(generator.uniform(2.5, 3.4)),
        str(generator.choice(["plain", "bricks", "stripes", "tiles"])),
        str(generator.choice(["plain", "planks", "tiles"])),
        colour_of(base + generator.integers(-40, 41, 3)),
        colour_of(generator.integers(60, 190) + generator.integers(-30, 31, 3)),
        colour_of(np.array([150, 190, 235]) + generator.integers(-50, 21, 3)),
        pictures,
        tuple(boxes),
        float(generator.uniform(2.0, 7.0)),
    )


class Light(NamedTuple):
    """How bright a recording is: a gain, its gradient over the picture's width and height, and a tint per colour."""

    gain: float
    across: float
    down: float
    tint: tuple[float, float, float]

    def at(self, column_share: float, row_share: float) -> float:
        """The gain at a place of the picture (0 to 1 from left to right, from top to bottom)."""
        return self.gain * (1.0 + self.across * (column_share - 0.5) + self.down * (row_share - 0.5))

    def lit(self, colour: Colour, column_share: float = 0.5, row_share: float = 0.5, shade: float = 1.0) -> Colour:
        """A colour in this light."""
        gain = self.at(column_share, row_share) * shade
        return colour_of(np.array(colour) * np.array(self.tint) * gain)


def make_light(generator: np.random.Generator) -> Light:
    """Dim or bright, even or from a side, warm or cold."""
    warm = generator.uniform(-0.06, 0.06)
    return Light(
        float(generator.uniform(0.55, 1.1)),
        float(generator.uniform(-0.5, 0.5)),
        float(generator.uniform(-0.3, 0.3)),
        (1.0 + float(warm), 1.0, 1.0 - float(warm)),
    )


def paint_place(generator: np.random.Generator, place: Place, camera: Camera, light: Light) -> Image.Image:
    """The empty place as the camera sees it, in its light."""
    size = (camera.width * SMOOTHING, camera.height * SMOOTHING)
    picture = Image.new("RGB", size, place.sky_colour if place.is_outdoor else place.wall_colour)
    painter = Painter(ImageDraw.Draw(picture), camera)
    if place.is_outdoor:
        _paint_yard(generator, place, painter)
    else:
        _paint_walls(place, painter)
    half = place.half if not place.is_outdoor else (40.0, 40.0)
    floor = np.array([[-half[0], 0, -half[1]], [half[0], 0, -half[1]], [half[0], 0, half[1]], [-half[0], 0, half[1]]])
    painter.polygon(floor, place.floor_colour)
    _paint_floor(place, painter)
    centres = [np.array(box.corner) + np.array(box.size) / 2.0 for box in place.boxes]
    away = [float(np.linalg.norm(centre - camera.place)) for centre in centres]
    for _, box in sorted(zip(away, place.boxes, strict=True), key=lambda pair: -pair[0]):
        inside = camera.project(np.array(box.corner) + np.array(box.size) / 2.0)[2]
        if inside > 0.75 * float(np.linalg.norm(camera.place)):  # nothing before the people
            paint_box(painter, box)
    pixels = np.asarray(picture.reduce(SMOOTHING), dtype=np.float32)
    return Image.fromarray(_textured(generator, pixels, place.grain, light))


def _textured(
    generator: np.random.Generator, pixels: NDArray[np.float32], grain: float, light: Light
) -> NDArray[np.uint8]:
    """Fine grain and large stains, then the light."""
    height, width = pixels.shape[:2]
    fine = generator.normal(0.0, grain, (height, width, 1)).astype(np.float32)
    coarse = generator.normal(0.0, 9.0, (7, 9)).astype(np.float32)
    stains = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))[..., None]
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    gain = light.gain * (1.0 + light.across * (across / width - 0.5) + light.down * (down / height - 0.5))
    lit = (pixels + fine + stains) * gain[..., None] * np.array(light.tint, dtype=np.float32)
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


class Painter:
    """Draws shapes given in metres, SMOOTHING times larger; what lies behind the camera is cut off.

    Args:
        origin: column and row of the picture at which the drawing begins.
    """

    def __init__(self, draw: ImageDraw.ImageDraw, camera: Camera, origin: tuple[int, int] = (0, 0)) -> None:
        self._draw, self._camera, self._origin = draw, camera, np.array(origin, dtype=np.float64)

    def polygon(self, corners: Array, colour: Colour) -> None:
        """A filled polygon of (N, 3) corners."""
        points = self._seen(corners)
        if len(points) >= 3:
            self._draw.polygon(points, fill=colour)

    def line(self, start: Array, end: Array, metres: float, colour: Colour) -> None:
        """A line of a thickness in metres."""
        seen = [(corner - self._camera.place) @ self._camera.axes[2] for corner in (start, end)]
        if min(seen) < NEAR_METRES:
            return
        width = max(1, round(SMOOTHING * self._camera.focal * metres / (sum(seen) / 2.0)))
        self._draw.line(self._seen(np.stack([start, end])), fill=colour, width=width)

    def distance(self, corners: Array) -> float:
        """How far the middle of some corners is from the camera, in metres."""
        return float(np.linalg.norm(corners.mean(axis=0) - self._camera.place))

    def faces(self, point: Array, outward: Array) -> bool:
        """Whether the camera sees that side of a plane through a point."""
        return float((self._camera.place - point) @ outward) > 0

    def _seen(self, corners: Array) -> list[tuple[float, float]]:
        depths = (corners - self._camera.place) @ self._camera.axes[2] - NEAR_METRES
        kept: list[Array] = []
        for place in range(len(corners)):
            here, there = depths[place - 1], depths[place]
            if (here >= 0) != (there >= 0):
                kept.append(corners[place - 1] + (corners[place] - corners[place - 1]) * here / (here - there))
            if there >= 0:
                kept.append(corners[place])
        if not kept:
            return []
        pixels = (self._camera.project(np.stack(kept))[:, :2] - self._origin) * SMOOTHING
        pixels = np.clip(pixels, -20_000, 20_000)
        return [(float(column), float(row)) for column, row in pixels]


def shaded(colour: Colour, factor: float) -> Colour:
    """A colour made darker (below 1) or lighter."""
    return colour_of(np.array(colour) * factor)


def paint_box(painter: Painter, box: Box) -> None:
    """A cuboid: its far faces are drawn over by its near ones."""
    x, y, z = box.corner
    w, h, d = box.size
    faces = (
        (0.75, [(x, y, z), (x, y, z + d), (x, y + h, z + d), (x, y + h, z)]),
        (0.75, [(x + w, y, z), (x + w, y, z + d), (x + w, y + h, z + d), (x + w, y + h, z)]),
        (0.9, [(x, y, z), (x + w, y, z), (x + w, y + h, z), (x, y + h, z)]),
        (0.9, [(x, y, z + d), (x + w, y, z + d), (x + w, y + h, z + d), (x, y + h, z + d)]),
        (1.1, [(x, y + h, z), (x + w, y + h, z), (x + w, y + h, z + d), (x, y + h, z + d)]),
    )
    corners = [(factor, np.array(face)) for factor, face in faces]
    corners.sort(key=lambda pair: -painter.distance(pair[1]))
    for factor, face in corners:
        painter.polygon(face, shaded(box.colour, factor))


def _walls(place: Place) -> list[tuple[Array, Array, float]]:
    """The four walls: a corner, the unit vector along, the length; each seen from inside."""
    x, z = place.half
    return [
        (np.array([-x, 0.0, -z]), np.array([1.0, 0.0, 0.0]), 2 * x),
        (np.array([x, 0.0, -z]), np.array([0.0, 0.0, 1.0]), 2 * z),
        (np.array([x, 0.0, z]), np.array([-1.0, 0.0, 0.0]), 2 * x),
        (np.array([-x, 0.0, z]), np.array([0.0, 0.0, -1.0]), 2 * z),
    ]


def _paint_walls(place: Place, painter: Painter) -> None:
    for number, (corner, along, length) in enumerate(_walls(place)):
        inward = np.array([-along[2], 0.0, along[0]])
        if not painter.faces(corner, inward):
            continue
        up = np.array([0.0, place.ceiling, 0.0])
        end = corner + along * length
        tone = shaded(place.wall_colour, (1.0, 0.88, 0.96, 0.84)[number])
        painter.polygon(np.stack([corner, end, end + up, corner + up]), tone)
        line = shaded(tone, 0.82)
        if place.wall in ("bricks", "tiles"):
            step = 0.3 if place.wall == "bricks" else 0.6
            for height in np.arange(step, place.ceiling, step):
                rise = np.array([0.0, float(height), 0.0])
                painter.line(corner + rise, end + rise, 0.02, line)
        if place.wall in ("stripes", "tiles"):
            for step in np.arange(0.3, length, 0.6):
                foot = corner + along * step
                painter.line(foot, foot + up, 0.02 if place.wall == "tiles" else 0.2, line)
        skirting = np.array([0.0, 0.05, 0.0])
        painter.line(corner + skirting, end + skirting, 0.1, shaded(tone, 0.6))
        for which, where, low, wide, high, colour in place.pictures:
            if which == number:
                left = corner + along * (length / 2.0 * (1.0 + where) - wide / 2.0) + np.array([0.0, low, 0.0])
                right, top = left + along * wide, np.array([0.0, high, 0.0])
                painter.polygon(np.stack([left, right, right + top, left + top]), shaded(colour, 0.5))
                inner = along * 0.05 * wide
                painter.polygon(
                    np.stack([left + inner + 0.06 * top, right - inner + 0.06 * top, right - inner + 0.94 * top,
                              left + inner + 0.94 * top]), colour)  # fmt: skip


def _paint_floor(place: Place, painter: Painter) -> None:
    if place.floor == "plain":
        return
    x, z = place.half
    line = shaded(place.floor_colour, 0.85)
    step = 0.25 if place.floor == "planks" else 0.6
    for at in np.arange(-x, x, step):
        painter.line(np.array([at, 0.0, -z]), np.array([at, 0.0, z]), 0.02, line)
    if place.floor == "tiles":
        for at in np.arange(-z, z, step):
            painter.line(np.array([-x, 0.0, at]), np.array([x, 0.0, at]), 0.02, line)


def _paint_yard(generator: np.random.Generator, place: Place, painter: Painter) -> None:
    """Houses and trees around; the ground is painted over their feet."""
    for angle in np.sort(generator.uniform(0.0, 2.0 * np.pi, 14)):
        away = generator.uniform(9.0, 20.0)
        x, z = float(away * np.cos(angle)), float(away * np.sin(angle))
        if generator.random() < 0.5:
            size = (float(generator.uniform(3, 7)), float(generator.uniform(2.5, 6)), float(generator.uniform(2, 4)))
            paint_box(painter, Box((x, 0.0, z), size, shaded(place.wall_colour, float(generator.uniform(0.6, 1.1)))))
        else:
            trunk, crown = np.array([x, 0.0, z]), float(generator.uniform(0.8, 1.8))
            painter.line(trunk, trunk + np.array([0.0, 2.0, 0.0]), 0.25, (84, 62, 44))
            green = colour_of(np.array([60, 105, 50]) + generator.integers(-25, 26, 3))
            turn = np.linspace(0.0, 2.0 * np.pi, 9)
            for flat in (np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])):
                ring = trunk + np.array([0.0, 2.6, 0.0]) + crown * (
                    np.cos(turn)[:, None] * flat + np.sin(turn)[:, None] * np.array([0.0, 1.0, 0.0]))  # fmt: skip
                painter.polygon(ring, green)
