"""The framework's half of "run by run": open frames to runs, runs to stretches of data, stretches to features.

is_open     . . # # . # . . . . # # .       bridge_frames = 1
runs            [-----]         [-]         4 + 2 frames featurized
stretch    <left|     |right>               context is always kept
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from featurizers.grid import Featurizer, Grid, Needs, PictureFormat, Stretch
from featurizers.video_types import Packets, Pictures


class Run(NamedTuple):
    """Frames [first_frame, first_frame + num_frames) of the grid."""

    first_frame: int
    num_frames: int


class AudioSource(NamedTuple):
    """Mono samples of which samples[0] has index `offset`, counted from the grid's origin. Silence is zero."""

    samples: Tensor
    offset: int = 0


class GlanceSource(NamedTuple):
    """Glance frames (T, G) of which frames[0] is frame `offset` of the grid, and the glance (G,) of silence."""

    frames: Tensor
    silence: Tensor
    offset: int = 0


class PacketSource(NamedTuple):
    """Packets of a video, those of every run with its context among them."""

    packets: Packets


@runtime_checkable
class PictureSource(Protocol):
    """Whatever gives pictures by time, a video or an array of pictures, and is asked in ascending order."""

    def pictures(self, times: Tensor, picture: PictureFormat) -> Pictures:
        """The picture nearest to each time (N,), ascending: the first and the last stand for what lies beyond them."""
        ...


Source = AudioSource | GlanceSource | PacketSource | PictureSource

SOURCES: dict[str, type] = {
    "audio": AudioSource,
    "glance": GlanceSource,
    "packets": PacketSource,
    "pictures": PictureSource,
}


class RunFeatures(NamedTuple):
    """What was computed.

    Args:
        features: (frames of all runs, size), run by run in the order given.
        num_featurized: how many frames the featurizer computed.
    """

    features: Tensor
    num_featurized: int


def context_frames(needs: Needs, grid: Grid) -> tuple[int, int]:
    """Whole grid frames of context that a featurizer needs to the left and to the right of a run."""
    return grid.num_frames(needs.left_seconds), grid.num_frames(needs.right_seconds)


def plan_runs(is_open: Tensor, *, bridge_frames: int = 0, block_frames: int = 1, first_frame: int = 0) -> list[Run]:
    """Contiguous runs that cover every open frame.

    Args:
        is_open: (T,) bool.
        bridge_frames: gaps of so many closed frames or fewer are computed too, because a run of its own costs more.
        block_frames: runs are widened to whole blocks of so many frames, anchored at frame zero of the grid.
        first_frame: index on the grid of is_open[0].

    Returns:
        Runs in time order, frames counted on the grid; with blocks they may reach beyond the frames of `is_open`.
    """
    if bridge_frames < 0 or block_frames < 1:
        raise ValueError(f"bridge_frames={bridge_frames} must be >= 0 and block_frames={block_frames} >= 1")
    opened = is_open.nonzero().flatten() + first_frame
    if not len(opened):
        return []
    begins = torch.div(opened, block_frames, rounding_mode="floor") * block_frames
    ends = begins + block_frames
    is_new = begins[1:] - ends[:-1] > bridge_frames
    firsts = torch.cat([begins[:1], begins[1:][is_new]])
    lasts = torch.cat([ends[:-1][is_new], ends[-1:]])
    return [Run(first, last - first) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]


def silence_frame(glance: Featurizer, grid: Grid) -> Tensor:
    """The glance (G,) of silence: what stands before the start and after the end of a recording.

    For a glance that reads packets: the glance of no packets; that reads pictures: of a grey picture that stands still.
    """
    needs = glance.needs
    if needs.reads == "packets":
        data = torch.zeros(1, 0, 3, dtype=torch.float64)
    elif needs.reads == "pictures":
        data = torch.full((1, num_elements(needs, grid, 1), *picture_shape(needs)), 128, dtype=torch.uint8)
    else:
        data = torch.zeros(1, num_elements(needs, grid, 1))
    times = torch.tensor([grid.origin_seconds - needs.left_seconds], dtype=torch.float64)
    return glance.evaluate(Stretch(data, times), torch.zeros(1, dtype=torch.int64), 1)[0, 0]


def picture_shape(needs: Needs) -> tuple[int, int, int]:
    """Channels, height and width of the pictures that a featurizer reads.

    Raises:
        ValueError: if it does not say.
    """
    if needs.picture is None:
        raise ValueError('needs.reads="pictures" needs their size as well; give needs.picture=PictureFormat(...)')
    return 3 if needs.picture.colour == "rgb" else 1, needs.picture.height, needs.picture.width


