"""What PacketGlance says of hand-made packet streams: motion shows, whatever the encoder's habits."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from featurizers import Grid, PacketGlance, Packets, PacketSource, Run, check_featurizer, evaluate_runs, silence_frame
from featurizers.packets import COLUMNS

GRID = Grid(0.2)
SECONDS = 40.0


def packets(size_of: Callable[[int], int], *, rate_hz: float = 25.0, key_every: int = 50) -> Packets:
    number = torch.arange(int(SECONDS * rate_hz))
    sizes = torch.tensor([size_of(index) for index in number.tolist()])
    is_key = number % key_every == 0
    return Packets(number.double() / rate_hz, torch.where(is_key, 8000, sizes), is_key)


def look(stream: Packets, glance: PacketGlance | None = None) -> dict[str, Tensor]:
    glance = glance or PacketGlance(GRID)
    runs = [Run(0, GRID.num_frames(SECONDS))]
    features = evaluate_runs(glance, GRID, runs, PacketSource(stream)).features
    return dict(zip(glance.columns, features.T, strict=True))


@pytest.mark.parametrize("hop_seconds", [0.2, 0.25, 1.0])
def test_it_keeps_the_promises_of_a_featurizer(hop_seconds: float) -> None:
    check_featurizer(PacketGlance(Grid(hop_seconds)), Grid(hop_seconds), seconds=40.0)
    small = PacketGlance(Grid(hop_seconds), left_seconds=2.0, right_seconds=1.0, neighbours=0)
    check_featurizer(small, Grid(hop_seconds), seconds=30.0)


def moving(index: int) -> bool:
    return 500 <= index < 550  # seconds 20 to 22


@pytest.mark.parametrize("small", [1, 4], ids=["no B-frames", "B-frames four times smaller"])
def test_motion_raises_sizes_whatever_the_pattern_of_large_and_small_pictures(small: int) -> None:
    def size(index: int) -> int:
        return (400 if index % 4 == 0 else 400 // small) * (16 if moving(index) else 1)

    seen = look(packets(size))
    inside, outside = slice(101, 109), [*range(20, 95), *range(115, 190)]
    assert torch.allclose(seen["smooth"][105], torch.tensor(2.0), atol=0.15)  # 16 times: half of four octaves
    for column in ("mean", "smooth", "above_quiet", "of_key"):
        assert seen[column][inside].min() > seen[column][outside].max() + 0.5, column
    assert torch.equal(seen["mean+1"][10:90], seen["mean"][11:91])
    assert torch.equal(seen["mean-2"][10:90], seen["mean"][8:88])


def test_level_and_ratio_to_the_key_frame_by_hand() -> None:
    seen = look(packets(lambda _: 255))
    assert torch.allclose(seen["level"][50], torch.tensor((8.0 - 10.0) / 4))
    expected = (8.0 - (torch.tensor(8001.0).log2() - 5.0)) / 2
    assert torch.allclose(seen["of_key"][50], expected)


def test_key_frames_are_told_apart_from_motion() -> None:
    seen = look(packets(lambda _: 300))
    assert seen["has_key"].nonzero().flatten().tolist() == list(range(0, 200, 10))
    assert seen["mean"].abs().max() == 0
    assert seen["key_size"].abs().max() == 0
    assert torch.allclose(seen["key_age"][20:30], torch.arange(10.0) / 50)


def test_twice_the_quality_gives_the_same_numbers_but_the_level() -> None:
    def size(index: int) -> int:
        return 4000 if moving(index) else 250

    one, other = look(packets(size)), look(packets(lambda index: 2 * size(index)))
    for column in set(COLUMNS) - {"level", "of_key"}:
        torch.testing.assert_close(one[column], other[column], atol=0.01, rtol=0.0)  # one byte is added to each size
    assert torch.allclose(other["level"] - one["level"], torch.tensor(0.25), atol=0.01)


def test_a_hole_is_seen_and_stays_finite() -> None:
    stream = packets(lambda _: 300)
    is_there = (stream.times < 20.0) | (stream.times >= 26.0)
    seen = look(Packets(*(column[is_there] for column in stream)))
    assert not seen["has_packets"][100:130].any()
    assert seen["has_packets"][:100].all()
    assert (seen["count"][100:130] < -1).all()
    assert all(column.isfinite().all() for column in seen.values())


def test_a_pause_within_the_holding_time_is_a_gap() -> None:
    stream = packets(lambda _: 300)
    is_there = (stream.times < 20.0) | (stream.times >= 21.0)
    seen = look(Packets(*(column[is_there] for column in stream)))
    assert seen["gap"][105] == 2.0  # 26 times the usual spacing: beyond the bound
    assert seen["gap"][[50, 99, 106]].abs().max() < 1e-6


def test_one_picture_a_second_is_held_between_pictures() -> None:
    seen = look(packets(lambda index: 1600 if index in (20, 21) else 100, rate_hz=1.0, key_every=12))
    assert seen["has_packets"].sum() == SECONDS
    assert seen["mean"][100:110].min() > 1.5
    assert seen["mean"][60:95].abs().max() == 0


def test_constant_bit_rate_and_no_packets_stay_finite() -> None:
    flat = look(packets(lambda _: 8000))
    assert all(column.isfinite().all() for column in flat.values())
    glance = PacketGlance(GRID)
    silence = dict(zip(glance.columns, silence_frame(glance, GRID).tolist(), strict=True))
    assert silence.pop("key_age") == 1.0
    assert set(silence.values()) == {0.0}


def test_context_shorter_than_what_looks_around_is_refused() -> None:
    with pytest.raises(ValueError, match=r"right_seconds=0\.2"):
        PacketGlance(GRID, right_seconds=0.2)
    with pytest.raises(ValueError, match="neighbours=20"):
        PacketGlance(GRID, neighbours=20)
