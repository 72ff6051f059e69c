"""The guided switch spends its budget on events that the trained line finds, not on those that it misses anyway."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from featurizers import GlanceFrames, Grid, LogMel
from pipelines.console import Progress
from pipelines.encoder import Encoder
from pipelines.guidance import REACH_SECONDS, guide_switch, worth_of_frames
from pipelines.heads import LevelDecay
from pipelines.lessons import Frames
from pipelines.line import Line
from pipelines.recipe import TrainOptions
from pipelines.train import train_line
from surnn import EventGate

GRID = Grid(0.08)
NUM_FRAMES = 1500
FINDABLE, HIDDEN = slice(0, 128), slice(128, 256)  # of the glance: the switch sees both sorts of event


def frames_of(seed: int) -> tuple[Frames, Tensor, Tensor]:
    """Events of one label of which the features show one sort only; and at which frames each sort is."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(NUM_FRAMES // 25, generator=generator) * 25 + 10  # far enough apart
    findable, hidden = places.tensor_split(2)
    glance = torch.randn(NUM_FRAMES, 256, generator=generator) * 0.1
    glance[findable, FINDABLE] += 3
    glance[hidden, HIDDEN] += 3
    features = glance.clone()
    features[:, HIDDEN] = 0
    labels = torch.zeros(NUM_FRAMES, 1, dtype=torch.bool)
    labels[places] = True
    frames = Frames(
        glance.half(),
        features.half(),
        labels,
        torch.ones_like(labels),
        labels[:, 0],
        torch.tensor([NUM_FRAMES]),
        (0.0,),
    )
    return frames, findable, hidden


OPTIONS = TrainOptions(max_epochs=40, batch_size=8, learning_rate=1e-2)


def trained_line(options: TrainOptions, folder: Path) -> Line:
    torch.manual_seed(0)
    line = Line(
        grid=GRID,
        glance=LogMel(GRID),
        gate=EventGate(256, frame_budget=0.1, channels=16),
        featurizer=GlanceFrames(GRID, glance_size=256),
        encoder=Encoder(256, 16),
        head=LevelDecay(16, 1),
    )
    frames, _, _ = frames_of(1)
    train_line(line, frames, options, folder=folder, seed=0, device="cpu", progress=Progress(quiet=True))
    return line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return trained_line(OPTIONS, tmp_path_factory.mktemp("run"))


def lead_of_findable(line: Line) -> float:
    """By how much the switch prefers events that can be found, in logits, on frames it did not learn from."""
    frames, findable, hidden = frames_of(3)
    logits = line.gate.switch(frames.glance.float()[None]).logits
    assert logits is not None
    return float((logits[0, findable].mean() - logits[0, hidden].mean()).detach())


def test_events_that_the_line_finds_are_worth_more_than_those_it_cannot_find(trained: Line) -> None:
    frames, findable, hidden = frames_of(2)
    torch.manual_seed(0)
    worth = worth_of_frames(trained, frames)
    assert worth.shape == (NUM_FRAMES,)
    assert worth[findable].min() > worth[hidden].max()
    assert worth[findable].median() > 3 * worth[hidden].median()
    reach, near = round(REACH_SECONDS / GRID.hop_seconds), torch.zeros(NUM_FRAMES, dtype=torch.bool)
    for place in [*findable.tolist(), *hidden.tolist()]:
        near[place - reach : place + reach + 1] = True
    assert (worth[~near] == 0).all()
    assert (worth[near] > 0).all()


def test_guidance_moves_the_switch_towards_what_is_found_and_changes_nothing_else(trained: Line) -> None:
    line, (frames, _, _) = copy.deepcopy(trained), frames_of(1)
    guide_switch(line, frames, replace(OPTIONS, guide_steps=60), seed=0, progress=Progress(quiet=True))
    assert abs(lead_of_findable(trained)) < 0.5  # by the labels alone, both sorts are alike
    assert lead_of_findable(line) > lead_of_findable(trained) + 0.8
    for name, value in line.state_dict().items():
        assert name.startswith("gate.") or torch.equal(trained.state_dict()[name], value)


def test_training_ends_with_guidance_if_the_recipe_asks_for_it(trained: Line, tmp_path: Path) -> None:
    guided = trained_line(replace(OPTIONS, guide_steps=60), tmp_path)
    assert lead_of_findable(guided) > lead_of_findable(trained) + 0.8
