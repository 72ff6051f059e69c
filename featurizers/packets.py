"""What moves in a video, told from its packets before anything is decoded: a glance thousands of times real time."""

import torch
from torch import Tensor

from featurizers.grid import Grid, Needs, Stretch

HOLD_SECONDS = 2.0  # a picture stands for so long in a video of few pictures; then there is a hole
SMOOTH_SECONDS = 0.5  # on either side: more than a group of B-frames, which are small between larger ones
QUIET = 0.1  # share of the context's frames that are quieter than "quiet"
LOG_LIMIT = 8.0  # sizes 256 times apart differ as much as they can

COLUMNS = (
    "mean",  # of the log size of pictures that are no key frames, above its running median
    "largest",  # of them, above the same median
    "smooth",  # the mean over a second, above the median
    "above_quiet",  # the mean over a second, above the quietest tenth of the context
    "of_key",  # the mean over a second, relative to the last key frame: 0 at a 32nd of its size, 1 at an eighth
    "level",  # the mean over a second as it is, in bytes: -1 for 64, 0 for 1 KiB, 1 for 16 KiB
    "key_size",  # the frame's key frame, above the running median of key frames; 0 without one
    "has_key",  # 1 if the frame has a key frame
    "key_age",  # time since the last key frame, 1 when it is `left_seconds` ago or unknown
    "count",  # packets, against what their usual spacing lets expect
    "gap",  # the longest time from the packet before, against the usual one
    "has_packets",  # 1 if the frame has a packet
)


class PacketGlance:
    """Sizes, kinds and times of a frame's packets, as numbers around zero; nothing is decoded.

    An encoder at constant quality spends bytes on what it cannot predict: where nothing moves, a picture between key
    frames takes few bytes, and many times that where something does. Sizes are taken as base-2 logarithms,
    halved, and compared with what the video itself shows in the declared context, so that size, quality and encoder
    matter little. Key frames are compared with key frames. Other pictures are averaged over the frame and over a
    second, because B-frames are small between larger ones and a container does not tell which is which.

    `columns` names the numbers, in order (see COLUMNS); then the first of them for each of the neighbours, from the
    earliest to the latest. Where there are few pictures the last one stands for `HOLD_SECONDS`. In a hole, and for
    what the context does not hold, differences are 0. An encoder at constant bit rate hides motion, and one that
    spends its bytes on noise may even spend fewer on a thing that passes: use thumbnails (PictureChange) there.

    Args:
        grid: the model's frames.
        left_seconds: length of the running medians before a frame.
        right_seconds: length of the running medians after a frame; at least the half second of smoothing.
        neighbours: so many frames before and as many after.

    Raises:
        ValueError: if the neighbours or the smoothing reach beyond the context.
    Source: the idea of packet sizes as a sign of motion: Babu, Tom and Wadekar, "A survey on compressed domain video
        analysis techniques", Multimedia Tools and Applications 75(2), 2016.
    """

    def __init__(
        self, grid: Grid, *, left_seconds: float = 10.0, right_seconds: float = 2.0, neighbours: int = 2
    ) -> None:
        self._smooth = grid.num_frames(SMOOTH_SECONDS)
        self._left, self._right = grid.num_frames(left_seconds), grid.num_frames(right_seconds)
        most = min(self._left, self._right)
        if not 0 <= neighbours <= most or self._smooth > most:
            raise ValueError(
                f"neighbours={neighbours} and {self._smooth} frames of smoothing must lie within left_seconds="
                f"{left_seconds} and right_seconds={right_seconds} ({most} frames); raise them"
            )
        self._hop_seconds, self._neighbours = grid.hop_seconds, neighbours
        self._hold = grid.num_frames(HOLD_SECONDS)
        # the first neighbour's median begins with a value that may be held; half a frame is for times at a frame's edge
        self._before, self._after = neighbours + self._left + self._hold, neighbours + self._right
        half = 0.5 * grid.hop_seconds
        self.needs = Needs(
            "packets",
            left_seconds=self._before * grid.hop_seconds + half,
            right_seconds=self._after * grid.hop_seconds + half,
        )
        offsets = [offset for offset in range(-neighbours, neighbours + 1) if offset]
        self.columns = (*COLUMNS, *(f"mean{offset:+d}" for offset in offsets))
        self.size = len(self.columns)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(1, K, 3), one run's packets, to (1, num_frames, size)."""
        times, sizes, is_key = stretch.data[0, :, 0], stretch.data[0, :, 1], stretch.data[0, :, 2] > 0
        onset = stretch.times[0] + self.needs.left_seconds - self._before * self._hop_seconds
        place = ((times - onset) / self._hop_seconds + 1e-6).floor().long()
        total = self._before + num_frames + self._after
        is_known = (place >= 0) & (place < total)
        place, times, is_key = place[is_known], times[is_known], is_key[is_known]
        logs = (sizes[is_known] + 1.0).log2()

        inter = _Bins(place[~is_key], logs[~is_key], total)
        keys = _Bins(place[is_key], logs[is_key], total)
        gaps = _Bins(place[1:], (times[1:] - times[:-1]).clamp_min(1e-4).log2(), total)
        gaps = gaps.without(place[1:], place[1:] - place[:-1] > self._hold)
        count = torch.bincount(place, minlength=total).double()

        mean, largest = self._held(inter.mean), self._held(inter.largest)
        smooth = self._windows(mean, self._smooth, self._smooth).nanmean(dim=1)
        around = self._windows(mean, self._left, self._right)
        median, quiet = _quantiles(around, 0.5, QUIET)
        key_log, key_age = self._last_key(keys.mean)
        usual_key = self._windows(keys.mean, self._left, self._right).nanmedian(dim=1).values
        usual_gap = self._windows(gaps.median, self._left, self._right).nanmedian(dim=1).values
        expected = (self._hop_seconds / usual_gap.exp2()).nan_to_num(0.0)

        relative = _difference(mean, median)
        columns = [
            relative,
            _difference(largest, median),
            _difference(smooth, median),
            _difference(smooth, quiet),
            _difference(smooth, key_log - 5.0),
            _difference(smooth, torch.full_like(smooth, 10.0)) / 2,
            _difference(keys.mean, usual_key),
            (~keys.mean.isnan()).double(),
            key_age,
            ((count + 0.5) / (expected + 0.5)).log2().clamp(-4, 4) / 2 * (expected > 0),
            _difference(gaps.largest, usual_gap).clamp(-2, 2),
            (count > 0).double(),
        ]
        offsets = [offset for offset in range(-self._neighbours, self._neighbours + 1) if offset]
        columns += [relative.roll(-offset) for offset in offsets]  # what comes round lies outside what is wanted
        return torch.stack(columns, dim=1)[self._before : self._before + num_frames].float()[None]

    def _held(self, values: Tensor) -> Tensor:
        """Frames without a value get the last one, if it is no older than HOLD_SECONDS."""
        return _last(values, self._hold)[0]

    def _last_key(self, key_logs: Tensor) -> tuple[Tensor, Tensor]:
        value, age = _last(key_logs, self._left)
        return value, (age.double() / self._left).clamp_max(1.0)

    def _windows(self, values: Tensor, before: int, after: int) -> Tensor:
        """(frames, before + 1 + after): each frame's value with those around it, NaN where there is none."""
        return torch.nn.functional.pad(values, (before, after), value=torch.nan).unfold(0, before + 1 + after, 1)


