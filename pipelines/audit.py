"""How many events the switch made the model miss in your own recordings: an estimate, with an interval, while it skips.

    time    |--- window 0 ---|--- window 1 ---|--- window 2 ---|--- window 3 ---|     anchored at frame zero
    drawn                                             x                               each with probability `share`
    opened                               >>>>|================|>>                     run-in, counted frames, run-out

Every window is drawn or not by a hash of the recording's seed and the window's number, so a job that is resumed draws
the same ones, and a larger share draws these and others. A drawn window is opened wholly, from a copy of the state that
the switched walk carried into the run-in; the walk itself goes on as if nothing had happened. An event found in the
opened window, whose offset lies in the counted frames, and that no event of the walk matches (metrics.matching), is
missed. Every such event stands for 1 / share of its kind (Horvitz and Thompson 1952), so the sum is unbiased.

What is estimated is how many more events had been found if each window had been opened so, one by one. That is the
difference to the dense twin, but for what the twin remembers from before the run-in.
"""

import collections
import hashlib
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from featurizers import Grid

from .events import Event
from .feeds import Block
from .heads import Held
from .line import Decided, Line
from .metrics import match_detections

WINDOW_SECONDS = 5.0
# Opened before the frames that count, to forget how the switched state differs. A keyword model (recipes/kws.yaml) over
# 100 minutes of talk, all windows opened, beside the dense twin, which finds 571 missed events: run-ins of 0.5 s and
# 1 s find 575 and 573, 570 of them the same; 2 s and 4 s find the very 571.
RUN_IN_SECONDS = 2.0
RUN_OUT_SECONDS = 0.6  # opened after them: longer than pipelines.decoding looks around a peak
HEARD_BYTES = 1 << 16  # of either end of a file, for its seed

Decode = Callable[[Held, Grid, float], Sequence[Event]]  # and seconds from the recording's start to the end


class Missed(NamedTuple):
    """An event that the switch made the model miss, and the window that was opened to find it."""

    window: int
    event: Event


class Audit(NamedTuple):
    """What opening some of the closed time of one recording told.

    Args:
        share: probability with which each window was drawn.
        num_found: events found by the walk itself.
        num_found_squared: sum over windows of the squared number of events found there: how crowded events are.
        closed_seconds: time that the switch closed.
        heard_seconds: how much of that lies in drawn windows.
        opened_seconds: time that was featurized for it, run-in and run-out included.
        missed: what was found in drawn windows, and not by the walk.
    """

    share: float
    num_found: int
    num_found_squared: int
    closed_seconds: float
    heard_seconds: float
    opened_seconds: float
    missed: tuple[Missed, ...]

    def to_json(self) -> str:
        """One line of text that holds it all."""
        missed = [[window, e.onset_seconds, e.offset_seconds, e.label, e.score] for window, e in self.missed]
        return json.dumps(self._asdict() | {"missed": missed})

    @classmethod
    def from_json(cls, text: str) -> "Audit":
        """What `to_json` wrote.

        Raises:
            ValueError: if the text is something else.
        """
        try:
            stored = json.loads(text)
            missed = tuple(Missed(window, Event(*event)) for window, *event in stored.pop("missed"))
            return cls(**stored, missed=missed)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{text[:80]!r} is no audit: {error}; give what Audit.to_json() wrote") from error


class Estimate(NamedTuple):
    """How many events the switch made the model miss, as printed: `3 (0 to 9)`.

    Args:
        events: unbiased estimate; low, high: its 95 % interval.
        num_found: events found by the model.
        closed_seconds, heard_seconds: time that the switch closed, and how much of that was opened.
        usual_missed_share: see `estimate`.
    """

    events: float
    low: float
    high: float
    num_found: int
    closed_seconds: float
    heard_seconds: float
    usual_missed_share: float | None

    @property
    def is_alarm(self) -> bool:
        """Even the interval's lower end is a larger share of what there was to find than is usual for the model."""
        if self.usual_missed_share is None or not self.low:
            return False
        return self.low / (self.num_found + self.low) > self.usual_missed_share

    def __str__(self) -> str:
        if not self.closed_seconds:
            return "estimated events missed by the switch: 0 (nothing was closed)"
        heard = f"{100 * self.heard_seconds / self.closed_seconds:.2g} % of the closed time heard"
        text = f"estimated events missed by the switch: {self.events:,.0f} ({self.low:,.0f} to {self.high:,.0f})"
        if not self.is_alarm:
            return f"{text}, from {heard}"
        return (
            f"{text}, from {heard}; more than the {self.usual_missed_share:.1%} measured when the model was made: "
            "these recordings are unlike those; tag them with the switch off, or train on some of them"
        )


