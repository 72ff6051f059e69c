"""The recipes for one's own recordings, each run on a small folder of the layout that its comments describe."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from featurizers import write_audio
from pipelines import job, run
from pipelines.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
FAST = ["--train.max_epochs", "2", "--train.switch_first_steps", "5", "--device", "cpu", "--quiet"]


class Folder(NamedTuple):
    """What is put into a small folder.

    Args:
        files: name -> labels of its events, one every `every_seconds`.
        rate_hz, seconds: of the recordings.
        event_seconds, every_seconds: length of an event, and from one to the next.
        num_tested: events that figures are of.
    """

    files: dict[str, list[str]]
    rate_hz: int
    seconds: float
    event_seconds: float
    every_seconds: float
    num_tested: int


NOTES = [f"note_{number}" for number in range(9)]
BATS = ["Myotis mystacinus/Echolocation", "Pipistrellus pipistrellus/Echolocation"]
FOLDERS = {
    # of each file 10 notes; bird0_063 and bird0_081 are judged
    "birdsong_notes": Folder(
        {f"bird0_{number:03}.flac": NOTES for number in (0, 48, 51, 60, 63, 81)}, 32_000, 2.0, 0.08, 0.2, 20
    ),
    # of each file 10 events, the last fifth of it is judged: 2 (of words the last two fifths)
    "tap_events": Folder(
        {f"tap_{kind}_train.wav": [f"tap_{kind}"] for kind in ("knuckle", "nail_tap", "nail_tip_tap", "pad")},
        48_000, 10.0, 0.11, 1.0, 8,
    ),
    "bioacoustic_boxes": Folder(
        {"bat.flac": BATS, "spinetail.flac": ["CRER", "SP"], "hermit.flac": ["hermit_song"]}, 44_100, 1.0, 0.05, 0.1, 6
    ),
    "keyword_streams": Folder(
        {"stream_a1.flac": ["left", "on"], "stream_a3.flac": ["7", "1"]}, 16_000, 10.0, 0.5, 1.0, 8
    ),
}  # fmt: skip


def put(folder: Path, content: Folder) -> None:
    """Faint noise with tones, each label's at its own pitch, and the tables beside."""
    random = np.random.default_rng(0)
    labels = sorted({label for of_file in content.files.values() for label in of_file})
    rows = []
    time = np.arange(round(content.event_seconds * content.rate_hz)) / content.rate_hz
    for name, of_file in content.files.items():
        samples = 0.01 * random.standard_normal(round(content.seconds * content.rate_hz))
        for number in range(round(content.seconds / content.every_seconds)):
            label, onset = of_file[number % len(of_file)], (number + 0.25) * content.every_seconds
            first = round(onset * content.rate_hz)
            samples[first : first + len(time)] += np.sin(2 * np.pi * (1000 + 700 * labels.index(label)) * time) / 4
            rows.append([name, onset, onset + content.event_seconds, label])
        write_audio(folder / name, samples.astype(np.float32), content.rate_hz)
    for table, head, body in (
        ("events.csv", ["file", "onset", "offset", "label"], rows),
        ("index.csv", ["file"], [[name] for name in content.files]),
    ):
        with (folder / table).open("w", newline="") as file:
            csv.writer(file).writerows([head, *body])


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_a_recipe_for_ones_own_recordings_runs_on_a_folder_of_its_layout(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "write_pages", lambda *_: None)  # pages are tested elsewhere, and drawing takes longest
    folder, path = tmp_path / "mine", RECIPES / f"{name}.yaml"
    folder.mkdir()
    put(folder, FOLDERS[name])
    command = [str(path), "--corpus.init_args.audio", str(folder), "--output", str(tmp_path / "run")]
    assert run.main([*command, "--cache", str(tmp_path / "cache"), *FAST]) == 0, capsys.readouterr().err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    collar = f"{1000 * load_recipe(path).task.build().collar_seconds:g}ms"
    assert metrics["num_events"] == FOLDERS[name].num_tested
    assert 0 <= metrics[f"event_f1_{collar}_macro"] <= 1
    assert 0 <= metrics["frame_error"] <= 1
    assert f"event_f1_{collar}_macro_change_vs_dense_low" in metrics
    assert (tmp_path / "run" / "model" / "weights.safetensors").is_file()


def test_every_such_recipe_says_which_files_it_wants() -> None:
    for name in FOLDERS:
        text = (RECIPES / f"{name}.yaml").read_text()
        assert "#   DIR/events.csv" in text
        assert f"recipes/{name}.yaml --corpus.init_args.audio DIR" in text
