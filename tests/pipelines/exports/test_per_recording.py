"""Raven, Audacity and WebVTT files, checked by other readers and by the formats' published grammars."""

import csv
import html
import re
from pathlib import Path

import pandas as pd
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import AWKWARD, event_row, file_row, rows, texts

from pipelines.archive.rows import EventRow
from pipelines.exports import export

times = st.floats(-1, 98 * 3600)
any_event = st.builds(event_row, st.just("a.wav"), times, times, texts, score=st.floats(0, 1))
events_of_one_file = st.lists(any_event, max_size=4)


def labels_of(folder: Path, name: str, events: list[EventRow]) -> str:
    """What is written for a.wav, with the bytes of line ends as they are."""
    path = export(name, folder, rows([file_row("a.wav")]), rows(events))
    (labels,) = (each for each in path.iterdir() if each.name != "files.csv")
    return labels.read_bytes().decode()


# --- Raven: tab-separated text, a header, one selection per line; channels and selections count from 1 (Raven Pro
# --- User's Manual, Cornell Lab of Ornithology). A line end or tab within a cell cannot be written.

RAVEN_HEADER = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
    "Label\tScore\tBegin Path\tFile Offset (s)\tBegin File\n"
)


def test_raven_table_by_hand(tmp_path: Path) -> None:
    events = [
        event_row("day 1/a.wav", 0.5, 2.25, "blackbird", score=0.875),
        event_row("day 1/a.wav", 7.0, 8.0, channel=1),
    ]
    path = export("raven", tmp_path, rows([file_row("day 1/a.wav")]), rows(events))
    assert path == tmp_path / "raven"
    assert (path / "day 1" / "a.wav.selections.txt").read_bytes().decode() == RAVEN_HEADER + (
        "1\tSpectrogram 1\t1\t0.500\t2.250\t0\t1000\tblackbird\t0.875000\tday 1/a.wav\t0.500\ta.wav\n"
        "2\tSpectrogram 1\t2\t7.000\t8.000\t0\t1000\tyes\t0.500000\tday 1/a.wav\t7.000\ta.wav\n"
    )


def test_a_recording_without_events_has_a_raven_table_with_its_header(tmp_path: Path) -> None:
    assert labels_of(tmp_path, "raven", []) == RAVEN_HEADER


@settings(max_examples=60, deadline=None)
@given(events_of_one_file)
def test_raven_tables_hold_to_what_raven_asks_for(
    tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]
) -> None:
    text = labels_of(tmp_path_factory.mktemp("raven"), "raven", events)
    header, *lines = [line.split("\t") for line in text.splitlines()]
    assert "\t".join(header) + "\n" == RAVEN_HEADER
    assert len(lines) == len(events)
    for number, cells in enumerate(lines, 1):
        selection = dict(zip(header, cells, strict=True))
        assert selection["Selection"] == str(number)
        assert int(selection["Channel"]) >= 1
        begin, end = float(selection["Begin Time (s)"]), float(selection["End Time (s)"])
        assert 0 <= begin < end
        assert float(selection["File Offset (s)"]) == begin
        # Above half the sample rate Raven refuses the table (BirdNET-Analyzer, issue 140).
        assert 0 <= float(selection["Low Freq (Hz)"]) < float(selection["High Freq (Hz)"]) <= 2000 / 2


def test_pandas_reads_a_raven_table(tmp_path: Path) -> None:
    labels_of(tmp_path, "raven", [event_row("a.wav", label='5" gun'), event_row("a.wav", label=AWKWARD)])
    path = tmp_path / "raven" / "a.wav.selections.txt"
    table = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE)
    assert table["Label"].to_list() == ['5" gun', 'a\\t"b", <c> & --> d\\r\\ne;\\u2028\N{SNOWMAN}']
    assert table["Begin Time (s)"].to_list() == [1.0, 1.0]


# --- Audacity: "Importing and Exporting Labels" of its manual: begin, tab, end, tab, text; a line that begins with a
# --- backslash carries frequencies of the label before. Its reader takes runs of tabs for one.


def read_audacity(text: str) -> list[tuple[float, float, str]]:
    labels = []
    for line in text.splitlines():
        assert not line.startswith("\\"), "would be taken for frequencies"
        begin, end, *title = [token for token in line.split("\t") if token]
        assert len(title) <= 1
        labels.append((float(begin), float(end), "".join(title)))
    return labels


def test_audacity_labels_by_hand(tmp_path: Path) -> None:
    text = labels_of(
        tmp_path, "audacity", [event_row("a.wav", 0.5, 2.25, "one, two"), event_row("a.wav", 3.0, 4.0, "\\")]
    )
    assert text == "0.500\t2.250\tone, two\n3.000\t4.000\t\\\n"


