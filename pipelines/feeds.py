"""What a line reads of one recording, block by block: glance rows of every frame, and a source for open runs.

sound    |....block 0....|....block 1....|..      read once, streamed, at most three blocks in memory
video    |....block 0....|....block 1....|..      packets are read once and wait, undecoded, for the decision
glance   |....block 0....|....block 1....|..      every frame
blocks           |....block 0....|                anchored at frame zero, given once their look-ahead is there

A file is pulled, a live stream is pushed (SoundBlocks.add): the walk over blocks is the same.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from featurizers import (
    AudioSource,
    Damage,
    Featurizer,
    Grid,
    Packets,
    PacketSource,
    PictureFormat,
    Pictures,
    PictureSource,
    Stretch,
    VideoStream,
    cut_stretch,
)


class Samples(Protocol):
    """Mono audio that arrives in blocks; a file (featurizers.open_audio) or an array (featurizers.array_blocks)."""

    start_seconds: float

    def blocks(self, num_samples: int) -> Iterator[Tensor]: ...


class Block(NamedTuple):
    """Frames [first, first + num) to decide on, within glance rows (and a source) that hold their context."""

    first_frame: int
    num_frames: int
    glance: Tensor  # (rows, G); row 0 is frame `glance_offset`
    glance_offset: int
    source: AudioSource | PictureSource  # what a featurizer reads that does not read the glance


class PictureCounts(NamedTuple):
    """Pictures in a video, and how many of them were decoded (for a glance that reads pictures, all are)."""

    read: int = 0
    decoded: int = 0


class Feed(Protocol):
    """One recording as a line asks for it.

    start_seconds: of its first frame, on the media clock.
    seconds: heard or seen so far; after the last block, the recording's duration.
    pictures: of a video, read so far.
    damage: what could not be read or decoded so far, by time.
    """

    start_seconds: float
    seconds: float

    @property
    def pictures(self) -> PictureCounts: ...

    @property
    def damage(self) -> Sequence[Damage]: ...

    def blocks(self, look_frames: int, behind_frames: int) -> Iterator[Block]:
        """All blocks in order, each with so many frames of context; can be asked for once."""
        ...


class _Rows:
    """Glance rows that still matter; row 0 is frame `offset`."""

    def __init__(self, size: int) -> None:
        self.rows, self.offset = torch.zeros(0, size), 0

    def add(self, rows: Tensor) -> None:
        self.rows = torch.cat([self.rows, rows])

    def drop_before(self, frame: int) -> None:
        frame = max(self.offset, frame)
        self.rows, self.offset = self.rows[frame - self.offset :], frame


class SoundBlocks:
    """Blocks of sound that is pushed in, in pieces of any size; each comes once its look-ahead is there.

    How the sound was cut into pieces changes nothing.

    Args:
        glance: reads "audio".
        grid: the model's frames.
        block_frames: frames of a block.
        look_frames, behind_frames: of context that a block's glance and source hold after and before it.
        keeps_sound: whether a block's source holds the sound of its frames, which takes time to carry along; else only
            what the glance has still to look at.
        glance_frames: frames that are glanced at together; None: as many as a block has.
        first_frames: of the first block; None: as many as all others have. Where look-ahead and block add up to whole
            parts of the glance, no block waits for more than it needs.
    """

    def __init__(
        self,
        glance: Featurizer,
        grid: Grid,
        block_frames: int,
        *,
        look_frames: int,
        behind_frames: int,
        keeps_sound: bool,
        glance_frames: int | None = None,
        first_frames: int | None = None,
    ) -> None:
        self._glance, self._grid, self._block_frames = glance, grid, block_frames
        self._look_frames, self._behind_frames, self._keeps_sound = look_frames, behind_frames, keeps_sound
        self._glance_frames = glance_frames or block_frames
        self._next_frames = first_frames or block_frames  # of the next block
        self._rate_hz = round(glance.needs.rate_hz)
        self._frame_samples = grid.elements_per_frame(self._rate_hz)
        self._left, self._right = (round(seconds * self._rate_hz) for seconds in glance.needs[2:4])
        # The silence before the start counts as heard.
        self._audio, self._audio_offset = torch.zeros(self._left), -self._left
        self._waiting: list[Tensor] = []
        self._rows = _Rows(glance.size)
        self._heard = self._glanced = self._decided = 0  # samples, frames, frames

    @property
    def seconds(self) -> float:
        """Heard so far."""
        return self._heard / self._rate_hz

    def add(self, samples: Tensor) -> Iterator[Block]:
        """The blocks that these samples (n,) at the glance's rate complete; to be used up before more is added."""
        self._waiting.append(samples)
        self._heard += samples.numel()
        num_frames = max(0, (self._heard - self._right) // self._frame_samples)
        num_frames -= num_frames % self._glance_frames
        if num_frames > self._glanced:
            self._join()
            while self._glanced < num_frames:
                self._look(self._glance_frames)
                yield from self._blocks(is_last=False)
            self._forget()

    def end(self) -> Iterator[Block]:
        """The blocks that are left, when no more sound comes; the last one may be shorter."""
        num_frames = self._grid.num_frames(self.seconds)
        fill = num_frames * self._frame_samples + self._right - self._heard
        self._waiting.append(torch.zeros(max(fill, 0)))
        self._join()
        while self._glanced < num_frames:
            self._look(min(self._glance_frames, num_frames - self._glanced))
            yield from self._blocks(is_last=self._glanced == num_frames)
        yield from self._blocks(is_last=True)

    def _join(self) -> None:
        self._audio, self._waiting = torch.cat([self._audio, *self._waiting]), []

    def _look(self, num_frames: int) -> None:
        """Glance at so many frames more."""
        begin = self._glanced * self._frame_samples - self._left - self._audio_offset
        samples = self._audio[begin : begin + self._left + num_frames * self._frame_samples + self._right]
        self._rows.add(sound_glance(self._glance, self._grid, samples, self._glanced, num_frames))
        self._glanced += num_frames

    def _blocks(self, *, is_last: bool) -> Iterator[Block]:
        """The blocks that have their look-ahead; of the last part of a recording all that are left."""
        while self._glanced > self._decided:
            if not is_last and self._glanced < self._decided + self._next_frames + self._look_frames:
                return
            count = min(self._next_frames, self._glanced - self._decided)
            source = AudioSource(self._audio, self._audio_offset)
            yield Block(self._decided, count, self._rows.rows, self._rows.offset, source)
            self._decided, self._next_frames = self._decided + count, self._block_frames
            self._rows.drop_before(self._decided - self._behind_frames)

    def _forget(self) -> None:
        glanced = self._glanced
        needed = min(glanced, self._decided - self._behind_frames) if self._keeps_sound else glanced
        keep = max(self._audio_offset, needed * self._frame_samples - self._left)
        # a copy: what is seen of a long push would hold all of it
        self._audio, self._audio_offset = self._audio[keep - self._audio_offset :].clone(), keep


class SoundFeed:
    """Blocks of a recording of sound.

    Args:
        stream: audio at the glance's rate.
        glance, grid, block_frames, keeps_sound: see SoundBlocks.
    """

    def __init__(
        self, stream: Samples, glance: Featurizer, grid: Grid, block_frames: int, *, keeps_sound: bool = True
    ) -> None:
        self.damage: Sequence[Damage] = ()  # sound that cannot be read is an error
        self.start_seconds, self.seconds, self.pictures = stream.start_seconds, 0.0, PictureCounts()
        self._stream, self._glance, self._grid, self._block_frames = stream, glance, grid, block_frames
        self._keeps_sound = keeps_sound

    def blocks(self, look_frames: int, behind_frames: int) -> Iterator[Block]:
        """All blocks in order."""
        blocks = SoundBlocks(
            self._glance,
            self._grid,
            self._block_frames,
            look_frames=look_frames,
            behind_frames=behind_frames,
            keeps_sound=self._keeps_sound,
        )
        num_samples = self._block_frames * self._grid.elements_per_frame(round(self._glance.needs.rate_hz))
        for samples in self._stream.blocks(num_samples):
            for block in blocks.add(samples):
                self.seconds = blocks.seconds
                yield block
        self.seconds = blocks.seconds
        yield from blocks.end()


def sound_glance(glance: Featurizer, grid: Grid, samples: Tensor, first_frame: int, num_frames: int) -> Tensor:
    """Glance rows (num_frames, G) of samples that hold these frames and their context."""
    start = grid.onset_seconds(first_frame) - glance.needs.left_seconds
    stretch = Stretch(samples[None], torch.tensor([start], dtype=torch.float64))
    return glance.evaluate(stretch, torch.tensor([first_frame]), num_frames)[0]


class _SinceStart:
    """A video whose times are counted from its first picture, as a model's grid counts them."""

    def __init__(self, stream: VideoStream) -> None:
        self.stream = stream

    def pictures(self, times: Tensor, picture: PictureFormat) -> Pictures:
        """The pictures nearest to (N,) seconds since the first one."""
        found = self.stream.pictures(times + self.stream.start_seconds, picture)
        return found._replace(times=found.times - self.stream.start_seconds)

    def packets(self, onset_seconds: float, offset_seconds: float) -> Packets:
        """The packets of a stretch of time."""
        start = self.stream.start_seconds
        found = self.stream.packets(onset_seconds + start, offset_seconds + start)
        return found._replace(times=found.times - start)


class VideoFeed:
    """Blocks of a video, of which nothing is decoded but what a featurizer asks of a block's source.

    A glance that reads pictures decodes all of them, from a stream of its own.

    Args:
        stream: an opened video.
        glance: reads "packets" or "pictures".
        grid: the model's frames.
        block_frames: frames of a block.
        glance_stream: the same video, opened once more, for a glance that reads pictures.
    """

    def __init__(
        self,
        stream: VideoStream,
        glance: Featurizer,
        grid: Grid,
        block_frames: int,
        glance_stream: VideoStream | None = None,
    ) -> None:
        self.start_seconds, self.seconds = stream.start_seconds, 0.0
        self._stream, self._glance, self._grid, self._block_frames = stream, glance, grid, block_frames
        self._looked_at = glance_stream

    @property
    def damage(self) -> Sequence[Damage]:
        """What could not be read or decoded so far, by time; also of what a glance decoded."""
        return sorted({*self._stream.damage, *(self._looked_at.damage if self._looked_at else ())})

    @property
    def pictures(self) -> PictureCounts:
        """Pictures read and decoded so far; those that a glance decoded are not decoded again in what is counted."""
        looked_at = self._looked_at.pictures_decoded if self._looked_at else 0
        return PictureCounts(self._stream.packets_read, max(self._stream.pictures_decoded, looked_at))

    def blocks(self, look_frames: int, behind_frames: int) -> Iterator[Block]:
        """All blocks in order."""
        stream, rows, source = self._stream, _Rows(self._glance.size), _SinceStart(self._stream)
        glanced = decided = 0
        while True:
            count = self._block_frames
            end_seconds = self._grid.onset_seconds(glanced + count)
            stream.read_until(self.start_seconds + end_seconds + self._glance.needs.right_seconds)
            if stream.ended:
                self.seconds = stream.end_seconds - self.start_seconds
                count = min(count, max(0, self._grid.num_frames(self.seconds) - glanced))
            else:
                self.seconds = end_seconds
            if count:
                rows.add(self._look(glanced, count))
                glanced += count
            is_last = stream.ended and glanced >= self._grid.num_frames(self.seconds)
            while decided < glanced and (is_last or glanced >= decided + self._block_frames + look_frames):
                count = min(self._block_frames, glanced - decided)
                yield Block(decided, count, rows.rows, rows.offset, source)
                decided += count
                rows.drop_before(decided - behind_frames)
            if is_last:
                return
            needed = min(
                self._grid.onset_seconds(glanced) - self._glance.needs.left_seconds,
                self._grid.onset_seconds(decided - behind_frames),
            )
            stream.forget(self.start_seconds + needed - 0.5 * self._grid.hop_seconds)  # times round

    def _look(self, first_frame: int, num_frames: int) -> Tensor:
        """Glance rows (num_frames, G)."""
        needs, first = self._glance.needs, torch.tensor([first_frame])
        begin = self._grid.onset_seconds(first_frame) - needs.left_seconds
        end = self._grid.onset_seconds(first_frame + num_frames) + needs.right_seconds
        if self._looked_at is None:
            source: PacketSource | PictureSource = PacketSource(_SinceStart(self._stream).packets(begin, end))
        else:
            source = _SinceStart(self._looked_at)
            self._looked_at.read_until(self.start_seconds + end)
            self._looked_at.forget(self.start_seconds + begin - 0.5 * self._grid.hop_seconds)  # times round
        return self._glance.evaluate(cut_stretch(needs, self._grid, source, first, num_frames), first, num_frames)[0]
