"""Walks to be timed, and a featurizer that counts what it is asked for."""

import copy
import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from featurizers import Featurizer, Stretch, context_frames, open_audio
from pipelines.errors import UserError
from pipelines.events import Event
from pipelines.heads import Held
from pipelines.line import Line, Track
from pipelines.model import Model
from surnn import EventGate, Gate, Open


def line_with(line: Line, *, gate: Gate | None = None, featurizer: Featurizer | None = None) -> Line:
    """The same line with another gate or featurizer; everything else is shared, not copied."""
    return Line(
        grid=line.grid,
        glance=line.glance,
        gate=line.gate if gate is None else gate,
        featurizer=line.featurizer if featurizer is None else featurizer,
        encoder=line.encoder,
        head=line.head,
    ).eval()


class Spy:
    """A featurizer that notes which frames were asked of another one.

    Args:
        line: whose featurizer does the work.

    Attributes:
        frames: indices, as often as they were computed.
        frames_read: frames that entered, context included.
    """

    def __init__(self, line: Line) -> None:
        self.inner, self.needs, self.size = line.featurizer, line.featurizer.needs, line.featurizer.size
        self.frames: list[int] = []
        self.frames_read = 0
        self._context = sum(context_frames(self.needs, line.grid))

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        """What the other one gives."""
        for first in first_frame.tolist():
            self.frames += range(first, first + num_frames)
        self.frames_read += len(first_frame) * (num_frames + self._context)
        return self.inner.evaluate(stretch, first_frame, num_frames)


class Counts(NamedTuple):
    """Which frames reached the featurizer.

    Args:
        num_frames: of the recording.
        num_open: opened by the switch.
        num_open_computed: of them, computed: all, or the walk is broken.
        num_bridged: closed frames computed because they fill a short gap between two open ones.
        num_stray: other closed frames computed: none, or the walk is broken.
        num_repeated: frames computed again: none.
        num_read: frames that the featurizer read, context of runs included.
    """

    num_frames: int
    num_open: int
    num_open_computed: int
    num_bridged: int
    num_stray: int
    num_repeated: int
    num_read: int

    @property
    def is_clean(self) -> bool:
        """Whether closed frames never reached the featurizer, short gaps apart."""
        return self.num_open_computed == self.num_open and self.num_stray == self.num_repeated == 0


def counts_of(is_open: Sequence[bool], computed: Sequence[int], *, bridge_frames: int, num_read: int = 0) -> Counts:
    """Compare frames that were computed with the switch, by the rule alone: no look at how the runs were planned."""
    opened = [frame for frame, value in enumerate(is_open) if value]
    short_gaps: set[int] = set()
    for before, after in itertools.pairwise(opened):
        if after - before - 1 <= bridge_frames:
            short_gaps |= set(range(before + 1, after))
    unique, wanted = set(computed), set(opened)
    return Counts(
        num_frames=len(is_open),
        num_open=len(opened),
        num_open_computed=len(unique & wanted),
        num_bridged=len(unique & short_gaps),
        num_stray=len(unique - wanted - short_gaps),
        num_repeated=len(computed) - len(unique),
        num_read=num_read,
    )


def spied_counts(line: Line, path: Path) -> Counts:
    """Walk over a file, and count what reached the featurizer."""
    spy = Spy(line)
    with open_audio(path, line.rate_hz) as stream:
        track = line_with(line, featurizer=spy).follow(stream)
    bridge = sum(context_frames(line.featurizer.needs, line.grid))
    return counts_of(track.is_open.tolist(), spy.frames, bridge_frames=bridge, num_read=spy.frames_read)


class Walks(NamedTuple):
    """One model's ways through a file, each from path to events; the names are those of the fields.

    Args:
        switch: as it is shipped.
        open: everything open: one featurizer pass per block.
        all_open_switch: the switch is evaluated, and opens every frame.
        no_switch: no gate, no packing: one featurizer pass over the file, and torch.nn.GRU.
        floor: reading and glance alone.
    """

    switch: Callable[[Path], object]
    open: Callable[[Path], object]
    all_open_switch: Callable[[Path], object]
    no_switch: Callable[[Path], object]
    floor: Callable[[Path], object]


