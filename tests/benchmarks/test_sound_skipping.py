"""The contest of sounds on minutes of soundscapes: every system takes part, and a stopped contest is gone on with."""

import json
from pathlib import Path

import pytest

from benchmarks import sound_skipping, systems
from benchmarks.shrinking import FACTORS, nearest_to_one, shrunk
from benchmarks.systems import DENSE, GATES, LEARNED, SMALLER, TRAINED
from pipelines.recipe import load_recipe

RECIPE = str(Path(__file__).parents[2] / "recipes" / "sed.yaml")
SMALL = {
    "corpus.init_args.labels": "[bell, knock]",
    "corpus.init_args.train_hours": "{practice: 0.05}",
    "corpus.init_args.validation_hours": "{busy: 0.02}",
    "corpus.init_args.test_hours": "{busy: 0.01}",
    "corpus.init_args.event_shares": "{busy: 0.3, quiet: 0.2}",
    "corpus.init_args.stream_seconds": "20",
    "corpus.init_args.num_workers": "1",
    "featurizer.init_args.channels": "[8, 8, 8, 8]",
    "encoder.hidden": "8",
    "train.max_epochs": "2",
    "train.switch_first_steps": "20",
}


def test_a_smaller_model_has_fewer_channels_and_neurons() -> None:
    recipe = load_recipe(RECIPE)
    assert dict(shrunk(recipe, 1.0)) == {"featurizer.init_args.channels": "[32, 48, 64, 96]", "encoder.hidden": "64"}
    assert dict(shrunk(recipe, 0.25)) == {"featurizer.init_args.channels": "[8, 12, 16, 24]", "encoder.hidden": "16"}
    assert dict(shrunk(recipe, 0.01))["encoder.hidden"] == "4"


@pytest.mark.parametrize("slope", [0.5, 1.1, 1.7, 2.5, 9.0])
def test_the_size_nearest_to_equal_time_is_found_by_halving(slope: float) -> None:
    asked = []

    def ratio(factor: float) -> float:
        asked.append(factor)
        return slope * factor + 0.1

    factor, found = nearest_to_one(ratio)
    distances = {f: max(slope * f + 0.1, 1 / (slope * f + 0.1)) for f in FACTORS}
    assert distances[factor] == min(distances.values())
    assert found == slope * factor + 0.1
    assert len(asked) <= 4


@pytest.mark.slow
def test_every_system_takes_part_and_a_stopped_contest_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for key, value in SMALL.items() for word in (f"--{key}", value)]
    options = ["--recipe", RECIPE, "--hours", "0.02", "--quiet-hours", "0.01", "--timed", "1"]
    folders = ["--output", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--device", "cpu"]

    def run(corpus_seed: int = 3) -> int:
        return sound_skipping.main(["--seeds", "0", "--corpus-seed", str(corpus_seed), *options, *folders, *words])

    assert run() == 0, capsys.readouterr().err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["systems"]) == [*TRAINED, *GATES]
    assert results["systems"][DENSE]["frames_open"] == {"": 1.0, "busy": 1.0, "quiet": 1.0}
    opened = {name: results["systems"][name]["frames_open"]["busy"] for name in (LEARNED, GATES[-1])}
    assert opened[GATES[-1]] == pytest.approx(opened[LEARNED], abs=0.05)
    table = capsys.readouterr().out
    assert f"lead over {SMALLER}" in table

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained or tested again")

    for name in ("train_line", "tune", "track_of_frames"):
        monkeypatch.setattr(systems, name, never)
    (tmp_path / "out" / "times.json").unlink()  # measured anew, with every system as it was kept
    assert run() == 0, capsys.readouterr().err
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["systems"][LEARNED]["figures"] == results["systems"][LEARNED]["figures"]
    assert again["gates"] == results["gates"]
    assert run(corpus_seed=4) == 2
    assert "another corpus_seed" in capsys.readouterr().err
