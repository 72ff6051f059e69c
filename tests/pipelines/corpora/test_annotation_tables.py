"""Tables of labelled events: read(write(rows)) is the identity, and every mistake is named by file and line."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpora.table_formats import Format, TableError
from pipelines.corpora.table_writing import write_table
from pipelines.corpora.tables import Row, read_table
from pipelines.events import Event

names = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=","), min_size=1, max_size=8
).filter(lambda name: name == name.strip() and name.lower() not in ("\\", "nan"))
seconds = st.floats(0.0, 1e5, allow_subnormal=False)


@st.composite
def events(draw: st.DrawFn, *, limits: str = "none", more: bool = False) -> Event:
    onset, offset = sorted(draw(st.lists(seconds, min_size=2, max_size=2, unique=True)))
    hertz = st.floats(0.0, 1e5) if limits == "both" else st.none() | st.floats(0.0, 1e5)
    low, high = (None, None) if limits == "none" else (draw(hertz), draw(hertz))
    score = draw(st.floats(0.0, 1.0)) if more else 1.0
    return Event(onset, offset, draw(names), score, draw(st.integers(0, 9)) if more else 0, low, high)


@st.composite
def rows_for(draw: st.DrawFn, kind: str) -> list[Row]:
    weak = st.lists(names, max_size=3, unique=True).map(tuple)
    word = st.just("") | names
    fields: list[st.SearchStrategy[object]] = {
        "dcase": [names, st.none() | events()],
        "weak": [names, st.none(), weak],
        "raven": [st.just("here"), events(limits="some")],
        "audacity": [st.just("here"), events() | events(limits="both")],
        "csv": [
            names,
            st.none() | events(limits="some", more=True),
            draw(st.sampled_from([st.none(), weak])),
            *3 * [word],
        ],
        "parquet": [names, st.none() | events(limits="some", more=True), st.none() | weak, *3 * [word]],
    }[kind]
    return _once(draw(st.lists(st.tuples(*fields).map(lambda cells: Row(0, *cells)), min_size=1, max_size=5)))


def _once(rows: list[Row]) -> list[Row]:
    """Each row once: a table with the same row twice is refused."""
    return list(dict.fromkeys(rows))


SUFFIXES = {"dcase": ".tsv", "weak": ".tsv", "raven": ".Table.1.selections.txt", "audacity": ".txt", "csv": ".csv",
            "parquet": ".parquet"}  # fmt: skip


@pytest.mark.parametrize("kind", SUFFIXES)
def test_reading_what_was_written_gives_the_same_rows(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tables")
    path = folder / f"here{SUFFIXES[kind]}"
    format: Format = "dcase" if kind == "weak" else kind  # type: ignore[assignment]

    @settings(max_examples=40, deadline=None)
    @given(rows_for(kind))
    def check(rows: list[Row]) -> None:
        write_table(path, rows, format)
        found = [row._replace(line=0) for row in read_table(path, format).rows]
        assert found == rows

    check()


def _read(tmp_path: Path, name: str, text: str | bytes, **options: object) -> list[Row]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_table(path, **options).rows)  # type: ignore[arg-type]


def test_dcase_tables_are_read(tmp_path: Path) -> None:
    strong = "filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.25\tDog\nb.wav\t\t\t\n"
    assert _read(tmp_path, "strong.tsv", strong) == [Row(2, "a.wav", Event(0.5, 1.25, "Dog")), Row(3, "b.wav", None)]
    weak = "filename\tevent_labels\na.wav\tDog,Cat\nb.wav\t\n"
    assert _read(tmp_path, "weak.tsv", weak) == [Row(2, "a.wav", None, ("Dog", "Cat")), Row(3, "b.wav", None, ())]


def test_a_raven_selection_shown_in_two_views_is_one_event(tmp_path: Path) -> None:
    text = (
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation\n"
        "1\tWaveform 1\t1\t0.5\t1.0\t100\t900\twren\n"
        "1\tSpectrogram 1\t1\t0.5\t1.0\t100\t900\twren\n"
    )
    assert _read(tmp_path, "r7.Table.1.selections.txt", text) == [
        Row(2, "r7", Event(0.5, 1.0, "wren", 1.0, 1, 100.0, 900.0))
    ]


def test_raven_times_of_a_sequence_of_files_count_within_each_file(tmp_path: Path) -> None:
    text = (
        "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tAnnotation\n"
        "1\t61.0\t62.5\tb.wav\t1.0\twren\n"
    )
    assert _read(tmp_path, "all.txt", text) == [Row(2, "b.wav", Event(1.0, 2.5, "wren"))]


def test_audacity_frequencies_stand_on_the_line_below(tmp_path: Path) -> None:
    text = "2.0\t2.5\tknock\n\\\t100.0\t900.0\n3\t4\tbell\n"
    found = _read(tmp_path, "door.txt", text)
    assert found == [
        Row(1, "door", Event(2.0, 2.5, "knock", low_hz=100.0, high_hz=900.0)),
        Row(3, "door", Event(3.0, 4.0, "bell")),
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbffile,onset,offset,label\r\na.wav,0,1,dog\r\n"
    assert _read(tmp_path, "a.csv", text) == [Row(2, "a.wav", Event(0.0, 1.0, "dog"))]


def test_named_columns_and_another_separator(tmp_path: Path) -> None:
    text = "clip;von;bis;wer\na.wav;0.5;1;dog\n"
    columns = {"file": "clip", "onset_seconds": "von", "offset_seconds": "bis", "label": "wer"}
    assert _read(tmp_path, "a.csv", text, columns=columns, separator=";") == [Row(2, "a.wav", Event(0.5, 1.0, "dog"))]


HEADER = "file,onset,offset,label\n"
MISTAKES = {
    "offset before onset": (HEADER + "a.wav,2,1,dog\n", "line 2: offset 1 s lies before onset 2 s"),
    "no length": (HEADER + "a.wav,2,2,dog\n", "line 2: onset and offset are both 2 s"),
    "before the start": (HEADER + "a.wav,-1,2,dog\n", "line 2: onset -1 s lies before the start"),
    "decimal comma": (HEADER + 'a.wav,"0,5",1,dog\n', "line 2: onset_seconds '0,5' has a decimal comma.*0.5"),
    "NaN": (HEADER + "a.wav,nan,1,dog\n", "line 2: onset_seconds is missing"),
    "infinite": (HEADER + "a.wav,inf,1,dog\n", "line 2: onset_seconds 'inf' is no number"),
    "clock time": (HEADER + "a.wav,0:01,1,dog\n", "line 2: onset_seconds '0:01' is no number"),
    "no label": (HEADER + "a.wav,0,1,\n", "line 2: has no label"),
    "no file": (HEADER + ",0,1,dog\n", "line 2: names no file"),
    "too few cells": (HEADER + "a.wav,0,1\n", "line 2: has 3 cells; the header has 4"),
    "same row twice": (HEADER + "a.wav,0,1,dog\nb.wav,0,1,dog\na.wav,0,1,dog\n", "line 4: is the same as line 2"),
    "wrong separator": ("file;onset;offset;label\na;0;1;dog\n", "line 1: the columns seem to be separated by ';'"),
    "missing column": (
        "file,onset,label\na.wav,0,dog\n",
        "line 1: has no column for offset_seconds; it has file",
    ),
    "two candidates": (
        "file,start,onset,end,label\na.wav,0,0,1,dog\n",
        "line 1: onset_seconds may be start or onset; say which",
    ),
    "empty": ("", "is empty"),
    "header only": (HEADER, "has a header and no rows"),
    "open quotation": (HEADER + '"a.wav,0,1,dog\n', "line 2: quotation marks do not pair up"),
    "wrong encoding": (HEADER.encode() + b"a.wav,0,1,caf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
    "UTF-16": (HEADER.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "control character": (HEADER + 'a.wav,0,1,"do\tg"\n', "line 2: label .* holds a tab"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_by_file_and_line(mistake: str, tmp_path: Path) -> None:
    text, message = MISTAKES[mistake]
    with pytest.raises(TableError, match=f"^{re.escape(str(tmp_path / 'a.csv'))}(, |: ){message}"):
        _read(tmp_path, "a.csv", text)


def test_all_mistakes_are_told_at_once_up_to_ten(tmp_path: Path) -> None:
    text = HEADER + "".join(f"{n}.wav,2,1,dog\n" for n in range(12))
    with pytest.raises(TableError, match=r"line 2: (.|\n)*line 11: (.|\n)*and 2 more$"):
        _read(tmp_path, "a.csv", text)


@pytest.mark.parametrize(
    ("format", "row", "lost"),
    [
        ("dcase", Row(0, "a", Event(0, 1, "dog", low_hz=5.0)), "no column for low_hz"),
        ("audacity", Row(0, "a", Event(0, 1, "dog", channel=2)), "no column for channel"),
        ("raven", Row(0, "other", Event(0, 1, "dog")), "belongs to the recording of its own name, 'a'"),
        ("csv", Row(0, "a", None, ("x,y",)), "has a comma"),
        ("csv", Row(0, "a", Event(0, 1, " dog")), "begins or ends with a space"),
    ],
)
def test_what_a_format_cannot_hold_is_not_written(format: Format, row: Row, lost: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=lost):
        write_table(tmp_path / "a.txt", [row], format)
    assert not (tmp_path / "a.txt").exists()
