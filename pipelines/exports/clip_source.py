"""The audio of a media file on its container's clock, from wherever it is wanted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

JITTER_SECONDS = 0.02  # timestamps that stray less than this from the sample count change nothing
SEEK_BEFORE_SECONDS = 1.0  # lossy decoders need some frames until they give what an uninterrupted pass gives
WORTH_A_SEEK_SECONDS = 10.0
# Containers whose timestamps after a seek are those of an uninterrupted pass; in others (MP3) they may be guesses.
EXACT_SEEKS = {"wav", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aiff", "w64", "caf"}
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class CannotCut(Exception):
    """Why this span, and all later ones, cannot be cut out of the file."""


class SeekMissed(Exception):
    """A seek led behind where it should; only an uninterrupted pass will find the place."""


def opened(source: Path) -> Any:
    """The container, to be closed by whoever asked."""
    try:
        # As in featurizers.media: no protocol is read out of a name, no play list leads to a network.
        return av.open(f"file:{source}", metadata_errors="replace", container_options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError) as error:
        raise CannotCut(f"cannot be opened ({error.strerror})") from error


class Piece(NamedTuple):
    """Decoded samples.

    Args:
        position: media time of the first one, in samples.
        values: (channels, samples) of FFmpeg's sample format.
    """

    position: int
    values: NDArray[Any]

    @property
    def num_samples(self) -> int:
        return int(self.values.shape[1])


class Source:
    """The first audio stream of an open file, on the container's clock; its first frame tells what it is made of."""

    def __init__(self, container: Any, seek: bool) -> None:
        if not container.streams.audio:
            raise CannotCut("it has no audio stream")
        self._container, self._stream = container, container.streams.audio[0]
        self._can_seek = seek and container.format.name in EXACT_SEEKS
        self._frames = container.decode(self._stream)
        self.rate_hz, self._last = 1, Piece(0, np.zeros((1, 0)))
        first = self._next_frame()
        if first is None:
            raise CannotCut("it has no audio samples")
        self._format: str = first.format.name
        self._num_channels: int = first.layout.nb_channels
        if self._num_channels not in LAYOUTS:
            raise CannotCut(f"it has {self._num_channels} channels; a clip has 1 to {max(LAYOUTS)}")
        self.rate_hz = first.sample_rate
        self.packed_format = self._format.removesuffix("p")
        self.kind = _kind(self.packed_format, self._stream.codec_context.name)
        self.layout = LAYOUTS[self._num_channels]
        self.first_position = round((first.time or 0.0) * self.rate_hz)
        self._last = Piece(self.first_position, self._values(first))

    @property
    def _position(self) -> int:
        """Of the next sample, as far as is known before it is read."""
        return self._last.position + self._last.num_samples

    @property
    def read_seconds(self) -> float:
        return self._position / self.rate_hz

    def is_near(self, seconds: float) -> bool:
        """To read on is quicker than to seek."""
        return not self._can_seek or seconds - self.read_seconds < WORTH_A_SEEK_SECONDS

    def pieces(self, from_seconds: float) -> Iterator[Piece]:
        """From there or earlier, to the end; the piece that came last comes once more if nothing has to be skipped."""
        if not self.is_near(from_seconds):
            self._seek(from_seconds)
        yield self._last
        while (frame := self._next_frame()) is not None:
            self._last = self._placed(frame, self._position)
            yield self._last

    def _seek(self, seconds: float) -> None:
        try:
            self._container.seek(int((seconds - SEEK_BEFORE_SECONDS) / self._stream.time_base), stream=self._stream)
        except av.FFmpegError as error:
            raise SeekMissed from error
        self._frames = self._container.decode(self._stream)
        frame = self._next_frame()
        if frame is None or frame.time is None or frame.time > seconds:
            raise SeekMissed
        self._last = self._placed(frame, round(frame.time * self.rate_hz))

    def _next_frame(self) -> Any:
        try:
            return next(self._frames, None)
        except av.FFmpegError as error:
            raise CannotCut(f"decoding broke at {self.read_seconds:.2f} s ({error.strerror})") from error

    def _placed(self, frame: Any, position: int) -> Piece:
        """A frame where its timestamp says, or, if that is hardly elsewhere, right behind what came before."""
        if (frame.sample_rate, frame.layout.nb_channels, frame.format.name) != (
            self.rate_hz,
            self._num_channels,
            self._format,
        ):
            raise CannotCut(f"its sample format changes at {self.read_seconds:.2f} s")
        told = position if frame.time is None else round(frame.time * self.rate_hz)
        return Piece(
            told if abs(told - position) > JITTER_SECONDS * self.rate_hz else position,
            self._values(frame),
        )

    def _values(self, frame: Any) -> NDArray[Any]:
        values: NDArray[Any] = frame.to_ndarray()
        return values if frame.format.is_planar else values.reshape(-1, self._num_channels).T


def _kind(sample_format: str, codec: str) -> str:
    """Which samples a clip needs to lose nothing: what a lossy codec gave as floating point fits 16 bits."""
    if sample_format in ("u8", "s16"):
        return "s16"
    if sample_format == "s32":
        return "s32"
    if sample_format in ("flt", "dbl"):
        return "flt" if codec.startswith("pcm_") else "s16"
    raise CannotCut(f"it has the sample format {sample_format}, which is none of u8, s16, s32, flt, dbl")
