"""docs/archive.md tells the truth: its questions are answered, its tables are complete."""

import re
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile
from made_rows import event_row, file_row, rows

from pipelines.archive.rows import EventRow, FileRow
from pipelines.exports import FORMATS, write_tables

TEXT = (Path(__file__).parents[3] / "docs" / "archive.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^([^\n]+):\n\n```sql\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
NARROW = "at 8000 Hz it holds nothing above 4000 Hz"
FILES = [
    file_row("a.wav"),
    file_row("b.wav")._replace(seconds=1800.0, work_seconds=5.75, frames_open=0.2, sample_rate_hz=8000, reason=NARROW),
    file_row("c.wav", "failed"),
]
EVENTS = [
    event_row("a.wav", 2.0, 3.0, "yes", score=0.5, recording_start="2019-08-15T05:59:57+02:00"),
    event_row("a.wav", 4.0, 5.0, "yes", score=0.7, recording_start="2019-08-15T05:59:57+02:00"),
    event_row("b.wav", 1.0, 2.0, "no", score=0.9),
]
ANSWERS = {
    "How often, and how surely": [("yes", 2, 0.6), ("no", 1, 0.9)],
    "What went wrong": [("c.wav", "damaged")],
    "Events per hour of each recording, also where nothing was found": [("a.wav", 120.0), ("b.wav", 2.0)],
    "At what time of day, by the recorder's own clock": [(5, "yes", 1), (6, "yes", 1)],
    "The surest events, to listen to first": [
        ("b.wav", 1.0, "no", 0.9),
        ("a.wav", 4.0, "yes", 0.7),
        ("a.wav", 2.0, "yes", 0.5),
    ],
    "How much the switch saved": [(1860 / 3600, pytest.approx(366 / 1860), 310.0)],
    "Which files those are": [("b.wav", 8000, NARROW)],
}


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an invented job, and the current one."""
    write_tables(tmp_path, rows(FILES), rows(EVENTS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("title", "query"), QUESTIONS, ids=[title for title, _ in QUESTIONS])
def test_every_question_gets_the_answer_worked_out_by_hand(title: str, query: str) -> None:
    assert duckdb.sql(query).fetchall() == ANSWERS[title]


def test_every_answer_has_its_question() -> None:
    assert [title for title, _ in QUESTIONS] == list(ANSWERS)
    assert TEXT.count("```sql") == len(QUESTIONS)


def test_every_column_and_every_format_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", TEXT))
    assert {*FileRow._fields, *EventRow._fields, *FORMATS} <= described
    assert re.findall(r"^\| `(\w+)` \| (?:`|the)", TEXT, flags=re.MULTILINE) == list(FORMATS)


def test_the_clips_of_the_python_example_are_cut(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "results").mkdir()
    write_tables(results / "results", rows(FILES), rows(EVENTS))
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, np.zeros(48_000, np.int16), 8000)
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == ""
    assert len(list(Path("clips").rglob("*.flac"))) == len(EVENTS)
    assert soundfile.info("clips/b.wav/b_00h00m01.000s_no_0.90.flac").frames == 16_000
