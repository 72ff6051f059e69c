"""Small videos of every kind, made where a test needs them, and a plain full decode to compare with."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

TICKS = 1000  # per second


def moving_picture(number: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3): a textured square that wanders over a slope, with noise; no two pictures are alike."""
    generator = np.random.default_rng(seed)
    texture = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    noise = np.random.default_rng(seed + number).integers(0, 24, (height, width, 3), dtype=np.uint8)
    slope = np.linspace(30, 180, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    picture = (slope + noise).astype(np.uint8)
    top, left = (5 * number) % max(height - 16, 1), (7 * number) % max(width - 16, 1)
    part = picture[top : top + 16, left : left + 16]
    part[:] = texture[: part.shape[0], : part.shape[1]]
    return picture


def make_video(
    path: Path,
    codec: str = "libx264",
    *,
    num_pictures: int = 40,
    size: tuple[int, int] = (64, 48),
    rate_hz: int = 25,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[float] | None = None,
    rotation: int | None = None,
    key_pictures: Sequence[int] = (),
    container_options: dict[str, str] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> Path:
    """Encode moving pictures; skips the test where FFmpeg lacks the encoder."""
    if codec not in av.codecs_available:
        pytest.skip(f"no encoder {codec}")
    width, height = size
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.thread_count = 1
        if codec not in ("mpeg4", "mpeg2video", "mjpeg"):
            stream.codec_context.time_base = Fraction(1, TICKS)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(num_pictures):
            array = moving_picture(number, width, height) if pictures is None else pictures[number]
            frame = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format=pixels)
            time = number / rate_hz if times is None else times[number]
            frame.time_base = Fraction(1, TICKS)
            frame.pts = round(time * TICKS)
            frame.pict_type = av.video.frame.PictureType.I if number in key_pictures else 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def full_decode(path: Path) -> tuple[np.ndarray, list[Any]]:
    """Every picture by a plain loop over the whole file: times in order, frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = [frame for packet in container.demux(stream) for frame in _decoded(stream, packet)]
        base = stream.time_base
    frames.sort(key=lambda frame: frame.pts)
    return np.array([frame.pts * base.numerator / base.denominator for frame in frames]), frames


def _decoded(stream: Any, packet: Any) -> list[Any]:
    try:
        return list(stream.codec_context.decode(packet if packet.size else None))
    except av.FFmpegError:
        return []


def as_array(frame: Any, width: int, height: int, colour: str = "rgb") -> np.ndarray:
    """(channels, height, width), scaled by libswscale's area filter to full range."""
    kind = "gray" if colour == "gray" else "rgb24"
    scaled = frame.reformat(width, height, kind, interpolation="AREA", dst_color_range="JPEG", threads=1).to_ndarray()
    return scaled[None] if colour == "gray" else scaled.transpose(2, 0, 1)


def nearest_by_hand(times: np.ndarray, wanted: float) -> int:
    """The oracle: look at every time; the earlier one of a tie."""
    return min(range(len(times)), key=lambda number: (abs(times[number] - wanted), times[number]))
