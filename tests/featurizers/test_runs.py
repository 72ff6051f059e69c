"""Runs cover what is open, bridge what is cheap, and their stretches hold the right data."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurizers.audio import GlanceFrames, LogMel
from featurizers.crops import crop_stretch, evaluate_crops
from featurizers.grid import Grid, Needs, PictureFormat, Stretch
from featurizers.pictures import PictureChange, PictureConv
from featurizers.runs import (
    AudioSource,
    GlanceSource,
    PacketSource,
    Run,
    context_frames,
    cut_stretch,
    evaluate_runs,
    plan_runs,
    silence_frame,
)
from featurizers.testing import PictureArray
from featurizers.video_types import Packets, Pictures

GRID = Grid(0.5, origin_seconds=2.0)


def opened(pattern: str) -> torch.Tensor:
    return torch.tensor([mark == "#" for mark in pattern])


@pytest.mark.parametrize(
    ("pattern", "bridge", "block", "runs"),
    [
        ("..##.#....##.", 0, 1, [(2, 2), (5, 1), (10, 2)]),
        ("..##.#....##.", 1, 1, [(2, 4), (10, 2)]),
        ("..##.#....##.", 4, 1, [(2, 10)]),
        ("..##.#....##.", 0, 4, [(0, 12)]),
        ("...#....#", 0, 3, [(3, 6)]),
        (".......", 3, 2, []),
        ("", 0, 1, []),
    ],
)
def test_runs_by_hand(pattern: str, bridge: int, block: int, runs: list[tuple[int, int]]) -> None:
    assert plan_runs(opened(pattern), bridge_frames=bridge, block_frames=block) == [Run(*run) for run in runs]


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 5), st.integers(1, 4), st.integers(0, 9))
def test_runs_cover_every_open_frame_and_no_gap_longer_than_the_bridge(
    is_open: list[bool], bridge: int, block: int, first: int
) -> None:
    runs = plan_runs(
        torch.tensor(is_open, dtype=torch.bool), bridge_frames=bridge, block_frames=block, first_frame=first
    )
    covered = [frame for run in runs for frame in range(run.first_frame, run.first_frame + run.num_frames)]
    open_frames = {first + index for index, value in enumerate(is_open) if value}
    assert open_frames <= set(covered)
    assert len(covered) == len(set(covered))
    assert all(run.first_frame % block == 0 and run.num_frames % block == 0 for run in runs)
    for one, other in itertools.pairwise(runs):
        assert other.first_frame - (one.first_frame + one.num_frames) > bridge
    needed = {frame // block for frame in open_frames}
    for at in {frame // block for frame in covered} - needed:  # a computed block with nothing open is a bridge
        before = max(block_index for block_index in needed if block_index < at)
        after = min(block_index for block_index in needed if block_index > at)
        assert (after - before - 1) * block <= bridge


def test_context_is_rounded_up_to_whole_frames() -> None:
    assert context_frames(Needs("glance", left_seconds=0.68, right_seconds=0.0), Grid(0.08)) == (9, 0)
    assert context_frames(Needs("audio", 16_000, 0.08, 0.081), Grid(0.08)) == (1, 2)


def test_audio_around_a_run_is_zero_beyond_the_recording() -> None:
    needs = Needs("audio", 4.0, left_seconds=0.5, right_seconds=0.25)  # 2 samples a frame; 2 before, 1 after
    source = AudioSource(torch.arange(1.0, 7.0))  # 6 samples: 3 frames
    stretch = cut_stretch(needs, GRID, source, torch.tensor([0, 2]), 1)
    assert stretch.data.tolist() == [[0, 0, 1, 2, 3], [3, 4, 5, 6, 0]]
    assert stretch.times.tolist() == [1.5, 2.5]


def test_a_source_may_begin_anywhere() -> None:
    needs = Needs("audio", 4.0)
    stretch = cut_stretch(needs, GRID, AudioSource(torch.arange(6.0), offset=5), torch.tensor([2, 3]), 2)
    assert stretch.data.tolist() == [[0, 0, 1, 2], [1, 2, 3, 4]]


def test_glance_around_a_run_is_the_glance_of_silence() -> None:
    needs = Needs("glance", left_seconds=0.6)
    source = GlanceSource(torch.tensor([[5.0], [6.0]]), torch.tensor([-1.0]), offset=10)
    stretch = cut_stretch(needs, GRID, source, torch.tensor([9, 11]), 1)
    assert stretch.data[..., 0].tolist() == [[-1, -1, -1], [-1, 5, 6]]
    assert stretch.times.tolist() == [2.0 + 7 * 0.5, 2.0 + 9 * 0.5]


class Counting:
    """The first sample of each frame; remembers what it was asked for."""

    needs = Needs("audio", 4.0)
    size = 1

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def evaluate(self, stretch: Stretch, first_frame: torch.Tensor, num_frames: int) -> torch.Tensor:
        self.asked.append((len(first_frame), num_frames))
        return stretch.data[:, ::2, None]


def test_features_come_in_the_order_of_the_runs_and_closed_frames_are_never_computed() -> None:
    featurizer, runs = Counting(), [Run(7, 2), Run(1, 1), Run(12, 2), Run(4, 1)]
    result = evaluate_runs(featurizer, GRID, runs, AudioSource(torch.arange(40.0)))
    assert result.features[:, 0].tolist() == [14, 16, 2, 24, 26, 8]
    assert result.num_featurized == 6 == sum(runs * frames for runs, frames in featurizer.asked)
    assert sorted(featurizer.asked) == [(2, 1), (2, 2)]


def test_batches_are_bounded() -> None:
    featurizer = Counting()
    evaluate_runs(featurizer, GRID, [Run(3 * k, 2) for k in range(5)], AudioSource(torch.zeros(40)), batch_frames=4)
    assert featurizer.asked == [(2, 2), (2, 2), (1, 2)]


def test_nothing_open_computes_nothing() -> None:
    featurizer = Counting()
    result = evaluate_runs(featurizer, GRID, [], AudioSource(torch.zeros(4)))
    assert (tuple(result.features.shape), result.num_featurized, featurizer.asked) == ((0, 1), 0, [])


def test_the_wrong_source_is_refused() -> None:
    with pytest.raises(ValueError, match="LogMel reads 'audio', but was given GlanceSource"):
        evaluate_runs(LogMel(Grid(0.08)), Grid(0.08), [], GlanceSource(torch.zeros(1, 1), torch.zeros(1)))
    with pytest.raises(ValueError, match="give a GlanceSource"):
        evaluate_runs(GlanceFrames(GRID, glance_size=1), GRID, [], AudioSource(torch.zeros(1)))


TINY = PictureFormat(1, 1, "gray")


def numbered(times: list[float]) -> PictureArray:
    """Pictures of one pixel, which tells their number."""
    data = torch.arange(len(times), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return PictureArray(data, torch.tensor(times, dtype=torch.float64))


def test_pictures_around_a_run_are_the_nearest_ones_and_the_first_and_last_beyond_the_recording() -> None:
    needs = Needs("pictures", 4.0, left_seconds=0.5, right_seconds=0.25, picture=TINY)  # 2 a frame; 2 before, 1 after
    source = numbered([2.0, 2.2, 2.6, 2.8])
    stretch = cut_stretch(needs, GRID, source, torch.tensor([0]), 1)  # 1.5 1.75 | 2.0 2.25 | 2.5
    assert stretch.data.shape == (1, 5, 1, 1, 1)
    assert stretch.data.flatten().tolist() == [0, 0, 0, 1, 2]
    assert stretch.times.tolist() == [1.5]
    assert cut_stretch(needs, GRID, source, torch.tensor([1]), 1).data.flatten().tolist() == [0, 1, 2, 3, 3]


class Asked(PictureArray):
    asked: list[list[float]]

    def pictures(self, times: torch.Tensor, picture: PictureFormat) -> Pictures:
        assert picture == TINY
        self.asked.append(times.tolist())
        return super().pictures(times, picture)


class PixelSum:
    needs = Needs("pictures", 2.0, picture=TINY)
    size = 1

    def evaluate(self, stretch: Stretch, first_frame: torch.Tensor, num_frames: int) -> torch.Tensor:  # noqa: ARG002
        return stretch.data.float().flatten(2)


def test_pictures_are_asked_run_by_run_in_order_of_time_and_come_in_the_order_of_the_runs() -> None:
    source = Asked(*numbered([2.0 + 0.5 * k for k in range(9)]))
    source.asked = []
    result = evaluate_runs(PixelSum(), GRID, [Run(5, 1), Run(1, 2), Run(7, 1)], source)
    assert source.asked == [[2.5, 3.0], [4.5], [5.5]]
    assert result.features[:, 0].tolist() == [5, 1, 2, 7]


def test_packets_of_a_run_are_those_within_its_context() -> None:
    needs = Needs("packets", left_seconds=0.5, right_seconds=0.25)
    times = torch.tensor([2.4, 2.5, 3.2, 3.7, 3.75, 9.0], dtype=torch.float64)
    packets = Packets(times, torch.arange(6), torch.tensor([True, False, False, True, False, False]))
    stretch = cut_stretch(needs, GRID, PacketSource(packets), torch.tensor([2]), 1)  # frame 3.0 to 3.5
    assert stretch.data.tolist() == [[[2.5, 1, 0], [3.2, 2, 0], [3.7, 3, 1]]]
    assert stretch.times.tolist() == [2.5]
    assert cut_stretch(needs, GRID, PacketSource(packets), torch.tensor([6]), 2).data.shape == (1, 0, 3)


def test_the_silence_of_a_glance_at_pictures_is_a_picture_that_stands_still() -> None:
    grid = Grid(0.2)
    still = PictureArray(torch.full((9, 1, 48, 64), 128, dtype=torch.uint8), torch.arange(9).double())
    expected = evaluate_runs(PictureChange(grid), grid, [Run(5, 1)], still).features[0]
    assert torch.equal(silence_frame(PictureChange(grid), grid), expected)


def test_crops_of_cached_pictures_have_the_features_of_their_runs() -> None:
    """Recordings lie one behind the other in memory; none may see its neighbour."""
    grid, random = Grid(0.2), torch.Generator().manual_seed(0)
    featurizer = PictureConv(grid, width=8, height=8, rate_hz=10.0, channels=(4,), size=4)
    lengths = [5, 9, 6]
    frames = torch.randint(0, 256, (sum(lengths), 2, 1, 8, 8), dtype=torch.uint8, generator=random)
    begins = [0, 5, 14]
    chosen = [(0, 0), (0, 2), (1, 5), (1, 11), (2, 17)]
    starts = torch.tensor([row for _, row in chosen])
    recordings = torch.tensor([[begins[number], begins[number] + lengths[number]] for number, _ in chosen])
    crops = evaluate_crops(featurizer, grid, frames, None, starts=starts, recordings=recordings, num_frames=3)
    assert crops.requires_grad
    for crop, (number, row) in zip(crops, chosen, strict=True):
        own = frames[begins[number] : begins[number] + lengths[number]].flatten(0, 1)
        source = PictureArray(own, torch.arange(len(own)).double() / 10)
        alone = evaluate_runs(featurizer, grid, [Run(row - begins[number], 3)], source).features
        torch.testing.assert_close(crop, alone, atol=1e-5, rtol=1e-5)  # float32 sums in another order


def test_cached_frames_of_another_kind_are_refused() -> None:
    crop = {"starts": torch.tensor([0]), "recordings": torch.tensor([[0, 4]])}
    needs = Needs("pictures", 4.0, picture=PictureFormat(3, 2, "rgb"))
    sizeless = PixelSum()
    sizeless.needs = Needs("pictures", 2.0)
    with pytest.raises(ValueError, match=r"shape \(4, 7\).*\(N, \*\(2, 3, 2, 3\)\)"):
        crop_stretch(needs, GRID, torch.zeros(4, 7), None, **crop, num_frames=2)
    with pytest.raises(ValueError, match="give silence"):
        crop_stretch(Needs("glance"), GRID, torch.zeros(4, 7), None, **crop, num_frames=2)
    with pytest.raises(ValueError, match="reads 'packets'"):
        crop_stretch(Needs("packets"), GRID, torch.zeros(4, 7), None, **crop, num_frames=2)
    with pytest.raises(ValueError, match=r"give needs\.picture"):
        silence_frame(sizeless, GRID)
    with pytest.raises(ValueError, match="PixelSum reads 'pictures', but was given AudioSource; give a PictureSource"):
        evaluate_runs(PixelSum(), GRID, [], AudioSource(torch.zeros(4)))
