"""A trained featurizer keeps every promise of a frozen one, and its gradient is exact."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from featurizers import (
    AudioSource,
    ConvFeaturizer,
    GlanceFrames,
    GlanceSource,
    Grid,
    LogMel,
    Needs,
    Run,
    Stretch,
    check_featurizer,
    crop_stretch,
    evaluate_crops,
    evaluate_runs,
    silence_frame,
)
from featurizers.convolution import pooled_rows
from pipelines.job import fit_statistics
from pipelines.lessons import Frames
from pipelines.model import build_line
from pipelines.recipe import load_recipe

torch.set_num_threads(1)
HOP = 0.08


def built(rows: int = 8, num_mels: int = 6, channels: tuple[int, ...] = (3, 4, 5)) -> ConvFeaturizer:
    torch.manual_seed(1)
    return ConvFeaturizer(Grid(HOP), glance_size=rows * num_mels, num_mels=num_mels, channels=channels)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 12])
@pytest.mark.parametrize("channels", [(4,), (3, 4), (3, 3, 3, 3)])
def test_any_cut_into_runs_gives_the_same_frames(rows: int, channels: tuple[int, ...]) -> None:
    featurizer = built(rows, channels=channels)
    glance = torch.randn(75, rows * 6, generator=torch.Generator().manual_seed(2)).cumsum(dim=0)
    with torch.no_grad():
        check_featurizer(featurizer, Grid(HOP), glance=glance)


def test_it_keeps_its_promises_on_the_log_mel_of_a_recording() -> None:
    grid = Grid(0.02)
    log_mel = LogMel(grid, num_mels=40, transform_samples=1024, max_hz=8000.0)
    samples = 0.1 * torch.randn(16_000 * 2, generator=torch.Generator().manual_seed(3))
    glance = evaluate_runs(log_mel, grid, [Run(0, 100)], AudioSource(samples)).features
    featurizer = ConvFeaturizer(grid, glance_size=log_mel.size, num_mels=40)
    with torch.no_grad():
        check_featurizer(featurizer, grid, glance=torch.cat([silence_frame(log_mel, grid)[None], glance]), seconds=2.0)


@pytest.mark.parametrize("rows", [1, 3, 4, 8])
def test_the_context_is_all_that_a_frame_hears_and_no_frame_more(rows: int) -> None:
    featurizer = built(rows).double()
    left = right = round(featurizer.needs.left_seconds / HOP)
    glance = torch.randn(1, left + 1 + right, rows * 6, dtype=torch.float64, requires_grad=True)
    features = featurizer.evaluate(Stretch(glance, torch.zeros(1)), torch.zeros(1), 1)
    (gradient,) = torch.autograd.grad(features.pow(3).sum(), glance)
    heard = gradient[0].reshape(-1, 6).abs().sum(dim=1) > 0  # row by row
    num_heard = 2 * featurizer.context_rows + rows
    assert int(heard.sum()) == num_heard
    assert heard.flip(0).tolist() == heard.tolist()
    assert left == math.ceil(featurizer.context_rows / rows)


def test_rows_are_pooled_to_one_per_frame_early_in_the_stack() -> None:
    assert pooled_rows(8, 4) == [2, 2, 2, 1]
    assert pooled_rows(1, 2) == [1, 1]
    assert pooled_rows(12, 3) == [2, 2, 3]
    assert pooled_rows(12, 2) == [3, 4]
    assert pooled_rows(7, 3) == [7, 1, 1]
    assert all(math.prod(pooled_rows(rows, layers)) == rows for rows in range(1, 40) for layers in range(1, 5))


def test_two_layers_are_the_convolutions_and_means_that_are_written_down() -> None:
    """Two rows of three bands a frame, two layers: every number from its definition, by plain loops."""
    featurizer = built(2, 3, (2, 3)).double()
    featurizer.fit(torch.randn(2, 20, 6, dtype=torch.float64))
    first, second = standard_weights(featurizer)
    glance = torch.randn(1, 5, 6, dtype=torch.float64)  # two frames of context on either side
    rows = (glance.reshape(10, 3) - featurizer.mean) * featurizer.scale  # the frame's own are rows 4 and 5
    after = torch.zeros(3, 2, 2, dtype=torch.float64)  # steps of two rows: frames 1 to 3; two bands, channels
    for step in range(3):
        for band in range(2):
            for channel in range(2):
                value = featurizer.get_parameter("layers.0.bias")[channel].clone()
                for i in range(4):
                    for j in range(4):
                        if 0 <= 2 * band + j - 1 < 3:
                            value += first[channel, 0, i, j] * rows[2 * (step + 1) + i - 1, 2 * band + j - 1]
                after[step, band, channel] = value.clamp_min(0)
    summed = torch.zeros(3, dtype=torch.float64)
    for band in range(2):
        for channel in range(3):
            value = featurizer.get_parameter("layers.1.bias")[channel].clone()
            for i in range(3):
                for j in range(3):
                    if 0 <= band + j - 1 < 2:
                        value += second[channel, :, i, j] @ after[i, band + j - 1]
            summed[channel] += value.clamp_min(0)
    found = featurizer.evaluate(Stretch(glance, torch.zeros(1)), torch.zeros(1), 1)[0, 0]
    torch.testing.assert_close(found, summed / 2)


def standard_weights(featurizer: ConvFeaturizer) -> list[torch.Tensor]:
    """Of each layer, channel by channel: the mean taken off, then length 1, then the gain."""
    layers = []
    for layer in featurizer.layers:
        channels = []
        for weight, gain in zip(layer.get_parameter("weight"), layer.get_parameter("gain"), strict=True):
            centred = weight - weight.mean()
            channels.append(gain * centred / torch.linalg.vector_norm(centred))
        layers.append(torch.stack(channels))
    return layers


def test_a_fitted_one_begins_with_channels_of_mean_zero_and_deviation_one() -> None:
    featurizer = built(4, 8, (3, 4, 5))
    glance = 3.0 * torch.randn(4, 60, 32, generator=torch.Generator().manual_seed(7)) - 40.0
    seen: list[torch.Tensor] = []
    for layer in featurizer.layers:
        layer.register_forward_hook(lambda _layer, _given, out: seen.append(out.clone()))
    featurizer.fit(glance)
    seen.clear()
    with torch.no_grad():
        featurizer.evaluate(Stretch(glance, torch.zeros(4)), torch.zeros(4), 54)
    assert len(seen) == 3
    for values in seen:
        # the first and last frames are context here and were not in the fit: close, not equal
        torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(values.shape[1]), atol=0.1, rtol=0)
        torch.testing.assert_close(values.std((0, 2, 3)), torch.ones(values.shape[1]), atol=0.1, rtol=0)


def test_gradients_reach_every_weight_and_agree_with_finite_differences() -> None:
    featurizer = built(2, 4, (2, 3)).double()
    glance = torch.randn(2, 3 + 2 * 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    stretch = Stretch(glance, torch.zeros(2))
    names = [name for name, _ in featurizer.named_parameters()]

    def features(*values: torch.Tensor) -> torch.Tensor:
        for name, value in zip(names, values, strict=True):
            owner, _, last = name.rpartition(".")
            part = featurizer.get_submodule(owner)
            part._parameters.pop(last, None)
            setattr(part, last, value)
        return featurizer.evaluate(stretch, torch.zeros(2), 3)

    values = [value.detach().clone().requires_grad_() for value in featurizer.parameters()]
    assert torch.autograd.gradcheck(features, values, atol=1e-6)
    gradients = torch.autograd.grad(features(*values).pow(3).sum(), values)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_training_and_evaluation_mode_give_the_same_frames() -> None:
    featurizer = built()
    stretch = Stretch(torch.randn(2, 9, 48), torch.zeros(2))
    first = featurizer.train().evaluate(stretch, torch.zeros(2), 5)
    assert torch.equal(first, featurizer.eval().evaluate(stretch, torch.zeros(2), 5))


def test_long_and_many_runs_are_worked_through_in_passes_without_a_difference() -> None:
    featurizer = built(4).double()
    assert featurizer.context_rows == 7
    glance = torch.randn(1, 2 + 200 + 2, 24, dtype=torch.float64)
    whole = featurizer.evaluate(Stretch(glance, torch.zeros(1)), torch.zeros(1), 200)[0]
    assert len(whole) == 200  # 800 rows: more than one pass
    singles = glance[0].unfold(0, 5, 1).transpose(1, 2)
    one_by_one = featurizer.evaluate(Stretch(singles, torch.zeros(200)), torch.zeros(200), 1)[:, 0]
    torch.testing.assert_close(one_by_one, whole)
    on_one_pass = featurizer._pass(glance.reshape(1, 1, -1, 6)[:, :, 1:], 200)[0]
    torch.testing.assert_close(whole, on_one_pass)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="num_mels=5 must divide the glance's 48 numbers per frame"):
        ConvFeaturizer(Grid(HOP), glance_size=48, num_mels=5)
    with pytest.raises(ValueError, match=r"channels=\[\]"):
        ConvFeaturizer(Grid(HOP), glance_size=48, num_mels=6, channels=())
    with pytest.raises(ValueError, match=r"channels=\[4, 0\]"):
        ConvFeaturizer(Grid(HOP), glance_size=48, num_mels=6, channels=(4, 0))


def test_a_recipe_names_it_and_a_model_keeps_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """
task: pipelines.tasks.KeywordSpotting
corpus: pipelines.tasks.KeywordSpotting
glance: {class_path: featurizers.LogMel, init_args: {num_mels: 8}}
switch: surnn.Open
featurizer: {class_path: featurizers.ConvFeaturizer, init_args: {num_mels: 8, channels: [4, 6]}}
head: pipelines.heads.LevelDecay
"""
    )
    line = build_line(load_recipe(path), 2)
    assert line.featurizer.size == 12  # two bands of six channels
    assert "featurizer.layers.1.weight" in line.state_dict()
    assert all(parameter.requires_grad for name, parameter in line.named_parameters() if "featurizer" in name)
    assert isinstance(line.featurizer, ConvFeaturizer)
    glance = torch.randn(40, line.glance.size, generator=torch.Generator().manual_seed(8)) * 2 - 5
    flags = torch.zeros(40, 2, dtype=torch.bool)
    fit_statistics(line, Frames(glance, glance[:, :0], flags, ~flags, flags[:, 0], torch.tensor([40]), (0.0,)))
    torch.testing.assert_close(line.featurizer.mean, glance.reshape(-1, 8).mean(0))
    torch.testing.assert_close(line.featurizer.scale, 1 / glance.reshape(-1, 8).std(0))


def recordings_of(lengths: list[int], size: int) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    frames = torch.randn(sum(lengths), size, generator=torch.Generator().manual_seed(5))
    ends = torch.tensor(lengths).cumsum(0).tolist()
    return frames, [(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def test_crops_have_the_features_of_their_runs_whatever_lies_beside_them_in_memory() -> None:
    featurizer, grid = built(), Grid(HOP)
    frames, bounds = recordings_of([9, 30, 12], 48)
    silence = torch.full((48,), -6.0)
    chosen = [(0, 0), (0, 3), (1, 9), (1, 20), (1, 33), (2, 39), (2, 45)]  # recording, row
    starts = torch.tensor([row for _, row in chosen])
    recordings = torch.tensor([bounds[number] for number, _ in chosen])
    crops = evaluate_crops(featurizer, grid, frames, silence, starts=starts, recordings=recordings, num_frames=6)
    assert crops.requires_grad
    for crop, (number, row) in zip(crops, chosen, strict=True):
        begin, end = bounds[number]
        source = GlanceSource(frames[begin:end], silence)
        alone = evaluate_runs(featurizer, grid, [Run(row - begin, 6)], source).features
        one_by_one = evaluate_runs(featurizer, grid, [Run(row - begin + k, 1) for k in range(6)], source).features
        torch.testing.assert_close(crop, alone, atol=1e-5, rtol=1e-5)  # float32 sums in another order
        torch.testing.assert_close(crop, one_by_one, atol=1e-5, rtol=1e-5)


def test_a_crop_reads_its_recording_and_silence_around_it() -> None:
    frames = torch.arange(8.0).half()[:, None]
    needs = Needs("glance", left_seconds=1.0, right_seconds=0.4)  # hop 0.5: two frames before, one after
    stretch = crop_stretch(
        needs,
        Grid(0.5),
        frames,
        torch.tensor([-1.0]),
        starts=torch.tensor([0, 3, 5]),
        recordings=torch.tensor([[0, 3], [3, 8], [3, 8]]),
        num_frames=3,
    )
    assert stretch.data.dtype == torch.float32
    assert stretch.data[..., 0].tolist() == [[-1, -1, 0, 1, 2, -1], [-1, -1, 3, 4, 5, 6], [3, 4, 5, 6, 7, -1]]
    assert stretch.times.tolist() == [-1.0, -1.0, 0.0]


def test_crops_that_cannot_be_given_cached_frames_are_refused() -> None:
    grid, frames, silence = Grid(HOP), torch.zeros(8, 4), torch.zeros(4)
    starts, recordings = torch.tensor([1]), torch.tensor([[0, 8]])
    with pytest.raises(ValueError, match="reads 'audio'"):
        evaluate_crops(LogMel(grid), grid, frames, silence, starts=starts, recordings=recordings, num_frames=2)
    windowed = GlanceFrames(grid, glance_size=4)
    windowed.needs = Needs("glance", block_frames=2)
    with pytest.raises(ValueError, match="whole windows of 2 frames"):
        evaluate_crops(windowed, grid, frames, silence, starts=starts, recordings=recordings, num_frames=2)


def test_a_small_one_learns_where_a_chirp_is() -> None:
    """Rising and falling chirps among noise: no single row tells them apart."""
    random = torch.Generator().manual_seed(6)
    featurizer, head = built(4, 8, (6, 8, 8)), nn.Linear(8, 1)
    glance = torch.randn(40, 6, 4, 8, generator=random)
    wanted = torch.arange(40) % 2
    for number, is_rising in enumerate(wanted.tolist()):
        for row in range(4):
            glance[number, 3, row, 2 * row if is_rising else 6 - 2 * row] += 4.0
    stretch = Stretch(glance.flatten(2), torch.zeros(40))
    optimizer = torch.optim.AdamW([*featurizer.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(60):
        context = round(featurizer.needs.left_seconds / HOP)
        padded = nn.functional.pad(stretch.data, (0, 0, context - 3, context - 2))
        logits = head(featurizer.evaluate(Stretch(padded, stretch.times), torch.zeros(40), 1))[:, 0, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted.float())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert ((logits > 0) == (wanted > 0)).all()
