"""The frame grid, and what a featurizer promises: raw media in, timed frames out, run by run.

One grid per model. Frame k covers the time [origin + k * hop, origin + k * hop + span). Every glance, switch,
featurizer, encoder and head of a model speaks of these frames and of no others.
"""

import math
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

Reads = Literal["audio", "glance", "packets", "pictures"]


class Grid(NamedTuple):
    """A regular grid of frames, in seconds of media time (the container's clock).

    Frame k covers the half-open time [origin + k * hop, origin + k * hop + span).
    """

    hop_seconds: float
    origin_seconds: float = 0.0
    span_seconds: float | None = None

    def onset_seconds(self, frame: int) -> float:
        """Time at which a frame begins."""
        return self.origin_seconds + frame * self.hop_seconds

    def num_frames(self, duration_seconds: float) -> int:
        """Frames that a recording of this duration fills, the last one perhaps partly (then padded with silence)."""
        return math.ceil(duration_seconds / self.hop_seconds - 1e-6)

    def elements_per_frame(self, rate_hz: float) -> int:
        """How many samples (or rows) of a stream at `rate_hz` one hop holds.

        Raises:
            ValueError: if the hop is not a whole number of elements.
        """
        elements = self.hop_seconds * rate_hz
        if abs(elements - round(elements)) > 1e-6 or round(elements) < 1:
            raise ValueError(
                f"hop_seconds={self.hop_seconds} holds {elements:g} elements at {rate_hz:g} Hz; the rule is a whole "
                f"number; choose a hop that is a multiple of {1 / rate_hz:g} s"
            )
        return round(elements)


class PictureFormat(NamedTuple):
    """Pictures as a featurizer reads them: scaled to this size whatever the video's own, without cutting anything off.

    Args:
        width, height: in pixels, of the picture as it is shown (rotation flags obeyed).
        colour: "rgb" (3 channels) or "gray" (1 channel: the luma).
    """

    width: int
    height: int
    colour: Literal["rgb", "gray"] = "rgb"


class Needs(NamedTuple):
    """What a featurizer reads, and how much context around a run of frames.

    Args:
        reads: "audio" (mono samples in [-1, 1]), "glance" (the glance's own frames, so that they are computed once),
            "packets" (what a video's container tells before anything is decoded), or "pictures" (decoded ones).
        rate_hz: sample rate of the audio, or pictures per second: picture j of the recording is the one whose time is
            nearest to origin + j / rate_hz. Ignored for "glance", whose frames are the grid's, and for "packets".
        left_seconds: context needed before the first frame of a run.
        right_seconds: context needed after the end of the last frame of a run.
        block_frames: 1 for anything that can be cut anywhere; otherwise frames are computed in windows of so many
            frames, anchored at frame zero, and opening one frame computes its whole window.
        picture: for "pictures": size and colour.
    """

    reads: Reads
    rate_hz: float = 0.0
    left_seconds: float = 0.0
    right_seconds: float = 0.0
    block_frames: int = 1
    picture: PictureFormat | None = None


class Stretch(NamedTuple):
    """What a featurizer reads for R runs of equal length, context included.

    Args:
        data: for "audio" (R, samples); for "glance" (R, frames, glance size). Before the start and after the end of the
            recording: silence (for "glance": the glance of silence). For "pictures" (R, pictures, channels, height,
            width) uint8; before the first and after the last picture: that picture. For "packets" (1, K, 3) float64,
            one run at a time: presentation time in seconds, bytes, and 1 for a key frame, else 0, in order of time;
            all K packets from `left_seconds` before the run to `right_seconds` after it, none where there is no video.
        times: (R,) float64, media time in seconds of the first element of each run's data; for "packets": of the
            beginning of the context.
    """

    data: Tensor
    times: Tensor


@runtime_checkable
class Featurizer(Protocol):
    """Raw media to frames on the grid. An ordinary class: no base class, no registration.

    The constructor's first argument is the model's `Grid`; the others come from the recipe's `init_args`.
    A glance is a featurizer that is cheap enough to run on every frame, and that reads "audio".
    """

    needs: Needs
    size: int  # numbers per frame

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        """Frames of R runs of equal length.

        Args:
            stretch: data of frames [first_frame - left, first_frame + num_frames + right) of each run, where left and
                right are `needs.left_seconds` and `needs.right_seconds` (for "glance": rounded up to whole frames).
            first_frame: (R,) int64, index on the grid of each run's first frame.
            num_frames: frames per run.

        Returns:
            (R, num_frames, size) float32. Any cut of a recording into runs gives the same frames.
        """
        ...
