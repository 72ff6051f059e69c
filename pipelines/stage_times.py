"""Where the time of a walk goes: the same walk once more, every stage with a stopwatch.

    file --decoding--> glance --> switch --> featurizer --> recurrence --> head --events--> table     rest: between them

A video is decoded where its featurizer asks for pictures; that is decoding, too.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from featurizers import VideoStream

from .events import Recording
from .line import Line
from .metrics.sheet import ratio, scopes
from .model import Model

STAGES = ("decoding", "glance", "switch", "featurizer", "recurrence", "head", "events")
RECORDINGS_PER_KIND = 2


class Stopwatch:
    """Seconds by name of what was called through it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added up under a name."""

        def run(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

        return run


class _Timed:
    """A part of a line, one of whose methods is timed; everything else is the part's own."""

    def __init__(self, part: Any, method: str, name: str, watch: Stopwatch) -> None:
        self._part = part
        self._method = watch.timed(name, getattr(part, method))
        self.__dict__[method] = self._method

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def __call__(self, *args: Any) -> Any:
        return self._method(*args)


class _TimedSamples:
    """A stream of sound whose blocks are timed while they are decoded."""

    def __init__(self, stream: Any, watch: Stopwatch) -> None:
        self.start_seconds = stream.start_seconds
        self._stream, self._watch = stream, watch

    def blocks(self, num_samples: int) -> Iterator[Any]:
        """The stream's own."""
        following = self._watch.timed("decoding", self._stream.blocks(num_samples).__next__)
        while True:
            try:
                yield following()
            except StopIteration:
                return


def timed_line(line: Line, watch: Stopwatch) -> Line:
    """The same line; what its stages take is added to the stopwatch."""
    parts: dict[str, Any] = {
        "glance": _Timed(line.glance, "evaluate", "glance", watch),
        "gate": _Timed(line.gate, "switch", "switch", watch),
        "featurizer": _Timed(line.featurizer, "evaluate", "featurizer", watch),
        "encoder": _Timed(line.encoder, "advance", "recurrence", watch),
        "head": _Timed(line.head, "__call__", "head", watch),
    }
    return Line(grid=line.grid, **parts)


def timed_stream(stream: Any, watch: Stopwatch) -> Any:
    """The same stream, its decoding timed."""
    if not isinstance(stream, VideoStream):
        return _TimedSamples(stream, watch)
    for method in ("read_until", "pictures"):
        setattr(stream, method, watch.timed("decoding", getattr(stream, method)))
    return stream


def stage_seconds(model: Model, recording: Recording) -> dict[str, float]:
    """Seconds of every stage of one walk from path to events, and of what lies between them ("rest")."""
    watch = Stopwatch()
    line = timed_line(model.line, watch)
    watch.seconds.clear()  # a new line asks its glance for that of silence
    begun = time.perf_counter()
    with watch.timed("decoding", line.open)(recording.source) as stream:
        track = line.follow(timed_stream(stream, watch))
    watch.timed("events", model.decode)(track)
    spent = {name: watch.seconds.get(name, 0.0) for name in STAGES}
    return spent | {"rest": time.perf_counter() - begun - sum(spent.values())}


def time_shares(model: Model, recordings: Sequence[Recording]) -> dict[str, float]:
    """time_share/STAGE: of the first recordings of each kind, over all kinds and again per kind."""
    kinds = dict.fromkeys(recording.kind for recording in recordings)
    chosen = [
        recording
        for kind in kinds
        for recording in [each for each in recordings if each.kind == kind][:RECORDINGS_PER_KIND]
    ]
    spent = [stage_seconds(model, recording) for recording in chosen]
    shares: dict[str, float] = {}
    for prefix, rows in scopes([recording.kind for recording in chosen]).items():
        seconds = {name: sum(spent[row][name] for row in rows) for name in (*STAGES, "rest")}
        total = sum(seconds.values())
        shares |= {f"{prefix}time_share/{name}": ratio(value, total) for name, value in seconds.items()}
    return shares


def shares_sentence(shares: dict[str, float]) -> str:
    """What is printed: stages by their share, in the order of the walk."""
    told = ", ".join(f"{name} {shares[f'time_share/{name}']:.0%}" for name in (*STAGES, "rest"))
    return f"Time goes to {told}"
