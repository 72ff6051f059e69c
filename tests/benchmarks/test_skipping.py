"""What the comparison asks of recipes, and says of its rows."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contest import recipes_of, refuse_another, score_of
from benchmarks.contest_table import Bars, Row, leads_of, of_kind, rows_table, verdicts
from benchmarks.paired import Draws
from benchmarks.report import plain, table, write_results
from benchmarks.skipping import main
from benchmarks.systems import DENSE, LEARNED, SMALLER, STRIDE
from pipelines.errors import UsageError
from pipelines.metrics import Interval

RECIPE = str(Path(__file__).parents[2] / "recipes" / "kws.yaml")
HOURS = {"quiet": 2.0, "talkative": 10.0}
BARS = Bars(0.02, 10.0, 5000, most_open=0.15, least_saved_share=0.8, most_floors=1.3)
TITLES = {"recall": "recall at 1 per hour"}


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


def test_recordings_of_ones_own_are_tested_on_their_own_split() -> None:
    birds = str(Path(RECIPE).parent / "birdsong_notes.yaml")
    recipes = recipes_of(birds, [("corpus.init_args.audio", "x")], HOURS)
    assert recipes["test"] == recipes[LEARNED]
    assert of_kind({"saved_share": 0.5, "busy_saved_share": 0.6}, "", "saved_share") == 0.5
    assert of_kind({"saved_share": 0.5, "busy_saved_share": 0.6}, "busy", "saved_share") == 0.6


def test_a_mistyped_option_and_a_key_without_value_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in ((["--train.max_epochs"], "needs a value"), (["--hour", "2"], "no such option: --hour")):
        assert main(["--output", "x", "--cache", "y", *words]) == 2
        assert told in capsys.readouterr().err


def test_a_folder_with_another_contest_is_refused(tmp_path: Path) -> None:
    refuse_another(tmp_path / "new", {"hours": HOURS, "corpus_seed": 1})
    refuse_another(tmp_path / "new", {"hours": HOURS, "corpus_seed": 1})
    with pytest.raises(UsageError, match="holds a contest with another corpus_seed; choose another --output"):
        refuse_another(tmp_path / "new", {"hours": HOURS, "corpus_seed": 2})


def row(low: float, quiet_floors: float = 1.2) -> Row:
    work = {f"{kind}_saved_share": 0.9 for kind in HOURS}
    work |= {f"{kind}_times_real_time": 100.0 for kind in HOURS}
    work |= {f"{kind}_times_real_time_floor": 100.0 * quiet_floors for kind in HOURS}
    return Row(
        {"quiet": 0.01, "talkative": 0.1},
        {"recall": Interval(0.6, 0.58, 0.62)},
        {"recall": Interval(0.0, low, 0.01)},
        [0.6],
        work,
    )


def told(low: float, hours: float, num_events: int, quiet_floors: float = 1.2) -> str:
    leads = {"uniform stride": Interval(0.2, 0.1, 0.3), "dilated energy": Interval(0.1, -0.01, 0.2)}
    rows = {DENSE: row(0.0), LEARNED: row(low, quiet_floors)}
    given: dict[str, Any] = {"kind": "talkative", "figure": "recall", "hours": hours, "num_events": num_events}
    return "\n".join(verdicts(rows, leads, BARS, **given))


def test_claims_are_judged_by_the_bad_end_of_their_intervals() -> None:
    text = told(-0.03, 1.0, 7)
    assert "at most 3.0% (bound 2%): NOT met" in text
    assert "TOO LITTLE" in text
    assert "lead over uniform stride: +20.0% (+10.0% to +30.0%): beaten" in text
    assert "lead over dilated energy: +10.0% (-1.0% to +20.0%): NOT beaten" in text
    text = told(-0.015, 11.0, 5001)
    assert "at most 1.5% (bound 2%): met" in text
    assert "11 talkative hours with 5001 events (at least 10 and 5000): enough" in text


def test_cost_is_judged_on_its_own_kind_of_recording() -> None:
    text = told(0.0, 11.0, 5001, quiet_floors=1.4)
    assert "frames open: 10.0% (bound 15%): met" in text
    assert "saved share: 0.90 (bound 0.8): met" in text
    assert "time on quiet recordings: 1.40 of reading and glance alone (bound 1.3): NOT met" in text


def test_what_has_no_switch_has_no_saved_share_and_the_dense_twin_no_change() -> None:
    rows = {DENSE: row(0.0), LEARNED: row(-0.01), SMALLER: row(-0.02)}
    lines = rows_table(rows, list(HOURS), TITLES).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["-/-", "0.90/0.90", "-/-"]
    assert "+0.0% (-1.0% to +1.0%)" in lines[2]
    assert "%)" not in lines[1].partition("to 62.0%)")[2]


def test_leads_are_over_ways_to_skip_and_over_the_smaller_model_seed_by_seed() -> None:
    def scores(*values: float) -> list[Any]:
        draws = [Draws(value, (value, value), ("a", "b")) for value in values]
        kept = {"frames_open": {}, "hours": 1.0, "num_events": 1, "gate": {}, "decisions": {}}
        return [score_of(json.loads(json.dumps(plain({**kept, "figures": {"recall": each}})))) for each in draws]

    leads = leads_of(
        {DENSE: scores(0.9, 0.9), LEARNED: scores(0.8, 0.6), SMALLER: scores(0.5, 0.5), STRIDE: scores(0.7, 0.7)}
    )
    assert leads[SMALLER] == pytest.approx((0.4, 0.4, 0.4))
    assert leads[STRIDE] == pytest.approx((0.0, 0.0, 0.0))
    assert DENSE not in leads


def test_tables_are_aligned() -> None:
    assert table(["a", "bb"], [["ccc", "1"]]) == "a    bb\nccc   1"


def test_results_are_plain_json_with_the_machine_and_without_nan(tmp_path: Path) -> None:
    given = {"rows": {LEARNED: row(math.nan)}, "words": ("a", "b"), "model": Path("x")}
    results = json.loads(write_results(tmp_path / "new", given).read_text())
    assert results["rows"][LEARNED]["changes"]["recall"] == {"estimate": 0.0, "low": None, "high": 0.01}
    assert results["words"] == ["a", "b"]
    assert results["machine"]["torch"]
    assert results["machine"]["threads"] >= 1
