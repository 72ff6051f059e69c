"""What every benchmark leaves behind: a table to read, results.json, and what machine it was."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipelines.runfolder import write_atomic


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load_average_1_minute": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def machine_line() -> str:
    """The same in a line."""
    facts = machine()
    load = facts["load_average_1_minute"]
    busy = "" if load is None else f", load {load:.1f}"
    return (
        f"{facts['processor']}, {facts['cores']} cores{busy}, torch {facts['torch']}, {facts['threads']} "
        f"thread{'' if facts['threads'] == 1 else 's'}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; the first to the left, numbers to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def write_results(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write results.json, with the machine; undefined figures (NaN) as null."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    write_atomic(path, json.dumps(plain({"machine": machine(), **results}), indent=1, allow_nan=False) + "\n")
    return path


def plain(value: Any) -> Any:
    """What JSON can hold: NamedTuples as mappings, undefined numbers as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
