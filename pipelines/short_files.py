"""Which of many short recordings the switch leaves closed from start to end: all of them in a few calls.

    file 0  |====|            samples of each, silence behind: one shape per call
    file 1  |=======|
    file 2  |==|
    glance  |====   |=======   |==     |      one behind the other, its context apart
    switch  (files, frames, glance size)      each to its own length

A walk over half a second costs a millisecond of its own. Most files of most archives open nothing, and of them nothing
but that need be known. Files computed together differ from a walk of their own by rounding; so only those count as
closed that stay below the threshold by far more, all others get a walk. Hence what is found never depends on which
files were looked at together.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from featurizers import AudioStream, MediaError

from .exports.recording_start import recording_start
from .feeds import sound_glance
from .line import Line

SHAPES = (16, 32, 64, 128)  # frames; longer recordings are not short
FRAMES_PER_CALL = 1024
SURE_LOGITS = 0.01  # rounding moves a logit by some 1e-5


class Closed(NamedTuple):
    """A recording that the switch leaves closed from start to end.

    Args:
        path: of the file.
        seconds: its duration.
        start_seconds: of its first sample, on the media clock.
        recording_start: ISO 8601, "" where nothing tells.
        sample_rate_hz: its own.
        work_seconds: to read it, and its part of what was done for all.
    """

    path: str
    seconds: float
    start_seconds: float
    recording_start: str
    sample_rate_hz: int
    work_seconds: float


class _Short(NamedTuple):
    closed: Closed  # if it is
    samples: Tensor
    num_frames: int


def closed_files(
    line: Line, paths: Iterable[str], *, channel: int | None = None, at: Callable[[str], None]
) -> Iterator[Closed]:
    """Those of the files that are short, can be read, and are surely closed from start to end.

    Nothing is said of the others: what they are, a walk will show.

    Args:
        line: whose switch decides; one that reads video, or whose switch learned nothing, knows of no closed file.
        paths: of files.
        channel: the one to hear; None: the mean of all.
        at: told each path before it is opened, "" before all are computed.
    """
    if line.is_video or line.glance.needs.block_frames > 1:
        return
    by_shape: dict[int, list[_Short]] = {}
    for path in paths:
        at(path)
        short = _read(line, path, channel)
        if short is not None:
            shape = next(shape for shape in SHAPES if shape >= short.num_frames)
            by_shape.setdefault(shape, []).append(short)
    at("")
    for shape, shorts in by_shape.items():
        num_files = FRAMES_PER_CALL // shape
        for first in range(0, len(shorts), num_files):
            yield from _closed(line, shorts[first : first + num_files], shape)


def _read(line: Line, path: str, channel: int | None) -> _Short | None:
    """All samples of a short recording; None of what is long or cannot be read."""
    begun, longest = time.perf_counter(), SHAPES[-1] * line.grid.elements_per_frame(line.rate_hz)
    try:
        with line.open(path, channel=channel) as stream:
            assert isinstance(stream, AudioStream)  # a line that reads video asks for no file
            if stream.duration_seconds is None or stream.duration_seconds * line.rate_hz > longest:
                return None
            blocks = list(itertools.islice(stream.blocks(longest), 2))
    except (MediaError, OSError):
        return None
    if len(blocks) > 1:
        return None
    seconds = len(blocks[0]) / line.rate_hz
    start, own_rate_hz = recording_start(path, stream.metadata), stream.source_rate_hz
    closed = Closed(path, seconds, stream.start_seconds, start, own_rate_hz, time.perf_counter() - begun)
    return _Short(closed, blocks[0], line.grid.num_frames(seconds))


@torch.inference_mode()
def _closed(line: Line, shorts: list[_Short], num_frames: int) -> Iterator[Closed]:
    begun = time.perf_counter()
    lengths = torch.tensor([short.num_frames for short in shorts])
    ends: dict[str, Any] = {"lengths": lengths} if line.gate.lookahead_frames else {}
    switch = line.gate.switch(_glance(line, shorts, num_frames), 0, **ends)
    if switch.logits is None:
        return
    is_inside = torch.arange(num_frames) < lengths[:, None]
    may_open = ((switch.frames > 0) | (switch.logits > -SURE_LOGITS)) & is_inside
    each_seconds = (time.perf_counter() - begun) / len(shorts)
    for short, opens in zip(shorts, may_open.any(dim=1).tolist(), strict=True):
        if not opens:
            yield short.closed._replace(work_seconds=short.closed.work_seconds + each_seconds)


def _glance(line: Line, shorts: list[_Short], num_frames: int) -> Tensor:
    """Glance (files, num_frames, G) of recordings laid one behind the other with silence between."""
    per_frame = line.grid.elements_per_frame(line.rate_hz)
    left, right = (round(seconds * line.rate_hz) for seconds in line.glance.needs[2:4])
    step = num_frames - (-(left + right) // per_frame)  # frames from file to file
    samples = torch.zeros(left + len(shorts) * step * per_frame + right)
    for place, short in enumerate(shorts):
        begin = left + place * step * per_frame
        samples[begin : begin + len(short.samples)] = short.samples
    rows = sound_glance(line.glance, line.grid, samples, 0, len(shorts) * step)
    return rows.view(len(shorts), step, -1)[:, :num_frames]
