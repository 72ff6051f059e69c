"""files.parquet and events.parquet: the two tables that every other export can be made from."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_type_hints

from pipelines.archive.rows import EventRow, FileRow

from .rows import Rows
from .whole import whole_file

FILES_TABLE, EVENTS_TABLE = "files.parquet", "events.parquet"
ROW_GROUP_ROWS = 65_536
TYPES = {float: "float64", int: "int32"}  # of a row's fields; all others are text


def write_tables(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> None:
    """Write files.parquet and events.parquet; equal rows give equal bytes (with the same pyarrow).

    Both are written under temporary names first, then appear one right after the other.

    Raises:
        OSError: if the folder is missing, read-only or full; older tables then stay as they are.
    """
    with whole_file(folder / FILES_TABLE) as files_path, whole_file(folder / EVENTS_TABLE) as events_path:
        _write(files_path, FileRow, files())
        _write(events_path, EventRow, events())


def _write(path: Path, kind: type[NamedTuple], rows: "Iterator[FileRow] | Iterator[EventRow]") -> None:
    # Imported here, because it takes a sixth of a second, which whoever mistyped an option need not wait for.
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [(name, TYPES.get(hint, "string")) for name, hint in get_type_hints(kind).items()]
    schema = pa.schema([pa.field(name, pa.type_for_alias(alias), nullable=False) for name, alias in kinds])
    # What shapes the bytes is spelled out: a default may change with pyarrow.
    with pq.ParquetWriter(  # type: ignore[no-untyped-call]
        path,
        schema,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
    ) as writer:
        while batch := list(itertools.islice(rows, ROW_GROUP_ROWS)):
            columns = list(map(pa.array, zip(*batch, strict=True), schema.types))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)
