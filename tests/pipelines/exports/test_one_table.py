"""CSV, JSON Lines and DCASE tables, read by other readers and by their grammar."""

import csv
import json
import re
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import AWKWARD, event_row, rows, texts

from pipelines.archive.rows import EventRow
from pipelines.exports import export

events_of_any_kind = st.lists(
    st.builds(event_row, texts, st.floats(0, 1e6), st.floats(0, 1e6), texts, score=st.floats(0, 1)), max_size=4
)
HEADER = b"file,onset_seconds,offset_seconds,label,score,channel,recording_start,model_fingerprint,version\r\n"
# RFC 4180, section 2, but any character: records end in CRLF, cells that hold CR, LF, comma or quote are quoted.
CSV_CELL = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
CSV_FILE = re.compile(rf"(?:{CSV_CELL}(?:,{CSV_CELL})*\r\n)*")


def rounded(event: EventRow) -> EventRow:
    onset, offset, score = f"{event.onset_seconds:.3f}", f"{event.offset_seconds:.3f}", f"{event.score:.6f}"
    return event._replace(onset_seconds=float(onset), offset_seconds=float(offset), score=float(score))


def test_an_empty_csv_has_a_header(tmp_path: Path) -> None:
    assert export("csv", tmp_path, rows([]), rows([])) == tmp_path / "events.csv"
    assert (tmp_path / "events.csv").read_bytes() == HEADER


def test_csv_has_milliseconds_and_millionths(tmp_path: Path) -> None:
    event = event_row("a.wav", 36001.2344, 36001.9996, "no", score=0.1234564, channel=1)
    export("csv", tmp_path, rows([]), rows([event]))
    line = b"a.wav,36001.234,36002.000,no,0.123456,1,,f00d,0.1.0\r\n"
    assert (tmp_path / "events.csv").read_bytes() == HEADER + line


@settings(max_examples=60, deadline=None)
@given(events_of_any_kind)
def test_csv_keeps_to_its_grammar_and_the_strict_reader_gets_everything_back(
    tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]
) -> None:
    path = export("csv", tmp_path_factory.mktemp("csv"), rows([]), rows(events))
    text = path.read_bytes().decode()
    assert CSV_FILE.fullmatch(text)
    with path.open(encoding="utf-8", newline="") as file:
        _, *lines = csv.reader(file, strict=True)
    found = [EventRow(f, float(a), float(b), label, float(s), int(c), *rest) for f, a, b, label, s, c, *rest in lines]
    assert found == [rounded(event) for event in events]


def test_pandas_and_duckdb_read_the_csv(tmp_path: Path) -> None:
    events = [event_row(AWKWARD, label="NA"), event_row("b.wav", label=AWKWARD, recording_start="2019-08-15T05:30:00")]
    path = export("csv", tmp_path, rows([]), rows(events))
    table = pd.read_csv(path, keep_default_na=False)
    assert [tuple(row) for row in table.itertuples(index=False)] == events
    found = duckdb.sql(f"SELECT file, label FROM read_csv('{path}', all_varchar = true)").fetchall()
    assert found == [(event.file, event.label) for event in events]


@settings(max_examples=60, deadline=None)
@given(events_of_any_kind)
def test_json_lines_hold_one_object_per_event(tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]) -> None:
    path = export("jsonl", tmp_path_factory.mktemp("jsonl"), rows([]), rows(events))
    content = path.read_bytes()
    assert content == b"" or content.endswith(b"\n")
    lines = content.split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == [rounded(event)._asdict() for event in events]


def test_duckdb_reads_the_json_lines(tmp_path: Path) -> None:
    events = [event_row(AWKWARD, label="\N{SNOWMAN}"), event_row("b.wav", label=AWKWARD)]
    path = export("jsonl", tmp_path, rows([]), rows(events))
    assert path == tmp_path / "events.jsonl"
    assert duckdb.sql(f"FROM read_json('{path}', format = 'newline_delimited')").fetchall() == events


def test_dcase_table_by_hand(tmp_path: Path) -> None:
    events = [event_row("night/a.wav", 0.05, 2.5, "Speech"), event_row("b\tc.wav", 12.0, 13.0, "Dog\nbark")]
    path = export("dcase", tmp_path, rows([]), rows(events))
    assert path.name == "events.tsv"
    assert path.read_text() == (
        "filename\tonset\toffset\tevent_label\n"
        "night/a.wav\t0.050\t2.500\tSpeech\n"
        "b\\tc.wav\t12.000\t13.000\tDog\\nbark\n"
    )


@settings(max_examples=60, deadline=None)
@given(events_of_any_kind)
def test_dcase_reader_finds_four_columns_whatever_the_label(
    tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]
) -> None:
    """DCASE's baselines read the table by pandas, tab-separated; csv.QUOTE_NONE shows that nothing hangs on quotes."""
    path = export("dcase", tmp_path_factory.mktemp("dcase"), rows([]), rows(events))
    table = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, keep_default_na=False, dtype=str)
    assert list(table.columns) == ["filename", "onset", "offset", "event_label"]
    assert [float(onset) for onset in table["onset"]] == [rounded(event).onset_seconds for event in events]
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(events) + 1
    for event, label in zip(events, table["event_label"], strict=True):
        if event.label.isprintable():
            assert label == event.label
