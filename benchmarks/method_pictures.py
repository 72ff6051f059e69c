"""Pictures of the method's measurements: accuracy over length, gradients, rates of neurons, costs."""

import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from pipelines.plots import COLOURS, GRID, INK

STYLES: Mapping[str, tuple[str, str]] = {
    "suGRU, event": (COLOURS[0], "-"),
    "suGRU, 5 % open": (COLOURS[0], "-"),
    "suGRU, 20 % open": (COLOURS[0], ":"),
    "suGRU, rhythm": (COLOURS[5], "--"),
    "GRU": (COLOURS[1], "-"),
    "LSTM": (COLOURS[4], "--"),
    "Transformer": (COLOURS[3], "-"),
    "Skip RNN": (COLOURS[2], "--"),
    "minGRU": (INK, ":"),
}


def draw_lengths(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy over length, a panel per task; the first length is that of training.

    Args:
        path: of the PNG.
        results: of `method_cells.result_of`.
    """
    tasks = list(dict.fromkeys(result["task"] for result in results))
    figure = Figure(figsize=(3.6 * len(tasks), 3.4), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        by_model: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for result in results:
            if result["task"] == task:
                by_model[result["model"]].append(result["lengths"])
        for name, found in by_model.items():
            lengths = list(found[0])
            right = np.array([[each[length]["accuracy"] for length in lengths] for each in found])
            _line(axes, name, range(len(lengths)), right.mean(0))
            if len(right) > 1:
                axes.fill_between(
                    range(len(lengths)), right.min(0), right.max(0), color=_style(name)[0], alpha=0.12, linewidth=0
                )
        axes.set_xticks(range(len(lengths)), lengths)
        axes.set_ylim(0, 1.02)
        _tidy(axes, task, "frames", "right")
    figure.axes[0].legend(fontsize=7, frameon=False)
    _save(figure, path)


def draw_gradients(path: Path, gradients: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Norm of the loss's gradient at an event, over its distance from the end.

    Args:
        path: of the PNG.
        gradients: by model, rows of `method_probes.Gradient` as mappings.
    """
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, rows in gradients.items():
        _line(axes, name, [row["distance"] for row in rows], [max(row["at_event"], 1e-12) for row in rows])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _tidy(axes, "", "frames from the event to the question", "gradient norm at the event")
    axes.legend(fontsize=7, frameon=False)
    _save(figure, path)


def draw_rates(path: Path, rates: Mapping[str, Sequence[float]]) -> None:
    """Frames between two updates of a neuron, neurons sorted.

    Args:
        path: of the PNG.
        rates: by name, share of frames at which each neuron is updated, sorted.
    """
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(rates.items()):
        shares = np.clip(np.asarray(values), 1e-4, None)
        axes.plot(np.linspace(0, 1, len(shares)), 1 / shares, color=COLOURS[index % len(COLOURS)], label=name)
    axes.set_yscale("log")
    _tidy(axes, "", "neurons, the busiest first (share)", "timescale: frames per update")
    axes.legend(fontsize=7, frameon=False)
    _save(figure, path)


def draw_costs(path: Path, costs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Time and memory of a training step, and time of inference, over length.

    Args:
        path: of the PNG.
        costs: by model, rows of `method_probes.Cost` as mappings.
    """
    figure = Figure(figsize=(10.8, 3.4), layout="constrained")
    panels: list[tuple[str, Callable[[Mapping[str, Any]], float]]] = [
        ("training step, ms", lambda row: 1000 * row["training_seconds"]),
        ("kept for the backward pass, MB", lambda row: row["kept_bytes"] / 1e6),
        ("forward alone, ms", lambda row: 1000 * row["inference_seconds"]),
    ]
    for axes, (title, value) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, rows in costs.items():
            _line(axes, name, [row["num_frames"] for row in rows], [value(row) for row in rows])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        _tidy(axes, title, "frames", "")
    figure.axes[0].legend(fontsize=7, frameon=False)
    _save(figure, path)


def _line(axes: Axes, name: str, x: Sequence[float], y: Any) -> None:
    colour, dashes = _style(name)
    axes.plot(x, y, color=colour, linestyle=dashes, marker="o", markersize=3, linewidth=1.6, label=name)


def _style(name: str) -> tuple[str, str]:
    return STYLES.get(name, (GRID, "-"))


def _tidy(axes: Axes, title: str, below: str, beside: str) -> None:
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(below, fontsize=9)
    axes.set_ylabel(beside, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color=GRID, linewidth=0.6, alpha=0.7)


def _save(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100, facecolor="white")
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
