"""What can be said of a corpus before any training: how much, how balanced, at what rates, what is missing."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from featurizers import MediaError

from .console import Progress, seconds_text
from .corpora.tables import fault_of_name
from .errors import UserError
from .events import Recording
from .line import Line
from .recipe import EvaluateOptions

SPLITS = ("train", "validation", "test")
MOST_OPENED = 2000  # headers of recordings, half a millisecond each; of more, evenly chosen ones stand for all
UNEVEN = 10.0  # times as many events of one label as of another
FEW_EVENTS = 10  # per label, to train with
SHOWN = 5


class Facts(NamedTuple):
    """What was found.

    Args:
        lines: to show.
        errors: a run would fail for these.
        warnings: a run would work, and might disappoint.
        hours: split -> hours of recordings.
        num_recordings: split -> how many; empty where a corpus does not tell.
    """

    lines: list[str]
    errors: list[str]
    warnings: list[str]
    hours: dict[str, float]
    num_recordings: dict[str, int]


class Header(NamedTuple):
    """What a recording's header tells; None: it does not."""

    seconds: float | None
    rate_hz: int | None


def planned_facts(hours: Mapping[str, Mapping[str, float]], options: EvaluateOptions) -> Facts:
    """Of a corpus that a run computes first: its hours are known, and nothing else."""
    lines, errors = ["Data     computed by the corpus at the first run, then kept in the cache"], []
    totals = {split: sum(hours.get(split, {}).values()) for split in SPLITS}
    for split in SPLITS:
        kinds = {kind: number for kind, number in hours.get(split, {}).items() if number}
        told = ", ".join(f"{number:g} h {kind}" for kind, number in kinds.items())
        lines.append(f"  {split:<12}{totals[split]:g} h" + (f" ({told})" if told else ""))
        if not kinds:
            errors.append(f"the {split} split has no hours; all three splits are needed")
    errors += _kind_errors(options, [kind for kind, number in hours.get("validation", {}).items() if number])
    return Facts(lines, errors, [], totals, {})