class _Bins:
    """Mean, largest and middle value of those that fall into each of `total` frames; NaN where none does."""

    def __init__(self, place: Tensor, values: Tensor, total: int) -> None:
        self._place, self._values, self._total = place, values, total
        empty = torch.full((total,), torch.nan, dtype=torch.float64)
        self.mean = empty.scatter_reduce(0, place, values, "mean", include_self=False)
        self.largest = empty.scatter_reduce(0, place, values, "amax", include_self=False)

    def without(self, place: Tensor, is_wrong: Tensor) -> "_Bins":
        return _Bins(place[~is_wrong], self._values[~is_wrong], self._total)

    @property
    def median(self) -> Tensor:
        """The lower middle value of each frame."""
        order = self._values.argsort(stable=True)
        order = order[self._place[order].argsort(stable=True)]
        counts = torch.bincount(self._place, minlength=self._total)
        middle = counts.cumsum(0) - counts + (counts - 1).clamp_min(0) // 2
        medians = torch.full((self._total,), torch.nan, dtype=torch.float64)
        medians[counts > 0] = self._values[order][middle[counts > 0]]
        return medians


def _last(values: Tensor, most_frames: int) -> tuple[Tensor, Tensor]:
    """The last value that is none of NaN up to each frame, NaN if older than so many frames; and its age in frames."""
    frames = torch.arange(len(values))
    place = torch.where(values.isnan(), -1, frames).cummax(0).values
    age = frames - place
    is_there = (place >= 0) & (age <= most_frames)
    value = torch.where(is_there, values[place.clamp_min(0)], torch.nan)
    return value, torch.where(is_there, age, most_frames)


def _quantiles(windows: Tensor, *shares: float) -> list[Tensor]:
    """The values that such shares of each window lie below, NaN left out; one sort is faster than nanquantile."""
    ordered = windows.sort(dim=1).values  # NaN last
    last = ((~windows.isnan()).sum(dim=1) - 1).clamp_min(0).double()
    return [ordered.gather(1, (last * share).floor().long()[:, None])[:, 0] for share in shares]


def _difference(logs: Tensor, reference: Tensor) -> Tensor:
    """Half of the difference of two base-2 logarithms, bounded; 0 where either is unknown."""
    return ((logs - reference).clamp(-LOG_LIMIT, LOG_LIMIT) / 2).nan_to_num(0.0)