def evaluate_runs(
    featurizer: Featurizer, grid: Grid, runs: list[Run], source: Source, *, batch_frames: int = 1024
) -> RunFeatures:
    """Features of all frames of the runs.

    Runs of equal length are evaluated together; of packets and pictures one run at a time, in order of time.

    Args:
        featurizer: what to evaluate.
        grid: the model's frames.
        runs: from `plan_runs`.
        source: what the featurizer reads.
        batch_frames: runs of equal length are batched up to so many frames, which bounds the memory.

    Raises:
        ValueError: if the source is not what the featurizer reads.
    """
    wanted = SOURCES[featurizer.needs.reads]
    if not isinstance(source, wanted):
        raise ValueError(
            f"{type(featurizer).__name__} reads {featurizer.needs.reads!r}, but was given {type(source).__name__}; "
            f"give a {wanted.__name__}"
        )
    results: dict[int, Tensor] = {}
    for batch in _batches(runs, batch_frames, is_alone=featurizer.needs.reads in ("packets", "pictures")):
        num_frames = runs[batch[0]].num_frames
        first_frame = torch.tensor([runs[index].first_frame for index in batch], dtype=torch.int64)
        stretch = cut_stretch(featurizer.needs, grid, source, first_frame, num_frames)
        results.update(zip(batch, featurizer.evaluate(stretch, first_frame, num_frames), strict=True))
    if not results:
        return RunFeatures(torch.zeros(0, featurizer.size), 0)
    features = torch.cat([results[index] for index in range(len(runs))])
    return RunFeatures(features, len(features))


def _batches(runs: list[Run], batch_frames: int, *, is_alone: bool) -> Iterator[list[int]]:
    """Places in `runs` of those evaluated together."""
    if is_alone:
        yield from ([index] for index in sorted(range(len(runs)), key=lambda index: runs[index].first_frame))
        return
    by_length: dict[int, list[int]] = {}
    for index, run in enumerate(runs):
        by_length.setdefault(run.num_frames, []).append(index)
    for num_frames, members in by_length.items():
        num_runs = max(1, batch_frames // num_frames)
        yield from (members[at : at + num_runs] for at in range(0, len(members), num_runs))


def cut_stretch(needs: Needs, grid: Grid, source: Source, first_frame: Tensor, num_frames: int) -> Stretch:
    """What a featurizer reads for runs of equal length, context included.

    Where the source has nothing there is silence, or the first or last picture, or no packet. Of packets and pictures
    one run at a time.
    """
    if isinstance(source, PacketSource):
        return _cut_packets(needs, grid, source.packets, int(first_frame), num_frames)
    length = num_elements(needs, grid, num_frames)
    if isinstance(source, GlanceSource):
        begin = first_frame - context_frames(needs, grid)[0]
        rate_hz = 1 / grid.hop_seconds
        data, silence, offset = source.frames, source.silence, source.offset
    else:
        begin = first_frame * grid.elements_per_frame(needs.rate_hz) - round(needs.left_seconds * needs.rate_hz)
        rate_hz = needs.rate_hz
    times = grid.origin_seconds + begin.double() / rate_hz
    if isinstance(source, PictureSource):
        assert needs.picture is not None
        wanted = grid.origin_seconds + (int(begin) + torch.arange(length, dtype=torch.float64)) / rate_hz
        return Stretch(source.pictures(wanted, needs.picture).data[None], times)
    if isinstance(source, AudioSource):
        data, silence, offset = source.samples, source.samples.new_zeros(()), source.offset
    begin = begin - offset
    if len(begin) == 1 and begin[0] >= 0 and begin[0] + length <= len(data):
        return Stretch(data[int(begin[0]) : int(begin[0]) + length][None], times)
    index = begin[:, None] + torch.arange(length)
    is_inside = (index >= 0) & (index < len(data))
    if not len(data):
        return Stretch(silence.expand(*index.shape, *silence.shape).clone(), times)
    gathered = data[index.clamp(0, len(data) - 1)]
    gathered[~is_inside] = silence
    return Stretch(gathered, times)


def _cut_packets(needs: Needs, grid: Grid, packets: Packets, first_frame: int, num_frames: int) -> Stretch:
    begin = grid.onset_seconds(first_frame) - needs.left_seconds
    end = grid.onset_seconds(first_frame + num_frames) + needs.right_seconds
    is_inside = (packets.times >= begin) & (packets.times < end)
    data = torch.stack([packets.times, packets.sizes.double(), packets.is_key.double()], dim=1)[is_inside]
    return Stretch(data[None], torch.tensor([begin], dtype=torch.float64))


def num_elements(needs: Needs, grid: Grid, num_frames: int) -> int:
    """How many glance frames, samples or pictures of each of its runs a featurizer reads, context included."""
    if needs.reads == "glance":
        return num_frames + sum(context_frames(needs, grid))
    context = round(needs.left_seconds * needs.rate_hz) + round(needs.right_seconds * needs.rate_hz)
    return num_frames * grid.elements_per_frame(needs.rate_hz) + context
