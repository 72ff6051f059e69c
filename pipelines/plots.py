"""Pictures for the run folder: training, one recording from mel to events, operating curves.

Each is a PNG of at most 96 colours (well below 150 kB), in colours that colour-blind readers tell apart.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from pipelines.calibration import Reliability
from pipelines.events import Event
from pipelines.metrics import Curve, match_detections
from pipelines.metrics.clips import wilson_interval

# Source of the colours: Okabe and Ito, Color Universal Design (2008); black and yellow left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FOUND, WRONG, TRUE, MISSED = "#0072B2", "#D55E00", "#5F6B76", "#FFFFFF"
INK, GRID = "#24292F", "#D0D7DE"
MEL_COLUMNS = 600
DASHES = ("-", "--", "-.", ":")


def plot_training(
    path: str | Path, rows: Sequence[Mapping[str, float]], *, losses: Sequence[str], shares: Sequence[str]
) -> None:
    """Losses above and shares (0 to 1) below, over epochs.

    Args:
        rows: one per epoch, in order; a key may be missing in some (validation every few epochs).
        losses: keys of the upper panel, drawn on a logarithmic axis where all are positive.
        shares: keys of the lower panel.
    """
    figure = Figure(figsize=(7.5, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, keys in ((upper, losses), (lower, shares)):
        for index, key in enumerate(keys):
            points = [(epoch, row[key]) for epoch, row in enumerate(rows, 1) if key in row and np.isfinite(row[key])]
            marker = "o" if len(points) <= 40 else ""
            axes.plot(
                [epoch for epoch, _ in points],
                [value for _, value in points],
                color=COLOURS[index % len(COLOURS)],
                linestyle=DASHES[index // len(COLOURS) % len(DASHES)],
                marker=marker,
                markersize=3.5,
                linewidth=1.8,
                label=_words(key),
            )
        _tidy(axes)
        if keys:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, fontsize=9)
    drawn = [value for line in upper.lines for value in np.asarray(line.get_ydata()).tolist()]
    if drawn and min(drawn) > 0:
        upper.set_yscale("log")
        upper.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        upper.yaxis.set_minor_formatter(NullFormatter())
        upper.yaxis.set_major_formatter("{x:g}")
    upper.set_ylabel("loss")
    lower.set_ylabel("share")
    lower.set_ylim(-0.02, 1.02)
    lower.set_xlabel("epoch")
    _save(figure, path)


def plot_recording(
    path: str | Path,
    *,
    top: ArrayLike,
    top_hop_seconds: float,
    times: ArrayLike,
    is_open: ArrayLike,
    open_probability: ArrayLike,
    scores: ArrayLike,
    labels: Sequence[str],
    found: Sequence[Event],
    true: Sequence[Event],
    title: str,
    num_labels: int = 4,
) -> None:
    """One stretch of a recording, aligned: log-mel or film, switch, scores, and what was found against what is there.

    Legible up to about a minute. The scores drawn are those of labels found or true here, then the highest ones.

    Args:
        top: (M, bands) a log-mel, or (M, height, width, 3) uint8 pictures of a film; the first at times[0].
        top_hop_seconds: time between its rows, or its pictures.
        times: (T,) onset of each frame in seconds of media time.
        is_open: (T,) whether the switch opened the frame.
        open_probability: (T,) what the switch thought, in [0, 1].
        scores: (T, C) in [0, 1].
        labels: C names.
        found: events at the thresholds in use.
        true: true events.
        num_labels: how many scores to draw at most.
    """
    top, times, scores = np.asarray(top), np.asarray(times, dtype=np.float64), np.asarray(scores)
    hop = float(times[1] - times[0]) if len(times) > 1 else top_hop_seconds * len(top)
    begin, end = float(times[0]), float(times[-1]) + hop
    figure = Figure(figsize=(10.0, 7.2), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(2.4, 1.0, 1.8, 1.5))
    panels[0].set_title(title, parse_math=False, loc="left", fontsize=12, color=INK)
    draw = _draw_film if top.ndim == 4 else _draw_mel
    draw(panels[0], top, (begin, begin + top_hop_seconds * len(top)))
    _draw_switch(panels[1], np.append(times, end), np.asarray(is_open, dtype=bool), np.asarray(open_probability))
    chosen = _labels_worth_drawing(scores, labels, [*found, *true], num_labels)
    for rank, column in enumerate(chosen):
        panels[2].stairs(
            scores[:, column],
            np.append(times, end),
            baseline=None,
            color=COLOURS[rank],
            linewidth=1.7,
            label=labels[column],
        )
    panels[2].set_ylim(-0.03, 1.03)
    panels[2].set_ylabel("score")
    panels[2].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    _draw_events(panels[3], found, true, (begin, end))
    for axes in panels[1:]:
        _tidy(axes)
    panels[3].grid(visible=False, axis="y")
    panels[3].set_xlabel("seconds")
    panels[3].set_xlim(begin, end)
    _save(figure, path)


def _draw_mel(axes: Axes, mel: NDArray[np.floating], extent: tuple[float, float]) -> None:
    # Rows averaged to no more columns than the picture can show.
    starts = np.arange(0, len(mel), -(-len(mel) // MEL_COLUMNS))
    mel = np.add.reduceat(mel, starts) / np.diff(np.append(starts, len(mel)))[:, None]
    low, high = np.percentile(mel, [1, 99.7])
    axes.imshow(
        mel.T,
        origin="lower",
        aspect="auto",
        extent=(*extent, 0, mel.shape[1]),
        cmap="magma",
        vmin=low,
        vmax=max(high, low + 1e-6),
        interpolation="antialiased",
    )
    axes.set_ylabel("mel band")


def _draw_film(axes: Axes, pictures: NDArray[np.uint8], extent: tuple[float, float]) -> None:
    """Pictures side by side, each over its own time."""
    film = np.concatenate(list(pictures), axis=1)
    axes.imshow(film, aspect="auto", extent=(*extent, 0, 1), interpolation="antialiased")
    axes.set_yticks([])
    axes.set_ylabel("picture")


def _draw_switch(
    axes: Axes, edges: NDArray[np.float64], is_open: NDArray[np.bool_], probability: NDArray[np.floating]
) -> None:
    axes.stairs(is_open * 1.0, edges, fill=True, color="#F0C35A", label=f"open ({is_open.mean():.0%})")
    axes.stairs(probability, edges, baseline=None, color=INK, linewidth=1.3, label="probability")
    axes.set_ylim(0, 1.04)
    axes.set_ylabel("switch")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), frameon=False, fontsize=9)


def _labels_worth_drawing(
    scores: NDArray[np.floating], labels: Sequence[str], events: Sequence[Event], num_labels: int
) -> list[int]:
    peaks = scores.max(axis=0)
    named = {event.label for event in events}
    order = sorted(range(len(labels)), key=lambda column: (labels[column] not in named, -peaks[column]))
    return order[:num_labels]


def _draw_events(axes: Axes, found: Sequence[Event], true: Sequence[Event], extent: tuple[float, float]) -> None:
    """Two lanes of bars: what is there (hollow: missed), and what was found (striped: a false alarm)."""
    matching = match_detections(found, true)
    hits = matching.truth_of_detected >= 0
    heard = matching.detected_of_truth >= 0
    styles = {
        "true, found": (TRUE, TRUE, ""),
        "true, missed": (MISSED, TRUE, ""),
        "found": (FOUND, FOUND, ""),
        "false alarm": ("#FFFFFF", WRONG, "////"),
    }
    lanes = (
        (1.0, true, ["true, found" if h else "true, missed" for h in heard]),
        (0.0, found, ["found" if h else "false alarm" for h in hits]),
    )
    seen = set()
    for lane, events, names in lanes:
        ends = [-np.inf, -np.inf]  # right edge of the last text in the two rows of text over a lane
        for event, name in sorted(zip(events, names, strict=True), key=lambda pair: pair[0].onset_seconds):
            face, edge, hatch = styles[name]
            length = max(event.offset_seconds - event.onset_seconds, (extent[1] - extent[0]) / 400)
            axes.broken_barh(
                [(event.onset_seconds, length)],
                (lane + 0.08, 0.34),
                facecolor=face,
                edgecolor=edge,
                hatch=hatch,
                linewidth=1.4,
                label=name if name not in seen else None,
            )
            seen.add(name)
            row = 0 if event.onset_seconds >= ends[0] else 1
            ends[row] = event.onset_seconds + (extent[1] - extent[0]) * 0.011 * (len(event.label) + 1)
            axes.text(
                event.onset_seconds,
                lane + 0.46 + 0.24 * row,
                event.label,
                parse_math=False,
                fontsize=8.5,
                color=edge,
                clip_on=True,
            )
    axes.set_ylim(0, 2)
    axes.set_yticks([0.25, 1.25], ["found", "true"])
    if seen:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), frameon=False, fontsize=9)


def plot_operating_curve(
    path: str | Path, curves: Mapping[str, Curve], *, mark_false_alarms_per_hour: float = 1.0, up_to: float = 10.0
) -> None:
    """Recall against false alarms per hour and keyword, one step curve per name; the budget is marked."""
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        rates, recalls = curve.false_alarms_per_hour, curve.recall
        if np.isnan(recalls).any():
            continue
        is_best = np.append(np.diff(rates) > 0, True)  # of points with equally many false alarms, the last
        marked = recalls[rates <= mark_false_alarms_per_hour * (1 + 1e-9)].max()
        colour = COLOURS[index % len(COLOURS)]
        axes.step(
            np.append(rates[is_best], max(up_to, rates[-1])),
            np.append(recalls[is_best], recalls[-1]),
            where="post",
            color=colour,
            linestyle=DASHES[index % len(DASHES)],
            linewidth=2.0,
            label=f"{name}: {marked:.0%} at {mark_false_alarms_per_hour:g} per hour",
        )
        axes.plot(mark_false_alarms_per_hour, marked, "o", color=colour, markersize=6, clip_on=False)
    axes.axvline(mark_false_alarms_per_hour, color=TRUE, linewidth=1.0, linestyle=(0, (2, 2)), zorder=0)
    axes.set_xlim(0, up_to)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("false alarms per hour and keyword")
    axes.set_ylabel("share of true events found")
    _tidy(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5)
    _save(figure, path)


def plot_reliability(path: str | Path, found: Reliability) -> None:
    """Share of detections that are right against their score, each bin with its number and 95 % interval."""
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=TRUE, linewidth=1.0, linestyle=(0, (2, 2)), zorder=0)
    for score, share, number in zip(*found, strict=True):
        low, high = wilson_interval(share * number, number)
        axes.plot([score, score], [low, high], color=COLOURS[0], linewidth=1.5)
        axes.plot(score, share, "o", color=COLOURS[0], markersize=6, clip_on=False)
        axes.annotate(
            f"{number:.0f}", (score, low), xytext=(0, -11), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("score of detections")
    axes.set_ylabel("share of them that is right")
    _tidy(axes)
    _save(figure, path)


def plot_by_label(path: str | Path, labels: Sequence[str], figures: Mapping[str, Sequence[float]], what: str) -> None:
    """One figure from 0 to 1 of each label, as bars; one series per name, side by side."""
    figure = Figure(figsize=(7.5, 1.2 + 0.42 * len(labels)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(figures)
    for index, (name, values) in enumerate(figures.items()):
        places = np.arange(len(labels)) + (index - (len(figures) - 1) / 2) * height
        axes.barh(places, values, height * 0.9, color=COLOURS[index % len(COLOURS)], label=name)
    axes.set_yticks(np.arange(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(what)
    _tidy(axes)
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5)
    _save(figure, path)


def plot_confusion(path: str | Path, labels: Sequence[str], counts: NDArray[np.int64]) -> None:
    """What each class is taken for: a row per true class, in shares of its clips, the numbers of clips written in.

    Args:
        labels: L names.
        counts: (L, L + 1) clips by true class (row) and by what was said (column); the last column: nothing.
    """
    names = [*labels, "nothing"] if counts[:, -1].any() else list(labels)
    shown = counts[:, : len(names)]
    shares = shown / counts.sum(axis=1, keepdims=True).clip(1)
    figure = Figure(figsize=(2.6 + 0.5 * len(names), 2.2 + 0.42 * len(labels)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if len(labels) <= 40:  # beyond that the numbers would not be legible
        for row, column in np.argwhere(shown > 0):
            ink = "#FFFFFF" if shares[row, column] > 0.6 else INK
            axes.text(column, row, str(shown[row, column]), ha="center", va="center", fontsize=8.5, color=ink)
    axes.set_xticks(np.arange(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(np.arange(len(labels)), labels, parse_math=False)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.spines[:].set_color(GRID)
    _save(figure, path)


def plot_precision_recall(path: str | Path, recalls: ArrayLike, precisions: Mapping[str, ArrayLike]) -> None:
    """Interpolated precision over recall, both 0 to 1, one curve per name; the area under each stands beside it."""
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    recalls = np.asarray(recalls, dtype=np.float64)
    for index, (name, values) in enumerate(precisions.items()):
        values = np.asarray(values, dtype=np.float64)
        if np.isnan(values).any():
            continue
        style = DASHES[index // len(COLOURS) % len(DASHES)]
        area = np.trapezoid(values, recalls)
        axes.plot(
            recalls, values, style, color=COLOURS[index % len(COLOURS)], linewidth=2.0, label=f"{name}: {area:.2f}"
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("share of true events found (recall)")
    axes.set_ylabel("share of events found that are true (precision)")
    _tidy(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5)
    _save(figure, path)


def _words(key: str) -> str:
    return key.replace("_", " ").replace("/", " ")


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(visible=True, color=GRID, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: str | Path) -> None:
    FigureCanvasAgg(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100, facecolor="white")
    # A palette keeps the noise of a mel from filling the file.
    Image.open(drawn).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
