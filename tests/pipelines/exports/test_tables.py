"""files.parquet and events.parquet, as other readers see them."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import AWKWARD, event_row, file_row, rows, texts

from pipelines.archive.rows import EventRow, FileRow
from pipelines.exports import tables, write_tables

EVENT_COLUMNS = (
    "file VARCHAR, onset_seconds DOUBLE, offset_seconds DOUBLE, label VARCHAR, score DOUBLE, channel INTEGER, "
    "recording_start VARCHAR, model_fingerprint VARCHAR, version VARCHAR"
)
FILE_COLUMNS = (
    "file VARCHAR, status VARCHAR, reason VARCHAR, seconds DOUBLE, frames_open DOUBLE, work_seconds DOUBLE, "
    "recording_start VARCHAR, sample_rate_hz INTEGER"
)


def columns(path: Path) -> str:
    described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
    return ", ".join(f"{name} {kind}" for name, kind, *_ in described)


def test_another_reader_gets_back_every_row_in_order(tmp_path: Path) -> None:
    files = [file_row(AWKWARD), file_row("b.wav", "failed")]
    events = [event_row(AWKWARD, 36001.23456789, 36002.0, AWKWARD, score=0.123456789), event_row(AWKWARD, channel=1)]
    write_tables(tmp_path, rows(files), rows(events))
    assert duckdb.sql(f"FROM '{tmp_path}/files.parquet'").fetchall() == files
    assert duckdb.sql(f"FROM '{tmp_path}/events.parquet'").fetchall() == events
    assert pq.read_table(tmp_path / "events.parquet").to_pylist() == [event._asdict() for event in events]


@settings(max_examples=30, deadline=None)  # each writes and flushes two files
@given(st.lists(st.builds(event_row, texts, st.floats(0, 1e9), st.floats(0, 1e9), texts), max_size=5))
def test_text_and_times_of_any_kind_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, events: list[EventRow]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder, rows([]), rows(events))
    assert pq.read_table(folder / "events.parquet").to_pylist() == [event._asdict() for event in events]


def test_tables_without_rows_have_their_columns(tmp_path: Path) -> None:
    write_tables(tmp_path, rows([]), rows([]))
    assert columns(tmp_path / "events.parquet") == EVENT_COLUMNS
    assert columns(tmp_path / "files.parquet") == FILE_COLUMNS
    write_tables(tmp_path, rows([file_row("a.wav")]), rows([event_row("a.wav")]))
    assert columns(tmp_path / "events.parquet") == EVENT_COLUMNS
    assert columns(tmp_path / "files.parquet") == FILE_COLUMNS


def test_no_column_can_be_empty(tmp_path: Path) -> None:
    write_tables(tmp_path, rows([]), rows([]))
    assert not any(field.nullable for field in pq.read_schema(tmp_path / "events.parquet"))
    assert not any(field.nullable for field in pq.read_schema(tmp_path / "files.parquet"))


def test_equal_rows_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 100)
    files = [file_row(f"{number}.wav") for number in range(250)]
    events = [event_row(f"{number}.wav", number / 7, label=f"l{number % 3}") for number in range(250)]
    contents = []
    for name in ("first", "again"):
        (folder := tmp_path / name).mkdir()
        write_tables(folder, rows(files), rows(list(events)))
        contents.append([(folder / table).read_bytes() for table in ("files.parquet", "events.parquet")])
    assert contents[0] == contents[1]
    assert pq.ParquetFile(tmp_path / "first" / "events.parquet").num_row_groups == 3


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 500)

    def peak_bytes(num_events: int) -> int:
        def events() -> Iterator[EventRow]:
            return (event_row(f"{number:07d}.wav") for number in range(num_events))

        tracemalloc.start()
        arrow_before = pa.total_allocated_bytes()
        write_tables(tmp_path, rows([]), events)
        assert pa.total_allocated_bytes() == arrow_before
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(10)  # what is imported and cached once
    # 500 rows take some 0.2 MB; 20,000 would take 8.
    assert peak_bytes(20_000) < peak_bytes(1_000) + 1_000_000


def test_a_job_that_is_cut_short_leaves_the_old_tables_and_no_litter(tmp_path: Path) -> None:
    def events() -> Iterator[EventRow]:
        yield event_row("a.wav")
        raise RuntimeError("power cut")

    write_tables(tmp_path, rows([file_row("old.wav")]), rows([]))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match="power cut"):
        write_tables(tmp_path, rows([file_row("new.wav")]), events)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_columns_are_the_fields_of_the_rows() -> None:
    assert EventRow._fields == tuple(column.split()[0] for column in EVENT_COLUMNS.split(", "))
    assert FileRow._fields == tuple(column.split()[0] for column in FILE_COLUMNS.split(", "))
