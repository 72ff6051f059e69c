"""Spans cut out of one media file: own rate, own channels, exact to the sample where the container's clock is.

time  -----[=====A=====]----------------------------------------------[==C==]----->
                 [====B====]
read  |seek|decode, write A and B as they come|seek, if 10 s or more lie between|decode, write C|
"""

import contextlib
import errno
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from .clip_source import CannotCut, Piece, SeekMissed, Source, opened

ClipFormat = Literal["flac", "wav"]

MOST_AT_ONCE = 64  # files are open at a time; where more spans overlap, the media are read again
ENCODERS = {  # (format, kind of samples): encoder and its sample format; FLAC holds 24 bits at most
    ("flac", "s16"): ("flac", "s16"),
    ("flac", "s32"): ("flac", "s32"),
    ("flac", "flt"): ("flac", "s32"),
    ("wav", "s16"): ("pcm_s16le", "s16"),
    ("wav", "s32"): ("pcm_s32le", "s32"),
    ("wav", "flt"): ("pcm_f32le", "flt"),
}
DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


class Span(NamedTuple):
    """What to cut, and where to.

    Args:
        begin_seconds, end_seconds: media time, half-open; kept as far as there is audio.
        needed_seconds: media time up to which there must be audio.
        path: file to write.
    """

    begin_seconds: float
    end_seconds: float
    needed_seconds: float
    path: Path


class Cut(NamedTuple):
    """A span that was written, and the media time of the first sample in its file."""

    span: Span
    begin_seconds: float


def cut_spans(source: Path, spans: Sequence[Span], format: ClipFormat) -> Iterator[Cut]:
    """Write the spans, each to its file, and tell of each when it is whole.

    Raises:
        CannotCut: if the rest cannot be written; no half-written file stays.
        OSError: if the disk is full or broken.
    """
    for layer in _layers(spans):
        written = set()
        try:
            for cut in _read(source, layer, format, seek=True):
                written.add(cut.span)
                yield cut
        except SeekMissed:
            yield from _read(source, [span for span in layer if span not in written], format, seek=False)


def _layers(spans: Sequence[Span]) -> list[list[Span]]:
    """All spans, by their begin, in layers within which no more than MOST_AT_ONCE overlap."""
    layers: list[list[Span]] = []
    open_until: list[list[float]] = []
    for span in sorted(spans):
        for layer, ends in zip(layers, open_until, strict=True):
            ends[:] = [end for end in ends if end > span.begin_seconds]
            if len(ends) < MOST_AT_ONCE:
                layer.append(span)
                ends.append(span.end_seconds)
                break
        else:
            layers.append([span])
            open_until.append([span.end_seconds])
    return layers


def _read(source: Path, spans: Sequence[Span], format: ClipFormat, *, seek: bool) -> Iterator[Cut]:
    """One pass over the file; `spans` by their begin."""
    waiting, writing = deque(spans), list[_Writer]()
    with opened(source) as container:
        media = Source(container, seek)
        try:
            while waiting:
                for piece in media.pieces(waiting[0].begin_seconds):
                    while waiting and waiting[0].begin_seconds * media.rate_hz < piece.position + piece.num_samples:
                        writing.append(_Writer(waiting.popleft(), media, format))
                    for writer in writing:
                        writer.feed(piece)
                    full = [writer for writer in writing if writer.is_full]
                    for writer in full:
                        writing.remove(writer)
                        yield writer.close()
                    # Only behind a span: a seek may lead so far before the next one that it would be tried forever.
                    if full and not writing and not (waiting and media.is_near(waiting[0].begin_seconds)):
                        break
                else:
                    for writer in [writer for writer in writing if writer.has_enough]:
                        writing.remove(writer)
                        yield writer.close()
                    if writing or waiting:
                        raise CannotCut(f"the audio ends at {media.read_seconds:.2f} s; was the file changed?")
        finally:
            for writer in writing:
                writer.discard()


class _Writer:
    """One span being written."""

    def __init__(self, span: Span, media: Source, format: ClipFormat) -> None:
        self._span, self._rate_hz = span, media.rate_hz
        self._packed_format, self._layout = media.packed_format, media.layout
        self._begin: int = max(round(span.begin_seconds * self._rate_hz), media.first_position)
        self._next: int = self._begin
        self._end: int = max(round(span.end_seconds * self._rate_hz), self._begin + 1)
        with _disk_trouble(span.path):
            span.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = _created(span.path, format)
            encoder, sample_format = ENCODERS[format, media.kind]
            self._stream = self._container.add_stream(encoder, rate=self._rate_hz)
            self._stream.format, self._stream.layout = sample_format, self._layout

    @property
    def is_full(self) -> bool:
        return self._next >= self._end

    @property
    def has_enough(self) -> bool:
        return self._next > self._begin and self._next / self._rate_hz >= self._span.needed_seconds

    def feed(self, piece: Piece) -> None:
        """Take what belongs to the span; where the container has a gap, silence."""
        missing = min(piece.position, self._end) - self._next
        if missing > 0:
            silence = 128 if piece.values.dtype == np.uint8 else 0
            self._write(np.full((len(piece.values), missing), silence, piece.values.dtype))
        self._write(piece.values[:, max(self._next - piece.position, 0) : max(self._end - piece.position, 0)])

    def _write(self, values: NDArray[Any]) -> None:
        if values.shape[1] == 0:
            return
        interleaved = np.ascontiguousarray(values.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format=self._packed_format, layout=self._layout)
        frame.sample_rate, frame.pts = self._rate_hz, self._next - self._begin
        with _disk_trouble(self._span.path):
            self._container.mux(self._stream.encode(frame))
        self._next += values.shape[1]

    def close(self) -> Cut:
        """Finish the file."""
        with _disk_trouble(self._span.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return Cut(self._span, self._begin / self._rate_hz)

    def discard(self) -> None:
        """Leave no half-written file."""
        with contextlib.suppress(av.FFmpegError):  # what is discarded need not be complete, or fit the disk
            self._container.close()
        self._span.path.unlink(missing_ok=True)


def _created(path: Path, format: ClipFormat) -> Any:  # what its streams are, only the caller knows
    return av.open(str(path), "w", format=format)


@contextlib.contextmanager
def _disk_trouble(path: Path) -> Iterator[None]:
    """Tell trouble with the disk, which ends the job, from an encoder's, which ends one file."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        path.unlink(missing_ok=True)
        if error.errno in DISK_TROUBLE:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise CannotCut(f"its clips cannot be encoded ({error.strerror})") from error
