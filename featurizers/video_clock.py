"""One presentation time per compressed picture, from whatever timestamps a container has; and how far it is known.

Missing timestamps are counted on by the picture rate; timestamps that run back are moved forward, and that is told.
"""

import heapq
from fractions import Fraction
from typing import NamedTuple

MOST_REORDERED = 16  # pictures that are decoded before another one and shown after it: ITU-T H.264, A.3.1, and H.265
SHORTEST_SECONDS = 1e-3


class Damage(NamedTuple):
    """A stretch of a video that cannot be had as it was recorded, and why."""

    onset_seconds: float
    offset_seconds: float
    reason: str


class Clock:
    """Gives every packet its time, in the order in which packets come.

    Args:
        time_base: seconds per tick of the container's timestamps.
        seconds_per_picture: by the nominal rate; what a missing timestamp is counted on by.

    Attributes:
        known_until: no later packet is presented before this time.
    """

    def __init__(self, time_base: Fraction, seconds_per_picture: float) -> None:
        self.known_until = float("-inf")
        self._numerator, self._denominator = time_base.numerator, time_base.denominator
        self._step = max(seconds_per_picture, SHORTEST_SECONDS)
        self._moved = 0.0  # added to every timestamp since they ran back
        self._decoded = float("-inf")  # latest decoding timestamp, moved
        self._newest: float | None = None
        self._counted_from, self._num_counted = 0.0, -1  # the first picture without any timestamp is at zero
        self._latest: list[float] = []  # a heap of the latest presentation times: one more than can be reordered

    def place(self, pts: int | None, dts: int | None) -> tuple[float, Damage | None]:
        """Presentation time of the next packet in seconds, and what had to be moved for it."""
        latest = self._newest
        if pts is None and dts is None:
            self._num_counted += 1
            time = self._counted_from + self._num_counted * self._step
            self._note(time, None)
            return time, None
        shown = self._seconds(pts) if pts is not None else self._seconds(dts)  # type: ignore[arg-type]
        decoded = None if dts is None else min(self._seconds(dts), shown)
        time = shown + self._moved
        damage = None
        if latest is not None and self._runs_back(time, decoded):
            back = (shown if decoded is None else decoded) + self._moved
            self._moved += latest + self._step - back
            time = shown + self._moved
            reason = f"timestamps run back to {back:.2f} s after {latest:.2f} s; from here on they are moved forward"
            damage = Damage(latest, time, reason)
            self._latest, self._decoded = [latest], latest
        self._note(time, None if decoded is None else decoded + self._moved)
        self._counted_from, self._num_counted = max(time, self._counted_from), 0
        return time, damage

    def _seconds(self, ticks: int) -> float:
        return ticks * self._numerator / self._denominator

    def _runs_back(self, time: float, decoded: float | None) -> bool:
        if len(self._latest) > MOST_REORDERED and time < self._latest[0]:
            return True
        farthest = (MOST_REORDERED + 1) * self._step
        return decoded is not None and decoded + self._moved < self._decoded - farthest

    def _note(self, time: float, decoded: float | None) -> None:  # of every packet: comparisons, for max() takes longer
        if self._newest is None or time > self._newest:
            self._newest = time
        if len(self._latest) <= MOST_REORDERED:
            heapq.heappush(self._latest, time)
        else:
            heapq.heappushpop(self._latest, time)
        if decoded is not None and decoded > self._decoded:
            self._decoded = decoded
        if self._decoded > self.known_until:
            self.known_until = self._decoded
        if len(self._latest) > MOST_REORDERED and self._latest[0] > self.known_until:
            self.known_until = self._latest[0]
