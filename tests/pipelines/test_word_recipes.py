"""The recipes for own clips of words, small, from folders of clips to a model: the clips are made here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

import pipelines
from pipelines import run
from pipelines.corpora.acoustics import sound_limits
from pipelines.corpora.espeak import Request, Synthesiser, Voice

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
VOICES = (Voice("en-us", "f3"), Voice("en-gb", "m2"), Voice("en-us", "m5"), Voice("en-gb-scotland", "belinda"))
PITCHES_HZ = {"high": 2_500.0, "low": 500.0}
SPEAKERS = ("ann", "bob", "cy", "dee", "eve")
RATE_HZ = 16_000


def tones(root: Path) -> Path:
    """ROOT/WORD/SPEAKER/TAKE.wav: two "words" that a small model learns in seconds, trimmed to their very ends."""
    for word, pitch_hz in PITCHES_HZ.items():
        for number, speaker in enumerate(SPEAKERS):
            for take in range(2):
                time = np.arange(round((0.35 + 0.05 * number) * RATE_HZ)) / RATE_HZ
                wave = np.sin(2 * np.pi * pitch_hz * (1 + 0.05 * take) * time) * np.hanning(len(time)) ** 0.3
                path = root / word / speaker / f"{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, 0.3 * wave, RATE_HZ)
    return root


def own_voices(root: Path) -> Path:
    """ROOT/WORD/TAKE.wav: a handful of takes of two words."""
    with Synthesiser() as synthesiser:
        for word in ("banana", "seven"):
            for take, said in enumerate(synthesiser.say_all([Request(word, voice) for voice in VOICES])):
                onset, offset = sound_limits(said.samples)
                path = root / word / f"{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, said.samples[onset:offset], said.rate_hz)
    return root


def trained(recipe: str, folder: Path, clips: Path, **changed: object) -> dict[str, Any]:
    small = {"corpus.init_args.stream_seconds": 30, "train.batch_size": 8, "train.switch_first_steps": 30, **changed}
    arguments = [str(ROOT / "recipes" / recipe), "--corpus.init_args.audio", str(clips), "--device", "cpu"]
    arguments += [part for key, value in small.items() for part in (f"--{key}", str(value))]
    assert run.main([*arguments, "--output", str(folder / "run"), "--cache", str(folder / "cache")]) == 0
    metrics: dict[str, Any] = json.loads((folder / "run" / "metrics.json").read_text())
    return metrics


def test_a_folder_of_trimmed_clips_becomes_a_model_that_names_clips_of_unheard_speakers(tmp_path: Path) -> None:
    hours = {"train": "{dry: 0.06}", "validation": "{talkative: 0.01}", "test": "{talkative: 0.01}"}
    metrics = trained(
        "kws_folder.yaml", tmp_path, tones(tmp_path / "clips"),
        **{f"corpus.init_args.{split}_hours": each for split, each in hours.items()},
        **{"train.max_epochs": 10, "corpus.init_args.splits": "{validation: [bob], test: [ann, dee]}"},
    )  # fmt: skip
    assert metrics["clip_num_clips"] == 8
    assert metrics["clip_clip_accuracy"] >= 7 / 8  # by chance 4 are right, and 7 or more once in 28 times
    model = pipelines.load(tmp_path / "run" / "model")
    assert model.labels == ("high", "low")
    assert "Split by speaker or source as named" in model.card


def test_a_handful_of_clips_and_a_synthesiser_become_a_spotter(tmp_path: Path) -> None:
    hours = {"train": "{practice: 0.1}", "validation": "{talkative: 0.02}", "test": "{talkative: 0.02}"}
    metrics = trained(
        "kws_few.yaml", tmp_path, own_voices(tmp_path / "clips"),
        **{f"corpus.init_args.{split}_hours": each for split, each in hours.items()},
        **{"train.max_epochs": 8, "train.crop_seconds": 5.0},
    )  # fmt: skip
    assert metrics["talkative_num_events"] >= 4
    assert metrics["talkative_recall_at_1_false_alarm_per_hour"] >= 0.5
    assert "60% of the training takes of each word are synthesised" in pipelines.load(tmp_path / "run" / "model").card