def recorded_facts(
    recordings: Sequence[Recording], labels: Sequence[str], line: Line, options: EvaluateOptions, report: Progress
) -> Facts:
    """Of recordings that are there: headers are opened, no sound is decoded."""
    step = max(1, -(-len(recordings) // MOST_OPENED))
    opened = recordings[::step]
    headers: dict[Recording, Header] = {}
    unreadable: list[str] = []
    for recording in report.track(opened, "opening recordings", unit="recordings"):
        try:
            headers[recording] = _header(line, recording)
        except MediaError as error:
            unreadable.append(str(error))
    lines, errors, warnings = [f"Data     {_counted(len(recordings), 'recording')}"], [], []
    if step > 1:
        lines[0] += f"; lengths and rates are those of every {step}th one"
    if unreadable:
        errors.append(f"{_counted(len(unreadable), 'recording')} cannot be read: {_some(unreadable)}")
    hours: dict[str, float] = {}
    for split in SPLITS:
        members = [recording for recording in recordings if recording.split == split]
        known = [headers[r].seconds for r in members if r in headers]
        seconds = [value for value in known if value is not None]
        mean = statistics.fmean(seconds) if seconds else 0.0
        hours[split] = mean * len(members) / 3600
        lines.append(f"  {split:<12}{_split_line(members, seconds, hours[split])}")
        if not members:
            errors.append(f"the {split} split has no recordings; all three splits are needed")
        elif split != "train" and len(members) < 2:
            warnings.append(f"the {split} split has one recording only: no figure will have an interval")
    lines += _label_lines(recordings, labels)
    label_errors, label_warnings = _label_faults(recordings, labels)
    kinds = sorted({r.kind for r in recordings if r.split == "validation"})
    errors += label_errors + (_kind_errors(options, kinds) if kinds else [])
    warnings += label_warnings + _rate_warnings(line, list(headers.values()))
    rates = Counter(header.rate_hz for header in headers.values() if header.rate_hz)
    if rates:
        told = ", ".join(f"{rate} Hz ({number})" for rate, number in sorted(rates.items()))
        lines.append(f"  rates       {told}; the model hears {line.rate_hz} Hz")
    if not any(recording.group for recording in recordings):
        warnings.append("no speaker or source is known: whether the splits share one cannot be told")
    numbers = {split: sum(recording.split == split for recording in recordings) for split in SPLITS}
    return Facts(lines, errors, warnings, hours, numbers)


def unusable_warnings(corpus: Any) -> list[str]:
    """What a corpus says it has left out, with reasons."""
    left_out = [f"{item.path} ({item.reason})" for item in getattr(corpus, "unusable", [])]
    return [f"{_counted(len(left_out), 'file')} left out: {_some(left_out)}"] if left_out else []


def _header(line: Line, recording: Recording) -> Header:
    with line.open(recording.source) as stream:
        return Header(getattr(stream, "duration_seconds", None), getattr(stream, "source_rate_hz", None))


def _split_line(members: Sequence[Recording], seconds: Sequence[float], hours: float) -> str:
    if not members:
        return "nothing"
    length = ""
    if seconds:
        length = (
            f", {seconds_text(hours * 3600)}, from {seconds_text(min(seconds))} to {seconds_text(max(seconds))} each"
        )
    kinds = Counter(recording.kind for recording in members if recording.kind)
    told = f" ({', '.join(f'{number} {kind}' for kind, number in sorted(kinds.items()))})" if kinds else ""
    groups = {recording.group for recording in members if recording.group}
    return f"{_counted(len(members), 'recording')}{told}{length}, {_counted(len(groups), 'group')}"


def _label_lines(recordings: Sequence[Recording], labels: Sequence[str]) -> list[str]:
    """Events per label and split, with their median length."""
    counts = {split: _events_of(recordings, split) for split in SPLITS}
    width = max([len(label) for label in labels] + [10])
    lines = [f"  {'events':<{width}}{''.join(f'{split:>12}' for split in SPLITS)}{'median':>12}"]
    lengths: dict[str, list[float]] = {}
    for recording in recordings:
        for event in recording.events:
            lengths.setdefault(event.label, []).append(event.offset_seconds - event.onset_seconds)
    for label in labels:
        median = f"{statistics.median(lengths[label]):.2f} s" if label in lengths else "-"
        lines.append(f"  {label:<{width}}{''.join(f'{counts[split][label]:>12}' for split in SPLITS)}{median:>12}")
    without = "".join(
        f"{sum(r.split == split and not r.events and not r.clip_labels for r in recordings):>12}" for split in SPLITS
    )
    return [*lines, f"  {'(none)':<{width}}{without}   recordings without an event"]


def _label_faults(recordings: Sequence[Recording], labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Errors and warnings."""
    errors, warnings = [], []
    for label in labels:
        if fault := fault_of_name(label):
            errors.append(f"the label {label!r} {fault}")
    counts = {split: _events_of(recordings, split) for split in SPLITS}
    weak = {label for recording in recordings if recording.split == "train" for label in recording.clip_labels or ()}
    missing = [label for label in labels if not counts["train"][label] and label not in weak]
    if missing:
        errors.append(f"nothing to learn from: the train split has no event of {', '.join(missing)}")
    for split, what in (("validation", "its threshold has nothing to go by"), ("test", "it cannot be judged")):
        absent = [label for label in labels if not counts[split][label]]
        if absent and any(recording.split == split for recording in recordings):
            warnings.append(f"the {split} split has no event of {', '.join(absent)}: {what}")
    trained = {label: counts["train"][label] for label in labels if counts["train"][label]}
    few = [f"{label} ({number})" for label, number in trained.items() if number < FEW_EVENTS]
    if few:
        warnings.append(f"fewer than {FEW_EVENTS} events to train with: {', '.join(few)}")
    if trained and max(trained.values()) > UNEVEN * min(trained.values()):
        most, least = max(trained, key=trained.__getitem__), min(trained, key=trained.__getitem__)
        warnings.append(
            f"classes are uneven: {trained[most]} events of {most}, {trained[least]} of {least} in the train split"
        )
    for split in SPLITS:
        members = [recording for recording in recordings if recording.split == split]
        if members and all(recording.events for recording in members) and split != "train":
            warnings.append(
                f"every recording of the {split} split has an event: false alarms are only met beside events; add "
                "recordings without any"
            )
    return errors, warnings


def _rate_warnings(line: Line, headers: Sequence[Header]) -> list[str]:
    low = [header.rate_hz for header in headers if header.rate_hz and header.rate_hz < line.rate_hz]
    if not low or line.is_video:
        return []
    return [
        f"{len(low)} of {len(headers)} recordings have a lower rate than the model ({min(low)} Hz, {line.rate_hz} Hz): "
        f"above {min(low) // 2} Hz there is nothing in them; give glance and featurizer a rate_hz and bands that all "
        "of them have"
    ]


def _kind_errors(options: EvaluateOptions, kinds: Sequence[str]) -> list[str]:
    try:
        options.kinds(kinds)
    except UserError as error:
        return [str(error)]
    return []


def _events_of(recordings: Sequence[Recording], split: str) -> Counter[str]:
    return Counter(event.label for recording in recordings if recording.split == split for event in recording.events)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _some(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more
