"""The one function that writes every format."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_rows import event_row, file_row, rows

from pipelines.archive.rows import EventRow
from pipelines.errors import UsageError
from pipelines.exports import FORMATS, export, write_tables


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_what_its_description_says(tmp_path: Path, name: str) -> None:
    path = export(name, tmp_path, rows([file_row("a.wav")]), rows([event_row("a.wav")]))
    assert path.exists()
    described = path.name + "/" * path.is_dir()
    assert described in FORMATS[name].content
    assert path.parent == tmp_path


def test_formats_do_not_stand_in_each_others_way(tmp_path: Path) -> None:
    paths = [export(name, tmp_path, rows([file_row("a.wav")]), rows([event_row("a.wav")])) for name in FORMATS]
    assert len(set(paths)) == len(FORMATS)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths} | {"files.parquet"}


@pytest.mark.parametrize("name", FORMATS)
def test_equal_rows_give_equal_exports(tmp_path: Path, name: str) -> None:
    contents = []
    for again in ("1", "2"):
        (folder := tmp_path / again).mkdir()
        export(name, folder, rows([file_row("a.wav"), file_row("A.wav")]), rows([event_row("a.wav")]))
        contents.append({path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_that_is_cut_short_leaves_the_old_one_and_no_litter(tmp_path: Path, name: str) -> None:
    def events() -> Iterator[EventRow]:
        yield event_row("a.wav", label="new")
        raise RuntimeError("power cut")

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    export(name, tmp_path, rows([file_row("a.wav")]), rows([event_row("a.wav", label="old")]))
    before = contents()
    with pytest.raises(RuntimeError, match="power cut"):
        export(name, tmp_path, rows([file_row("a.wav"), file_row("b.wav")]), events)
    assert contents() == before


def test_the_parquet_export_is_the_tables_themselves(tmp_path: Path) -> None:
    files, events = rows([file_row("a.wav")]), rows([event_row("a.wav")])
    write_tables(tmp_path, files, events)
    before = (tmp_path / "events.parquet").read_bytes()
    assert export("parquet", tmp_path, files, events).read_bytes() == before


def test_an_unknown_format_is_refused_and_the_known_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no export is called 'xls'; there are csv, parquet, raven, audacity, webvtt"):
        export("xls", tmp_path, rows([]), rows([]))
