"""Sound from a microphone, a pipe, a file or a URL, piece by piece as it comes."""

import importlib
import itertools
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from featurizers import MediaError, open_audio
from featurizers.media import HIGHEST_RATE_HZ, LOWEST_RATE_HZ

from .errors import UsageError, UserError

PIECE_SECONDS = 0.02
MOST_BEHIND_SECONDS = 30.0  # sound that may wait for a slow machine
SILENT_URL_SECONDS = 30.0  # without a byte, after which a URL counts as gone

# What `--format` calls raw samples: numpy's type, and what is taken off and multiplied to reach [-1, 1].
FORMATS = {
    "u8": ("u1", 128.0, 2.0**-7),
    "s16le": ("<i2", 0.0, 2.0**-15),
    "s32le": ("<i4", 0.0, 2.0**-31),
    "f32le": ("<f4", 0.0, 1.0),
}


class Source(NamedTuple):
    """Sound that goes on.

    Args:
        name: what messages call it.
        rate_hz: samples per second.
        own_rate_hz: the same before anything was resampled.
        start_seconds: of the first sample, on the clock of the events.
        is_live: whether it comes as it happens, so that the clock on the wall says when.
        pieces: (channels, samples) or (samples,), in [-1, 1] or int16, in order; can be read once.
    """

    name: str
    rate_hz: int
    own_rate_hz: int
    start_seconds: float
    is_live: bool
    pieces: Iterator[NDArray[Any]]


def from_file(path: str, rate_hz: int, channel: int | None) -> Source:
    """A recording, heard as `tag` hears it: mono, resampled to `rate_hz`, gaps filled.

    Raises:
        featurizers.MediaError: if it cannot be read.
    """
    stream = open_audio(path, rate_hz, channel=channel)

    def pieces() -> Iterator[NDArray[Any]]:
        with stream:
            for block in stream.blocks(round(rate_hz * PIECE_SECONDS)):
                yield block.numpy()

    return Source(path, rate_hz, stream.source_rate_hz, stream.start_seconds, False, pieces())


def from_url(url: str) -> Source:
    """The first audio stream of whatever FFmpeg opens by this address; gaps in it are not filled.

    Raises:
        featurizers.MediaError: if it cannot be opened, or has no sound.
    """
    try:
        container: Any = av.open(url, metadata_errors="replace", timeout=SILENT_URL_SECONDS)
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{url} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    try:
        if not container.streams.audio:
            raise MediaError(f"{url} has no audio stream")
        frames = container.decode(container.streams.audio[0])
        first = next(frames, None)  # only decoding tells the rate of some codecs
        if first is None:
            raise MediaError(f"{url} has an audio stream without a single sample")
    except BaseException as error:
        container.close()
        if isinstance(error, av.FFmpegError):
            raise MediaError(f"{url} cannot be decoded: {error.strerror}") from error
        raise

    def pieces() -> Iterator[NDArray[Any]]:
        to_float = av.AudioResampler(format="fltp")
        try:
            for frame in itertools.chain([first], frames):
                for part in to_float.resample(frame):
                    yield part.to_ndarray()
        except (av.FFmpegError, OSError, ValueError) as error:  # a ValueError: another rate or other channels
            raise MediaError(f"{url} broke off: {getattr(error, 'strerror', None) or error}") from error
        finally:
            container.close()

    return Source(url, first.sample_rate, first.sample_rate, 0.0, True, pieces())


