"""What a tagging job leaves for other programs: two tables, exports in their formats, clips."""

from .formats import FORMATS, Format, export
from .recording_start import recording_start
from .rows import Rows
from .tables import write_tables

__all__ = [
    "FORMATS",
    "Format",
    "Rows",
    "export",
    "recording_start",
    "write_tables",
]
