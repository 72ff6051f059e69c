"""What the comparison asks of recipes, and says of its rows."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import table, write_results
from benchmarks.skipping import Row, overrides_of, recipes_of, rows_table, verdicts
from benchmarks.systems import DENSE, LEARNED
from pipelines.errors import UsageError
from pipelines.metrics import Interval, RecordingResult, score_sheet

RECIPE = str(Path(__file__).parents[2] / "recipes" / "kws.yaml")
HOURS = {"quiet": 2.0, "talkative": 10.0}


def test_the_dense_twin_differs_in_its_switch_alone_and_the_test_has_a_corpus_of_its_own() -> None:
    recipes = recipes_of(RECIPE, [("train.max_epochs", "2")], HOURS)
    learned, dense, test = recipes[LEARNED].as_dict(), recipes[DENSE].as_dict(), recipes["test"].as_dict()
    assert {key for key in learned if learned[key] != dense[key]} == {"switch"}
    assert dense["switch"]["class_path"] == "surnn.Open"
    assert dense["train"]["max_epochs"] == 2
    arguments = test["corpus"]["init_args"]
    assert (arguments["train_hours"], arguments["validation_hours"], arguments["test_hours"]) == ({}, {}, HOURS)
    assert arguments["words"] == learned["corpus"]["init_args"]["words"]
    with pytest.raises(UsageError, match="this compares a surnn"):
        recipes_of(RECIPE, [("switch", "surnn.Open")], HOURS)


def test_keys_of_the_recipe_come_in_pairs() -> None:
    assert overrides_of(["--train.max_epochs", "2"]) == [("train.max_epochs", "2")]
    with pytest.raises(UsageError, match="VALUE"):
        overrides_of(["--train.max_epochs"])
    with pytest.raises(UsageError, match="VALUE"):
        overrides_of(["train.max_epochs", "2"])


def rows(low: float) -> dict[str, Row]:
    work = {f"{kind}_{key}": 0.9 for kind in HOURS for key in ("times_real_time", "saved_share")}
    recall = Interval(0.6, 0.58, 0.62)
    return {
        name: Row(dict.fromkeys(HOURS, 0.1), recall, Interval(0.0, low, 0.01), [0.6], work) for name in (DENSE, LEARNED)
    }


def test_claims_are_judged_by_the_bad_end_of_their_intervals() -> None:
    small = score_sheet([RecordingResult([], [], 3600.0, "talkative", "a")], ["yes"], {"yes": 0.0})
    leads = {"uniform stride": Interval(0.2, 0.1, 0.3), "dilated energy": Interval(0.1, -0.01, 0.2)}
    text = "\n".join(verdicts(rows(-0.03), leads, small))
    assert "at most 3.0% (bound 2%): NOT met" in text
    assert "TOO LITTLE" in text
    assert "lead over uniform stride: +20.0% (+10.0% to +30.0%): beaten" in text
    assert "lead over dilated energy: +10.0% (-1.0% to +20.0%): NOT beaten" in text
    large = small._replace(hours=np.array([11.0]), num_events=np.array([[5001.0]]))
    text = "\n".join(verdicts(rows(-0.015), leads, large))
    assert "at most 1.5% (bound 2%): met" in text
    assert "11.0 hours with 5001 words (at least 10 and 5000): enough" in text


def test_the_dense_twin_has_no_change_and_no_saved_share() -> None:
    lines = rows_table(rows(-0.01), list(HOURS)).splitlines()
    assert lines[1].split()[-1] == "-/-"
    assert lines[2].split()[-1] == "0.90/0.90"
    assert "+0.0% (-1.0% to +1.0%)" in lines[2]
    assert "%)" not in lines[1].partition("to 62.0%)")[2]


def test_tables_are_aligned() -> None:
    assert table(["a", "bb"], [["ccc", "1"]]) == "a    bb\nccc   1"


def test_results_are_plain_json_with_the_machine_and_without_nan(tmp_path: Path) -> None:
    path = write_results(tmp_path / "new", {"rows": rows(math.nan), "words": ("a", "b"), "model": Path("x")})
    results = json.loads(path.read_text())
    assert results["rows"][LEARNED]["change"] == {"estimate": 0.0, "low": None, "high": 0.01}
    assert results["words"] == ["a", "b"]
    assert results["machine"]["torch"]
    assert results["machine"]["threads"] >= 1