def from_pipe(file: BinaryIO, rate_hz: int, kind: str, num_channels: int) -> Source:
    """Raw samples, the channels of each moment side by side.

    Args:
        file: read as bytes come.
        rate_hz: of the samples.
        kind: one of FORMATS.
        num_channels: how many are side by side.

    Raises:
        UsageError: if that is no sample rate.
    """
    _check_rate(rate_hz)
    dtype, offset, scale = FORMATS[kind]
    size = np.dtype(dtype).itemsize * num_channels
    file = getattr(file, "raw", file)  # while it waits, a buffered reader is locked, and Python cannot end
    read = getattr(file, "read1", file.read)  # what is there, without waiting for more

    def pieces() -> Iterator[NDArray[Any]]:
        left = b""
        while data := read(size * max(1, round(rate_hz * PIECE_SECONDS))):
            left += data
            whole = len(left) - len(left) % size
            if whole:
                values = np.frombuffer(left[:whole], dtype).reshape(-1, num_channels).T
                left = left[whole:]
                yield (values.astype(np.float32) - np.float32(offset)) * np.float32(scale)
        if left:
            raise UserError(
                f"the pipe ended within a sample: {len(left)} bytes of {size} are left over; "
                f"is it really {kind} with {num_channels} channels?"
            )

    return Source("the pipe", rate_hz, rate_hz, 0.0, True, pieces())


def from_microphone(name: str | None, rate_hz: int | None, num_channels: int) -> Source:
    """What a microphone hears from now on.

    Args:
        name: name or number of the input; None: the system's choice.
        rate_hz: None: the input's own.
        num_channels: to record.

    Raises:
        UsageError: if that is no sample rate, the package sounddevice is missing, or there is no such input.
    """
    if rate_hz is not None:
        _check_rate(rate_hz)
    sounddevice = _sounddevice()
    device = int(name) if name is not None and name.isdecimal() else name
    heard: queue.Queue[NDArray[Any]] = queue.Queue()

    def hear(samples: NDArray[Any], _frames: int, _time: object, status: Any) -> None:
        if status.input_overflow:
            print("the microphone's sound was not fetched in time; some is lost", file=sys.stderr)
        heard.put(samples.T.copy())

    try:
        rate_hz = rate_hz or round(sounddevice.query_devices(device, "input")["default_samplerate"])
        microphone = sounddevice.InputStream(
            samplerate=rate_hz,
            blocksize=round(rate_hz * PIECE_SECONDS),
            device=device,
            channels=num_channels,
            dtype="float32",
            callback=hear,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        which = "the microphone" if name is None else f"--microphone {name}"
        raise UsageError(f"{which} cannot be opened: {error}; python -m sounddevice lists the inputs") from error

    def pieces() -> Iterator[NDArray[Any]]:
        with microphone:
            while True:
                if heard.qsize() * PIECE_SECONDS > MOST_BEHIND_SECONDS:
                    raise UserError(
                        f"this machine is {2 * MOST_BEHIND_SECONDS:g} s behind the microphone: the model is too slow "
                        "for it; stop other programs, or use a smaller model"
                    )
                yield heard.get()

    return Source("the microphone", rate_hz, rate_hz, 0.0, True, pieces())


def _check_rate(rate_hz: int) -> None:
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise UsageError(f"--rate {rate_hz} must be from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} samples per second")


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ModuleNotFoundError as error:
        raise UsageError(
            "a microphone is read with the package sounddevice, which is not installed; "
            "run `pip install sounddevice`, or name a file, a URL, or - for a pipe"
        ) from error
    except OSError as error:  # the package is there, but not PortAudio
        raise UsageError(f"sounddevice cannot be used: {error}; install PortAudio (libportaudio2)") from error


class Reader:
    """The pieces of a source, read in a thread of their own, so that whoever waits for one can be interrupted."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pieces: queue.Queue[NDArray[Any] | BaseException | None]
        self._pieces = queue.Queue(round(MOST_BEHIND_SECONDS / PIECE_SECONDS))
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def num_waiting(self) -> int:
        """Pieces that are there already."""
        return self._pieces.qsize()

    def next(self, wait_seconds: float) -> NDArray[Any] | None:
        """The next piece; None: the source has ended.

        Raises:
            queue.Empty: if none came in time.
            featurizers.MediaError, UserError: what the source breaks off with.
        """
        piece = self._pieces.get(timeout=wait_seconds)
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def _read(self) -> None:
        try:
            for piece in self._source.pieces:
                self._pieces.put(piece)
        except BaseException as error:
            self._pieces.put(error)
        else:
            self._pieces.put(None)
