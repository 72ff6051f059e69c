"""The results table: what other programs may rely on."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipelines.events import Event
from pipelines.exports import COLUMNS, Row, write_csv


def test_an_empty_table_has_a_header(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", [])
    assert (tmp_path / "events.csv").read_bytes() == (
        b"file,onset_seconds,offset_seconds,label,score,channel,model_fingerprint,version\n"
    )


def test_another_reader_gets_back_what_was_written(tmp_path: Path) -> None:
    awkward = 'radio, "night"\nshow \u00e9.flac'
    write_csv(
        tmp_path / "events.csv", [Row(awkward, Event(36001.2344, 36001.9996, "no", 0.1234564, 1), "f00d", "0.1.0")]
    )
    assert (tmp_path / "events.csv").read_text().endswith(",36001.234,36002.000,no,0.123456,1,f00d,0.1.0\n")
    table = pd.read_csv(tmp_path / "events.csv", keep_default_na=False)
    assert tuple(table.columns) == COLUMNS
    assert table.iloc[0].to_list() == [awkward, 36001.234, 36002.0, "no", 0.123456, 1, "f00d", "0.1.0"]


def test_a_table_that_is_cut_short_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        yield Row("a.wav", Event(0.0, 1.0, "up"), "f", "0")
        raise RuntimeError("power cut")

    path = tmp_path / "events.csv"
    path.write_text("the old table")
    with pytest.raises(RuntimeError, match="power cut"):
        write_csv(path, rows())
    assert path.read_text() == "the old table"
    assert list(tmp_path.iterdir()) == [path]
