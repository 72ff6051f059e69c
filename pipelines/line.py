"""The way of the data: media -> glance -> frame switch -> open runs -> featurizer -> suRNN -> level and decay.

    audio    |....block 0....|....block 1....|..      read once, streamed, at most three blocks in memory
    glance   |....block 0....|....block 1....|..      every frame
    switch           |....block 0....|                blocks anchored at frame zero, once their look-ahead is there
    runs                 ==   ===  =                  open frames, short gaps bridged: only these reach the featurizer
    encoder, head        ..   ...  .                  open frames only, state carried from block to block

The dense twin is the same walk with an open gate: one run per block, the same glance, the same batching.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from featurizers import (
    AudioSource,
    Featurizer,
    GlanceSource,
    Grid,
    Stretch,
    context_frames,
    evaluate_crops,
    evaluate_runs,
    plan_runs,
    silence_frame,
)
from surnn import Gate

from .encoder import Carry, Encoder
from .errors import UsageError
from .heads import Head, Held

BLOCK_FRAMES = 750


class Samples(Protocol):
    """Mono audio that arrives in blocks; a file (featurizers.open_audio) or an array (featurizers.array_blocks)."""

    start_seconds: float

    def blocks(self, num_samples: int) -> Iterator[Tensor]: ...


class Track(NamedTuple):
    """All that the line says of one recording of T frames.

    Args:
        held: level and decay at the open frames.
        is_open: (T,) bool.
        switch_logits: (T,) what the frame switch thresholds; None for a gate that learned nothing.
        grid: the model's grid, its origin at the recording's first sample on the media clock.
        frames_featurized: frames that the featurizer computed (open ones and bridged gaps).
        seconds: duration of the recording.
    """

    held: Held
    is_open: Tensor
    switch_logits: Tensor | None
    grid: Grid
    frames_featurized: int
    seconds: float


class _Column:
    """Rows that are added block by block, in one piece of memory that doubles when it is full.

    A list of small tensors, day-long, would leave holes all over the heap.
    """

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float32) -> None:
        self._rows, self._length = torch.empty(0, *shape, dtype=dtype), 0

    def add(self, rows: Tensor) -> None:
        length = self._length + len(rows)
        if length > len(self._rows):
            larger = self._rows.new_empty(max(length, 2 * len(self._rows)), *self._rows.shape[1:])
            larger[: self._length] = self._rows[: self._length]
            self._rows = larger
        self._rows[self._length : length] = rows
        self._length = length

    def whole(self) -> Tensor:
        """All rows."""
        return self._rows[: self._length]


class _Walk:
    """What a walk over one recording remembers between blocks."""

    def __init__(self, carry: Carry, num_labels: int) -> None:
        self.carry = carry
        self.is_open, self.index = _Column(dtype=torch.bool), _Column(dtype=torch.int64)
        self.level, self.decay, self.logits = _Column(num_labels), _Column(num_labels), _Column()
        self.has_logits = False
        self.frames_featurized = 0


class Block(NamedTuple):
    """Frames [first, first + num) to decide on, within glance rows (and samples) that hold their context."""

    first_frame: int
    num_frames: int
    glance: Tensor  # (rows, G); row 0 is frame `glance_offset`
    glance_offset: int
    samples: Tensor  # (samples,); sample 0 is sample `samples_offset` of the recording
    samples_offset: int


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


class Watcher(Protocol):
    """Whoever looks on while a line follows a recording (pipelines.audit); what the line finds does not depend on it.

    `see` is called after every block, `end` after the last one. Samples and glance of `behind_frames` frames before a
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
        if glance.needs.reads != "audio":
            raise UsageError(f"glance reads {glance.needs.reads!r}; the rule is that a glance reads 'audio'")
        if featurizer.needs.reads == "audio" and featurizer.needs.rate_hz != glance.needs.rate_hz:
            raise UsageError(
                f"featurizer reads audio at {featurizer.needs.rate_hz:g} Hz, glance at {glance.needs.rate_hz:g} Hz: "
                "the rule is one rate per model (one resampler); give both the same rate_hz"
            )
        num_neurons = getattr(gate, "num_neurons", None)
        if num_neurons is not None:
            raise UsageError(
                f"num_neurons={num_neurons}: a line skips whole frames and would not heed the neuron switch; "
                "leave num_neurons out of the recipe, or use surnn.SuGRU by itself"
            )
        self.grid, self.glance, self.gate, self.featurizer = grid, glance, gate, featurizer
        self.encoder, self.head = encoder, head
        self.rate_hz = round(glance.needs.rate_hz)
        self.frame_samples = grid.elements_per_frame(self.rate_hz)
        window = featurizer.needs.block_frames  # windows anchored at frame zero stay whole within a block
        self.block_frames = -(-BLOCK_FRAMES // window) * window
        with torch.inference_mode():
            self.silence = silence_frame(glance, grid)

    @property
    def trains_featurizer(self) -> bool:
        """Whether the featurizer has weights that training changes, so that its features cannot be cached."""
        featurizer = self.featurizer
        return isinstance(featurizer, nn.Module) and any(weight.requires_grad for weight in featurizer.parameters())

    def _glance_span(self, num_frames: int) -> int:
        left, right = (round(seconds * self.rate_hz) for seconds in self.glance.needs[2:4])
        return left + num_frames * self.frame_samples + right

    def _glance_rows(self, samples: Tensor, first_frame: int, num_frames: int) -> Tensor:
        start = self.grid.onset_seconds(first_frame) - self.glance.needs.left_seconds
        stretch = Stretch(samples[None], torch.tensor([start], dtype=torch.float64))
        return self.glance.evaluate(stretch, torch.tensor([first_frame]), num_frames)[0]

    def _blocks(self, stream: Samples, look_frames: int, behind_frames: int) -> Iterator[Block | int]:
        """Blocks to decide on, then the recording's number of samples."""
        left, right = (round(seconds * self.rate_hz) for seconds in self.glance.needs[2:4])
        step = self.block_frames * self.frame_samples
        audio, audio_offset = torch.zeros(left), -left  # samples kept; the silence before the start counts as heard
        rows, rows_offset = torch.zeros(0, self.glance.size), 0
        heard = glanced = decided = 0  # samples, frames, frames
        source, ended = stream.blocks(step), False
        while not ended or decided < glanced:
            block = next(source, None)
            if block is None:
                ended = True
                num_frames = self.grid.num_frames(heard / self.rate_hz)
                fill = num_frames * self.frame_samples + right - heard
                audio = torch.cat([audio, torch.zeros(max(fill, 0))])
            else:
                heard += block.numel()
                audio = torch.cat([audio, block])
                num_frames = max(0, (heard - right) // self.frame_samples // self.block_frames * self.block_frames)
            while glanced < num_frames:
                count = min(self.block_frames, num_frames - glanced)
                begin = glanced * self.frame_samples - left - audio_offset
                new = self._glance_rows(audio[begin : begin + self._glance_span(count)], glanced, count)
                rows, glanced = torch.cat([rows, new]), glanced + count
            while decided < glanced and (ended or glanced >= decided + self.block_frames + look_frames):
                count = min(self.block_frames, glanced - decided)
                yield Block(decided, count, rows, rows_offset, audio, audio_offset)
                decided += count
                keep = max(rows_offset, decided - behind_frames)
                rows, rows_offset = rows[keep - rows_offset :], keep
            keep_sample = max(audio_offset, min(glanced, decided - behind_frames) * self.frame_samples - left)
            audio, audio_offset = audio[keep_sample - audio_offset :], keep_sample
        yield heard

    def _features(self, block: Block, is_open: Tensor) -> tuple[Tensor, int]:
        """Features (N, F) of the block's open frames, and how many frames were computed for them."""
        needs = self.featurizer.needs
        context = sum(context_frames(needs, self.grid))  # a run of its own costs about as much as so many frames more
        runs = plan_runs(is_open, bridge_frames=context, block_frames=needs.block_frames, first_frame=block.first_frame)
        source: AudioSource | GlanceSource
        if needs.reads == "glance":
            source = GlanceSource(block.glance, self.silence, block.glance_offset)
        else:
            source = AudioSource(block.samples, block.samples_offset)
        rows = evaluate_runs(self.featurizer, self.grid, runs, source)
        frames = torch.cat([torch.arange(run.first_frame, run.first_frame + run.num_frames) for run in runs])
        place = frames - block.first_frame  # blocks of a windowed featurizer may reach beyond the recording's end
        is_wanted = (place < block.num_frames) & is_open[place.clamp_max(block.num_frames - 1)]
        return rows.features[is_wanted], rows.num_featurized

    def _visit(self, block: Block, gate: Gate, walk: _Walk) -> Decided:
        start = max(block.glance_offset, block.first_frame - gate.lookback_frames)
        end = block.first_frame + block.num_frames + gate.lookahead_frames
        seen = block.glance[start - block.glance_offset : end - block.glance_offset]
        decided = slice(block.first_frame - start, block.first_frame - start + block.num_frames)
        switch = gate.switch(seen[None], start)
        is_open = switch.frames[0, decided] > 0
        walk.is_open.add(is_open)
        if switch.logits is not None:
            walk.logits.add(switch.logits[0, decided])
            walk.has_logits = True
        index, carry = is_open.nonzero()[:, 0] + block.first_frame, walk.carry
        features = torch.zeros(0, self.featurizer.size)
        if index.numel():
            features, computed = self._features(block, is_open)
            walk.frames_featurized += computed
        self._answer(walk, features, index, block.first_frame + block.num_frames)
        return Decided(block.first_frame, block.num_frames, index, features, carry)

    def _answer(self, walk: _Walk, features: Tensor, index: Tensor, num_decided: int | None) -> None:
        answer = self.encoder.advance(features, index, walk.carry, num_decided)
        walk.carry = answer.carry
        if answer.index.numel():
            level, decay = self.head(answer.hidden)
            walk.index.add(answer.index)
            walk.level.add(level)
            walk.decay.add(decay)

    def reopen(self, block: Block, decided: Decided, first_frame: int, end_frame: int) -> Held:
        """What the line would have said of frames [first, end), had all of them been open, and before them its own.

        Args:
            block: with samples and glance of these frames and their context.
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
    def follow(self, stream: Samples, *, gate: Gate | None = None, watcher: Watcher | None = None) -> Track:
        """Walk over one recording of any length.

        Args:
            stream: audio at the model's rate.
            gate: instead of the model's own (surnn.Open for the dense twin).
            watcher: looks on, block by block.
        """
        gate = self.gate if gate is None else gate
        left, right = context_frames(self.featurizer.needs, self.grid)
        walk, heard = _Walk(self.encoder.begin(), self.head.num_labels), 0
        look = max(gate.lookahead_frames, right)
        behind = max(gate.lookback_frames, left + (watcher.behind_frames if watcher else 0))
        for block in self._blocks(stream, look, behind):
            if isinstance(block, int):
                heard = block
                continue
            decided = self._visit(block, gate, walk)
            if watcher:
                watcher.see(block, decided)
        if watcher:
            watcher.end()
        self._answer(walk, torch.zeros(0, self.featurizer.size), torch.zeros(0, dtype=torch.int64), None)
        return Track(
            Held(walk.level.whole(), walk.decay.whole(), walk.index.whole()),
            walk.is_open.whole(),
            walk.logits.whole() if walk.has_logits else None,
            self.grid._replace(origin_seconds=stream.start_seconds),
            walk.frames_featurized,
            heard / self.rate_hz,
        )

    @torch.inference_mode()
    def all_frames(self, stream: Samples) -> tuple[Tensor, Tensor]:
        """Glance (T, G) and features (T, F) of every frame: what training needs of a frozen featurizer, once.

        Of a featurizer that is trained there is nothing to keep: (T, 0).
        """
        left, right = context_frames(self.featurizer.needs, self.grid)
        size = 0 if self.trains_featurizer else self.featurizer.size
        glances, features = [torch.zeros(0, self.glance.size)], [torch.zeros(0, size)]
        for block in self._blocks(stream, right, left):
            if isinstance(block, int):
                break
            begin = block.first_frame - block.glance_offset
            glances.append(block.glance[begin : begin + block.num_frames])
            if self.trains_featurizer:
                features.append(torch.zeros(block.num_frames, 0))
            else:
                features.append(self._features(block, torch.ones(block.num_frames, dtype=torch.bool))[0])
        return torch.cat(glances), torch.cat(features)

    @torch.inference_mode()
    def features_of_glance(self, glance: Tensor) -> Tensor:
        """Features (T, F) of a whole recording's glance (T, G), for a featurizer that reads nothing else."""
        recording, parts = torch.tensor([[0, len(glance)]]), [torch.zeros(0, self.featurizer.size)]
        for start in range(0, len(glance), self.block_frames):
            crop = {"starts": torch.tensor([start]), "recordings": recording}
            count = min(self.block_frames, len(glance) - start)
            parts.append(evaluate_crops(self.featurizer, self.grid, glance, self.silence, num_frames=count, **crop)[0])
        return torch.cat(parts)

    @torch.inference_mode()
    def glance_only(self, stream: Samples) -> int:
        """Read and glance, nothing else: the floor under every switch. Returns the number of frames."""
        return sum(block.num_frames for block in self._blocks(stream, 0, 0) if not isinstance(block, int))

    @torch.inference_mode()
    def glance_of(self, samples: Tensor) -> Tensor:
        """Glance rows (T, G) of a short stretch of samples, silence around it."""
        left, right = (round(seconds * self.rate_hz) for seconds in self.glance.needs[2:4])
        num_frames = self.grid.num_frames(samples.numel() / self.rate_hz)
        fill = num_frames * self.frame_samples + right - samples.numel()
        return self._glance_rows(torch.nn.functional.pad(samples, (left, fill)), 0, num_frames)
