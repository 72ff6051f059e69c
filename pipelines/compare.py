"""Lay finished runs side by side, figures and settings: python -m pipelines.compare runs/kws runs/kws-2"""

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .console import EXIT_OK, leave, one_line
from .errors import UsageError, UserError
from .runfolder import write_atomic
from .yaml_text import did_you_mean, read_document, write_yaml

PROGRAM = "python -m pipelines.compare"
EXAMPLES = f"""\
examples:
  {PROGRAM} runs/kws runs/kws-2
  {PROGRAM} runs/a runs/b runs/c --metrics recall,speedup
  {PROGRAM} runs/a runs/b --all --csv compared.csv

exit codes: 0 done, 1 failed, 2 wrong usage

Differences are to the first run. Behind a figure stands its 95 % interval over recordings, where it has one; behind a
difference the interval that follows if the two runs' errors are independent, which is wide where both were judged on
the same recordings. A * says that it does not hold 0. Neither says how far another seed would move the figure.
"""
# Shown without --metrics and --all: beginnings of keys, for all recordings together.
FIRST = (
    "recall_at_1_false_alarm_per_hour",
    "recall_at_thresholds",
    "false_alarms_per_hour_at_thresholds",
    "f1",
    "event_f1",
    "psds",
    "map",
    "accuracy",
    "frames_open",
    "times_real_time",
    "speedup",
    "saved_share",
    "training_seconds",
)
SAME_TEST = ("seconds_of_media", "num_frames")  # whoever was judged on the same recordings has these alike
ENDS = ("_low", "_high")


class Run(NamedTuple):
    """A finished run, or a saved model.

    Args:
        name: as the user gave it.
        metrics: figures by key; NaN where undefined.
        settings: the complete recipe as dotted key -> YAML text, with seed and device if they are known.
    """

    name: str
    metrics: dict[str, float]
    settings: dict[str, str]


class Figure(NamedTuple):
    """A figure of one run beside the first one's; low and high NaN where there is no interval."""

    value: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float


