"""Runs side by side: differences and intervals worked by hand, settings that differ, errors of one line."""

import csv
import json
import math
from pathlib import Path

import pytest

from pipelines import compare
from pipelines.runfolder import write_state
from pipelines.yaml_text import write_yaml

RECIPE = {"task": {"class_path": "my.Task", "init_args": {}}, "train": {"max_epochs": 8, "dropout": 0.2}}
METRICS = {
    "recall_at_thresholds": 0.80,
    "recall_at_thresholds_low": 0.76,
    "recall_at_thresholds_high": 0.83,
    "recall_at_thresholds/yes": 0.7,
    "quiet_recall_at_thresholds": 0.9,
    "speedup": 4.0,
    "onset_error_seconds_median": None,
    "seconds_of_media": 3600.0,
}


def write_run(folder: Path, metrics: dict[str, float | None], epochs: int = 8, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    recipe = RECIPE | {"train": {"max_epochs": epochs, "dropout": 0.2}}
    (folder / "recipe.yaml").write_text(write_yaml(recipe))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    write_state(folder, {"seed": seed, "device": "cpu"})


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/a"), METRICS)
    better = {"recall_at_thresholds": 0.90, "recall_at_thresholds_low": 0.87, "recall_at_thresholds_high": 0.94}
    write_run(Path("runs/b"), METRICS | better | {"speedup": 3.5}, epochs=16, seed=3)


def test_differences_are_to_the_first_run_and_their_intervals_add_as_squares() -> None:
    both = [compare.read_run(Path("runs/a")), compare.read_run(Path("runs/b"))]
    (row,) = compare.compare(both, ["recall_at_thresholds"])
    first, second = row.figures
    assert first is not None
    assert second is not None
    assert (first.value, first.low, first.high, first.difference) == (0.80, 0.76, 0.83, 0.0)
    assert second.difference == pytest.approx(0.10)
    # down: b may lie 0.03 lower and a 0.03 higher; up: b may lie 0.04 higher and a 0.04 lower
    assert second.difference_low == pytest.approx(0.10 - 0.03 * math.sqrt(2))
    assert second.difference_high == pytest.approx(0.10 + 0.04 * math.sqrt(2))


def test_the_table_shows_figures_differences_and_what_was_set_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["runs/a", "runs/b"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "runs/a runs/b"
    assert lines[1] == (
        "recall_at_thresholds 0.800 [0.760, 0.830] 0.900 [0.870, 0.940] +0.100 [+0.058, +0.157]*"
    )  # the interval does not hold 0
    assert "speedup 4 3.500 -0.500" in lines
    assert lines[lines.index("Settings that differ:") + 1 :] == ["seed 0 3", "train.max_epochs 8 16"]
    assert not any("different recordings" in line or "/yes" in line or "quiet" in line for line in lines)


def test_all_figures_or_those_that_begin_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["runs/a", "runs/b", "--metrics", "quiet_recall,onset"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:3]] == ["quiet_recall_at_thresholds", "onset_error_seconds_median"]
    assert shown[2].split()[1:] == ["-", "-"]
    assert compare.main(["runs/a", "runs/b", "--all"]) == 0
    keys = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line and line[0] != " "]
    assert [key for key in METRICS if not key.endswith(("_low", "_high"))] == keys[:6]


def test_equal_settings_and_other_recordings_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("runs/c"), METRICS | {"seconds_of_media": 1800.0})
    assert compare.main(["runs/a", "runs/c"]) == 0
    shown = capsys.readouterr().out
    assert "judged on different recordings" in shown
    assert "All settings are the same." in shown


def test_runs_of_different_tasks_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("runs/sed"), {"event_f1": 0.5, "speedup": 2.0})
    assert compare.main(["runs/a", "runs/sed"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["event_f1", "-", "0.500"] in lines
    assert ["speedup", "4", "2", "-2"] in lines


def test_the_table_is_saved_as_csv() -> None:
    assert compare.main(["runs/a", "runs/b", "--csv", "out.csv"]) == 0
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    found = next(row for row in rows if row["run"] == "runs/b" and row["key"] == "recall_at_thresholds")
    assert float(found["value"]) == 0.90
    assert float(found["difference"]) == pytest.approx(0.10)
    assert {row["run"]: row["value"] for row in rows if row["key"] == "setting train.max_epochs"} == {
        "runs/a": "8",
        "runs/b": "16",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/a"], "name two runs or more"),
        (["runs/a", "runs/bb"], "runs/bb: there is no such folder; did you mean runs/b?"),
        (["runs/a", "runs"], "runs: holds no recipe.yaml"),
        (["runs/a", "runs/unfinished"], "runs/unfinished: holds no metrics.json, so the run has not finished"),
        (["runs/a", "runs/damaged"], "metrics.json: is damaged"),
        (["runs/a", "runs/b", "--metrics", "recal_at"], "--metrics recal_at: no figure begins so"),
        (["runs/a", "runs/b", "--cvs", "x"], "unrecognized arguments: --cvs"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("runs/unfinished"), {})
    (Path("runs/unfinished") / "metrics.json").unlink()
    write_run(Path("runs/damaged"), {})
    (Path("runs/damaged") / "metrics.json").write_text("{")
    assert compare.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