def estimate(records: Iterable[str], *, usual_missed_share: float | None = None) -> Estimate:
    """How many events the switch made the model miss in all recordings together, with a 95 % interval.

    Nothing is assumed of the recordings but that missed events are no more crowded than found ones (or than missed
    ones that were heard). Where a window holds one missed event at most the interval is exact: of N missed events a
    binomial (N, share) number is heard, and the interval holds each N for which what was heard is not among the 2.5 %
    most extreme results on either side. It is what Garwood's (1936) Poisson interval is to a small share. Events of one
    window are heard together or not at all: as many independent groups of as many events as have the same mean and
    variance then take the events' place, with one more group for the upper end (as Fay and Feuer, Statistics in
    Medicine 1997, weigh Poisson counts). If nothing missed was heard the upper end is 3.7 / share, times how crowded
    found events are.

    Args:
        records: of every recording, `Audit.to_json()`.
        usual_missed_share: missed / (missed + found) as measured when the model was made; the printed text says if the
            recordings are surely worse.

    Raises:
        ValueError: if a text is no audit, or the shares differ.
    """
    shares: set[float] = set()
    groups: list[int] = []  # missed events of a window that were heard together
    num_found = num_squared = 0
    closed = heard = 0.0
    for audit in map(Audit.from_json, records):
        shares.add(audit.share)
        groups += collections.Counter(missed.window for missed in audit.missed).values()
        num_found, num_squared = num_found + audit.num_found, num_squared + audit.num_found_squared
        closed, heard = closed + audit.closed_seconds, heard + audit.heard_seconds
    if len(shares) > 1:
        listed = ", ".join(f"{share:g}" for share in sorted(shares))
        raise ValueError(f"audits with the shares {listed} are mixed; estimate those of each share by themselves")
    if not closed:
        return Estimate(0.0, 0.0, 0.0, num_found, 0.0, 0.0, usual_missed_share)
    (share,) = shares
    low, high = interval(groups, share, num_squared / num_found if num_found else 1.0)
    return Estimate(sum(groups) / share, low, high, num_found, closed, heard, usual_missed_share)


def interval(groups: Sequence[int], share: float, crowd: float = 1.0) -> tuple[float, float]:
    """95 % interval for a number of events of which each group is heard with probability `share`; see `estimate`.

    Args:
        groups: sizes of the groups that were heard.
        share: in (0, 1].
        crowd: size of the next group that might have been heard.
    """
    from scipy.stats import nbinom  # type: ignore[import-untyped]  # takes seconds, for which nothing else need wait

    num, squares = float(sum(groups)), float(sum(size**2 for size in groups))
    crowd = max(crowd, 1.0, *groups)

    def unheard(num: float, squares: float, level: float) -> float:
        size = squares / num
        return size * float(nbinom.ppf(level, num / size, share))

    low = num + unheard(num, squares, 0.025) if num else 0.0
    return low, num + unheard(num + crowd, squares + crowd**2, 0.975)


def is_drawn(seed: bytes, window: int, share: float) -> bool:
    """Whether this window of the recording with this seed is among those opened; true with probability `share`."""
    digest = hashlib.blake2b(window.to_bytes(8, "big"), digest_size=8, key=seed).digest()
    return int.from_bytes(digest, "big") < round(share * 2**64)


def seed_of(source: str | Path | Tensor | NDArray[Any], channel: int | None = None) -> bytes:
    """16 bytes that stand for a recording: from its size, its first and last 64 KiB and the channel that is read.

    Neither name nor place counts, so an archive that was moved gives the same numbers; copies draw the same windows.

    Raises:
        OSError: if the file cannot be read.
    """
    digest = hashlib.blake2b(f"channel {channel}".encode(), digest_size=16)
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "big") + file.read(HEARD_BYTES))
            file.seek(max(0, size - HEARD_BYTES))
            digest.update(file.read())
        return digest.digest()
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else np.asarray(source)
    digest.update(repr(array.shape).encode())
    for end in (array[..., :HEARD_BYTES], array[..., -HEARD_BYTES:]):
        digest.update(end.tobytes())
    return digest.digest()


class _Opened(NamedTuple):
    """A drawn window, and all events of its stretch."""

    window: int
    begin_seconds: float
    end_seconds: float
    events: Sequence[Event]


