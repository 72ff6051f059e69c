"""What sounds when in a soundscape, and where there is room for more: `Diary`."""

import math

import numpy as np

from pipelines.corpora.acoustics import LEVEL_FRAME_SAMPLES, RATE_HZ, Limits
from pipelines.errors import UserError

APART_SAMPLES = 3200  # least gap between two events of one label
MOST_AT_ONCE = 3
OVERLAPPING = 0.4  # share of events that are put onto another one


class Diary:
    """Which 10 ms of a stream are taken, by how many events, and by which labels."""

    def __init__(self, num_samples: int, event_share: float) -> None:
        self._num_at_once = np.zeros(num_samples // LEVEL_FRAME_SAMPLES, dtype=np.int8)
        self._seconds, self._event_share = num_samples / RATE_HZ, event_share
        self._budget = int(event_share * len(self._num_at_once))
        self._of_label: dict[str, list[Limits]] = {}
        self._spans: list[Limits] = []

    @property
    def used_share(self) -> float:
        """Of the time."""
        return float(np.count_nonzero(self._num_at_once)) / len(self._num_at_once)

    @property
    def free_seconds(self) -> float:
        """Time that may still be taken."""
        return float(self._budget - np.count_nonzero(self._num_at_once)) * LEVEL_FRAME_SAMPLES / RATE_HZ

    def find(self, generator: np.random.Generator, label: str, length: int) -> int | None:
        """An onset for an event of so many samples, which is then taken; None if none of 20 tries fits."""
        last = len(self._num_at_once) * LEVEL_FRAME_SAMPLES - length
        for _ in range(20):
            onset = int(generator.integers(max(last, 0) + 1))
            if self._spans and generator.random() < OVERLAPPING:
                other = self._spans[int(generator.integers(len(self._spans)))]
                onset = int(generator.integers(other.onset - length, other.offset + 1))
            if 0 <= onset <= last and self._take(label, Limits(onset, onset + length)):
                return onset
        return None

    def refuse_if_too_long(self, label: str, shortest_seconds: float) -> None:
        """See to it that every label has its chance.

        Raises:
            UserError: if even the shortest sound of a label takes more than all the time for events.
        """
        if shortest_seconds > self.free_seconds:
            raise UserError(
                f"a {label!r} lasts at least {shortest_seconds:.3g} s, but events may take {self.free_seconds:.3g} s "
                f"of a stream of {self._seconds:g} s ({100 * self._event_share:.2g} %); set stream_seconds to "
                f"{math.ceil(shortest_seconds / self._event_share)} or more, raise event_shares, or leave the label out"
            )

    def refuse_if_sparse(self) -> None:
        """See to it that the events' share is what was asked for.

        Raises:
            UserError: if less than three quarters of it are taken.
        """
        if self.used_share < 0.75 * self._event_share:
            raise UserError(
                f"events can be placed in {100 * self.used_share:.2g} % of a stream of {self._seconds:g} s, but "
                f"event_shares asks for {100 * self._event_share:.2g} %: events of one label keep "
                f"{APART_SAMPLES / RATE_HZ:g} s apart, and at most {MOST_AT_ONCE} sound at once; lower the share, "
                "or give more labels or longer clips"
            )

    def _take(self, label: str, span: Limits) -> bool:
        near = (span.onset - APART_SAMPLES, span.offset + APART_SAMPLES)
        if any(near[0] < other.offset and other.onset < near[1] for other in self._of_label.get(label, ())):
            return False
        frames = self._num_at_once[span.onset // LEVEL_FRAME_SAMPLES : -(-span.offset // LEVEL_FRAME_SAMPLES)]
        free = self._budget - int(np.count_nonzero(self._num_at_once))
        if int(frames.max(initial=0)) >= MOST_AT_ONCE or int(np.count_nonzero(frames == 0)) > free:
            return False
        frames += 1
        self._of_label.setdefault(label, []).append(span)
        self._spans.append(span)
        return True
