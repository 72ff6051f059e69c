"""One page that says what a model finds, what it misses, and what skipping saved: report.html, readable offline."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 6_000_000
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", ".wav": "audio/wav", ".flac": "audio/flac"}

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --paper: #fff; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --card: #161b22; }
}
* { box-sizing: border-box; }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1.2rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin-top: 2.4rem; }
h3 { margin: 0; font-size: 1rem; }
small, figcaption, dt { color: var(--soft); font-size: .85rem; font-weight: normal; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; }
dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; } td, th { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
  text-align: right; vertical-align: top; font-variant-numeric: tabular-nums; }
th { font-weight: 600; } tr > th:first-child { text-align: left; }
th small { display: block; min-width: 11rem; max-width: 30rem; }
td small { display: block; white-space: nowrap; }
img { max-width: 100%; height: auto; border-radius: 6px; background: #fff; padding: 4px; }
figure { margin: 2rem 0; } audio { display: block; width: 100%; margin-top: .4rem; }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr)); gap: 1rem; }
article { border: 1px solid var(--line); border-radius: 8px; padding: .9rem; break-inside: avoid; }
article p { margin: .2rem 0 .6rem; overflow-wrap: anywhere; }
details { margin-top: 1.6rem; } summary { cursor: pointer; font-weight: 600; }
pre { background: var(--card); border-radius: 8px; padding: 1rem; overflow-x: auto; font-size: .85rem; }
.raw { font-size: .85rem; } .raw th { font-weight: normal; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; font-size: 11pt; } audio { display: none; }
  figure { break-inside: avoid; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


class Picture(NamedTuple):
    """A PNG and the sentence under it."""

    path: Path
    caption: str


class Example(NamedTuple):
    """A miss or a false alarm worth looking at, and listening to or watching.

    Args:
        title: what happened, in a few words.
        text: where, how loud, confused with what.
        picture: PNG; None: none.
        clip: WAV or FLAC, or an animated WebP; None: none.
    """

    title: str
    text: str
    picture: Path | None = None
    clip: Path | None = None


class _Line(NamedTuple):
    """A row of the metrics table: its key, its words, how its number reads."""

    key: str
    name: str
    meaning: str
    form: str


LINES = (
    _Line("hours", "Hours evaluated", "length of the labelled recordings", "{:.2f}"),
    _Line("num_events", "True events", "how many there are to find", "{:,.0f}"),
    _Line(
        "recall_at_1_false_alarm_per_hour",
        "Found at 1 false alarm per hour and keyword",
        "share of the true events; in brackets, where it would lie if other recordings had been drawn (95 %)",
        "{:.1%}",
    ),
    _Line("recall_at_0.5_false_alarms_per_hour", "Found at 0.5 per hour and keyword", "the same, stricter", "{:.1%}"),
    _Line("recall_at_4_false_alarms_per_hour", "Found at 4 per hour and keyword", "the same, more lenient", "{:.1%}"),
    _Line("recall_at_thresholds", "Found at the model's thresholds", "what tagging with this model gives", "{:.1%}"),
    _Line(
        "false_alarms_per_hour_at_thresholds",
        "False alarms per hour and keyword",
        "at the model's thresholds",
        "{:.2f}",
    ),
    _Line("false_alarms_per_hour_all_keywords", "False alarms per hour", "all keywords together", "{:.1f}"),
    _Line("false_alarms_per_hour_all_labels", "False alarms per hour", "all labels together", "{:.1f}"),
    _Line("psds1_all_thresholds", "PSDS1", "polyphonic sound detection score, scenario 1: prompt and exact", "{:.3f}"),
    _Line("psds2_all_thresholds", "PSDS2", "scenario 2: the right label somewhere near", "{:.3f}"),
    _Line("event_f1_200ms_macro", "Event F1, mean over labels", "onsets and offsets within 200 ms", "{:.3f}"),
    _Line("map_mean", "Mean average precision", "mean over temporal IoU 0.3, 0.5 and 0.7", "{:.3f}"),
    _Line("event_f1_iou_0.5_macro", "Event F1, mean over labels", "overlap (IoU) at least 0.5", "{:.3f}"),
    _Line("clip_accuracy", "Clips named right", "share of the trimmed clips", "{:.1%}"),
    _Line("clip_mean_class_accuracy", "Clips named right, mean over labels", "each label counts alike", "{:.1%}"),
    _Line("clip_chance", "... by guessing", "1 / number of labels", "{:.1%}"),
    _Line("precision_at_thresholds", "Right among the found", "share of what is listed that is there", "{:.1%}"),
    _Line("f1_at_thresholds", "Event F1", "2 hits / (found + true)", "{:.3f}"),
    _Line("onset_error_seconds_median", "Onset error", "median over what was found, in seconds", "{:.2f} s"),
    _Line("frames_open", "Frames opened by the switch", "the others cost a glance and nothing else", "{:.1%}"),
    _Line("frames_featurized", "Frames featurized", "opened, or bridged between two that were", "{:.1%}"),
    _Line("pictures_decoded", "Pictures decoded", "share of all; the others stayed packets", "{:.1%}"),
    _Line("times_real_time", "Times real time", "seconds of media per second of work", "{:,.0f}"),
    _Line("times_real_time_dense", "... with everything open", "the same model, in its fastest form", "{:,.0f}"),
    _Line("times_real_time_floor", "... with nothing open", "reading, decoding and the glance alone", "{:,.0f}"),
    _Line("speedup", "Faster than everything open", "by this factor", "{:.2f}"),
    _Line("saved_share", "Saved, of what could be", "1 if each closed frame saves all that it can", "{:.0%}"),
)


def write_report(
    folder: str | Path,
    *,
    title: str,
    summary: Sequence[tuple[str, str]],
    metrics: Mapping[str, float],
    kinds: Sequence[str],
    pictures: Sequence[Picture],
    examples: Sequence[Example],
    recipe: str,
) -> Path:
    """Write `folder`/report.html: everything inlined, no address outside the page, at most 6 MB.

    Args:
        summary: (name, value) of the figures on top, in users' units; a handful.
        metrics: the keys of docs/metrics.md.
        kinds: which kinds `metrics` has keys for; a column each.
        pictures: shown whole, in this order.
        examples: worst first; where the page would become too large, clips and pictures of the last ones are left out,
            and the page says so.
        recipe: the resolved recipe, as text.
    Raises:
        ValueError: if a picture or clip is of a type that browsers may not show, or the pictures alone fill the page.
        OSError: if a file cannot be read or the page not written.
    """
    path = Path(folder) / "report.html"
    body = [
        _summary(summary),
        _savings(metrics, kinds),
        _table(metrics, kinds),
        _labels(metrics),
        "".join(_figure(picture) for picture in pictures),
    ]
    rest = [_recipe(recipe), _raw(metrics)]
    room = MOST_BYTES - sum(len(part.encode()) for part in (PAGE, STYLE, *body, *rest))
    if room < 0:
        raise ValueError(
            f"{path}: pictures, metrics and recipe exceed {MOST_BYTES:,} bytes; give fewer or smaller pictures"
        )
    page = PAGE.format(title=html.escape(title), style=STYLE, body="\n".join([*body, _examples(examples, room), *rest]))
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(page, encoding="utf-8")
    unfinished.replace(path)
    return path


def _data_address(path: Path) -> str:
    kind = MEDIA_TYPES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path} is {path.suffix or 'of no type'}; a report shows {', '.join(MEDIA_TYPES)}; convert it"
        )
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _summary(summary: Sequence[tuple[str, str]]) -> str:
    cards = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in summary)
    return f'<dl class="cards">{cards}</dl>' if cards else ""


def _number(metrics: Mapping[str, float], key: str) -> float:
    return float(metrics.get(key, math.nan))


def _cell(metrics: Mapping[str, float], key: str, form: str) -> str:
    value, low, high = (_number(metrics, key + suffix) for suffix in ("", "_low", "_high"))
    if math.isnan(value):
        return "<td>&ndash;</td>"
    interval = "" if math.isnan(low) else f" <small>({form.format(low)} to {form.format(high)})</small>"
    return f"<td>{form.format(value)}{interval}</td>"


def _savings(metrics: Mapping[str, float], kinds: Sequence[str]) -> str:
    """A sentence per kind: how much was skipped, and the seconds it saved."""
    sentences = []
    for prefix, name in [("", "All recordings"), *((f"{kind}_", kind[:1].upper() + kind[1:]) for kind in kinds)]:
        media, work, saved, is_open = (
            _number(metrics, prefix + key)
            for key in ("seconds_of_media", "seconds_of_work", "seconds_saved", "frames_open")
        )
        if not math.isnan(media + work + saved + is_open):
            sentences.append(
                f"<li><b>{html.escape(name)}</b>: {1 - is_open:.1%} of {_duration(media)} was skipped. It took "
                f"{_duration(work)}; with everything open it would have taken {_duration(work + saved)}: "
                f"<b>{_duration(saved)} saved</b>.</li>"
            )
    return f"<h2>What skipping saved</h2><ul>{''.join(sentences)}</ul>" if sentences else ""


def _duration(seconds: float) -> str:
    if abs(seconds) < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if abs(seconds) < 6000 else f"{seconds / 3600:.1f} h"


def _table(metrics: Mapping[str, float], kinds: Sequence[str]) -> str:
    lines = [line for line in LINES if not math.isnan(_number(metrics, line.key))]
    head = "".join(
        f"<th>{html.escape(name)}</th>" for name in ("All", *(kind[:1].upper() + kind[1:] for kind in kinds))
    )
    rows = "".join(
        f"<tr><th>{html.escape(line.name)}<small>{html.escape(line.meaning)}</small></th>"
        + "".join(_cell(metrics, prefix + line.key, line.form) for prefix in ("", *(f"{kind}_" for kind in kinds)))
        + "</tr>"
        for line in lines
    )
    return f'<h2>Figures</h2><div class="wide"><table><tr><th></th>{head}</tr>{rows}</table></div>' if rows else ""


def _labels(metrics: Mapping[str, float]) -> str:
    """A row per label, as far as the metrics have keys per label."""
    names = [key.removeprefix("recall_at_thresholds/") for key in metrics if key.startswith("recall_at_thresholds/")]
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th>"
        + _cell(metrics, f"num_events/{name}", "{:,.0f}")
        + _cell(metrics, f"recall_at_thresholds/{name}", "{:.0%}")
        + _cell(metrics, f"false_alarms_per_hour_at_thresholds/{name}", "{:.2f}")
        + "</tr>"
        for name in names
    )
    head = "<tr><th>Label</th><th>True events</th><th>Found</th><th>False alarms per hour</th></tr>"
    return (
        f'<h2>By label, at the model\'s thresholds</h2><div class="wide"><table>{head}{rows}</table></div>'
        if rows
        else ""
    )


def _figure(picture: Picture) -> str:
    caption = html.escape(picture.caption)
    return (
        f'<figure><img src="{_data_address(picture.path)}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _examples(examples: Sequence[Example], room: int) -> str:
    parts, num_left_out = [], 0
    for example in examples:
        words = f"<h3>{html.escape(example.title)}</h3><p>{html.escape(example.text)}</p>"
        media = ""
        if example.picture is not None:
            media += f'<img src="{_data_address(example.picture)}" alt="{html.escape(example.title)}">'
        if example.clip is not None and example.clip.suffix == ".webp":
            media += f'<img src="{_data_address(example.clip)}" alt="{html.escape(example.title)}, moving">'
        elif example.clip is not None:
            media += f'<audio controls preload="metadata" src="{_data_address(example.clip)}"></audio>'
        if len(media) > room:
            media, num_left_out = "", num_left_out + 1
        room -= len(media)
        parts.append(f"<article>{words}{media}</article>")
    note = f"<p>Pictures, sound and films of {num_left_out} examples were left out to keep this page below 6 MB.</p>"
    heading = "<h2>Worst misses and false alarms</h2>"
    return f'{heading}{note if num_left_out else ""}<div class="examples">{"".join(parts)}</div>' if parts else ""


def _recipe(recipe: str) -> str:
    return f"<details><summary>Recipe</summary><pre>{html.escape(recipe)}</pre></details>"


def _raw(metrics: Mapping[str, float]) -> str:
    rows = "".join(f"<tr><th>{html.escape(key)}</th><td>{value:.6g}</td></tr>" for key, value in metrics.items())
    return f'<details><summary>All keys of metrics.json</summary><table class="raw">{rows}</table></details>'
