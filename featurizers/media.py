"""Audio of any container and codec as mono blocks at the rate you ask for, in bounded memory, on the container's clock.

    file --> packets --> frames --> mono float32 --> gaps filled, overlaps trimmed --> resampler --> blocks
             (FFmpeg through PyAV)                   (container timestamps)            (soxr, HQ)

Sample i of the stream stands for media time start_seconds + i / rate_hz.
"""

import itertools
import math
import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import av
import numpy as np
import soxr  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor

Samples = NDArray[np.float32]

JITTER_SECONDS = 0.02  # how far timestamps may stray from the sample count before anything is filled or trimmed
LONGEST_GAP_SECONDS = 86_400.0
LONGEST_OVERLAP_SECONDS = 10.0
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 100, 10_000_000
LOUDEST = 1e6  # full scale is 1; files of floats in 16-bit units still pass, damaged ones do not
FLAC_FRAME_SAMPLES = 4096  # decodes in 0.19 ms per second of 16 kHz; FFmpeg's own choice, 1152, takes 0.27
ARRAY_PIECE_SAMPLES = 65_536
EXACT_LENGTHS = {"flac", "mov,mp4,m4a,3gp,3g2,mj2", "aiff", "w64", "caf"}  # containers whose header states the length

# FFmpeg's sample formats: (offset, scale) to [-1, 1].
SCALES = {"u8": (128.0, 2.0**-7), "s16": (0.0, 2.0**-15), "s32": (0.0, 2.0**-31), "s64": (0.0, 2.0**-63)}


