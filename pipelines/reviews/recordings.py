"""One pass over a recording, however long: mel, switch and scores in few columns, samples of the shown stretches.

file      |....block....|....block....|..   decoded once
windows        |--|        |--|             their samples are kept: clips and pictures of events
overview  |..|..|..|..|..|..|..|..|..|..    the loudest mel frame, the share open, the highest score of each column
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.feeds import Block, Samples
from pipelines.heads import scores_at
from pipelines.line import Decided, Line, Track
from pipelines.model import Model
from pipelines.stretches import read_pictures, view_of

OVERVIEW_COLUMNS = 1200
FILM_PICTURES = 20
LONGEST_FILM_SECONDS = 120.0
BLOCK_SECONDS = 10
CHUNK_FRAMES = 50_000


class Window(NamedTuple):
    """A stretch around an event, in seconds of media time."""

    begin_seconds: float
    end_seconds: float


class Frames(NamedTuple):
    """Switch and scores at N frames, or at N columns of several frames each.

    Args:
        begin_seconds, hop_seconds: where the first begins, and from one to the next.
        is_open: (N,) float, share of each that the switch opened.
        scores: (N, C) in [0, 1], the highest of each.
    """

    begin_seconds: float
    hop_seconds: float
    is_open: NDArray[np.float32]
    scores: NDArray[np.float32]


class Overview(NamedTuple):
    """A whole recording in few columns, its log-mel (columns, bands) or film; None: a video too long for a film."""

    frames: Frames
    top: NDArray[np.generic] | None


class Seen(NamedTuple):
    """What one pass gave.

    Args:
        begin_seconds, seconds: where the recording begins on the media clock, and its length.
        windows: as they were asked for, cut to where there is something; None: there is nothing.
        samples: of each window; empty of a video.
        tops: log-mel or film of each window.
        frames: of each window; None: the recording was not followed.
        overview: None: likewise.
    """

    begin_seconds: float
    seconds: float
    windows: list[Window | None]
    samples: list[Tensor]
    tops: list[NDArray[np.generic] | None]
    frames: list[Frames] | None
    overview: Overview | None


class Looker:
    """Looks at recordings the way the job did.

    Args:
        model: that found the events.
        gate: "learned" or "open", as the job had it.
        channel: that the job heard; None: the mean of all.
    """

    def __init__(self, model: Model, *, gate: str = "learned", channel: int | None = None) -> None:
        self.model, self._gate, self._channel = model, gate, channel

    def look(self, source: Path, seconds: float, windows: Sequence[Window], *, follow: bool) -> Seen:
        """One pass over a recording.

        Args:
            source: media file.
            seconds: its length, as the job heard it.
            windows: whose samples, pictures and frames are wanted; they may overlap.
            follow: walk the model over it, for switch, scores and overview.

        Raises:
            featurizers.MediaError: if it cannot be read.
        """
        line = self.model.line
        track = None
        ear: _Ear | None = None
        painter = _Painter(line, seconds)
        with line.open(source, channel=self._channel) as stream:
            begin = stream.start_seconds
            if line.is_video:
                track = line.follow(stream, gate=self.model.gate_named(self._gate)) if follow else None
            else:
                ear = _Ear(stream, line.rate_hz, windows)  # type: ignore[arg-type]
                if follow:
                    track = line.follow(ear, gate=self.model.gate_named(self._gate), watcher=painter)
                else:
                    ear.listen()
        samples = ear.cuts() if ear else []
        kept = [_cut(window, begin, begin + seconds) for window in windows]
        tops: list[NDArray[np.generic] | None]
        if line.is_video:
            tops = [None if window is None else view_of(line, source, *window)[0] for window in kept]
        else:
            ends = [
                max(begin, window.begin_seconds) + len(cut) / line.rate_hz
                for window, cut in zip(windows, samples, strict=True)
            ]
            kept = [_cut(window, begin, end) for window, end in zip(windows, ends, strict=True)]
            tops = [_mel_of(line, cut) if len(cut) else None for cut in samples]
        if track is None:
            return Seen(begin, seconds, kept, samples, tops, None, None)
        each = max(1, -(-track.is_open.numel() // OVERVIEW_COLUMNS))
        frames = [_frames(track, *_within(track, window), 1) for window in windows]
        top = _film(source, begin, track.seconds) if line.is_video else painter.mel()
        return Seen(begin, track.seconds, kept, samples, tops, frames, Overview(_frames(track, 0, None, each), top))


def _cut(window: Window, begin_seconds: float, end_seconds: float) -> Window | None:
    """A window as far as the recording reaches; None if it lies outside."""
    begin, end = max(begin_seconds, window.begin_seconds), min(end_seconds, window.end_seconds)
    return Window(begin, end) if begin < end else None


def _mel(line: Line, rows: Tensor) -> Tensor:
    """Glance rows as a log-mel, or as they are where the glance has none."""
    return line.glance.mel_rows(rows) if hasattr(line.glance, "mel_rows") else rows


def _mel_of(line: Line, samples: Tensor) -> NDArray[np.generic]:
    """Log-mel of short samples, without the silence that fills their last frame."""
    mel = _mel(line, line.glance_of(samples)).numpy()
    seconds = samples.numel() / line.rate_hz
    filled_seconds = line.grid.num_frames(seconds) * line.grid.hop_seconds
    return mel[: max(1, round(len(mel) * seconds / filled_seconds))]


def _film(source: Path, begin_seconds: float, seconds: float) -> NDArray[np.uint8] | None:
    if seconds > LONGEST_FILM_SECONDS:  # the packets of a film are in memory at once
        return None
    places = (torch.arange(FILM_PICTURES).double() + 0.5) / FILM_PICTURES
    return read_pictures(source, begin_seconds + places * seconds)


def _within(track: Track, window: Window) -> tuple[int, int]:
    """First frame and end frame of a window, as far as the recording goes."""
    begin, end = ((at - track.grid.origin_seconds) / track.grid.hop_seconds for at in window)
    num_frames = track.is_open.numel()
    return min(max(0, int(begin)), num_frames), min(max(0, round(end)), num_frames)


def _frames(track: Track, first: int, end: int | None, each: int) -> Frames:
    """Frames [first, end) of a track, `each` of them to a column."""
    end = track.is_open.numel() if end is None else end
    opened, scores = [], []
    for start in range(first, end, CHUNK_FRAMES // each * each or each):  # scores of a day at once would not fit
        stop = min(end, start + (CHUNK_FRAMES // each * each or each))
        cuts = np.arange(0, stop - start, each)
        at = scores_at(track.held, track.grid, torch.arange(start, stop)).sigmoid().numpy()
        scores.append(np.maximum.reduceat(at, cuts))
        widths = np.diff(np.append(cuts, stop - start))
        opened.append(np.add.reduceat(track.is_open[start:stop].numpy().astype(np.float32), cuts) / widths)
    hop = track.grid.hop_seconds
    begin = track.grid.origin_seconds + first * hop
    if not scores:
        return Frames(begin, hop * each, np.zeros(0, np.float32), np.zeros((0, track.held.level.shape[1]), np.float32))
    return Frames(begin, hop * each, np.concatenate(opened).astype(np.float32), np.concatenate(scores))


class _Ear:
    """Passes a recording's blocks on, and keeps the samples of some windows."""

    def __init__(self, stream: Samples, rate_hz: int, windows: Sequence[Window]) -> None:
        self.start_seconds = stream.start_seconds
        self._stream, self._rate_hz, self._windows = stream, rate_hz, windows
        self._pieces: list[list[Tensor]] = [[] for _ in windows]

    def blocks(self, num_samples: int) -> Iterator[Tensor]:
        at = 0
        for block in self._stream.blocks(num_samples):
            for pieces, (begin, end) in zip(self._pieces, self._windows, strict=True):
                first = max(0, round((begin - self.start_seconds) * self._rate_hz) - at)
                last = min(block.numel(), round((end - self.start_seconds) * self._rate_hz) - at)
                if first < last:
                    pieces.append(block[first:last].clone())
            at += block.numel()
            yield block

    def listen(self) -> None:
        """Read no further than the last window."""
        last = max((window.end_seconds for window in self._windows), default=0.0)
        at = self.start_seconds
        for block in self.blocks(BLOCK_SECONDS * self._rate_hz):
            at += block.numel() / self._rate_hz
            if at >= last:
                return

    def cuts(self) -> list[Tensor]:
        """The samples of each window, as far as the recording goes."""
        return [torch.cat(pieces) if pieces else torch.zeros(0) for pieces in self._pieces]


