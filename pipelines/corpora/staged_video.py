"""Renders staged videos and encodes them as H.264; where nothing moves, a kept picture gets new noise."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.corpora.staged_actors import Script
from pipelines.corpora.staged_drawing import (
    SHADOW_GAIN,
    darken,
    look_of,
    paint_figure,
    paint_stool,
    shadow_rings,
)
from pipelines.corpora.staged_figures import JOINT, Array, joints
from pipelines.corpora.staged_scenes import Camera, Light, Place, paint_place
from pipelines.corpora.staged_scripts import is_moving
from pipelines.corpora.staged_things import paint_thing

Planes = NDArray[np.uint8]  # (height * 3 / 2, width): luma, then the two colour planes, as yuv420p is laid out

NOISE_MARGIN = 64
PRESET, RATE_FACTOR, NUM_B_PICTURES = "veryfast", 27, 2


class Format(NamedTuple):
    """How a video is encoded: size, pictures per second, and seconds from one key frame to the next."""

    width: int
    height: int
    rate_hz: float
    key_seconds: float

    @property
    def rate(self) -> Fraction:
        """Pictures per second as a fraction."""
        return Fraction(self.rate_hz).limit_denominator(1001)

    @property
    def key_pictures(self) -> int:
        """Pictures from one key frame to the next."""
        return max(1, round(self.key_seconds * self.rate_hz))


class Sensor(NamedTuple):
    """What a camera adds to what it sees.

    Args:
        noise: standard deviation of the luma, in steps of 256.
        drift: (T,) gain of slowly changing light.
        shake: (T, 2) columns and rows by which the picture is shifted; None: it stands on a tripod.
    """

    noise: float
    drift: Array
    shake: Array | None


def make_sensor(generator: np.random.Generator, num_pictures: int, rate_hz: float, *, is_steady: bool) -> Sensor:
    """A camera: all are noisy, light drifts slowly; some that need not be steady shake or flicker."""
    seconds = np.arange(num_pictures) / rate_hz
    period = generator.uniform(60.0, 300.0)
    drift = 1.0 + generator.uniform(0.0, 0.05) * np.sin(2.0 * np.pi * (seconds / period + generator.random()))
    noise = float(generator.uniform(0.8, 2.5))
    if not is_steady and generator.random() < 0.2:
        drift = drift * (1.0 + generator.uniform(0.005, 0.02) * generator.standard_normal(num_pictures))
    shake = None
    if not is_steady and generator.random() < 0.2:
        knots = generator.normal(0.0, generator.uniform(0.4, 1.2), (num_pictures // 4 + 3, 2))
        at = np.arange(num_pictures) / 4.0
        shake = np.stack([np.interp(at, np.arange(len(knots)), knots[:, axis]) for axis in (0, 1)], axis=1)
    return Sensor(noise, drift, shake)


def render(
    generator: np.random.Generator,
    script: Script,
    place: Place,
    camera: Camera,
    light: Light,
    sensor: Sensor,
) -> Iterator[Planes]:
    """The pictures of a script, one after the other."""
    num_pictures = len(sensor.drift)
    scene = _Scene(generator, script, place, camera, light)
    moves = is_moving(script, num_pictures)
    shape = (camera.height + NOISE_MARGIN, camera.width + NOISE_MARGIN)
    grain = np.clip(np.rint(generator.normal(0.0, sensor.noise, shape)), -100, 100).astype(np.int16)
    kept: Planes | None = None
    for number in range(num_pictures):
        if kept is None or moves[number] or sensor.shake is not None:
            picture = scene.picture(number)
            if sensor.shake is not None:
                picture = _shifted(picture, *sensor.shake[number])
            kept = _planes(picture)
        yield _sensed(kept, float(sensor.drift[number]), grain, generator.integers(NOISE_MARGIN, size=2))


def encode(path: Path, pictures: Iterator[Planes], form: Format) -> None:
    """Write pictures as an MP4 file of H.264 with B-frames, whole or not at all; picture i is shown at i / rate."""
    partial = path.with_name(f".{path.name}.part")
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=form.rate)
        stream.width, stream.height, stream.pix_fmt = form.width, form.height, "yuv420p"
        stream.time_base = 1 / form.rate
        key = form.key_pictures
        # One thread, no macroblock tree: x264 gives the same bytes every time (with the tree, one time in some ten it
        # does not, measured with x264's vector code). Scene cuts off: key frames lie where key_seconds puts them.
        stream.options = {"preset": PRESET, "crf": str(RATE_FACTOR), "threads": "1", "bf": str(NUM_B_PICTURES),
                          "g": str(key), "keyint_min": str(key), "sc_threshold": "0",
                          "x264-params": "mbtree=0"}  # fmt: skip
        for number, planes in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, 1 / form.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    partial.replace(path)


class _Scene:
    """Draws the pictures of a script without what the camera adds."""

    def __init__(
        self, generator: np.random.Generator, script: Script, place: Place, camera: Camera, light: Light
    ) -> None:
        self._script, self._camera = script, camera
        self._empty = paint_place(generator, place, camera, light)
        for track in script.tracks:
            if track.seat is not None:
                colour = light.lit(track.cast.body.second)
                paint_stool(self._empty, camera, track.seat, 0.2, colour)
        self._dark = self._empty.point(lambda value: value * SHADOW_GAIN)
        self._seen, self._shadows, self._looks = [], [], []
        for track in script.tracks:
            places = joints(track.cast.body, track.poses)
            seen = camera.project(places)
            middle = seen[0, JOINT["pelvis"]]
            column, row = np.clip(middle[:2] / (camera.width, camera.height), 0.0, 1.0)
            self._seen.append(seen)
            self._shadows.append(shadow_rings(places, camera))
            self._looks.append(look_of(track.cast.body, light, float(column), float(row)))

    def picture(self, number: int) -> Image.Image:
        """The picture of that number."""
        canvas = self._empty.copy()
        for thing, states in self._script.things:
            if thing.kind != "ball":
                paint_thing(canvas, self._dark, thing, float(states[number]), self._camera)
        present = [n for n, track in enumerate(self._script.tracks) if track.present[number]]
        for n in present:
            darken(canvas, self._dark, [(float(x), float(y)) for x, y in self._shadows[n][number]])
        depths = [(float(self._seen[n][number, JOINT["pelvis"], 2]), n, "figure") for n in present]
        for n, (thing, _) in enumerate(self._script.things):
            if thing.kind == "ball":
                depth = float((thing.place - self._camera.place) @ self._camera.axes[2])
                depths.append((depth, n, "ball"))
        for _, n, what in sorted(depths, reverse=True):
            if what == "ball":
                thing, states = self._script.things[n]
                paint_thing(canvas, self._dark, thing, float(states[number]), self._camera)
            else:
                body, look = self._script.tracks[n].cast.body, self._looks[n]
                paint_figure(canvas, body, look, self._seen[n][number], self._camera.focal)
        return canvas


def _shifted(picture: Image.Image, columns: float, rows: float) -> Image.Image:
    """Moved by parts of pixels; cut to the middle, so that no edge is seen."""
    width, height = picture.size
    margin = 4.0
    scale = (width - 2.0 * margin) / width
    data = (scale, 0.0, margin + float(columns), 0.0, scale, margin + float(rows))
    return picture.transform((width, height), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def _planes(picture: Image.Image) -> Planes:
    """As yuv420p, limited range, by whole numbers throughout."""
    luma, blue, red = picture.convert("YCbCr").split()
    height, width = picture.height, picture.width
    full = np.arange(256)
    of_luma = np.rint(16.0 + full * 219.0 / 255.0).astype(np.uint8)
    of_colour = np.rint(128.0 + (full - 128.0) * 224.0 / 255.0).astype(np.uint8)
    planes = [of_luma[np.asarray(luma)], *(of_colour[np.asarray(plane.reduce(2))] for plane in (blue, red))]
    return np.concatenate([plane.ravel() for plane in planes]).reshape(height * 3 // 2, width)


def _sensed(planes: Planes, gain: float, grain: NDArray[np.int16], corner: NDArray[np.int64]) -> Planes:
    """With gain and noise on the luma."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    sensed = planes.copy()
    levels = np.rint(16.0 + (np.arange(256) - 16.0) * gain).astype(np.int16)
    row, column = corner
    luma = levels[planes[:height]] + grain[row : row + height, column : column + width]
    sensed[:height] = np.clip(luma, 0, 255).astype(np.uint8)
    return sensed