class Row(NamedTuple):
    """One figure of all runs; None where a run lacks it."""

    key: str
    figures: tuple[Figure | None, ...]


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {PROGRAM} --help explains")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 failed, 2 usage)."""
    try:
        options = _parser().parse_args(argv)
        if options.help:
            print(f"{_parser().format_help()}\n{EXAMPLES}", end="")
            return EXIT_OK
        if len(options.runs) < 2:
            raise UsageError(f"name two runs or more, such as runs/kws runs/kws-2; {PROGRAM} --help explains")
        runs = [read_run(Path(folder)) for folder in options.runs]
        rows = compare(runs, chosen_keys(runs, options.metrics, is_all=options.all))
        if options.csv is not None:
            write_atomic(Path(options.csv), csv_text(runs, rows))
        print("\n".join(one_line(line) for line in lines_of(runs, rows)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return EXIT_OK


def read_run(folder: Path) -> Run:
    """Metrics and settings of a run folder, or of a model's.

    Raises:
        UsageError: if it is none, or the run has not finished.
    """
    if not folder.is_dir():
        near = did_you_mean(str(folder), [str(path) for path in folder.parent.glob("*") if path.is_dir()])
        raise UsageError(f"{folder}: there is no such folder{near}")
    if not (folder / "recipe.yaml").is_file():
        raise UsageError(f"{folder}: holds no recipe.yaml; name a run folder, or the model folder in it")
    if not (folder / "metrics.json").is_file():
        raise UsageError(f"{folder}: holds no metrics.json, so the run has not finished; continue it with --resume")
    try:
        held = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        metrics = {key: math.nan if value is None else float(value) for key, value in held.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{folder / 'metrics.json'}: is damaged ({error})") from None
    settings = dict(_flat(read_document(folder / "recipe.yaml").data, ""))
    if (folder / "run.json").is_file():
        state = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        settings |= {key: str(state[key]) for key in ("seed", "device") if key in state}
    return Run(str(folder), metrics, settings)


def chosen_keys(runs: Sequence[Run], wanted: str | None, *, is_all: bool) -> list[str]:
    """Keys to show, in the order of the first run that has them; limits of intervals go with their figures.

    Args:
        runs: to compare.
        wanted: beginnings of keys, joined by commas; a kind's prefix belongs to the key. None: those in FIRST.
        is_all: every key, whatever `wanted` is.

    Raises:
        UsageError: if nothing begins so.
    """
    known = dict.fromkeys(key for run in runs for key in run.metrics)
    figures = [key for key in known if not _is_limit(key, known)]
    if is_all:
        return figures
    beginnings = FIRST if wanted is None else tuple(word.strip() for word in wanted.split(",") if word.strip())
    for word in beginnings if wanted is not None else ():
        if not any(key.startswith(word) for key in figures):
            raise UsageError(f"--metrics {word}: no figure begins so{did_you_mean(word, figures)}; --all shows them")
    chosen = [key for key in figures if key.startswith(beginnings)]
    if wanted is None:  # without the figures of single labels
        chosen = [key for key in chosen if "/" not in key]
    return chosen or figures


def compare(runs: Sequence[Run], keys: Iterable[str]) -> list[Row]:
    """Every figure of every run, and its difference to the first run's."""
    rows = []
    for key in keys:
        first = _interval(runs[0], key)
        found = [_interval(run, key) for run in runs]
        rows.append(Row(key, tuple(None if it is None else _beside(it, first) for it in found)))
    return rows


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs: dotted key -> its value in each, "" where a run has no such key."""
    keys = sorted({key for run in runs for key in run.settings})
    values = {key: [run.settings.get(key, "") for run in runs] for key in keys}
    return {key: held for key, held in values.items() if len(set(held)) > 1}


def lines_of(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """The comparison as text: figures, notes, settings that differ."""
    head = ["", *[run.name for run in runs]]
    lines = _table([head, *([row.key, *_cells(row)] for row in rows)])
    if any(_differ([run.metrics.get(key) for run in runs]) for key in SAME_TEST):
        lines += ["", "The runs were judged on different recordings: their figures cannot be compared closely."]
    settings = differing_settings(runs)
    if not settings:
        return [*lines, "", "All settings are the same."]
    return [*lines, "", "Settings that differ:", *_table([[f"  {key}", *held] for key, held in settings.items()])]


def csv_text(runs: Sequence[Run], rows: Sequence[Row]) -> str:
    """The comparison as a table: one row per run and figure, then one per run and setting that differs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "key", *Figure._fields])
    for row in rows:
        for run, figure in zip(runs, row.figures, strict=True):
            if figure is not None:
                writer.writerow([run.name, row.key, *("" if math.isnan(value) else repr(value) for value in figure)])
    for key, held in differing_settings(runs).items():
        for run, value in zip(runs, held, strict=True):
            writer.writerow([run.name, f"setting {key}", value, *[""] * (len(Figure._fields) - 1)])
    return text.getvalue()


def _flat(data: Any, key: str) -> Iterable[tuple[str, str]]:
    if isinstance(data, dict) and data:
        for name, value in data.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, data if isinstance(data, str) else write_yaml(data).removesuffix("...\n").strip()


def _is_limit(key: str, known: Iterable[str]) -> bool:
    return any(key.endswith(end) and key.removesuffix(end) in known for end in ENDS)


def _interval(run: Run, key: str) -> tuple[float, float, float] | None:
    if key not in run.metrics:
        return None
    low, high = (run.metrics.get(key + end, math.nan) for end in ENDS)
    return run.metrics[key], low, high


def _beside(found: tuple[float, float, float], first: tuple[float, float, float] | None) -> Figure:
    """A figure and its difference to the first run's; independent errors add as squares, each side by itself."""
    value, low, high = found
    if first is None:
        return Figure(value, low, high, math.nan, math.nan, math.nan)
    difference = value - first[0]
    below = math.hypot(value - low, first[2] - first[0])
    above = math.hypot(high - value, first[0] - first[1])
    return Figure(value, low, high, difference, difference - below, difference + above)


def _cells(row: Row) -> list[str]:
    cells = []
    for place, figure in enumerate(row.figures):
        if figure is None or math.isnan(figure.value):
            cells.append("-")
            continue
        text = _number(figure.value)
        if not math.isnan(figure.low):
            text += f" [{_number(figure.low)}, {_number(figure.high)}]"
        if place and not math.isnan(figure.difference):
            text += f"  {_number(figure.difference, sign='+')}"
            if not math.isnan(figure.difference_low):
                is_clear = figure.difference_low > 0 or figure.difference_high < 0
                between = f"[{_number(figure.difference_low, sign='+')}, {_number(figure.difference_high, sign='+')}]"
                text += f" {between}{'*' if is_clear else ''}"
        cells.append(text)
    return cells


def _number(value: float, sign: str = "") -> str:
    """Three digits behind the point for shares, whole numbers for large ones."""
    if abs(value) >= 100 or (value == int(value) and abs(value) > 1):
        return f"{value:{sign},.0f}"
    return f"{value:{sign}.3f}"


def _differ(values: Sequence[float | None]) -> bool:
    given = [value for value in values if value is not None]
    return bool(given) and (len(given) < len(values) or max(given) - min(given) > 1e-6 * abs(max(given)))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _parser() -> argparse.ArgumentParser:
    parser = _Options(prog=PROGRAM, description=__doc__, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN", help="a run folder, or the model folder in it")
    add("--metrics", metavar="KEY,KEY", help="show the figures whose keys begin so (see docs/metrics.md)")
    add("--all", action="store_true", help="show every figure")
    add("--csv", metavar="FILE", help="write the comparison there as well")
    add("-h", "--help", action="store_true", help="show this")
    return parser


if __name__ == "__main__":
    leave(main())