class MediaError(ValueError):
    """A media file or an array that cannot be read, or not to its end.

    Args:
        message: one line that names the thing, the place and the reason.
        read_seconds: how much of it was read before it broke.
    """

    def __init__(self, message: str, read_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.read_seconds = read_seconds


class AudioStream:
    """Mono audio at one rate, read once from start to end. A context manager; leaving it closes the file.

    Args:
        pieces: mono float32 at `source_rate_hz`, in order.
        name: what messages call it.
        rate_hz: rate of the blocks.
        source_rate_hz: rate of the file.
        num_channels: channels of the file at its start.
        start_seconds: the container's timestamp of the first decoded sample, unaltered.
        duration_seconds: what the container claims; good for a progress bar only.
        metadata: tags of the container and of the audio stream (Ogg keeps them there), as FFmpeg names them.
        close: called once, when the stream is closed.
    """

    def __init__(
        self,
        pieces: Iterator[Samples],
        name: str,
        *,
        rate_hz: int,
        source_rate_hz: int,
        num_channels: int,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
        metadata: Mapping[str, str] = MappingProxyType({}),
        close: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.rate_hz = rate_hz
        self.source_rate_hz = source_rate_hz
        self.num_channels = num_channels
        self.start_seconds = start_seconds
        self.duration_seconds = duration_seconds
        self.metadata = metadata
        self._pieces: Iterator[Samples] | None = pieces
        self._close = close

    def blocks(self, num_samples: int) -> Iterator[Tensor]:
        """Mono float32 blocks of exactly `num_samples`, the last one shorter; block size never changes a sample.

        Raises:
            MediaError: where the file breaks, or holds what is not audio.
            ValueError: if num_samples < 1, or if the stream was read before.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples={num_samples} must be at least 1")
        if self._pieces is None:
            raise ValueError(f"{self.name} was read already; a stream can be read once, open it again")
        pieces, self._pieces = self._pieces, None
        return self._cut(_resample(pieces, self.source_rate_hz, self.rate_hz), num_samples)

    def _cut(self, pieces: Iterator[Samples], num_samples: int) -> Iterator[Tensor]:
        waiting: list[Samples] = []
        num_waiting = num_cut = 0
        for piece in pieces:
            waiting.append(piece)
            num_waiting += len(piece)
            if num_waiting < num_samples:
                continue
            joined = np.concatenate(waiting)
            whole = num_waiting - num_waiting % num_samples
            for first in range(0, whole, num_samples):
                yield torch.from_numpy(joined[first : first + num_samples])
            waiting, num_waiting, num_cut = [joined[whole:]], num_waiting - whole, num_cut + whole
        if num_waiting:
            yield torch.from_numpy(np.concatenate(waiting))
        elif not num_cut:
            raise MediaError(f"{self.name} is shorter than one sample at {self.rate_hz} Hz")

    def close(self) -> None:
        """Close the file. Harmless when closed already."""
        if self._close is not None:
            self._close()
            self._close = None
        self._pieces = None

    def __enter__(self) -> "AudioStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_audio(path: str | os.PathLike[str], rate_hz: int, *, channel: int | None = None) -> AudioStream:
    """The first audio stream of a media file, as mono blocks at `rate_hz`.

    Timestamps are honoured: a gap of more than 20 ms is filled with silence, an overlap of more than 20 ms trimmed.

    Args:
        path: a local file of any container and codec that FFmpeg reads.
        rate_hz: rate of the blocks.
        channel: the channel to read; None: the mean over all channels.

    Raises:
        MediaError: if the file is missing, a folder, empty, not media, without audio or samples, or lacks `channel`.
    """
    name = os.fspath(path)
    _check_rate(name, rate_hz)
    container = open_container(name)
    try:
        if not container.streams.audio:
            kinds = sorted({stream.type for stream in container.streams}) or ["nothing that FFmpeg knows"]
            raise MediaError(f"{name} has no audio stream; it holds {', '.join(kinds)}")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise MediaError(f"{name} has an audio stream in a codec that FFmpeg does not know")
        stream.codec_context.thread_count = 1
        frames = _frames(container, stream, name)
        first = next(frames, None)
        if first is None:
            raise MediaError(f"{name} has an audio stream without a single sample")
        _check_rate(name, first.sample_rate)
        num_channels = first.layout.nb_channels
        _check_channel(name, channel, num_channels)
        length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
        if length is None and container.duration:
            length = container.duration / 1e6
        return AudioStream(
            _on_the_clock(itertools.chain([first], frames), name, container.format.name, channel),
            name,
            rate_hz=rate_hz,
            source_rate_hz=first.sample_rate,
            num_channels=num_channels,
            start_seconds=first.time or 0.0,
            duration_seconds=None if length is None else float(length),
            metadata=container.metadata | stream.metadata,
            close=container.close,
        )
    except BaseException:
        container.close()
        raise


def array_blocks(
    samples: Tensor | NDArray[Any],
    source_rate_hz: int,
    rate_hz: int,
    *,
    channel: int | None = None,
    start_seconds: float = 0.0,
) -> AudioStream:
    """An array in memory as the same stream that a file gives.

    Args:
        samples: (samples,) or (channels, samples); int16, or float32 or float64 in [-1, 1].
        source_rate_hz: rate of the array.
        rate_hz: rate of the blocks.
        channel: the channel to read; None: the mean over all channels.
        start_seconds: media time of the first sample.

    Raises:
        MediaError: if the array is empty, of another shape or type, holds NaN or infinity, or lacks `channel`.
    """
    array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else np.asarray(samples)
    name = "the array"
    _check_rate(name, source_rate_hz)
    _check_rate(name, rate_hz)
    if array.dtype not in (np.int16, np.float32, np.float64):
        raise MediaError(f"{name} is of type {array.dtype}; it must be int16, or float32 or float64 in [-1, 1]")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise MediaError(f"{name} has the shape {array.shape}; it must be (samples,) or (channels, samples), not empty")
    array = np.atleast_2d(array)
    if len(array) > 64 and len(array) > array.shape[1]:
        raise MediaError(
            f"{name} has {len(array)} channels of {array.shape[1]} samples; transpose it: channels come first"
        )
    _check_channel(name, channel, len(array))
    kind = "s16" if array.dtype == np.int16 else "flt"

    def pieces() -> Iterator[Samples]:
        for first in range(0, array.shape[1], ARRAY_PIECE_SAMPLES):
            piece = array[:, first : first + ARRAY_PIECE_SAMPLES]
            yield _to_mono(piece, kind, channel, name, first / source_rate_hz, source_rate_hz)

    return AudioStream(
        pieces(),
        name,
        rate_hz=rate_hz,
        source_rate_hz=source_rate_hz,
        num_channels=len(array),
        start_seconds=start_seconds,
        duration_seconds=array.shape[1] / source_rate_hz,
    )


def write_audio(path: str | os.PathLike[str], samples: Tensor | NDArray[Any], rate_hz: int) -> None:
    """Write 16-bit FLAC; the file appears under its name only when it is whole.

    Args:
        path: where to; an existing file is replaced.
        samples: (samples,) or (channels, samples), float in [-1, 1] or int16.
        rate_hz: rate of the samples.

    Raises:
        ValueError: if the samples are empty, not finite, or beyond [-1, 1].
        OSError: if the disk is full or the folder cannot be written.
    """
    array = np.atleast_2d(samples.detach().cpu().numpy() if isinstance(samples, Tensor) else np.asarray(samples))
    if array.ndim != 2 or 0 in array.shape or len(array) > 8:
        raise ValueError(f"samples have the shape {array.shape}; FLAC holds 1 to 8 channels, channels first, not empty")
    if array.dtype != np.int16:
        peak = float(np.abs(array).max())
        if not peak <= 1.0:
            raise ValueError(f"samples reach {peak:g}, but must lie in [-1, 1]; scale them before writing")
        array = np.clip(np.rint(array * 32768.0), -32768, 32767).astype(np.int16)
    target = Path(path)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    layout = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}[len(array)]
    try:
        with av.open(str(scratch), "w", format="flac") as container:
            stream = container.add_stream("flac", rate=rate_hz, options={"frame_size": str(FLAC_FRAME_SAMPLES)})
            stream.layout = layout
            stream.format = "s16"
            interleaved = np.ascontiguousarray(array.T)
            for first in range(0, len(interleaved), FLAC_FRAME_SAMPLES):
                part = interleaved[first : first + FLAC_FRAME_SAMPLES].reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
                frame.sample_rate, frame.pts = rate_hz, first
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def open_container(path: str | os.PathLike[str]) -> Any:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError(f"{path} does not exist") from error
    except (OSError, ValueError):
        status = None  # FFmpeg will say what it thinks of it
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{path} is a folder, not a media file")
    if status is not None and stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes)")
    try:
        # "file:" keeps FFmpeg from reading a protocol out of a name; the list keeps play lists off the network.
        return av.open(f"file:{path}", metadata_errors="replace", container_options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise MediaError(f"{path} cannot be read: permission denied") from error
        raise MediaError(f"{path} is not a media file that FFmpeg can read: {error.strerror}") from error


def _frames(container: Any, stream: Any, path: str) -> Iterator[Any]:
    """Decoded frames; MediaError where decoding breaks or the file ends before the length that its header promises."""
    num_samples, rate_hz = 0, 1
    try:
        for frame in container.decode(stream):
            yield frame
            num_samples, rate_hz = num_samples + frame.samples, frame.sample_rate
    except av.FFmpegError as error:
        read = num_samples / rate_hz
        reason = f"decoding broke at {read:.2f} s ({error.strerror})"
        raise MediaError(f"{path} is damaged or cut off: {reason}", read) from error
    promised = _promised_seconds(container, stream, path)
    read = num_samples / rate_hz
    if num_samples and promised is not None and read < promised - max(0.25, 0.001 * promised):
        raise MediaError(
            f"{path} is cut off: its header promises {promised:.2f} s, the audio ends at {read:.2f} s", read
        )


def _promised_seconds(container: Any, stream: Any, path: str) -> float | None:
    """Length stated by the header, for containers that state it exactly."""
    if container.format.name == "wav":
        return _promised_wav_seconds(path)
    if container.format.name in EXACT_LENGTHS and stream.duration:
        return float(stream.duration * stream.time_base)
    return None


def _promised_wav_seconds(path: str) -> float | None:
    """Length by the RIFF header, which FFmpeg cuts to the file's size; None if left open, as recorders and pipes do."""
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF":
            return None
        file.seek(12)
        bytes_per_second = 0
        while len(header := file.read(8)) == 8:
            kind, size = struct.unpack("<4sI", header)
            if kind == b"fmt ":
                bytes_per_second = struct.unpack("<8xI", file.read(12))[0]
                file.seek(size - 12, os.SEEK_CUR)
            elif kind == b"data":
                is_open = size in (0, 0xFFFFFFFF) or not bytes_per_second
                return None if is_open else size / bytes_per_second
            else:
                file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _on_the_clock(frames: Iterator[Any], name: str, container: str, channel: int | None) -> Iterator[Samples]:
    """Mono pieces whose sample count follows the container's timestamps."""
    position = 0  # samples since the first, silence included
    start: float | None = None
    rate_hz = 0
    for frame in frames:
        rate_hz = rate_hz or frame.sample_rate
        read = position / rate_hz
        if frame.sample_rate != rate_hz:
            change = f"from {rate_hz} to {frame.sample_rate} Hz at {read:.2f} s"
            raise MediaError(f"{name} changes its sample rate {change}; convert it to one rate", read)
        if frame.pts is None and container == "flac":  # FFmpeg's FLAC parser loses count only where it lost the stream
            raise MediaError(f"{name} is damaged: the FLAC stream broke at {read:.2f} s", read)
        values = frame.to_ndarray()
        if not frame.format.is_planar:
            values = values.reshape(-1, frame.layout.nb_channels).T
        mono = _to_mono(values, frame.format.name.rstrip("p"), channel, name, read, rate_hz)
        if frame.pts is not None:
            start = frame.time if start is None else start
            ahead = round((frame.time - start) * rate_hz) - position
            if abs(ahead) > JITTER_SECONDS * rate_hz:
                if not -LONGEST_OVERLAP_SECONDS < ahead / rate_hz < LONGEST_GAP_SECONDS:
                    raise MediaError(f"{name}: its timestamps jump by {ahead / rate_hz:.1f} s at {read:.2f} s", read)
                position += max(ahead, 0)
                for first in range(0, ahead, ARRAY_PIECE_SAMPLES):
                    yield np.zeros(min(ARRAY_PIECE_SAMPLES, ahead - first), np.float32)
                mono = mono[max(-ahead, 0) :]
        position += len(mono)
        yield mono


def _to_mono(
    values: NDArray[Any], kind: str, channel: int | None, name: str, at_seconds: float, rate_hz: int
) -> Samples:
    """(channels, samples) of any of FFmpeg's sample formats to mono float32; full scale is 1."""
    if channel is not None:
        _check_channel(name, channel, len(values), at_seconds)
        values = values[channel : channel + 1]
    if kind in SCALES:
        offset, scale = SCALES[kind]
        scaled = (values.astype(np.float32) - np.float32(offset)) * np.float32(scale)
    elif kind in ("flt", "dbl"):
        if values.size and not np.abs(values).max() <= LOUDEST:
            bad = int(np.argmax((~(np.abs(values) <= LOUDEST)).any(axis=0)))
            what, when = values[:, bad].tolist(), at_seconds + bad / rate_hz
            raise MediaError(f"{name} holds {what} at {when:.3f} s, which is no sound; full scale is 1", when)
        scaled = values.astype(np.float32)
    else:
        raise MediaError(
            f"{name} has the sample format {kind}, which is none of u8, s16, s32, s64, flt, dbl", at_seconds
        )
    mono: Samples = scaled[0] if len(scaled) == 1 else scaled.mean(axis=0)
    return mono


def _resample(pieces: Iterator[Samples], source_rate_hz: int, rate_hz: int) -> Iterator[Samples]:
    """One linear-phase resampler over the whole stream: its result does not depend on how the stream is cut."""
    if source_rate_hz == rate_hz:
        yield from pieces
        return
    resampler = soxr.ResampleStream(source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
    for piece in pieces:
        yield resampler.resample_chunk(np.ascontiguousarray(piece))
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _check_rate(name: str, rate_hz: int) -> None:
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ or math.floor(rate_hz) != rate_hz:
        raise MediaError(
            f"{name}: a sample rate of {rate_hz} Hz is not a whole number from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
        )


def _check_channel(name: str, channel: int | None, num_channels: int, at_seconds: float = 0.0) -> None:
    if channel is not None and not 0 <= channel < num_channels:
        where = f" at {at_seconds:.2f} s" if at_seconds else ""
        raise MediaError(f"{name} has no channel {channel}{where}; it has channels 0 to {num_channels - 1}", at_seconds)
