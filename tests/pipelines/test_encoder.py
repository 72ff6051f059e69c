"""An encoder answers block by block what it answers in one pass."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipelines.encoder import Encoder
from surnn import Restart

F, H, T = 5, 4, 60


def make(cell: str = "gru", *, restart: Restart | None, num_layers: int = 2, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    options = {"cell": cell, "bidirectional": restart is not None, "restart": restart}
    encoder = Encoder(F, H, num_layers, 3, **options).double()  # type: ignore[arg-type]
    encoder.set_statistics(torch.randn(F), torch.rand(F) + 0.5)
    return encoder


def answers(encoder: Encoder, features: Tensor, is_open: Tensor, cuts: list[int]) -> tuple[Tensor, Tensor, int]:
    """Hidden numbers, frames, and the most frames that ever waited."""
    carry, hidden, index, most = encoder.begin(), [], [], 0
    for begin, end in pairwise([0, *sorted(cuts), T]):
        frames = is_open[begin:end].nonzero()[:, 0] + begin
        answer = encoder.advance(features[frames], frames, carry, end)
        carry = answer.carry
        most = max(most, len(carry.index))
        hidden.append(answer.hidden)
        index.append(answer.index)
    last = encoder.advance(features[:0], torch.zeros(0, dtype=torch.int64), carry, None)
    return torch.cat([*hidden, last.hidden]), torch.cat([*index, last.index]), most


@settings(deadline=None, max_examples=60)
@given(
    cell=st.sampled_from(["gru", "lstm", "rnn"]),
    restart=st.one_of(st.none(), st.builds(Restart, st.integers(1, 6), st.integers(1, 9))),
    cuts=st.lists(st.integers(0, T), max_size=6),
    rate=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    seed=st.integers(0, 999),
)
def test_blocks_anywhere_answer_what_one_pass_answers(
    cell: str, restart: Restart | None, cuts: list[int], rate: float, seed: int
) -> None:
    encoder = make(cell, restart=restart, seed=seed)
    features, is_open = torch.randn(T, F).double(), torch.rand(T) < rate
    with torch.inference_mode():
        hidden, index, most = answers(encoder, features, is_open, cuts)
        whole = answers(encoder, features, is_open, [])[0]
    assert torch.equal(index, is_open.nonzero()[:, 0])
    torch.testing.assert_close(hidden, whole, rtol=0, atol=1e-13)
    assert most == 0 if restart is None else most < (restart.after_open or T)


def test_a_segment_is_answered_as_soon_as_it_has_ended() -> None:
    encoder = make(restart=Restart(after_closed=3, after_open=9))
    is_open = torch.zeros(T, dtype=torch.bool)
    is_open[[2, 3, 10]] = True
    frames = torch.tensor([2, 3])
    waiting = encoder.advance(torch.zeros(2, F).double(), frames, encoder.begin(), 6)
    assert len(waiting.index) == 0
    answered = encoder.advance(torch.zeros(0, F).double(), frames[:0], waiting.carry, 7)  # 4, 5, 6 are closed
    assert answered.index.tolist() == [2, 3]


def test_the_second_direction_hears_what_follows_and_the_first_does_not() -> None:
    features = torch.randn(T, F).double()
    changed = features.clone()
    changed[30] += 1
    for restart, is_heard in ((None, False), (Restart(5, 50), True)):
        encoder, is_open = make(restart=restart), torch.ones(T, dtype=torch.bool)
        before, after = (answers(encoder, each, is_open, [])[0][29] for each in (features, changed))
        assert torch.equal(before, after) != is_heard


@pytest.mark.parametrize("std", [0.0, 1e-5])
def test_a_feature_that_never_varies_is_only_centred(std: float) -> None:
    encoder = Encoder(2, H)
    encoder.set_statistics(torch.tensor([1.0, 2.0]), torch.tensor([std, 2.0]))
    assert encoder.normalise(torch.tensor([[4.0, 4.0]])).tolist() == [[3.0, 1.0]]
