"""Walks before a transformer: the model's switch, whole windows, everything open; mistakes end in one line."""

import dataclasses
from pathlib import Path

import pytest
import soundfile  # type: ignore[import-untyped]
import torchaudio  # type: ignore[import-untyped]
from torch import Tensor

from benchmarks.dear_featurizer import main, measure, shares_of, ways_of, with_transformer
from pipelines.model import Model

TINY = {
    "extractor_conv_layer_config": [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2],
    "encoder_embed_dim": 16,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 32,
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = torchaudio.pipelines.HUBERT_BASE
    monkeypatch.setattr(torchaudio.pipelines, "HUBERT_BASE", dataclasses.replace(bundle, _params=bundle._params | TINY))


@pytest.fixture
def recording(tmp_path: Path, noise: Tensor) -> Path:
    """9.3 s, or 117 frames."""
    soundfile.write(tmp_path / "noise.flac", noise.numpy(), 16_000)
    return tmp_path / "noise.flac"


@pytest.mark.parametrize("window_frames", [4, 8])
def test_the_switch_opens_whole_windows_and_no_other(model: Model, recording: Path, window_frames: int) -> None:
    line = with_transformer(model.line, name="HUBERT_BASE", window_seconds=window_frames * 0.08, context_seconds=0.0)
    shares = shares_of(line, [recording])
    track = model.track(recording)  # the switch is the model's own, whatever comes behind it
    assert shares.frames_open == pytest.approx(float(track.is_open.float().mean()))
    opened = {int(frame) // window_frames for frame in track.is_open.nonzero()[:, 0]}
    expected = sum(window_frames for _ in opened) / track.is_open.numel()
    assert shares.frames_computed == pytest.approx(expected, abs=window_frames / track.is_open.numel() + 1e-9)


def test_every_way_goes_from_file_to_events_and_takes_its_turns(model: Model, recording: Path) -> None:
    line = with_transformer(model.line, name="HUBERT_BASE", window_seconds=0.32, context_seconds=0.32)
    ways = ways_of(model, line, line, [recording])
    assert list(ways) == ["switch", "open", "open_long", "floor"]
    seconds = measure(ways, 1)
    assert all(taken > 0 for taken in seconds.values())
    calls: list[str] = []
    measure({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", "a", "b"]


def test_the_command_prints_times_and_shares_and_names_its_bar(
    model: Model, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save(tmp_path / "model")
    arguments = [str(tmp_path / "model"), str(recording), "--runs", "1", "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "asked at 10% open only" in said  # a third is open
    assert "everything open, windows of 12.8 s" in said
    assert (tmp_path / "out" / "results.json").is_file()


def test_what_does_not_fit_ends_the_command_with_one_line(
    model: Model, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) != 0
    model.save(tmp_path / "model")
    assert main([str(tmp_path / "model")]) != 0
    assert main([str(tmp_path / "model"), str(recording), "--window-seconds", "0.3"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 3
    assert "name FILEs, or say with --cache DIR" in errors[1]
    assert "window_seconds=0.3 must be a whole number of frames" in errors[2]