class _Painter:
    """Keeps the loudest mel frame of each column while a line follows a recording."""

    behind_frames = 0

    def __init__(self, line: Line, seconds: float) -> None:
        self._line, self._rows = line, list[Tensor]()
        self._each = max(1, -(-line.grid.num_frames(max(seconds, line.grid.hop_seconds)) // OVERVIEW_COLUMNS))
        self._rest = torch.zeros(0, line.glance.size)

    def see(self, block: Block, decided: Decided) -> None:
        begin = block.first_frame - block.glance_offset
        rows = torch.cat([self._rest, block.glance[begin : begin + decided.num_frames]])
        whole = len(rows) // self._each * self._each
        self._rest = rows[whole:].clone()
        self._keep(rows[:whole])

    def end(self) -> None:
        self._keep(self._rest)

    def _keep(self, rows: Tensor) -> None:
        if not len(rows):
            return
        mel = _mel(self._line, rows)
        per_column = max(1, self._each * len(mel) // len(rows))
        if self._each == 1:  # few frames: every row of them
            self._rows.append(mel.clone())
        else:
            self._rows += [part.amax(0, keepdim=True) for part in torch.split(mel, per_column)]

    def mel(self) -> NDArray[np.generic]:
        """(columns, bands)."""
        return torch.cat(self._rows).numpy() if self._rows else np.zeros((1, 1), np.float32)
