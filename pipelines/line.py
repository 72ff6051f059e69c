"""The way of the data: media -> glance -> frame switch -> open runs -> featurizer -> suRNN -> level and decay.

    feed     |....block 0....|....block 1....|..      sound or video, glance of every frame (pipelines.feeds)
    switch           |....block 0....|                blocks anchored at frame zero, once their look-ahead is there
    runs                 ==   ===  =                  open frames, short gaps bridged: only these reach the featurizer
    encoder, head        ..   ...  .                  open frames only, state carried from block to block

The dense twin is the same walk with an open gate: one run per block, the same glance, the same batching.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from featurizers import (
    AudioSource,
    AudioStream,
    Damage,
    Featurizer,
    GlanceSource,
    Grid,
    VideoStream,
    array_blocks,
    context_frames,
    evaluate_crops,
    evaluate_runs,
    open_audio,
    open_video,
    plan_runs,
    silence_frame,
)
from surnn import Gate

from .encoder import Carry, Encoder
from .errors import UsageError, UserError
from .feeds import Block, Feed, PictureCounts, Samples, SoundFeed, VideoFeed, sound_glance
from .heads import Head, Held
from .walked import Walked

SOUND_FRAMES = 750  # of a block
VIDEO_FRAMES = 128  # of a block: pictures of all of them may be in memory

Source = str | Path | Tensor | NDArray[Any]  # a media file, or an array of sound
Progress = Callable[[float], None]  # seconds of the recording that were heard or seen so far


class Track(NamedTuple):
    """All that the line says of one recording of T frames.

    Args:
        held: level and decay at the open frames.
        is_open: (T,) bool.
        switch_logits: (T,) what the frame switch thresholds; None for a gate that learned nothing.
        grid: the model's grid, its origin at the recording's first sample on the media clock.
        frames_featurized: frames that the featurizer computed (open ones and bridged gaps).
        seconds: duration of the recording.
        pictures: of a video.
        damage: what of a video could not be read or decoded, by time; the nearest picture stood in.
    """

    held: Held
    is_open: Tensor
    switch_logits: Tensor | None
    grid: Grid
    frames_featurized: int
    seconds: float
    pictures: PictureCounts = PictureCounts()
    damage: tuple[Damage, ...] = ()


class Context(NamedTuple):
    """Frames that a block needs around it: so many after it, so many before it."""

    look_frames: int
    behind_frames: int


class Decided(NamedTuple):
    """What the walk knew of a block's N open frames when it had decided: enough to go over them again.

    Args:
        first_frame, num_frames: the block.
        index: (N,) int64, the open frames, counted on the grid.
        features: (N, F) of them.
        carry: what the encoder remembered before the block.
    """

    first_frame: int
    num_frames: int
    index: Tensor  # type: ignore[assignment]  # shadows tuple.index, which nobody needs here
    features: Tensor
    carry: Carry


class Step(NamedTuple):
    """What the line found in a block of T frames.

    Args:
        is_open: (T,) bool.
        switch_logits: (T,) what the frame switch thresholds; None for a gate that learned nothing.
        held: level and decay at the open frames that were answered, of this block or of those before it.
        num_settled: frames of the recording whose score is known; all of them but for those that a backward direction
            has still to reach.
        frames_featurized: frames that the featurizer computed.
        decided: what the block was answered from.
        carry: what the encoder remembers for the next block.
    """

    is_open: Tensor
    switch_logits: Tensor | None
    held: Held
    num_settled: int
    frames_featurized: int
    decided: Decided
    carry: Carry


class Watcher(Protocol):
    """Whoever looks on while a line follows a recording (pipelines.audit); what the line finds does not depend on it.

    `see` is called after every block, `end` after the last one. Source and glance of `behind_frames` frames before a
    block are kept for it.
    """

    behind_frames: int

    def see(self, block: Block, decided: Decided) -> None: ...

    def end(self) -> None: ...


class Line(nn.Module):
    """Glance, gate, featurizer, encoder and head on one grid."""

    def __init__(
        self, *, grid: Grid, glance: Featurizer, gate: Gate, featurizer: Featurizer, encoder: Encoder, head: Head
    ) -> None:
        super().__init__()
        _check_reads(glance, featurizer)
        num_neurons = getattr(gate, "num_neurons", None)
        if num_neurons is not None:
            raise UsageError(
                f"num_neurons={num_neurons}: a line skips whole frames and would not heed the neuron switch; "
                "leave num_neurons out of the recipe, or use surnn.SuGRU by itself"
            )
        self.grid, self.glance, self.gate, self.featurizer = grid, glance, gate, featurizer
        self.encoder, self.head = encoder, head
        self.is_video = glance.needs.reads != "audio"
        self.rate_hz = round(glance.needs.rate_hz)  # of sound
        window = featurizer.needs.block_frames  # windows anchored at frame zero stay whole within a block
        self.block_frames = -(-(VIDEO_FRAMES if self.is_video else SOUND_FRAMES) // window) * window
        with torch.inference_mode():
            self.silence = silence_frame(glance, grid)

    @property
    def trains_featurizer(self) -> bool:
        """Whether the featurizer has weights that training changes, so that its features cannot be cached."""
        featurizer = self.featurizer
        return isinstance(featurizer, nn.Module) and any(weight.requires_grad for weight in featurizer.parameters())

    def open(
        self, source: Source, *, rate_hz: int | None = None, channel: int | None = None
    ) -> AudioStream | VideoStream:
        """A recording ready to be followed: a media file, or an array (samples,) or (channels, samples) of sound.

        Raises:
            featurizers.MediaError: if the source cannot be read as what the line reads.
            UserError: if an array has no rate, or is given to a line that reads video.
        """
        if self.is_video:
            if not isinstance(source, str | Path):
                raise UserError("this model reads video files; give the path of one, not an array")
            if channel is not None:
                raise UserError(f"channel={channel}: this model reads pictures, which have no channels; leave it out")
            return open_video(source)
        if isinstance(source, str | Path):
            return open_audio(source, self.rate_hz, channel=channel)
        if rate_hz is None:
            raise UserError("an array has no sample rate of its own; give rate_hz=, its samples per second")
        return array_blocks(source, rate_hz, self.rate_hz, channel=channel)

    def feed(self, stream: Samples | VideoStream) -> Feed:
        """The stream's blocks, as this line wants them."""
        if isinstance(stream, VideoStream):
            twin = open_video(stream.name) if self.glance.needs.reads == "pictures" else None
            return VideoFeed(stream, self.glance, self.grid, self.block_frames, twin)
        reads_sound = self.featurizer.needs.reads == "audio"
        return SoundFeed(stream, self.glance, self.grid, self.block_frames, keeps_sound=reads_sound)

    def _features(self, block: Block, is_open: Tensor) -> tuple[Tensor, int]:
        """Features (N, F) of the block's open frames, and how many frames were computed for them."""
        needs = self.featurizer.needs
        context = sum(context_frames(needs, self.grid))  # a run of its own costs about as much as so many frames more
        runs = plan_runs(is_open, bridge_frames=context, block_frames=needs.block_frames, first_frame=block.first_frame)
        reads_glance = needs.reads == "glance"
        source = GlanceSource(block.glance, self.silence, block.glance_offset) if reads_glance else block.source
        rows = evaluate_runs(self.featurizer, self.grid, runs, source)
        frames = torch.cat([torch.arange(run.first_frame, run.first_frame + run.num_frames) for run in runs])
        place = frames - block.first_frame  # blocks of a windowed featurizer may reach beyond the recording's end
        is_wanted = (place < block.num_frames) & is_open[place.clamp_max(block.num_frames - 1)]
        return rows.features[is_wanted], rows.num_featurized

    def context(self, gate: Gate, behind_frames: int = 0) -> Context:
        """The frames around a block that gate, featurizer and whoever looks `behind_frames` back ask for."""
        left, right = context_frames(self.featurizer.needs, self.grid)
        look = max(gate.lookahead_frames, right)
        return Context(look, max(gate.lookback_frames, left + behind_frames))

    @torch.inference_mode()
    def visit(self, block: Block, gate: Gate, carry: Carry) -> Step:
        """Decide on one block, and answer its open frames.

        Args:
            block: the one after the last one visited.
            gate: what decides.
            carry: of the step before; at the start of a recording `encoder.begin()`.
        """
        start = max(block.glance_offset, block.first_frame - gate.lookback_frames)
        end = block.first_frame + block.num_frames + gate.lookahead_frames
        seen = block.glance[start - block.glance_offset : end - block.glance_offset]
        here = slice(block.first_frame - start, block.first_frame - start + block.num_frames)
        switch = gate.switch(seen[None], start)
        is_open = switch.frames[0, here] > 0
        index = is_open.nonzero()[:, 0] + block.first_frame
        features, computed = torch.zeros(0, self.featurizer.size), 0
        if index.numel():
            features, computed = self._features(block, is_open)
        end = block.first_frame + block.num_frames
        held, after = self._answer(features, index, carry, end)
        waiting = after.index
        return Step(
            is_open,
            None if switch.logits is None else switch.logits[0, here],
            held,
            int(waiting[0]) if len(waiting) else end,
            computed,
            Decided(block.first_frame, block.num_frames, index, features, carry),
            after,
        )

    @torch.inference_mode()
    def finish(self, carry: Carry) -> Held:
        """Level and decay at the open frames that still waited when the recording ended."""
        return self._answer(torch.zeros(0, self.featurizer.size), torch.zeros(0, dtype=torch.int64), carry, None)[0]

    def _answer(self, features: Tensor, index: Tensor, carry: Carry, num_decided: int | None) -> tuple[Held, Carry]:
        answer = self.encoder.advance(features, index, carry, num_decided)
        if not answer.index.numel():
            none = torch.zeros(0, self.head.num_labels)
            return Held(none, none, answer.index), answer.carry
        return Held(*self.head(answer.hidden), answer.index), answer.carry

    def reopen(self, block: Block, decided: Decided, first_frame: int, end_frame: int) -> Held:
        """What the line would have said of frames [first, end), had all of them been open, and before them its own.

        Args:
            block: with source and glance of these frames and their context.
            decided: the block of the walk that holds the first of these frames; a copy of its state is carried on.
            first_frame: the first frame, at the start of a window of the featurizer (Needs.block_frames).
            end_frame: the frame after the last one, at most the end of `block`.
        """
        assert first_frame % self.featurizer.needs.block_frames == 0
        num_frames = end_frame - first_frame
        stretch = block._replace(first_frame=first_frame, num_frames=num_frames)
        opened, _ = self._features(stretch, torch.ones(num_frames, dtype=torch.bool))
        before = decided.index < first_frame
        index = torch.arange(first_frame, end_frame)
        rows, places = torch.cat([decided.features[before], opened]), torch.cat([decided.index[before], index])
        level, decay = self.head(self.encoder.advance(rows, places, decided.carry, None).hidden[-num_frames:])
        return Held(level, decay, index)

    @torch.inference_mode()
    def follow(
        self,
        stream: Samples | VideoStream,
        *,
        gate: Gate | None = None,
        watcher: Watcher | None = None,
        progress: Progress | None = None,
    ) -> Track:
        """Walk over one recording of any length.

        Args:
            stream: sound at the model's rate, or a video (`open`).
            gate: instead of the model's own (surnn.Open for the dense twin).
            watcher: looks on, block by block.
            progress: called after each block.
        """
        gate = self.gate if gate is None else gate
        walk, feed, carry = Walked(self.head.num_labels), self.feed(stream), self.encoder.begin()
        for block in feed.blocks(*self.context(gate, watcher.behind_frames if watcher else 0)):
            step = self.visit(block, gate, carry)
            walk.add(step.is_open, step.switch_logits, step.held, step.frames_featurized)
            carry = step.carry
            if watcher:
                watcher.see(block, step.decided)
            if progress:
                progress(feed.seconds)
        if watcher:
            watcher.end()
        walk.hold(self.finish(carry))
        return Track(
            Held(walk.level.whole(), walk.decay.whole(), walk.index.whole()),
            walk.is_open.whole(),
            walk.logits.whole() if walk.has_logits else None,
            self.grid._replace(origin_seconds=stream.start_seconds),
            walk.frames_featurized,
            feed.seconds,
            feed.pictures,
            tuple(feed.damage),
        )

    @torch.inference_mode()
    def all_frames(self, stream: Samples | VideoStream) -> tuple[Tensor, Tensor]:
        """Glance (T, G) and features (T, F) of every frame: what training needs of a frozen featurizer, once.

        Of a featurizer that is trained: nothing (T, 0), if it reads the glance; the pictures that it reads, (T, K,
        channels, height, width) uint8, K to a frame.
        """
        needs = self.featurizer.needs
        left, right = context_frames(needs, self.grid)
        glances, features = [], []
        for block in self.feed(stream).blocks(right, left):
            begin = block.first_frame - block.glance_offset
            glances.append(block.glance[begin : begin + block.num_frames])
            if not self.trains_featurizer:
                features.append(self._features(block, torch.ones(block.num_frames, dtype=torch.bool))[0])
            elif needs.picture is not None and not isinstance(block.source, AudioSource):
                per_frame = self.grid.elements_per_frame(needs.rate_hz)
                first = block.first_frame * per_frame
                times = torch.arange(first, first + block.num_frames * per_frame).double() / needs.rate_hz
                pictures = block.source.pictures(times, needs.picture).data
                features.append(pictures.view(block.num_frames, per_frame, *pictures.shape[1:]))
            else:
                features.append(torch.zeros(block.num_frames, 0))
        return torch.cat(glances), torch.cat(features)

    @torch.inference_mode()
    def features_of(self, material: Tensor) -> Tensor:
        """Features (T, F) of a whole recording, for a featurizer that is trained: of glance or pictures (T, ...)."""
        recording, parts = torch.tensor([[0, len(material)]]), [torch.zeros(0, self.featurizer.size)]
        for start in range(0, len(material), self.block_frames):
            crop = {"starts": torch.tensor([start]), "recordings": recording}
            count = min(self.block_frames, len(material) - start)
            parts.append(
                evaluate_crops(self.featurizer, self.grid, material, self.silence, num_frames=count, **crop)[0]
            )
        return torch.cat(parts)

    @torch.inference_mode()
    def glance_only(self, stream: Samples | VideoStream) -> int:
        """Read and glance, nothing else: the floor under every switch. Returns the number of frames."""
        return sum(block.num_frames for block in self.feed(stream).blocks(0, 0))

    @torch.inference_mode()
    def glance_of(self, samples: Tensor) -> Tensor:
        """Glance rows (T, G) of a short stretch of samples, silence around it."""
        left, right = (round(seconds * self.rate_hz) for seconds in self.glance.needs[2:4])
        num_frames = self.grid.num_frames(samples.numel() / self.rate_hz)
        fill = num_frames * self.grid.elements_per_frame(self.rate_hz) + right - samples.numel()
        padded = torch.nn.functional.pad(samples, (left, fill))
        return sound_glance(self.glance, self.grid, padded, 0, num_frames)


def _check_reads(glance: Featurizer, featurizer: Featurizer) -> None:
    """Glance and featurizer read one medium, sound at one rate."""
    seen, read = glance.needs, featurizer.needs
    if seen.reads == "glance":
        raise UsageError("glance reads 'glance'; the rule is that a glance reads 'audio', 'packets' or 'pictures'")
    if read.reads == "audio" and seen.reads == "audio" and read.rate_hz != seen.rate_hz:
        raise UsageError(
            f"featurizer reads audio at {read.rate_hz:g} Hz, glance at {seen.rate_hz:g} Hz: "
            "the rule is one rate per model (one resampler); give both the same rate_hz"
        )
    if read.reads not in (("audio", "glance") if seen.reads == "audio" else ("pictures", "glance")):
        raise UsageError(
            f"glance reads {seen.reads!r}, featurizer {read.reads!r}: the rule is one medium per model; "
            "a glance of 'audio' goes with a featurizer of 'audio', one of 'packets' or 'pictures' with one of "
            "'pictures', and a featurizer of 'glance' with each"
        )
