"""One HTML file with everything in it: events to judge, their clips and pictures, their recordings."""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.archive.rows import EventRow
from pipelines.events import Event
from pipelines.runfolder import write_atomic

from .recordings import Frames, Window

MOST_BYTES = 20_000_000
OVERVIEWS_SHARE = 0.25  # of the page, at most
MOST_DRAWN = 2000  # events of one recording
SHOWN_SCORES = 4
LEAST_SHOWN_SCORE = 0.05
_HERE = Path(__file__).parent


class Clip(NamedTuple):
    """A file of a media type, such as audio/flac or image/webp."""

    media_type: str
    content: bytes

    def element(self, name: str) -> str:
        """Kept in the page as text, until the script asks for it by name."""
        text = base64.b64encode(self.content).decode()
        return f'<script type="text/plain" id="{name}">data:{self.media_type};base64,{text}</script>\n'


class EventView(NamedTuple):
    """An event to judge.

    Args:
        row: as the job found it.
        window: the stretch that clip and picture show.
        clip, picture: None: nothing to play or to see.
        frames: switch and scores of the window; None: the recording was not followed.
        note: why there is no clip; "" if there is one.
    """

    row: EventRow
    window: Window
    clip: Clip | None = None
    picture: Clip | None = None
    frames: Frames | None = None
    note: str = ""


class RecordingView(NamedTuple):
    """A recording in which shown events are.

    Args:
        file: as the job knows it.
        begin_seconds, seconds: where it begins on the media clock, and its length.
        found: all events of the job in it, by onset.
        true: its true events; None: unknown.
        note: why there is nothing to play; "" if there is.
        frames, picture: of the whole recording; None: it was not followed.
    """

    file: str
    begin_seconds: float
    seconds: float
    found: Sequence[EventRow]
    true: Sequence[Event] | None
    note: str = ""
    frames: Frames | None = None
    picture: Clip | None = None


class Written(NamedTuple):
    """The page's size, and what did not fit into it."""

    num_bytes: int
    num_events_without_clip: int
    num_recordings_without_overview: int


def write_page(
    path: Path,
    *,
    title: str,
    summary: str,
    model_fingerprint: str,
    labels: Sequence[str],
    top: str,
    events: Sequence[EventView],
    recordings: Sequence[RecordingView],
    most_bytes: int = MOST_BYTES,
) -> Written:
    """Write the page; it names no address outside itself, and runs no script but its own.

    Args:
        title, summary: on top of the page.
        labels: of the columns of scores.
        top: what pictures show, such as "log-mel".
        events: to judge, the first ones first.
        recordings: of these events; others may follow.
        most_bytes: clips and pictures of the last ones are left out where the page would become larger.

    Raises:
        UserError: if the page cannot be written.
    """
    places = {recording.file: place for place, recording in enumerate(recordings)}
    wholes, whole_bytes, overviews_left_out = [], 0, 0
    told_recordings = []
    for place, recording in enumerate(recordings):
        told = _recording(recording, labels)
        element = recording.picture.element(f"whole-{place}") if recording.picture else ""
        cost = len(element) + len(_json(told["frames"]))
        if recording.frames is not None and whole_bytes + cost > OVERVIEWS_SHARE * most_bytes:
            told["frames"], element = None, ""
            overviews_left_out += 1
        else:
            whole_bytes += cost
        told_recordings.append(told)
        wholes.append(element)
    told_events = [_event(number, event, places, labels) for number, event in enumerate(events)]
    told_all = {
        "model": model_fingerprint,
        "top": top,
        "events": told_events,
        "recordings": told_recordings,
    }
    room = most_bytes - len(_json(told_all)) - sum(map(len, wholes)) - 60_000  # the rest of the page is 35 kB
    media, clips_left_out = [], 0
    for number, event in enumerate(events):
        parts = [("clip", event.clip), ("picture", event.picture)]
        text = "".join(part.element(f"{name}-{number}") for name, part in parts if part)
        if len(text) > room:
            room, clips_left_out = 0, clips_left_out + 1  # the first ones are whole, none is skipped in between
            told_events[number]["note"] = "Its clip did not fit into this page: ask for fewer events, or shorter clips."
        else:
            room -= len(text)
            media.append(text)
    page = _page(title, summary, "".join([*media, *wholes]), _json(told_all))
    write_atomic(path, page)
    return Written(len(page.encode()), clips_left_out, overviews_left_out)


def _page(title: str, summary: str, media: str, data: str) -> str:
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        "default-src 'none'; img-src data:; media-src data:; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(title),
        "summary": html.escape(summary),
        "style": style,
        "script": script,
        "media": media,
        "data": data,
    }
    pieces = (_HERE / "page.html").read_text(encoding="utf-8").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(data: Any) -> str:
    """Text that no browser takes for markup."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _event(number: int, event: EventView, places: dict[str, int], labels: Sequence[str]) -> dict[str, Any]:
    row = event.row
    return {
        "number": number,
        "file": places[row.file],
        "onset": row.onset_seconds,
        "offset": row.offset_seconds,
        "label": row.label,
        "score": row.score,
        "begin": event.window.begin_seconds,
        "end": event.window.end_seconds,
        "frames": _frames(event.frames, labels, first=row.label),
        "note": event.note,
    }


def _recording(recording: RecordingView, labels: Sequence[str]) -> dict[str, Any]:
    drawn = sorted(recording.found, key=lambda row: -row.score)[:MOST_DRAWN]
    return {
        "file": recording.file,
        "begin": recording.begin_seconds,
        "seconds": recording.seconds,
        "note": recording.note,
        "found": sorted([row.onset_seconds, row.offset_seconds, row.label] for row in drawn),
        "more": len(recording.found) - len(drawn),
        "truth": None if recording.true is None else [list(event[:3]) for event in recording.true],
        "frames": _frames(recording.frames, labels),
    }


def _frames(frames: Frames | None, labels: Sequence[str], first: str = "") -> dict[str, Any] | None:
    """Switch and scores in percent: of the first label, and of those that score highest here."""
    if frames is None or not len(frames.scores):
        return None
    best = frames.scores.max(0)
    order = np.argsort(-best, kind="stable").tolist()
    columns = [column for column in order if column == order[0] or best[column] >= LEAST_SHOWN_SCORE]
    if first in labels:
        own = labels.index(first)
        columns = [own, *(column for column in columns if column != own)]
    return {
        "begin": round(frames.begin_seconds, 6),
        "hop": frames.hop_seconds,
        "open": (100 * frames.is_open).round().astype(int).tolist(),
        "scores": {
            labels[column]: (100 * frames.scores[:, column]).round().astype(int).tolist()
            for column in columns[:SHOWN_SCORES]
        },
    }
