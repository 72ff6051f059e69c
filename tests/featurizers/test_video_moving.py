"""What moves is found, cut out at one size wherever it is, and the same in any cut into runs."""

import pytest
import torch
from torch import Tensor

from featurizers import Grid, Run, check_featurizer, evaluate_runs
from featurizers.testing import PictureArray
from featurizers.video_moving import MovingPart

torch.set_num_threads(1)
GRID = Grid(0.2)


def scene(column: int, row: int, side: int, num_pictures: int = 40) -> Tensor:
    """A square that blinks in a still room of 80 x 60."""
    room = torch.randint(60, 120, (1, 1, 60, 80), generator=torch.Generator().manual_seed(0))
    pictures = room.repeat(num_pictures, 1, 1, 1).to(torch.uint8)
    pictures[::2, :, row - side : row + side, column - side : column + side] = 250
    return pictures


def places(part: MovingPart, pictures: Tensor) -> Tensor:
    return part.places(pictures[None, :, 0].float())[0][0]


def test_it_keeps_the_promises_of_a_featurizer() -> None:
    check_featurizer(MovingPart(GRID, width=40, height=32, side=16, channels=(4, 8), size=8, around_seconds=0.6), GRID)
    part = MovingPart(
        GRID, width=40, height=32, side=16, channels=(4,), size=8, around_seconds=0.4, rate_hz=10.0, varied=True
    )
    check_featurizer(part.eval(), GRID)


@pytest.mark.parametrize(("column", "row"), [(24, 20), (40, 28), (56, 40)])
def test_the_square_lies_where_it_moves_and_is_as_large_as_what_moves(column: int, row: int) -> None:
    part = MovingPart(GRID, width=80, height=60, around_seconds=1.0)
    small, large = (places(part, scene(column, row, side))[0] for side in (4, 8))
    for found in (small, large):
        torch.testing.assert_close(found[:2], torch.tensor([column - 0.5, row - 0.5]), atol=1.0, rtol=0.0)
    # A square of n pixels has a deviation of n / sqrt(12): 3.2 of them are about as far again as its edge.
    assert float(large[2]) == pytest.approx(3.2 * 16 / 12**0.5, rel=0.15)
    assert float(small[2]) == pytest.approx(60 / 8, rel=0.15)  # the least


def test_where_nothing_moves_the_middle_is_looked_at() -> None:
    part = MovingPart(GRID, width=80, height=60, around_seconds=1.0)
    still = scene(40, 30, 0)
    brighter = (still + torch.arange(40, dtype=torch.uint8).reshape(-1, 1, 1, 1)).to(torch.uint8)
    for pictures in (still, brighter):
        assert places(part, pictures)[0].tolist() == [39.5, 29.5, 30.0]


def test_the_same_movement_elsewhere_looks_the_same() -> None:
    part = MovingPart(GRID, width=80, height=60, around_seconds=1.0).eval()
    room = torch.full((1, 1, 60, 80), 100, dtype=torch.uint8)

    def features(column: int, row: int) -> Tensor:
        pictures = room.repeat(40, 1, 1, 1)
        pictures[::2, :, row - 6 : row + 6, column - 6 : column + 6] = 250
        source = PictureArray(pictures, torch.arange(40).double() * 0.2)
        return evaluate_runs(part, GRID, [Run(10, 10)], source).features

    torch.testing.assert_close(features(28, 28), features(48, 32), atol=0.05, rtol=0.0)


def test_it_learns_and_varies_only_in_training() -> None:
    torch.manual_seed(0)
    part = MovingPart(GRID, width=80, height=60, around_seconds=0.4, varied=True)
    source = PictureArray(scene(40, 30, 6), torch.arange(40).double() * 0.2)

    def features() -> Tensor:
        return evaluate_runs(part, GRID, [Run(5, 6)], source).features

    features()[..., 0].sum().backward()  # the sum of all is what LayerNorm makes it
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in part.layers.parameters())
    assert not torch.equal(features(), features())
    part.eval()
    assert torch.equal(features(), features())


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4 channels"):
        MovingPart(GRID, channels=(6,))
    with pytest.raises(ValueError, match="halves the side"):
        MovingPart(GRID, side=4)
    with pytest.raises(ValueError, match="must be multiples of 4"):
        MovingPart(GRID, width=81)
