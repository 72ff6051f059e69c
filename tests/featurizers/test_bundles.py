"""torchaudio's speech models in fixed windows: the model's own numbers, any cut, weights from where they were asked."""

import copy
import dataclasses
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchaudio  # type: ignore[import-untyped]

from featurizers.bundles import TorchaudioBundle
from featurizers.grid import Grid, Stretch
from featurizers.runs import AudioSource, Run, evaluate_runs, plan_runs
from featurizers.testing import check_featurizer

torch.set_num_threads(1)
GRID = Grid(0.08)
TINY = {
    "extractor_conv_layer_config": [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2],
    "encoder_embed_dim": 16,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 3,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 32,
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundles' own configurations, of a size that a test can pay; nothing can be fetched."""
    for name in ("WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE", "WAV2VEC2_ASR_BASE_960H"):
        bundle = getattr(torchaudio.pipelines, name)
        monkeypatch.setattr(torchaudio.pipelines, name, dataclasses.replace(bundle, _params=bundle._params | TINY))

    def refuse(*_args: Any, **_options: Any) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(torchaudio.pipelines._wav2vec2.utils, "load_state_dict_from_url", refuse)


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE", "WAV2VEC2_ASR_BASE_960H"])
def test_every_family_keeps_the_promises_of_a_featurizer(name: str) -> None:
    check_featurizer(TorchaudioBundle(GRID, name=name, weights=None, window_seconds=0.8), GRID, seconds=4.0)


@pytest.mark.parametrize(("layer", "context_seconds"), [(None, 0.4), (1, 0.0), (2, 0.1)])
def test_a_window_is_the_models_own_steps_averaged(layer: int | None, context_seconds: float) -> None:
    featurizer = TorchaudioBundle(
        GRID, weights=None, layer=layer, window_seconds=0.8, context_seconds=context_seconds, seed=5
    )
    torch.manual_seed(5)
    params = torchaudio.pipelines.WAV2VEC2_BASE._params
    model = torchaudio.models.wav2vec2_model(**params).eval()
    samples, context = noise(4.0), round(context_seconds * 16_000)
    found = evaluate_runs(featurizer, GRID, [Run(10, 20)], AudioSource(samples)).features
    for window in (0, 1):
        begin = (10 + 10 * window) * 1280
        with torch.no_grad():
            heard = samples[begin - context : begin + 12_800 + context + 80]
            steps = model.extract_features(heard[None])[0][(layer or 3) - 1][0]
        steps = steps[context // 320 :][:40]
        torch.testing.assert_close(found[10 * window :][:10], steps.reshape(10, 4, 16).mean(1), atol=1e-5, rtol=1e-4)


def test_models_that_want_it_hear_each_window_normalised_by_itself() -> None:
    featurizer = TorchaudioBundle(GRID, name="HUBERT_LARGE", weights=None, window_seconds=0.8, context_seconds=0.0)
    loud = noise(0.805)
    stretch = Stretch(torch.stack([loud, 0.01 * loud + 0.1]), torch.zeros(2, dtype=torch.float64))
    found = featurizer.evaluate(stretch, torch.zeros(2, dtype=torch.int64), 10)
    torch.testing.assert_close(found[0], found[1], atol=1e-2, rtol=1e-2)  # layer_norm's 1e-5 shows in the quiet one
    plain = TorchaudioBundle(GRID, weights=None, window_seconds=0.8, context_seconds=0.0)
    assert plain._normalises is False


def test_one_open_frame_opens_its_window_and_no_other() -> None:
    needs = TorchaudioBundle(GRID, weights=None, window_seconds=0.8).needs
    is_open = torch.zeros(40, dtype=torch.bool)
    is_open[[3, 34]] = True
    assert plan_runs(is_open, block_frames=needs.block_frames) == [Run(0, 10), Run(30, 10)]


def test_random_weights_follow_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    stretch = Stretch(noise(2.405)[None], torch.zeros(1, dtype=torch.float64))

    def frames(seed: int) -> torch.Tensor:
        featurizer = TorchaudioBundle(GRID, weights=None, seed=seed)
        return featurizer.evaluate(stretch, torch.tensor([0]), 20)

    assert torch.equal(frames(1), frames(1))
    assert not torch.equal(frames(1), frames(2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_a_file_are_used(tmp_path: Path, suffix: str) -> None:
    params = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H._params
    torch.manual_seed(9)
    model = torchaudio.models.wav2vec2_model(**params).eval()
    state = model.state_dict()
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        safetensors.torch.save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    assert any(key.startswith("aux.") for key in state)
    mine = TorchaudioBundle(GRID, name="WAV2VEC2_ASR_BASE_960H", weights=str(path), context_seconds=0.0)
    stretch = Stretch(noise(1.605)[None], torch.zeros(1, dtype=torch.float64))
    with torch.no_grad():
        steps = model.extract_features(stretch.data)[0][-1][0]
    found = mine.evaluate(stretch, torch.tensor([0]), 20)[0]
    torch.testing.assert_close(found, steps.reshape(20, 4, 16).mean(1), atol=1e-5, rtol=1e-4)
    assert not any(weight.requires_grad for weight in mine._model.parameters())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copy_in_another_process_gives_the_same_numbers(copied: Any) -> None:
    featurizer = TorchaudioBundle(GRID, weights=None)
    source = AudioSource(noise(2.0))
    found = [evaluate_runs(thing, GRID, [Run(0, 20)], source).features for thing in (featurizer, copied(featurizer))]
    assert torch.equal(*found)


def test_without_a_network_the_message_says_how_to_give_a_file() -> None:
    with pytest.raises(ConnectionError, match=r"WAVLM_BASE cannot be fetched .*no network here.*`weights: PATH`"):
        TorchaudioBundle(GRID, name="WAVLM_BASE")


def test_a_file_of_something_else_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no file"):
        TorchaudioBundle(GRID, weights=str(tmp_path / "none.pt"))
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt' does not hold a state dict of torchaudio's WAV2VEC2_BASE"):
        TorchaudioBundle(GRID, weights=str(tmp_path / "other.pt"))
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(ValueError, match=r"text\.pt' does not hold"):
        TorchaudioBundle(GRID, weights=str(tmp_path / "text.pt"))
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(ValueError, match="no safetensors file"):
        TorchaudioBundle(GRID, weights=str(tmp_path / "text.safetensors"))


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_a_file_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Evil()}, "evil.pt")
    with pytest.raises(ValueError, match="does not hold"):
        TorchaudioBundle(GRID, weights="evil.pt")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        (Grid(0.05), {}, r"hop_seconds=0\.05 must be a whole number of 0\.02 s"),
        (GRID, {"name": "WAV2VEC3"}, "name='WAV2VEC3' must be one of .*HUBERT_BASE"),
        (GRID, {"name": "CONVTASNET_BASE_LIBRI2MIX"}, "must be one of"),
        (GRID, {"window_seconds": 0.1}, r"window_seconds=0\.1 must be a whole number of frames"),
        (GRID, {"context_seconds": 0.05}, r"context_seconds=0\.05"),
        (GRID, {"layer": 4}, "layer=4 must be from 1 to 3"),
    ],
)
def test_settings_that_do_not_fit_say_why(grid: Grid, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchaudioBundle(grid, weights=None, **options)
