"""Scores between open frames follow one formula, in every way that they are computed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurizers import Grid
from pipelines.heads import Held, LevelDecay, held_logits, scores_at

GRID = Grid(0.5)


def test_scores_by_hand() -> None:
    # frame     0      1     2     3     4     5
    # open      .      #     .     .     #     .
    # level            3                 1
    # decay            2                 0.5
    held = Held(torch.tensor([[3.0], [1.0]]), torch.tensor([[2.0], [0.5]]), torch.tensor([1, 4]))
    scores = scores_at(held, GRID, torch.arange(6))[:, 0].tolist()
    assert scores == [-math.inf, 3.0, 3.0 - 2.0 * 0.5, 3.0 - 2.0 * 1.0, 1.0, 1.0 - 0.5 * 0.5]
    far = scores_at(held, GRID, torch.tensor([1004, -7]))[:, 0].tolist()
    assert far == [1.0 - 0.5 * 500.0, -math.inf]


def test_before_anything_was_heard_the_probability_is_zero() -> None:
    nothing = Held(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert scores_at(nothing, GRID, torch.arange(3)).sigmoid().tolist() == [[0.0, 0.0]] * 3
    assert scores_at(nothing, GRID, torch.arange(0)).shape == (0, 2)


def test_each_label_decays_at_its_own_rate() -> None:
    held = Held(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]), torch.tensor([0]))
    assert scores_at(held, GRID, torch.tensor([3])).tolist() == [[1.0, 2.0 - 4.0 * 1.5]]


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 999))
def test_closed_formula_equals_the_loop_that_selects_frame_by_frame(is_open: list[bool], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    num_frames = len(is_open)
    level = torch.randn(num_frames, 3, generator=random)
    decay = torch.rand(num_frames, 3, generator=random) * 5

    loop, said, age = [], None, 0
    for frame in range(num_frames):  # (level, decay) = select(switch, head, previous)
        said, age = ((level[frame], decay[frame]), 0) if is_open[frame] else (said, age + 1)
        loop.append(torch.full((3,), -math.inf) if said is None else said[0] - said[1] * (age * 0.5))
    expected = torch.stack(loop)

    switch = torch.tensor(is_open)
    index = switch.nonzero()[:, 0]
    at_once = scores_at(Held(level[index], decay[index], index), GRID, torch.arange(num_frames))
    assert torch.equal(at_once, expected)
    # closed frames' level and decay are never read: they may be anything
    level[~switch], decay[~switch] = math.nan, math.nan
    in_training = held_logits(level[None], decay[None], is_open=switch[None], hop_seconds=0.5)[0]
    assert torch.equal(in_training, expected.clamp_min(-30.0).where(expected.isinf(), expected))


def test_streams_of_a_batch_do_not_mix() -> None:
    level = torch.tensor([[[1.0], [2.0]], [[5.0], [6.0]]])
    is_open = torch.tensor([[True, False], [False, True]])
    scores = held_logits(level, torch.ones_like(level), is_open=is_open, hop_seconds=1.0)
    assert scores[..., 0].tolist() == [[1.0, 0.0], [-30.0, 6.0]]


def test_gradients_reach_open_frames_only() -> None:
    level = torch.zeros(1, 4, 1, requires_grad=True)
    decay = torch.zeros(1, 4, 1, requires_grad=True)
    is_open = torch.tensor([[False, True, False, False]])
    held_logits(level, decay, is_open=is_open, hop_seconds=0.5).sum().backward()
    assert level.grad is not None
    assert decay.grad is not None
    assert level.grad.flatten().tolist() == [0.0, 3.0, 0.0, 0.0]
    assert decay.grad.flatten().tolist() == [0.0, -(0.5 + 1.0), 0.0, 0.0]


@pytest.mark.parametrize("decay", [0.001, 4.0, 500.0])
def test_training_starts_from_the_level_and_decay_asked_for(decay: float) -> None:
    head = LevelDecay(5, 2, initial_level=-3.0, initial_decay=decay)
    level, found = head(torch.zeros(1, 5))
    assert level.tolist() == [[-3.0, -3.0]]
    torch.testing.assert_close(found, torch.full((1, 2), decay))


def test_decay_is_never_negative() -> None:
    head = LevelDecay(5, 2)
    assert (head(100 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0)))[1] >= 0).all()


@pytest.mark.parametrize("decay", [0.0, -1.0, math.nan])
def test_a_decay_that_does_not_fall_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"initial_decay=.* must be above 0"):
        LevelDecay(5, 2, initial_decay=decay)
