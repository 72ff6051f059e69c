"""Walks that are timed do the same work; frames that reach the featurizer are counted by the rule."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.timing import DenseModel, Walks, counts_of, line_with, opened, speed_of, spied_counts, timed, walks_of
from featurizers import array_blocks, write_audio
from pipelines.errors import UserError
from pipelines.model import Model
from surnn import EventGate, Open


@pytest.fixture
def file(noise: Tensor, tmp_path: Path) -> Path:
    path = tmp_path / "noise.flac"
    write_audio(path, noise, 16_000)
    return path


def test_the_model_without_a_switch_computes_what_the_open_line_does(model: Model, noise: Tensor) -> None:
    open_track = model.line.follow(array_blocks(noise, 16_000, 16_000), gate=Open(model.line.glance.size))
    held = DenseModel(model.line).follow(noise)
    assert torch.equal(held.index, open_track.held.index)
    # one pass and blocks differ by float32 rounding alone
    torch.testing.assert_close(held.level, open_track.held.level, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(held.decay, open_track.held.decay, atol=1e-4, rtol=1e-4)


def test_all_dense_walks_find_the_same_events(model: Model, file: Path) -> None:
    walks = walks_of(model)
    found = [walk(file) for walk in (walks.open, walks.all_open_switch, walks.no_switch)]
    places = [[event[:3] for event in events] for events in found]  # type: ignore[attr-defined]
    assert places[0]
    assert places[0] == places[1] == places[2]
    assert walks.switch(file) == list(model.tag(file))
    assert walks.floor(file) == math.ceil(9.3 / 0.08)


def test_a_lowered_threshold_opens_every_frame_of_a_copy(model: Model) -> None:
    gate, before = model.line.gate, model.line.gate.threshold_shift
    everything = opened(gate).switch(torch.randn(1, 50, model.line.glance.size)).frames
    assert everything.eq(1).all()
    assert isinstance(gate, EventGate)
    assert gate.threshold_shift == before
    with pytest.raises(UserError, match="Open has no threshold"):
        opened(Open(64))


def test_another_gate_leaves_the_first_line_as_it_is(model: Model) -> None:
    other = line_with(model.line, gate=Open(model.line.glance.size))
    assert other.encoder is model.line.encoder
    assert isinstance(model.line.gate, EventGate)
    assert isinstance(other.gate, Open)


def test_frames_are_sorted_into_open_bridged_stray_and_repeated_by_hand() -> None:
    is_open = [frame in (2, 3, 6, 12) for frame in range(16)]
    # a gap of two (4, 5) may be bridged; one of five (7 to 11) not; 14 lies behind everything; 3 came twice
    counts = counts_of(is_open, [2, 3, 4, 5, 6, 3, 8, 14], bridge_frames=2, num_read=20)
    assert counts == (16, 4, 3, 2, 2, 1, 20)
    assert not counts.is_clean
    assert counts_of(is_open, [2, 3, 4, 5, 6, 12], bridge_frames=2).is_clean


def test_closed_frames_never_reach_the_featurizer(model: Model, file: Path) -> None:
    counts = spied_counts(model.line, file)
    assert 0 < counts.num_open < counts.num_frames
    assert counts.is_clean
    assert counts.num_open_computed + counts.num_bridged == counts.num_read  # this featurizer has no context


def test_medians_leave_out_the_first_run_and_walks_take_turns() -> None:
    now, order = [0.0], []

    def walk(name: str) -> Callable[[Path], None]:
        def run(_: Path) -> None:
            order.append(name)
            now[0] += (100.0, 1.0, 3.0, 7.0)[order.count(name) - 1]

        return run

    seconds = timed(Walks(*map(walk, Walks._fields)), Path("x"), num_runs=3, clock=lambda: now[0])
    assert seconds == dict.fromkeys(Walks._fields, 3.0)
    assert order == list(Walks._fields) * 4


def test_speed_figures_are_those_worked_out_by_hand() -> None:
    seconds = {"switch": 2.0, "open": 9.0, "all_open_switch": 9.45, "no_switch": 9.0, "floor": 1.0}
    speed = speed_of(seconds, seconds_of_media=900.0, frames_open=0.1)
    assert speed.saved_share == pytest.approx(7.0 / (0.9 * 8.0))
    assert (speed.times_real_time, speed.times_real_time_dense, speed.times_real_time_floor) == (450.0, 100.0, 900.0)
    assert speed.all_open_overhead == pytest.approx(0.05)
    assert (speed.ratio_to_floor, speed.speedup) == (2.0, 4.5)
    assert math.isnan(speed_of(seconds, seconds_of_media=900.0, frames_open=1.0).saved_share)