class Auditor:
    """Looks on while a line follows one recording (a `Watcher`), and opens what is drawn.

    Args:
        line: the one that follows.
        grid: its grid, the origin at the recording's start on the media clock.
        decode: events of held scores, the same that the walk's own scores go through.
        share: probability with which each window is drawn, in (0, 1].
        seed: of the recording (`seed_of`).
        peak_delays_seconds: how long after its offset the peak of an event lies, for each label.
    """

    def __init__(
        self,
        line: Line,
        grid: Grid,
        decode: Decode,
        *,
        share: float,
        seed: bytes,
        peak_delays_seconds: Collection[float] = (),
    ) -> None:
        self._line, self._grid, self._decode, self._share, self._seed = line, grid, decode, share, seed
        delays = (0.0, *peak_delays_seconds)
        self._window_frames, self._run_in, self._run_out = (
            math.ceil(seconds / grid.hop_seconds - 1e-6)
            for seconds in (WINDOW_SECONDS, RUN_IN_SECONDS - min(delays), RUN_OUT_SECONDS + max(delays))
        )
        self._align = line.featurizer.needs.block_frames
        self.behind_frames = self._run_in + self._window_frames + self._run_out + self._align
        self._past: collections.deque[Decided] = collections.deque()
        self._block: Block | None = None
        self._next = 0  # window to draw or not
        self._opened: list[_Opened] = []
        self._closed_frames = self._heard_frames = self._opened_frames = 0

    def see(self, block: Block, decided: Decided) -> None:
        """Open what is drawn and lies before the end of this block."""
        self._block = block
        self._past.append(decided)
        self._closed_frames += decided.num_frames - len(decided.index)
        self._listen(block, is_last=False)

    def end(self) -> None:
        """Open what is drawn and reaches to the recording's end."""
        if self._block is not None:
            self._listen(self._block, is_last=True)

    def audit(self, found: Sequence[Event]) -> Audit:
        """What was missed, given the events that the walk found."""
        missed = []
        for opened in self._opened:
            begin, end = opened.begin_seconds, opened.end_seconds
            near = [event for event in found if event.offset_seconds > begin and event.onset_seconds < end]
            finder = match_detections(near, opened.events).detected_of_truth
            missed += [
                Missed(opened.window, event)
                for event, which in zip(opened.events, finder, strict=True)
                if which < 0 and self._window_of(event) == opened.window
            ]
        crowds = collections.Counter(self._window_of(event) for event in found)
        hop = self._grid.hop_seconds
        return Audit(
            share=self._share,
            num_found=len(found),
            num_found_squared=sum(num**2 for num in crowds.values()),
            closed_seconds=self._closed_frames * hop,
            heard_seconds=self._heard_frames * hop,
            opened_seconds=self._opened_frames * hop,
            missed=tuple(missed),
        )

    def _window_of(self, event: Event) -> int:
        """The window that the event's offset lies in; the last one holds what is placed after its end."""
        seconds = event.offset_seconds - self._grid.origin_seconds
        return min(math.floor(seconds / (self._window_frames * self._grid.hop_seconds)), self._next - 1)

    def _listen(self, block: Block, is_last: bool) -> None:
        num_decided = block.first_frame + block.num_frames
        while (begin := self._next * self._window_frames) < num_decided:
            stop = begin + self._window_frames
            end = stop + self._run_out
            if end > num_decided and not is_last:
                break
            if is_drawn(self._seed, self._next, self._share):
                self._heard_frames += self._num_closed(begin, stop)
                self._open(block, self._begin_of(self._next), min(end, num_decided))
            self._next += 1
        while self._past and self._past[0].first_frame + self._past[0].num_frames <= self._begin_of(self._next):
            self._past.popleft()

    def _begin_of(self, window: int) -> int:
        """Where the run-in begins."""
        first = max(0, window * self._window_frames - self._run_in)
        return first - first % self._align

    def _num_closed(self, begin: int, end: int) -> int:
        num_closed = 0
        for past in self._past:
            first, stop = max(begin, past.first_frame), min(end, past.first_frame + past.num_frames)
            num_closed += max(0, stop - first) - int(((past.index >= first) & (past.index < stop)).sum())
        return num_closed

    def _open(self, block: Block, first: int, end: int) -> None:
        if not self._num_closed(first, end):
            return  # the walk has heard all of it
        start = next(past for past in self._past if first < past.first_frame + past.num_frames)
        held = self._line.reopen(block, start, first, end)
        self._opened_frames += end - first
        begin_seconds, end_seconds = (self._grid.onset_seconds(frame) for frame in (first, end))
        self._opened.append(
            _Opened(
                self._next, begin_seconds, end_seconds, self._decode(held, self._grid, end * self._grid.hop_seconds)
            )
        )
