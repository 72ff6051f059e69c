"""check_featurizer catches each broken promise, and says which it was."""

import pytest
import torch
from torch import Tensor

from featurizers.grid import Featurizer, Grid, Needs, PictureFormat, Stretch
from featurizers.testing import FeaturizerError, check_featurizer

GRID = Grid(0.08)
FRAME = 640  # samples at 8 kHz


class Energy:
    """Power of each frame and of the one before it: a featurizer that keeps every promise."""

    def __init__(self, left_seconds: float = 0.08, right_seconds: float = 0.0) -> None:
        self.needs = Needs("audio", 8_000, left_seconds, right_seconds)
        self.size = 2

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        power = stretch.data.square().unfold(1, FRAME, FRAME).mean(dim=2)
        return torch.stack([power[:, :-1], power[:, 1:]], dim=2)[:, :num_frames]


class Normalised(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        features = super().evaluate(stretch, first_frame, num_frames)
        return features / features.amax(dim=1, keepdim=True)


class NormalisedOverTheBatch(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        return super().evaluate(stretch, first_frame, num_frames) * (1.0 + len(first_frame))


class PaddedLeft(Energy):
    """Fetches no context and pads its own: frames at the start of a run are wrong."""

    def __init__(self) -> None:
        super().__init__(left_seconds=0.0)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        padded = torch.nn.functional.pad(stretch.data, (FRAME, 0))
        return super().evaluate(Stretch(padded, stretch.times), first_frame, num_frames)


class PaddedRight(Energy):
    def __init__(self) -> None:
        super().__init__(left_seconds=0.0)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        padded = torch.nn.functional.pad(stretch.data, (0, FRAME))
        return super().evaluate(Stretch(padded, stretch.times), first_frame, num_frames)


class Doubles(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        return super().evaluate(stretch, first_frame, num_frames).double()


class OneFrameShort(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        return super().evaluate(stretch, first_frame, num_frames)[:, :-1]


class WrongSize(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        return super().evaluate(stretch, first_frame, num_frames)[..., :1]


class LogWithoutFloor(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        features = super().evaluate(stretch, first_frame, num_frames)
        return torch.where(stretch.data.any(), features, features.log())


class Overwrites(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        stretch.data.mul_(0.5)
        return super().evaluate(stretch, first_frame, num_frames)


class Random(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        features = super().evaluate(stretch, first_frame, num_frames)
        return features + torch.randn_like(features)


class ReadsTheClock(Energy):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        hours = (stretch.times / 3600).round().float()
        return super().evaluate(stretch, first_frame, num_frames) + hours[:, None, None]


class Windows(Energy):
    """Normalises over windows of four frames, and says so, or does not."""

    def __init__(self, block_frames: int) -> None:
        self.needs = Needs("audio", 8_000, block_frames=block_frames)
        self.size = 1

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        power = stretch.data.square().unfold(1, FRAME, FRAME).mean(dim=2)[:, :num_frames]
        window = min(4, num_frames)
        whole = num_frames // window * window
        windows = power[:, :whole].unflatten(1, (-1, window))
        normed = (windows / (windows.sum(dim=2, keepdim=True) + 1e-9)).flatten(1)
        return torch.cat([normed, power[:, whole:]], dim=1)[..., None]


def test_an_honest_featurizer_passes() -> None:
    check_featurizer(Energy(), GRID)
    check_featurizer(Energy(left_seconds=0.08, right_seconds=0.1), GRID, seconds=3.0, seed=1)
    check_featurizer(Windows(block_frames=4), GRID)


@pytest.mark.parametrize(
    ("featurizer", "promise"),
    [
        (Normalised(), "do not normalise"),
        (NormalisedOverTheBatch(), "other frames than in one pass|batch"),
        (PaddedLeft(), "raise left_seconds from 0 s"),
        (PaddedRight(), "raise right_seconds from 0 s"),
        (Doubles(), r"torch\.float64; they must be torch\.float32"),
        (OneFrameShort(), r"shape \(1, 74, 2\)"),
        (WrongSize(), r"shape \(1, 75, 1\)"),
        (LogWithoutFloor(), "silence are not finite"),
        (Overwrites(), "changes its input"),
        (Random(), "different features"),
        (ReadsTheClock(), "clock"),
        (Windows(block_frames=1), "_seconds from 0 s|other frames than in one pass"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Energy) else "",
)
def test_a_broken_promise_is_named(featurizer: Featurizer, promise: str) -> None:
    with pytest.raises(FeaturizerError, match=promise):
        check_featurizer(featurizer, GRID)


def test_what_it_cannot_check_it_says() -> None:
    with pytest.raises(ValueError, match="at least 3 are needed"):
        check_featurizer(Energy(), GRID, seconds=0.16)
    reads_glance = Energy()
    reads_glance.needs = Needs("glance")
    with pytest.raises(ValueError, match="give glance"):
        check_featurizer(reads_glance, GRID)


class PacketBytes:
    """Bytes of each frame and of the one before it; half a frame of context is for times at a frame's edge."""

    size = 2

    def __init__(self, left_seconds: float = 0.12) -> None:
        self.needs = Needs("packets", left_seconds=left_seconds)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        times, sizes = stretch.data[0, :, 0], stretch.data[0, :, 1]
        begin = stretch.times[0] + self.needs.left_seconds - 0.08
        place = ((times - begin) / 0.08 + 1e-6).floor().long()
        total = torch.zeros(num_frames + 1, dtype=torch.float64)
        is_known = (place >= 0) & (place <= num_frames)
        total = total.index_add(0, place[is_known], sizes[is_known]).clamp_min(1).log()
        return torch.stack([total[:-1], total[1:]], dim=1).float()[None]


class PacketBytesOfTheRun(PacketBytes):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        features = super().evaluate(stretch, first_frame, num_frames)
        return features - stretch.data[0, :, 1].median().clamp_min(1).log().nan_to_num(0.0).float()


class PacketClock(PacketBytes):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        return super().evaluate(stretch, first_frame, num_frames) + (stretch.times[0] / 3600).round().float()


class Brightness:
    """Of each frame's picture and of its change; with a weight that is trained."""

    size = 2

    def __init__(self, left_seconds: float = 0.08) -> None:
        self.needs = Needs("pictures", 12.5, left_seconds=left_seconds, picture=PictureFormat(8, 6, "rgb"))
        self.weight = torch.ones(1, requires_grad=True)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        means = stretch.data.float().mean(dim=(2, 3, 4)) * self.weight
        means = torch.cat([means[:, :1]] * (num_frames + 1 - means.shape[1]) + [means], dim=1)
        return torch.stack([means[:, 1:], means.diff(dim=1)], dim=2)


class BrightnessOfTheRun(Brightness):
    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        features = super().evaluate(stretch, first_frame, num_frames)
        return features - features.mean(dim=1, keepdim=True)


def test_an_honest_featurizer_of_packets_or_pictures_passes() -> None:
    check_featurizer(PacketBytes(), GRID)
    check_featurizer(Brightness(), GRID)


@pytest.mark.parametrize(
    ("featurizer", "promise"),
    [
        (PacketBytes(left_seconds=0.0), "raise left_seconds from 0 s"),
        (PacketBytesOfTheRun(), "do not normalise|other frames"),
        (PacketClock(), "clock"),
        (Brightness(left_seconds=0.0), "raise left_seconds from 0 s"),
        (BrightnessOfTheRun(), "do not normalise"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_promise_of_packets_or_pictures_is_named(featurizer: Featurizer, promise: str) -> None:
    with pytest.raises(FeaturizerError, match=promise):
        check_featurizer(featurizer, GRID)
