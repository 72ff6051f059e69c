"""Focal loss and the round over hard negatives: what counts for how much, and what is dwelt on."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from featurizers import GlanceFrames, Grid, LogMel
from pipelines.console import Progress
from pipelines.encoder import Encoder
from pipelines.errors import UserError
from pipelines.frame_loss import frame_loss
from pipelines.hard_moments import hard_moments
from pipelines.heads import LevelDecay
from pipelines.lessons import Frames, crops
from pipelines.line import Line
from pipelines.recipe import TrainOptions
from pipelines.train import train_line
from surnn import Open

GRID = Grid(0.1)
SIZE = 256


def test_focal_loss_of_hand_worked_frames() -> None:
    logits = torch.tensor([math.log(9.0), math.log(9.0), -math.log(9.0)])  # probabilities 0.9, 0.9, 0.1
    labels, weights = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 2.0, 1.0])
    # right with 0.9, 0.1 and 0.9: -log of these, times 0.1^2, 2 * 0.9^2, 0.1^2
    expected = -(0.01 * math.log(0.9) + 1.62 * math.log(0.1) + 0.01 * math.log(0.9))
    assert float(frame_loss(logits, labels, weights, 2.0)) == pytest.approx(expected)
    plain = binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum")
    assert torch.equal(frame_loss(logits, labels, weights), plain)
    assert torch.allclose(frame_loss(logits, labels, weights, 1e-7), plain)


def test_focal_loss_has_finite_gradients_where_all_is_sure() -> None:
    logits = torch.tensor([60.0, -60.0, 60.0, -60.0], requires_grad=True)
    labels = torch.tensor([1.0, 0.0, 0.0, 1.0])
    (gradient,) = torch.autograd.grad(frame_loss(logits, labels, torch.ones(4), 0.5), logits)
    assert torch.isfinite(gradient).all()
    assert gradient[2] > 0.9 > -0.9 > gradient[3]


def frames_of(bright: dict[int, float], labelled: set[int], lengths: list[int]) -> Frames:
    """Silent recordings, but for frames so bright; of these, some are events of the one label."""
    total = sum(lengths)
    glance = torch.zeros(total, SIZE)
    for frame, value in bright.items():
        glance[frame] = value
    labels = torch.zeros(total, 1, dtype=torch.bool)
    labels[list(labelled)] = True
    starts = tuple(0.0 for _ in lengths)
    return Frames(
        glance.half(), glance.half(), labels, torch.ones_like(labels), labels[:, 0], torch.tensor(lengths), starts
    )


class Bright(torch.nn.Module):
    """A head whose level is how bright a frame is: what the encoder passes on."""

    num_labels = 1

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return hidden[..., :1], torch.full_like(hidden[..., :1], 100.0)


class Passing(Encoder):
    """Hidden numbers are the features."""

    def advance(self, features, index, carry, num_decided):  # type: ignore[no-untyped-def]
        answer = super().advance(features, index, carry, num_decided)
        return answer._replace(hidden=features)


def line_of(encoder: Encoder, head: torch.nn.Module) -> Line:
    return Line(
        grid=GRID,
        glance=LogMel(GRID, hop_seconds=0.0125),
        gate=Open(SIZE),
        featurizer=GlanceFrames(GRID, glance_size=SIZE),
        encoder=encoder,
        head=head,  # type: ignore[arg-type]
    )


def test_moments_are_the_highest_wrong_frames_a_second_apart_and_none_that_is_low_or_right() -> None:
    bright = {50: 6.0, 55: 5.0, 300: 8.0, 410: 3.0, 420: 9.0, 700: 1.0, 900: -3.0}
    # 300 is right; 55 lies within a second of 50, and 410 of 420; 900 is too low.
    frames = frames_of({**dict.fromkeys(range(1000), -5.0), **bright}, {300}, [450, 550])
    found = hard_moments(line_of(Passing(SIZE, 4), Bright()), frames)
    assert found.tolist() == [420, 50, 700]
    few = frames_of({**dict.fromkeys(range(300), -5.0), **{k: v for k, v in bright.items() if k < 300}}, set(), [300])
    assert hard_moments(line_of(Passing(SIZE, 4), Bright()), few).tolist() == [50]  # one or two in 30 s


def test_every_second_crop_holds_a_moment_and_lies_within_its_recording() -> None:
    lengths = [30, 200, 8]
    frames = frames_of({}, set(), lengths)
    frames = frames._replace(glance=torch.arange(238)[:, None].expand(-1, 2).float())
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    moments = torch.tensor([3, 100, 234])
    held, total = 0, 0
    for crop in crops(frames, crop_frames=12, batch_size=16, num_batches=40, seed=1, moments=moments):
        rows = crop.glance[..., 0].long()
        inside = crop.is_inside
        assert (owner[rows] == owner[rows[:, :1]]).all()
        assert torch.equal(crop.recordings[:, 0] <= crop.starts, torch.ones(16, dtype=torch.bool))
        held += int(((rows[:, :, None] == moments) & inside[:, :, None]).any(dim=2).any(dim=1).sum())
        total += 16
    assert 0.5 < held / total < 0.7  # and some by chance
    plain = [crop.starts for crop in crops(frames, crop_frames=12, batch_size=4, num_batches=3, seed=1)]
    none = crops(frames, crop_frames=12, batch_size=4, num_batches=3, seed=1, moments=moments[:0])
    assert all(torch.equal(crop.starts, starts) for crop, starts in zip(none, plain, strict=True))


def trained(folder: Path, options: TrainOptions, seed: int = 0) -> list[dict[str, float]]:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(0)
    bright = {int(frame): 3.0 for frame in torch.randperm(1200, generator=generator)[:60]}
    frames = frames_of(bright, {frame for frame in bright if frame % 2}, [1200])
    line = line_of(Encoder(SIZE, 8), LevelDecay(8, 1, initial_level=-1.0))
    return train_line(line, frames, options, folder=folder, seed=0, device="cpu", progress=Progress())


def test_the_last_epochs_dwell_on_moments_and_the_first_do_not(tmp_path: Path) -> None:
    common = {"max_epochs": 3, "batch_size": 4, "crop_seconds": 10.0}
    plain = trained(tmp_path / "plain", TrainOptions(**common))  # type: ignore[arg-type]
    hard = trained(tmp_path / "hard", TrainOptions(**common, hard_epochs=1))  # type: ignore[arg-type]
    steps = len(plain) // 3
    assert hard[: 2 * steps] == plain[: 2 * steps]
    assert hard[2 * steps :] != plain[2 * steps :]
    kept = [torch.load(tmp_path / name / "last.ckpt", weights_only=False)["moments"] for name in ("plain", "hard")]
    assert kept[0] is None
    assert len(kept[1]) > 0  # what a resumed run goes on with


def test_a_hard_round_needs_an_epoch_before_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hard_epochs=2 must be from 0 to below max_epochs=2"):
        trained(tmp_path, TrainOptions(max_epochs=2, hard_epochs=2))
