"""The recipes for ultrasound and for the telephone: sound reaches the model at its own rate, whole."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from featurizers import AudioStream, write_audio
from pipelines import job, run
from pipelines.model import build_line
from pipelines.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
RATES_HZ = {"bats": 384_000, "telephone": 8_000}
TONES_HZ = {
    "bats": {"common_pipistrelle": 45_000, "soprano_pipistrelle": 60_000},
    "telephone": {"dial_tone": 450, "ringing": 1_500},
}
SECONDS = {"bats": 2.0, "telephone": 20.0}


def tone(pitch_hz: float, seconds: float, rate_hz: int) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.25 * np.sin(2 * np.pi * pitch_hz * time)).astype(np.float32)


@pytest.mark.parametrize(("name", "pitch_hz"), [("bats", 60_000), ("bats", 150_000), ("telephone", 1_500)])
def test_nothing_is_resampled_and_the_tone_is_seen_where_it_is(name: str, pitch_hz: int, tmp_path: Path) -> None:
    rate_hz, recipe = RATES_HZ[name], load_recipe(RECIPES / f"{name}.yaml")
    line = build_line(recipe, 2)
    samples = torch.from_numpy((tone(pitch_hz, 0.5, rate_hz) * 32768).round() / 32768)
    write_audio(tmp_path / "a.flac", samples, rate_hz)
    with line.open(tmp_path / "a.flac") as stream:
        assert isinstance(stream, AudioStream)
        heard = torch.cat(list(stream.blocks(1 << 14)))
    assert torch.equal(heard, samples)  # to the last bit: no filter was in its way
    with line.open(tmp_path / "a.flac") as stream:
        assert isinstance(stream, AudioStream)
        glance, _ = line.all_frames(stream)
    options = recipe.glance.init_args
    edges_mel = np.linspace(mel(options["min_hz"]), mel(options["max_hz"]), options["num_mels"] + 2)
    loudest = int(glance[3].view(-1, options["num_mels"]).mean(0).argmax())
    assert edges_mel[loudest] < mel(pitch_hz) < edges_mel[loudest + 2]


def mel(hz: float) -> float:
    """Slaney's scale (Auditory Toolbox, 1998): 200/3 Hz per mel up to 1 kHz, then 27 mels for a factor of 6.4."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000)) / float(np.log(6.4))


@pytest.mark.slow
@pytest.mark.parametrize("name", RATES_HZ)
def test_the_recipe_runs_on_a_folder_of_its_layout(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "write_pages", lambda *_: None)  # pages are tested elsewhere, and drawing takes longest
    random, rate_hz, seconds = np.random.default_rng(0), RATES_HZ[name], SECONDS[name]
    folder = tmp_path / "mine"
    folder.mkdir()
    rows: list[list[object]] = [["file", "onset", "offset", "label"]]
    for number in range(2):
        samples = 0.003 * random.standard_normal(round(seconds * rate_hz)).astype(np.float32)
        for place in range(20):
            label, onset, length = sorted(TONES_HZ[name])[place % 2], (place + 0.3) * seconds / 20, seconds / 50
            first, call = round(onset * rate_hz), tone(TONES_HZ[name][label], length, rate_hz)
            samples[first : first + len(call)] += call
            rows.append([f"{number}.flac", onset, onset + length, label])
        write_audio(folder / f"{number}.flac", samples, rate_hz)
    with (folder / "events.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    command = [
        str(RECIPES / f"{name}.yaml"),
        "--corpus.init_args.audio",
        str(folder),
        "--output",
        str(tmp_path / "run"),
    ]
    fast = ["--train.max_epochs", "2", "--train.switch_first_steps", "5", "--device", "cpu", "--quiet"]
    assert run.main([*command, "--cache", str(tmp_path / "cache"), *fast]) == 0, capsys.readouterr().err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["num_events"] == 8  # the last fifth of 20 in each of two files
    assert 0 <= metrics["frame_error"] <= 1
    assert json.loads((tmp_path / "run" / "model" / "labels.json").read_text()) == sorted(TONES_HZ[name])