@settings(max_examples=60, deadline=None)
@given(events_of_one_file)
def test_audacity_finds_each_label_whatever_is_in_it(
    tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]
) -> None:
    labels = read_audacity(labels_of(tmp_path_factory.mktemp("audacity"), "audacity", events))
    assert len(labels) == len(events)
    for event, (begin, end, title) in zip(events, labels, strict=True):
        assert 0 <= begin < end
        assert begin == pytest.approx(max(event.onset_seconds, 0), abs=0.000501)
        if event.label.isprintable():
            assert title == event.label


# --- WebVTT: W3C, section 4.1 (syntax of a file, a cue, a time, cue text).

TIME = r"(\d\d+):([0-5]\d):([0-5]\d)\.(\d\d\d)"
CUE_TEXT = r"(?:[^\n\r&<>\0]|&amp;|&lt;|&gt;)*"
CUE = rf"{TIME} --> {TIME}\n{CUE_TEXT}\n"
WEBVTT_FILE = re.compile(rf"WEBVTT\n\n(?:{CUE}\n+)*")


def test_webvtt_by_hand(tmp_path: Path) -> None:
    text = labels_of(
        tmp_path, "webvtt", [event_row("a.wav", 59.9996, 61.0, "a --> <b> & c"), event_row("a.wav", 4e5, 4e5)]
    )
    assert text == (
        "WEBVTT\n\n"
        "00:01:00.000 --> 00:01:01.000\na --&gt; &lt;b&gt; &amp; c\n\n"
        "111:06:40.000 --> 111:06:40.001\nyes\n\n"
    )
    assert labels_of(tmp_path, "webvtt", []) == "WEBVTT\n\n"


@settings(max_examples=60, deadline=None)
@given(events_of_one_file)
def test_webvtt_holds_to_its_grammar(tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]) -> None:
    text = labels_of(tmp_path_factory.mktemp("webvtt"), "webvtt", events)
    assert WEBVTT_FILE.fullmatch(text)
    assert len(re.findall(CUE, text)) == len(events)


@settings(max_examples=60, deadline=None)
@given(events_of_one_file)
def test_webvtt_py_reads_every_cue(tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]) -> None:
    spoken = [event for event in events if event.label.strip()]  # it passes over cues without text
    text = labels_of(tmp_path_factory.mktemp("webvtt"), "webvtt", spoken)
    captions = webvtt.from_string(text).captions
    assert len(captions) == len(spoken)
    for event, caption in zip(spoken, captions, strict=True):
        assert caption.start_in_seconds == int(max(round(event.onset_seconds, 3), 0))
        if event.label.isprintable():
            assert html.unescape(caption.raw_text) == event.label


# --- What they have in common


@pytest.mark.parametrize("name", ["raven", "audacity", "webvtt"])
def test_each_recording_that_was_read_has_its_labels_where_files_csv_says(tmp_path: Path, name: str) -> None:
    files = [file_row("a.mp3"), file_row("a.wav"), file_row("b.wav", "failed"), file_row("c/d.wav"), file_row(AWKWARD)]
    events = [event_row("a.wav", label="in a"), event_row("c/d.wav", label="in d"), event_row(AWKWARD, label="in it")]
    folder = export(name, tmp_path, rows(files), rows(events))
    with (folder / "files.csv").open(encoding="utf-8", newline="") as table:
        where = {line["file"]: line["labels"] for line in csv.DictReader(table)}
    assert list(where) == ["a.mp3", "a.wav", "c/d.wav", AWKWARD]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*where.values(), "files.csv"}
    for file, label in (("a.wav", "in a"), ("c/d.wav", "in d"), (AWKWARD, "in it")):
        content = (folder / where[file]).read_text(encoding="utf-8")
        assert [each for each in ("in a", "in d", "in it") if each in content] == [label]


@pytest.mark.parametrize("name", ["raven", "audacity", "webvtt"])
def test_nothing_stays_of_an_older_export(tmp_path: Path, name: str) -> None:
    export(name, tmp_path, rows([file_row("gone/a.wav"), file_row("b.wav")]), rows([event_row("b.wav")]))
    folder = export(name, tmp_path, rows([file_row("b.wav")]), rows([]))
    assert list(tmp_path.iterdir()) == [folder]
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    assert not (folder / "gone").exists()


def test_events_in_another_order_than_files_are_refused(tmp_path: Path) -> None:
    files, events = [file_row("a.wav"), file_row("b.wav")], [event_row("b.wav"), event_row("a.wav")]
    with pytest.raises(ValueError, match=r"the events of a\.wav do not follow the order of the files"):
        export("raven", tmp_path, rows(files), rows(events))
    assert list(tmp_path.iterdir()) == []
