"""Simple ways to skip: their shares, and that they decide block by block as in one pass."""

import pytest
import torch

from benchmarks.rivals import EnergyGate, EvenStride
from surnn import Gate, Stride


def test_even_stride_is_the_stride_where_one_over_the_share_is_whole() -> None:
    glance = torch.zeros(1, 80, 4)
    found = EvenStride(4, share=0.125).switch(glance).frames
    assert torch.equal(found, Stride(4, every=8, offset=7).switch(glance).frames)


@pytest.mark.parametrize("share", [0.03, 0.14, 0.37, 1.0])
def test_even_stride_meets_any_share_and_spreads_it(share: float) -> None:
    opened = EvenStride(4, share=share).switch(torch.zeros(1, 10_000, 4)).frames[0].nonzero()[:, 0]
    assert len(opened) == round(share * 10_000)
    gaps = opened.diff()
    assert int(gaps.max() - gaps.min()) <= 1


def test_energy_opens_around_what_is_loud_as_worked_out_by_hand() -> None:
    glance = torch.zeros(1, 12, 2)
    glance[0, 5] = 3.0
    gate = EnergyGate(2, threshold=0.9, smooth_frames=1, dilate_frames=2)
    # smoothed: 1 at frames 4, 5, 6; widened by 2: 2 to 8
    assert gate.switch(glance).frames[0].nonzero()[:, 0].tolist() == [2, 3, 4, 5, 6, 7, 8]


def test_energy_against_its_surroundings_hears_a_word_in_faint_and_loud_recordings_alike() -> None:
    glance = torch.randn(1, 200, 3, generator=torch.Generator().manual_seed(0))
    gate = EnergyGate(3, threshold=0.5, against_frames=20)
    assert torch.equal(gate.switch(glance).frames, gate.switch(glance + 10).frames)
    assert not torch.equal(gate.switch(glance).frames, EnergyGate(3, threshold=0.5).switch(glance + 10).frames)


@pytest.mark.parametrize("against", [0, 25])
@pytest.mark.parametrize("share", [0.05, 0.14, 0.5])
def test_the_energy_threshold_opens_the_wanted_share(share: float, against: int) -> None:
    random = torch.Generator().manual_seed(1)
    glances = [torch.randn(400, 8, generator=random), torch.randn(1600, 8, generator=random) + 1]
    gate = EnergyGate(8, against_frames=against)
    gate.open_share(glances, share)
    opened = torch.cat([gate.switch(glance[None]).frames[0] for glance in glances])
    # widened by two frames on either side, a loud frame opens five at once: the share can miss by a few frames
    assert float(opened.mean()) == pytest.approx(share, abs=10 / 2000)


@pytest.mark.parametrize("gate", [EnergyGate(4, threshold=0.2, against_frames=7), EvenStride(4, share=0.3)])
def test_blocks_with_context_decide_as_one_pass(gate: Gate) -> None:
    glance = torch.randn(1, 90, 4, generator=torch.Generator().manual_seed(2))
    whole = gate.switch(glance).frames[0]
    assert 0 < float(whole.mean()) < 1
    for first, last in ((0, 30), (30, 61), (61, 90)):
        start, end = max(0, first - gate.lookback_frames), min(90, last + gate.lookahead_frames)
        part = gate.switch(glance[:, start:end], start).frames[0, first - start : last - start]
        assert torch.equal(part, whole[first:last])


def test_frames_that_an_earlier_gate_closed_stay_closed() -> None:
    among = torch.arange(20)[None] < 10
    for gate in (EnergyGate(4, threshold=-100.0), EvenStride(4, share=1.0)):
        assert torch.equal(gate.switch(torch.zeros(1, 20, 4), 0, among).frames > 0, among)


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share=1.2 must lie in \(0, 1\]"):
        EvenStride(4, share=1.2)
