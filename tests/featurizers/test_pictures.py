"""Thumbnails show what moves, forgive slow light, and train a small network."""

import pytest
import torch
from torch import Tensor, nn

from featurizers import Grid, PictureChange, PictureConv, Run, Stretch, Thumbnails, check_featurizer, evaluate_runs
from featurizers.pictures import _varied
from featurizers.testing import PictureArray

torch.set_num_threads(1)
GRID = Grid(0.2)


def scene(num_pictures: int, seed: int = 0) -> Tensor:
    """A still background with a little noise, 64 x 48."""
    random = torch.Generator().manual_seed(seed)
    background = torch.randint(60, 180, (1, 1, 48, 64), generator=random)
    return background + torch.randint(-2, 3, (num_pictures, 1, 48, 64), generator=random)


def change(pictures: Tensor) -> Tensor:
    source = PictureArray(pictures.clamp(0, 255).to(torch.uint8), torch.arange(len(pictures)).double() * 0.2)
    return evaluate_runs(PictureChange(GRID), GRID, [Run(0, len(pictures))], source).features


def test_they_keep_the_promises_of_a_featurizer() -> None:
    check_featurizer(PictureChange(GRID), GRID, seconds=12.0)
    check_featurizer(PictureChange(GRID, width=32, height=24, block=4, left_seconds=1, right_seconds=0), GRID)
    check_featurizer(Thumbnails(GRID), GRID)
    check_featurizer(Thumbnails(GRID, rate_hz=10.0, colour="rgb"), GRID)
    check_featurizer(PictureConv(GRID), GRID)
    check_featurizer(PictureConv(GRID, rate_hz=15.0, colour="rgb", context_frames=2, width=33, height=25), GRID)


def test_a_thing_that_moves_stands_out_of_the_noise() -> None:
    pictures = scene(60)
    for index in range(30, 36):
        pictures[index, :, 20:28, 4 * (index - 30) : 4 * (index - 30) + 8] = 250
    features = change(pictures)
    moving, still = features[30:36], torch.cat([features[5:29], features[40:60]])
    assert (moving.amin(dim=0)[[0, 1, 2, 3, 4]] > still.amax(dim=0)[[0, 1, 2, 3, 4]]).all()


def test_a_picture_that_grows_brighter_all_over_is_no_motion() -> None:
    still = scene(40)
    brighter = still + 2 * torch.arange(40).clamp(10, 30).reshape(-1, 1, 1, 1)
    plain, lit = change(still)[8:32], change(brighter)[8:32]
    torch.testing.assert_close(plain[:, :5], lit[:, :5], atol=2e-3, rtol=0.0)
    assert torch.allclose(lit[4:20, 5], torch.tensor(2 / 25.5), atol=0.01)


def test_thumbnails_by_hand() -> None:
    pictures = torch.tensor([[0, 255], [51, 255], [51, 0]], dtype=torch.uint8).reshape(3, 1, 1, 2)
    source = PictureArray(pictures, torch.arange(3).double() * 0.2)
    features = evaluate_runs(Thumbnails(GRID, width=2, height=1), GRID, [Run(0, 3)], source).features
    expected = [[-1, 1, 0, 0], [-0.6, 1, 1.6, 0], [-0.6, -1, 0, -8]]
    torch.testing.assert_close(features, torch.tensor(expected), atol=1e-5, rtol=0.0)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="block=7 must divide"):
        PictureChange(GRID, block=7)
    with pytest.raises(ValueError, match="whole number"):
        Thumbnails(GRID, rate_hz=7.0)
    with pytest.raises(ValueError, match="of a multiple of 4"):
        PictureConv(GRID, channels=(6,))
    with pytest.raises(ValueError, match="halve 8 x 48 to nothing"):
        PictureConv(GRID, width=8)
    with pytest.raises(ValueError, match="context_frames=-1"):
        PictureConv(GRID, context_frames=-1)


def test_a_small_network_learns_which_way_a_patch_moves() -> None:
    """Left or right: no single picture tells."""
    random = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    network = PictureConv(GRID, width=24, height=16, rate_hz=10.0, channels=(8, 8), size=16, context_frames=0)
    head = nn.Linear(16, 1)
    data, wanted = torch.full((40, 3, 1, 16, 24), 60, dtype=torch.uint8), torch.arange(40) % 2
    for number, is_right in enumerate(wanted.tolist()):
        top, left = torch.randint(0, 8, (2,), generator=random).tolist()
        for step in range(3):
            at = 4 + left + (3 * step if is_right else 6 - 3 * step)
            data[number, step, 0, top : top + 6, at : at + 6] = 200
    stretch = Stretch(data, torch.zeros(40, dtype=torch.float64))
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(60):
        logits = head(network.evaluate(stretch, torch.zeros(40, dtype=torch.int64), 1))[:, 0, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted.float())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert ((logits > 0) == (wanted > 0)).all()


def test_varied_runs_are_mirrored_and_lit_anew_in_training_alone() -> None:
    network = PictureConv(GRID, width=16, height=12, channels=(4, 8), size=8, varied=True)
    plain = PictureConv(GRID, width=16, height=12, channels=(4, 8), size=8)
    plain.load_state_dict(network.state_dict())
    data = torch.randint(0, 256, (40, 6, 1, 12, 16), generator=torch.Generator().manual_seed(0)).byte()
    stretch = Stretch(data, torch.zeros(40, dtype=torch.float64))
    first = torch.zeros(40, dtype=torch.int64)
    assert torch.equal(network.eval().evaluate(stretch, first, 3), plain.evaluate(stretch, first, 3))
    check_featurizer(network, GRID)
    torch.manual_seed(0)
    pixels = data.float() / 127.5 - 1.0
    seen = _varied(pixels)
    for run, other in zip(
        pixels, seen, strict=True
    ):  # one straight line leads from the run, or its mirror, to the other
        fits = [torch.corrcoef(torch.stack([each.flatten(), other.flatten()]))[0, 1] for each in (run, run.flip(-1))]
        assert max(fits) > 0.9999
        assert min(fits) < 0.5
    mirrored = [
        torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] < 0.5 for a, b in zip(pixels, seen, strict=True)
    ]
    assert 8 < sum(mirrored) < 32
    assert not torch.allclose(network.train().evaluate(stretch, first, 3), plain.evaluate(stretch, first, 3))
