"""Crops and training steps: what reaches whom, and that a line learns what it can hear."""

from pathlib import Path

import pytest
import torch

from featurizers import GlanceFrames, Grid, LogMel
from pipelines.console import Progress
from pipelines.encoder import Encoder
from pipelines.errors import UserError
from pipelines.heads import LevelDecay, held_logits, held_logits_stepwise
from pipelines.lessons import Crop, Frames, crops
from pipelines.line import Line
from pipelines.recipe import TrainOptions
from pipelines.train import Crops, Lesson, teach_switch, train_line
from surnn import EventGate, Open

GRID = Grid(0.08)


def frames_of(lengths: list[int], seed: int = 0) -> Frames:
    """Recordings in which a bright glance at frame t is an event of the one label, wanted at t + 1."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    bright = torch.rand(total, generator=generator) < 0.05
    glance = torch.randn(total, 256, generator=generator) * 0.1 + bright[:, None] * 3
    labels = torch.cat([torch.tensor([False]), bright[:-1]])[:, None]
    switch = bright | labels[:, 0]
    weights = torch.ones_like(labels)
    starts = tuple(0.0 for _ in lengths)
    return Frames(glance.half(), glance.half(), labels, weights, switch, torch.tensor(lengths), starts)


FRAMES = frames_of([400])


def line_of(gate: EventGate | Open) -> Line:
    torch.manual_seed(0)
    return Line(
        grid=GRID,
        glance=LogMel(GRID),
        gate=gate,
        featurizer=GlanceFrames(GRID, glance_size=256),
        encoder=Encoder(256, 8),
        head=LevelDecay(8, 1),
    )


def test_crops_lie_inside_recordings_and_all_places_are_drawn() -> None:
    lengths = [30, 12, 25]
    frames = frames_of(lengths)
    position = torch.arange(sum(lengths))
    frames = frames._replace(glance=position[:, None].expand(-1, 2).float())
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    drawn = set()
    for crop in crops(frames, crop_frames=12, batch_size=16, num_batches=30, seed=1):
        rows = crop.glance[..., 0].long()
        assert torch.equal(rows - rows[:, :1], torch.arange(12).expand(16, 12))
        assert (owner[rows] == owner[rows[:, :1]]).all()
        drawn |= set(rows[:, 0].tolist())
    assert drawn == {*range(19), 30, *range(42, 56)}


def test_a_recording_shorter_than_the_crop_is_taken_whole_and_nothing_is_learned_past_its_end() -> None:
    lengths = [30, 12]
    frames = frames_of(lengths)._replace(glance=torch.arange(42)[:, None].expand(-1, 256).half())
    crop = next(crops(frames, crop_frames=20, batch_size=64, num_batches=1, seed=0))
    short = crop.recordings[:, 0] == 30
    assert 10 < int(short.sum()) < 40  # drawn about as often as it is long
    assert torch.equal(crop.is_inside[short], (torch.arange(20) < 12).expand(int(short.sum()), 20))
    assert crop.is_inside[~short].all()
    assert (crop.glance[short][:, 11:, 0] == 41).all()  # its last frame is repeated
    torch.manual_seed(0)
    line = line_of(EventGate(256, frame_budget=0.2, channels=8))
    options = TrainOptions(dropout=0.0, feature_noise=0.0, random_open=0.0, dense_share=0.5)
    outside = ~crop.is_inside[..., None]
    other = crop._replace(
        labels=torch.where(outside, 1 - crop.labels, crop.labels), switch=torch.where(outside[..., 0], 1.0, crop.switch)
    )
    losses = []
    for each in (crop, other):
        torch.manual_seed(1)
        losses.append(Lesson(line, frames, options, total_steps=10).forward_crop(each))
    for key, loss in losses[0].items():
        torch.testing.assert_close(losses[1][key], loss)


def test_scores_step_by_step_equal_the_closed_formula() -> None:
    generator = torch.Generator().manual_seed(3)
    level = torch.randn(4, 50, 3, generator=generator, dtype=torch.float64)
    decay = torch.rand(4, 50, 3, generator=generator, dtype=torch.float64)
    frames = (torch.rand(4, 50, generator=generator) < 0.3).double()
    formula = held_logits(level, decay, is_open=frames > 0, hop_seconds=0.08)
    stepwise = held_logits_stepwise(level, decay, frames=frames, hop_seconds=0.08)
    torch.testing.assert_close(stepwise, formula, rtol=0, atol=1e-12)


def test_opening_a_frame_changes_all_scores_that_then_hold_it() -> None:
    level, decay = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[[2.0], [2.0], [2.0]]])
    frames = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    scores = held_logits_stepwise(level, decay, frames=frames, hop_seconds=0.5)
    assert scores[0, :, 0].tolist() == [1.0, 0.0, -1.0]
    scores[0, 1].sum().backward()
    # At frame 1: 3 if open, 1 - 2 * 0.5 = 0 if held; the level's part of the slope is 3 - 1, the age's 2 * 0.5 * 1.
    assert frames.grad is not None
    assert frames.grad[0, 1] == pytest.approx(3.0)


def crop_of(num_frames: int = 40) -> Crop:
    return next(crops(FRAMES, crop_frames=num_frames, batch_size=8, num_batches=1, seed=0))


def test_the_task_reaches_the_switch_in_the_last_epochs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = EventGate(256, frame_budget=0.1)
    options = TrainOptions(max_epochs=4, straight_through_epochs=1, dense_share=0.0)
    for step, reaches in ((0, False), (74, False), (75, True), (99, True)):
        lesson = Lesson(line_of(gate), FRAMES, options, total_steps=100)
        monkeypatch.setattr(Lesson, "global_step", property(lambda _, step=step: step))
        gate.zero_grad()
        lesson.forward_crop(crop_of())["task"].backward()
        assert (gate.decision.weight.grad is not None) == reaches


def test_the_switch_can_learn_alone_before_the_rest() -> None:
    gate = EventGate(256, frame_budget=0.1)
    line = line_of(gate)
    rest = {**line.encoder.state_dict(), **line.head.state_dict()}
    rest = {name: values.clone() for name, values in rest.items()}
    lesson = Lesson(line, FRAMES, TrainOptions(learning_rate=0.01), total_steps=10)
    batches = Crops(FRAMES, crop_frames=40, batch_size=8, batches_per_epoch=40, seed=0)
    teach_switch(lesson, batches, Progress(quiet=True))
    is_open = gate.switch(FRAMES.glance.float()[None]).frames[0] > 0
    assert (is_open == FRAMES.switch).float().mean() > 0.98
    assert all(torch.equal(rest[name], values) for name, values in line.encoder.state_dict().items())
    assert all(torch.equal(rest[name], values) for name, values in line.head.state_dict().items())


def test_an_open_gate_has_nothing_to_learn() -> None:
    losses = Lesson(line_of(Open(256)), FRAMES, TrainOptions(), total_steps=10).forward_crop(crop_of())
    assert set(losses) == {"task", "frames_open"}
    assert float(losses["frames_open"]) == 1.0


def test_a_line_learns_the_event_and_the_switch_learns_where_it_is(tmp_path: Path) -> None:
    options = TrainOptions(max_epochs=6, batch_size=8, crop_seconds=4.0, learning_rate=0.02, dropout=0.0)
    line, frames = line_of(EventGate(256, frame_budget=0.1)), frames_of([4000] * 4)
    history = train_line(line, frames, options, folder=tmp_path, seed=0, device="cpu", progress=Progress(quiet=True))
    assert history[-1]["task"] < 0.3 * history[0]["task"]
    assert isinstance(line.gate, EventGate)
    test = frames_of([2000], seed=9)
    is_open = line.gate.switch(test.glance[None].float()).frames[0] > 0
    assert is_open[test.switch].float().mean() > 0.95
    assert is_open.float().mean() < 0.3
    again = train_line(line, frames, options, folder=tmp_path, seed=0, device="cpu", progress=Progress(quiet=True))
    assert len(again) == len(history)  # finished: the checkpoint is all there is to do


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    options = TrainOptions(max_epochs=1, batch_size=4, crop_seconds=2.0)
    with pytest.raises(UserError, match=r"last\.ckpt is damaged; delete it, and training begins again"):
        train_line(
            line_of(Open(256)), frames_of([200]), options, folder=tmp_path, seed=0, device="cpu",
            progress=Progress(quiet=True),
        )  # fmt: skip
