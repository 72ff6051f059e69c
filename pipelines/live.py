"""Sound as it comes in, events as they end: what `tag` finds in the whole recording, in bounded memory.

    push     |.|.|..|...|.|         any number of samples at a time, at any rate
    blocks   |..|..|..|..|          a few frames, anchored at frame zero, each when its look-ahead is there (feeds)
    line     the walk over a file, block by block (pipelines.line)
    events         [---)   ^        out when no later frame can change them (pipelines.live_decoding)

Resampler, glance and blocks cut the sound in the same places however it was pushed, so pushes of any size give the same
events to the last bit. A file is walked in longer blocks; sums taken in another order move scores by rounding.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import soxr  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurizers import MediaError, array_blocks
from surnn import Gate

from .errors import UsageError
from .events import Event
from .feeds import Block, SoundBlocks
from .line import Line, Watcher
from .live_decoding import LiveDecoder

BLOCK_SECONDS = 0.32  # for so long at most an event waits for a block to be filled
TINY_SECONDS = 0.01  # less than that is not worth a call


class LookAhead(NamedTuple):
    """How long a model listens on after the end of an event before it can name it, by cause, in seconds.

    Args:
        glance: the glance of a frame hears so far beyond its end.
        frames: gate and featurizer see so far ahead, whichever sees further.
        window: by which the windows of a featurizer that cannot be cut are longer than a block.
        backward: closed time that ends a segment of the backward direction.
        longest_backward: the longest that a frame can wait for the end of its segment.
        decoding: how long what comes after an event can still change it, such as a higher peak.
    """

    glance: float
    frames: float
    window: float
    backward: float
    longest_backward: float
    decoding: float

    @property
    def seconds(self) -> float:
        """If the switch stays closed behind the event: from its end, or from that of its last open frame if later."""
        return self.glance + self.frames + self.window + max(self.backward, self.decoding)

    @property
    def longest_seconds(self) -> float:
        """Whatever comes behind the event: from its end."""
        return self.glance + self.frames + self.window + self.longest_backward + self.decoding


def look_ahead_of(line: Line, decoder: LiveDecoder, gate: Gate | None = None) -> LookAhead:
    """What a line of sound and the decoding of its scores wait for."""
    hop, restart = line.grid.hop_seconds, line.encoder.restart
    backward = longest = 0.0
    if restart is not None:
        backward = math.inf if restart.after_closed is None else restart.after_closed
        # A segment's open frames are at most so many, each at most `backward` frames after the one before it.
        longest = backward * (math.inf if restart.after_open is None else max(1, restart.after_open - 1))
    blocks = _blocks_of(line, 0)
    return LookAhead(
        glance=line.glance.needs.right_seconds,
        frames=line.context(gate or line.gate).look_frames * hop,
        window=(blocks.block_frames - blocks.glance_frames) * hop,
        backward=backward * hop,
        longest_backward=longest * hop,
        decoding=decoder.delay_seconds,
    )


class _Blocks(NamedTuple):
    """Frames of all blocks but the first, of the first, and of what is glanced at together."""

    block_frames: int
    first_frames: int
    glance_frames: int


def _blocks_of(line: Line, look_frames: int) -> _Blocks:
    most = max(1, math.floor(BLOCK_SECONDS / line.grid.hop_seconds + 1e-6))
    window = line.featurizer.needs.block_frames
    if window == 1:
        return _Blocks(most, most - look_frames % most, most)
    # Whole windows from frame zero on: a block waits for its frames, and then for its part of the glance.
    glance = max(1, most // 2)
    block = window * max(1, glance // window)
    return _Blocks(block, block, min(block, glance))


class LiveStream:
    """One recording that is pushed in while it goes on.

    Args:
        line: of sound.
        decoder: a fresh one, of the grid that begins with the stream.
        rate_hz: of what is pushed.
        gate: instead of the line's own.
        channel: hear this one; None: the mean of all.
        watcher: looks on, block by block, as in `Line.follow`; it sees which frames were open.

    Attributes:
        num_frames: of the recording whose switch is known.
        num_open: of these, how many were open.

    Raises:
        UsageError: if the line reads video.
    """

    def __init__(
        self,
        line: Line,
        decoder: LiveDecoder,
        rate_hz: int,
        *,
        gate: Gate | None = None,
        channel: int | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        require_sound(line)
        self._line, self._decoder, self._gate, self._watcher = line, decoder, gate or line.gate, watcher
        self._ear = _Ear(rate_hz, line.rate_hz, channel)
        look, behind = line.context(self._gate, watcher.behind_frames if watcher else 0)
        blocks = _blocks_of(line, look)
        self._blocks = SoundBlocks(
            line.glance,
            line.grid,
            blocks.block_frames,
            look_frames=look,
            behind_frames=behind,
            keeps_sound=line.featurizer.needs.reads == "audio" or watcher is not None,
            glance_frames=blocks.glance_frames,
            first_frames=blocks.first_frames,
        )
        self._carry = line.encoder.begin()
        self._has_ended = False
        self.num_frames = self.num_open = 0

    @property
    def seconds(self) -> float:
        """Pushed so far."""
        return self._ear.seconds

    @property
    def frames_open(self) -> float:
        """Share of frames that the switch left open so far, in [0, 1]."""
        return self.num_open / self.num_frames if self.num_frames else 0.0

    @torch.inference_mode()
    def push(self, samples: Tensor | NDArray[Any]) -> list[Event]:
        """Hear more; the events that are now sure, sorted by onset. Times are seconds on the stream's clock.

        Args:
            samples: (samples,) or (channels, samples), any number of them; in [-1, 1], or int16.

        Raises:
            featurizers.MediaError: if that is no sound.
            UsageError: if the stream has ended.
        """
        if self._has_ended:
            raise UsageError("this stream has ended; open another one with model.stream(rate_hz)")
        events: list[Event] = []
        if samples.shape[-1]:
            ready = self._ear.hear(samples)
            if len(ready):
                for block in self._blocks.add(ready):
                    events += self._visit(block)
        return sorted(events)

    @torch.inference_mode()
    def end(self) -> list[Event]:
        """No more sound comes: the events that are left, sorted by onset. Nothing if the stream had ended."""
        if self._has_ended:
            return []
        self._has_ended = True
        events: list[Event] = []
        for blocks in (self._blocks.add(self._ear.end()), self._blocks.end()):
            for block in blocks:
                events += self._visit(block)
        if self._watcher:
            self._watcher.end()
        events += self._decoder.add(self._line.finish(self._carry), self.num_frames)
        return sorted(events + self._decoder.end(self._blocks.seconds))

    def _visit(self, block: Block) -> list[Event]:
        step = self._line.visit(block, self._gate, self._carry)
        self._carry = step.carry
        self.num_frames += block.num_frames
        self.num_open += len(step.decided.index)
        if self._watcher:
            self._watcher.see(block, step.decided)
        return self._decoder.add(step.held, step.num_settled)


class _Ear:
    """Whatever is pushed, as mono samples at the model's rate; how it was cut changes none of them."""

    def __init__(self, source_rate_hz: int, rate_hz: int, channel: int | None) -> None:
        array_blocks(np.zeros(1, np.float32), source_rate_hz, rate_hz)  # refuses odd rates
        self._source_rate_hz, self._channel = source_rate_hz, channel
        self._waiting: list[NDArray[Any]] = []
        self._num_waiting = self._num_heard = 0  # samples
        self._resampler = None
        if source_rate_hz != rate_hz:  # as featurizers.media does it
            self._resampler = soxr.ResampleStream(source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")

    @property
    def seconds(self) -> float:
        return (self._num_heard + self._num_waiting) / self._source_rate_hz

    def hear(self, samples: Tensor | NDArray[Any]) -> Tensor:
        """What is ready, perhaps nothing."""
        array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
        if self._waiting and (array.shape[:-1], array.dtype) != (self._waiting[0].shape[:-1], self._waiting[0].dtype):
            ready = self._mono()  # each kind by itself
        else:
            ready = np.zeros(0, np.float32)
        self._waiting.append(array.copy())  # whoever pushes may use its memory again
        self._num_waiting += array.shape[-1]
        if self._num_waiting >= TINY_SECONDS * self._source_rate_hz:
            ready = np.concatenate([ready, self._mono()])
        return self._resampled(ready, is_last=False)

    def end(self) -> Tensor:
        """What is left."""
        return self._resampled(self._mono(), is_last=True)

    def _mono(self) -> NDArray[np.float32]:
        if not self._num_waiting:
            return np.zeros(0, np.float32)
        joined, begin = np.concatenate(self._waiting, axis=-1), self._num_heard / self._source_rate_hz
        self._num_heard, self._num_waiting, self._waiting = self._num_heard + joined.shape[-1], 0, []
        try:
            with array_blocks(joined, self._source_rate_hz, self._source_rate_hz, channel=self._channel) as stream:
                (mono,) = stream.blocks(joined.shape[-1])
        except MediaError as error:
            raise MediaError(f"{error} (counted from {begin:.3f} s of the stream)", begin) from error
        return mono.numpy()

    def _resampled(self, samples: NDArray[np.float32], *, is_last: bool) -> Tensor:
        if self._resampler is None or not self._num_heard:
            return torch.from_numpy(samples)
        return torch.from_numpy(self._resampler.resample_chunk(samples, last=is_last))


def require_sound(line: Line) -> None:
    """Only a model of sound can be streamed.

    Raises:
        UsageError: if the line reads video.
    """
    if line.is_video:
        raise UsageError(
            "this model reads video, which cannot be streamed: the rule is that streams are of sound; "
            "tag recorded files with model.tag or python -m pipelines.tag"
        )
