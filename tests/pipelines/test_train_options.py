"""Every option of training changes what is learned; an interrupted run ends with the same switch as any other."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from featurizers import GlanceFrames, Grid, LogMel
from pipelines import train
from pipelines.console import Progress
from pipelines.encoder import Encoder
from pipelines.guidance import guide_switch
from pipelines.heads import LevelDecay
from pipelines.lessons import Frames, crops
from pipelines.line import Line
from pipelines.recipe import TrainOptions
from pipelines.train import train_line
from surnn import EventGate

GRID = Grid(0.1)
SIZE = 256
PLAIN = TrainOptions(max_epochs=2, batch_size=4, crop_seconds=4.0, straight_through_epochs=0)
OTHER: dict[str, Any] = {
    "max_epochs": 3,
    "batch_size": 3,
    "crop_seconds": 3.0,
    "learning_rate": 1e-2,
    "weight_decay": 1.0,
    "gradient_clip": 0.01,
    "dropout": 0.5,
    "feature_noise": 0.0,
    "positive_weight": 9.0,
    "clip_weight": 0.0,
    "focal": 2.0,
    "dense_share": 0.0,
    "random_open": 0.5,
    "help_weight": 0.1,
    "switch_positive_weight": 1.0,
    "budget_weight": 9.0,
    "switch_first_steps": 3,
    "straight_through_epochs": 2,
    "guide_steps": 3,
}


class KilledError(Exception):
    """What ends a run in the middle."""


def frames_of() -> Frames:
    """A long recording with events; clips of which one label is known as a whole."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([600, 30, 30])
    bright = torch.rand(660, generator=generator) < 0.05
    labels = bright[:, None].clone()
    labels[600:] = False
    weights = torch.ones_like(labels)
    weights[600:] = False
    glance = (torch.randn(660, SIZE, generator=generator) * 0.1 + bright[:, None] * 3).half()
    clips = torch.tensor([[-1], [1], [0]], dtype=torch.int8)
    return Frames(glance, glance, labels, weights, labels[:, 0], lengths, (0.0, 0.0, 0.0), clips)


def new_line() -> Line:
    torch.manual_seed(0)
    return Line(
        grid=GRID,
        glance=LogMel(GRID, hop_seconds=0.0125),
        gate=EventGate(SIZE, frame_budget=0.1, channels=8, initial_logit=0.0),  # about half of all frames open
        featurizer=GlanceFrames(GRID, glance_size=SIZE),
        encoder=Encoder(SIZE, 8),
        head=LevelDecay(8, 1),
    )


def learned(options: TrainOptions, folder: Path) -> dict[str, Tensor]:
    line = new_line()
    train_line(line, frames_of(), options, folder=folder, seed=0, device="cpu", progress=Progress(quiet=True))
    return {name: values.clone() for name, values in line.state_dict().items()}


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(values, other[name]) for name, values in one.items())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return learned(PLAIN, tmp_path_factory.mktemp("plain"))


def test_training_twice_ends_alike(plain: dict[str, Tensor], tmp_path: Path) -> None:
    assert are_equal(learned(PLAIN, tmp_path), plain)


# hard_epochs needs moments worth dwelling on: see test_hard_training.
@pytest.mark.parametrize("name", [field.name for field in fields(TrainOptions) if field.name != "hard_epochs"])
def test_an_option_has_an_effect(name: str, plain: dict[str, Tensor], tmp_path: Path) -> None:
    options = replace(PLAIN, **{name: OTHER[name]})
    assert options != PLAIN
    assert not are_equal(learned(options, tmp_path), plain)


def test_a_run_killed_while_the_switch_is_guided_ends_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(PLAIN, guide_steps=5)
    whole = learned(options, tmp_path / "whole")

    def killed(line: Line, frames: Frames, options: TrainOptions, **given: Any) -> None:
        guide_switch(line, frames, replace(options, guide_steps=2), **given)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(train, "guide_switch", killed)
        with pytest.raises(KilledError):
            learned(options, tmp_path / "killed")
    assert are_equal(learned(options, tmp_path / "killed"), whole)


def test_a_run_killed_in_its_hard_epochs_dwells_on_the_moments_that_it_had_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(PLAIN, max_epochs=3, hard_epochs=2, dropout=0.0, feature_noise=0.0)
    drawn: list[Tensor | None] = []
    found = torch.tensor([7, 300])

    def watched(*frames: Frames, **given: Any) -> Any:
        drawn.append(given["moments"])
        if len(drawn) == 3:  # the last epoch
            raise KilledError
        return crops(*frames, **given)

    monkeypatch.setattr(train, "crops", watched)
    with monkeypatch.context() as patch:
        patch.setattr(train, "hard_moments", lambda *_: found)
        with pytest.raises(KilledError):
            learned(options, tmp_path)
    monkeypatch.setattr(train, "hard_moments", lambda *_: pytest.fail("looked for again"))
    learned(options, tmp_path)
    assert drawn[0] is None
    assert [moments is not None and torch.equal(moments, found) for moments in drawn[1:]] == [True] * 3
