import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surnn import hold, pack


def test_pack_takes_open_frames_stream_by_stream_and_no_padding() -> None:
    frames = torch.arange(10.0).view(2, 5, 1)
    is_open = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 1, 1]], dtype=torch.bool)
    packed = pack(frames, is_open, lengths=torch.tensor([5, 4]))
    assert packed.data.flatten().tolist() == [1, 3, 4, 5, 8]
    assert packed.index.tolist() == [1, 3, 4, 0, 3]
    assert packed.lengths.tolist() == [3, 2]


def test_hold_worked_by_hand() -> None:
    rows, before = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[-1.0], [-2.0], [-3.0]])
    held = hold(rows, torch.tensor([1, 3, 0]), torch.tensor([2, 0, 1]), 5, before)
    assert held[..., 0].tolist() == [[-1, 1, 1, 2, 2], [-2] * 5, [3] * 5]


def fill_forward(rows: Tensor, is_open: Tensor, before: Tensor) -> Tensor:
    """What hold promises, frame by frame."""
    queue, streams = iter(rows), []
    for stream, start in zip(is_open.tolist(), before, strict=True):
        now, out = start, []
        for frame_is_open in stream:
            now = next(queue) if frame_is_open else now
            out.append(now)
        streams.append(torch.stack(out))
    return torch.stack(streams)


@settings(deadline=None, max_examples=60)
@given(batch=st.integers(1, 4), num_frames=st.integers(1, 20), seed=st.integers(0, 999), rate=st.floats(0, 1))
def test_hold_after_pack_fills_forward_to_the_last_bit(batch: int, num_frames: int, seed: int, rate: float) -> None:
    torch.manual_seed(seed)
    is_open = torch.rand(batch, num_frames) < rate
    packed = pack(torch.randn(batch, num_frames, 2), is_open)
    before = torch.randn(batch, 2)
    held = hold(packed.data, packed.index, packed.lengths, num_frames, before)
    assert torch.equal(held, fill_forward(packed.data, is_open, before))


def test_gradients_of_hold_and_pack_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    is_open = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    frames = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    before = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def both(frames: Tensor, before: Tensor) -> Tensor:
        packed = pack(frames, is_open)
        return hold(packed.data, packed.index, packed.lengths, 4, before)

    assert torch.autograd.gradcheck(both, (frames, before))


def test_what_does_not_fit_is_refused() -> None:
    frames = torch.zeros(2, 3, 1)
    with pytest.raises(ValueError, match=r"is_open has shape \(2, 4\)"):
        pack(frames, torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"switch\.frames > 0\.5"):
        pack(frames, torch.ones(2, 3))
    before = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="lengths that sum to 1"):
        hold(torch.zeros(2, 1), torch.tensor([0, 1]), torch.tensor([1]), 3, before)
    with pytest.raises(ValueError, match="index runs from 0 to 3"):
        hold(torch.zeros(2, 1), torch.tensor([0, 3]), torch.tensor([2]), 3, before)