def walks_of(model: Model) -> Walks:
    """The walks of one model, ready to be timed."""
    line = model.line

    def events(held: Held, track_grid_of: Track | None, start_seconds: float, seconds: float) -> list[Event]:
        grid = line.grid._replace(origin_seconds=start_seconds) if track_grid_of is None else track_grid_of.grid
        return model.task.decode(held, grid, seconds, model.labels, model.decisions)

    def walk(gate: Gate | None) -> Callable[[Path], list[Event]]:
        def run(path: Path) -> list[Event]:
            with open_audio(path, line.rate_hz) as stream:
                track = line.follow(stream, gate=gate)
            return events(track.held, track, stream.start_seconds, track.seconds)

        return run

    dense = DenseModel(line)

    def no_switch(path: Path) -> list[Event]:
        with open_audio(path, line.rate_hz) as stream:
            held = dense.follow(torch.cat(list(stream.blocks(line.rate_hz * 60))))
        return events(held, None, stream.start_seconds, len(held.index) * line.grid.hop_seconds)

    def floor(path: Path) -> int:
        with open_audio(path, line.rate_hz) as stream:
            return line.glance_only(stream)

    return Walks(walk(None), walk(Open(line.glance.size)), walk(opened(line.gate)), no_switch, floor)


def opened(gate: Gate) -> Gate:
    """The same switch with a threshold that every frame passes: it costs what it costs, and closes nothing.

    Raises:
        UserError: if the gate has no threshold to lower.
    """
    if not isinstance(gate, EventGate):
        raise UserError(f"switch {type(gate).__name__} has no threshold to lower; its cost cannot be told apart")
    gate = copy.deepcopy(gate)
    gate.threshold_shift = -math.inf
    return gate


class DenseModel:
    """The same function with everything open, and nothing of a switch in it: whole passes, torch.nn.GRU.

    Args:
        line: weights are taken from it; its featurizer must read the glance.
    """

    def __init__(self, line: Line) -> None:
        if line.featurizer.needs.reads != "glance":
            raise UserError(
                f"featurizer {type(line.featurizer).__name__} reads audio; only one that reads the glance can be "
                "compared with a model without a switch here"
            )
        self.line = line
        encoder = line.encoder.rnn
        self.gru = nn.GRU(encoder.input_size, encoder.hidden_size, encoder.num_layers, batch_first=True)
        self.gru.load_state_dict(encoder.state_dict())
        self.gru.eval()

    @torch.inference_mode()
    def follow(self, samples: Tensor) -> Held:
        """Level and decay of every frame of a recording (samples,)."""
        line = self.line
        glance = line.glance_of(samples)
        left, right = context_frames(line.featurizer.needs, line.grid)
        around = line.silence.expand(left, -1), glance, line.silence.expand(right, -1)
        begin = torch.tensor([-left * line.grid.hop_seconds], dtype=torch.float64)
        stretch = Stretch(torch.cat(around)[None], begin)
        features = line.featurizer.evaluate(stretch, torch.tensor([0]), len(glance))[0]
        hidden, _ = self.gru(line.encoder.project(line.encoder.normalise(features))[None])
        level, decay = line.head(hidden[0])
        return Held(level, decay, torch.arange(len(glance)))


def timed(
    walks: Walks, path: Path, *, num_runs: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of every walk over one file, after one run each that does not count.

    The walks take turns, so that a slow minute of the machine falls on all of them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in Walks._fields}
    for number in range(num_runs + 1):
        for name, walk in zip(Walks._fields, walks, strict=True):
            begun = clock()
            walk(path)
            if number > 0:
                taken[name].append(clock() - begun)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


class Speed(NamedTuple):
    """What the times say; see docs/metrics.md for the saved share."""

    frames_open: float
    times_real_time: float
    times_real_time_dense: float
    times_real_time_floor: float
    speedup: float
    saved_share: float
    all_open_overhead: float
    ratio_to_floor: float


def speed_of(seconds: Mapping[str, float], *, seconds_of_media: float, frames_open: float) -> Speed:
    """From median seconds per walk, of one file or summed over many."""
    could_save = (1 - frames_open) * (seconds["open"] - seconds["floor"])
    return Speed(
        frames_open=frames_open,
        times_real_time=seconds_of_media / seconds["switch"],
        times_real_time_dense=seconds_of_media / seconds["open"],
        times_real_time_floor=seconds_of_media / seconds["floor"],
        speedup=seconds["open"] / seconds["switch"],
        saved_share=(seconds["open"] - seconds["switch"]) / could_save if could_save > 0 else math.nan,
        all_open_overhead=seconds["all_open_switch"] / seconds["no_switch"] - 1,
        ratio_to_floor=seconds["switch"] / seconds["floor"],
    )
