"""Differences equal librosa's away from the ends, row by row, of any featurizer, with any cut."""

import copy
from functools import partial

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor

from featurizers.audio import GlanceFrames, LogMel
from featurizers.cepstral import Mfcc
from featurizers.convolution import ConvFeaturizer
from featurizers.deltas import Deltas
from featurizers.grid import Featurizer, Grid, Needs, Stretch
from featurizers.runs import AudioSource, Run, evaluate_runs
from featurizers.testing import check_featurizer
from pipelines.class_paths import Place
from pipelines.components import Role, read_component

GRID = Grid(0.08)


def noise(seconds: float) -> Tensor:
    return 0.2 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(0))


class Windows:
    """Level of windows of four frames, for each of its frames: something that cannot be cut within a window."""

    def __init__(self, grid: Grid) -> None:  # noqa: ARG002
        self.needs = Needs("audio", 16_000, block_frames=4)
        self.size = 1

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        assert not (first_frame % 4).any()
        assert num_frames % 4 == 0
        windows = stretch.data.reshape(len(stretch.data), num_frames // 4, -1)
        return windows.square().mean(-1).repeat_interleave(4, dim=1)[..., None]


@pytest.mark.parametrize("width", [5, 9])
def test_differences_equal_librosas_row_by_row(width: int) -> None:
    samples = noise(3.0)
    deltas = Deltas(GRID, of=partial(Mfcc, num_coefficients=13), row_size=13, width=width)
    found = evaluate_runs(deltas, GRID, [Run(0, 36)], AudioSource(samples)).features.reshape(-1, 3, 13)
    rows = evaluate_runs(deltas.inner, GRID, [Run(0, 36)], AudioSource(samples)).features.reshape(-1, 13).numpy()
    np.testing.assert_array_equal(found[:, 0], rows)
    inside = slice(width, -width)  # at its ends librosa extends by a rule of its own
    for order in (1, 2):
        expected = librosa.feature.delta(rows.T, width=width, order=order).T
        np.testing.assert_allclose(found[inside, order], expected[inside], atol=1e-3)


def test_of_whole_frames_a_ramp_has_slope_one_and_no_curvature() -> None:
    frames = torch.arange(40.0)[:, None] ** 2 / 2  # slope t, curvature 1
    stretch = Stretch(frames[None], torch.zeros(1, dtype=torch.float64))
    deltas = Deltas(GRID, of=partial(GlanceFrames, glance_size=1))
    found = deltas.evaluate(stretch, torch.tensor([4]), 32)[0]
    np.testing.assert_allclose(found, [[t**2 / 2, t, 1.0] for t in range(4, 36)], rtol=1e-4)


@pytest.mark.parametrize(
    "deltas",
    [
        Deltas(GRID, of=LogMel, row_size=32),
        Deltas(GRID, of=LogMel, order=1, width=3),
        Deltas(GRID, of=Windows),
        Deltas(GRID, of=partial(Deltas, of=partial(Mfcc, num_coefficients=4), row_size=4, width=5), order=1, width=3),
    ],
)
def test_deltas_keep_the_promises_of_a_featurizer(deltas: Deltas) -> None:
    check_featurizer(deltas, GRID, seconds=8.0)


def test_deltas_of_a_trained_featurizer_keep_its_promises_and_its_weights() -> None:
    make = partial(ConvFeaturizer, glance_size=256, num_mels=32, channels=[4, 4])  # 8 bands are left: 32 numbers
    deltas = Deltas(GRID, of=make)
    check_featurizer(deltas, GRID, glance=torch.randn(120, 256, generator=torch.Generator().manual_seed(0)))
    assert any(name.startswith("inner.layers") for name in deltas.state_dict())
    assert deltas.size == 3 * 32


def test_a_copy_gives_the_same_numbers() -> None:
    deltas = Deltas(GRID, of=LogMel)
    source = AudioSource(noise(1.0))
    found = [evaluate_runs(thing, GRID, [Run(2, 4)], source).features for thing in (deltas, copy.deepcopy(deltas))]
    assert torch.equal(*found)


def test_a_recipe_names_what_it_is_of() -> None:
    of = {"class_path": "featurizers.cepstral.Mfcc", "init_args": {"num_coefficients": 13}}
    named = {"class_path": "featurizers.deltas.Deltas", "init_args": {"of": of, "row_size": 13}}
    component = read_component(named, Role(("grid",), ("glance_size",), Featurizer), lambda key: Place("r", 1, key), [])
    assert component.init_args["of"]["init_args"]["num_mels"] == 40  # complete: its own defaults are filled in
    built = component.build(GRID, glance_size=256)
    assert (type(built.inner), built.size) == (Mfcc, 8 * 3 * 13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 3}, "order=3 must be 1 or 2"),
        ({"width": 4}, "width=4 must be an odd number"),
        ({"row_size": 7}, "row_size=7 must divide the 256 numbers per frame of LogMel"),
    ],
)
def test_settings_that_do_not_fit_say_why(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Deltas(GRID, of=LogMel, **options)
