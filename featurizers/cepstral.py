"""Other views of the log-mel: cepstral coefficients, and energies normalised channel by channel."""

import math

import torch
import torchaudio  # type: ignore[import-untyped]
from torch import Tensor, nn

from featurizers.audio import LogMel
from featurizers.grid import Grid, Stretch

LOWEST_DB = -200.0  # below any sound and any rounding, and still a normal float32 number


class Mfcc:
    """Mel-frequency cepstral coefficients, several rows stacked into one frame of the grid.

    The orthonormal type-2 cosine transform of the mel bands in decibels, as librosa and torchaudio define it: 0 dB is a
    power of 1 for audio whose full scale is 1. Unlike theirs, the floor is absolute and not some decibels below the
    loudest moment, so that a row depends on its own samples alone. Coefficient 0 is the mean level, in the hundreds;
    the line normalises it.

    Args:
        grid: the model's frames.
        num_coefficients: kept per row, the first ones.
        num_mels: bands.
        hop_seconds: from row to row; the grid's hop is a whole number of rows.
        window_seconds: length of the Hann window, in the middle of the transform.
        transform_samples: length of the Fourier transform.
        min_hz: lower edge of the lowest band.
        max_hz: upper edge of the highest band.
        floor_db: power below this counts as this.
        rate_hz: sample rate.

    Raises:
        ValueError: if there are more coefficients than bands, or hops, window, bands and rate do not fit together.
    Source: Davis and Mermelstein, Comparison of parametric representations for monosyllabic word recognition, IEEE
        Trans. ASSP 28(4), 1980.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        num_coefficients: int = 20,
        num_mels: int = 40,
        hop_seconds: float = 0.01,
        window_seconds: float = 0.025,
        transform_samples: int = 512,
        min_hz: float = 20.0,
        max_hz: float = 7600.0,
        floor_db: float = -80.0,
        rate_hz: int = 16_000,
    ) -> None:
        if not 1 <= num_coefficients <= num_mels:
            raise ValueError(f"num_coefficients={num_coefficients} must be 1 to num_mels={num_mels}; raise num_mels")
        self._mel = LogMel(
            grid,
            num_mels=num_mels,
            hop_seconds=hop_seconds,
            window_seconds=window_seconds,
            transform_samples=transform_samples,
            min_hz=min_hz,
            max_hz=max_hz,
            floor_db=floor_db,
            rate_hz=rate_hz,
        )
        self.num_coefficients = num_coefficients
        self.size = self._mel.rows_per_frame * num_coefficients
        self.needs = self._mel.needs
        self._cosines: Tensor = torchaudio.functional.create_dct(num_coefficients, num_mels, "ortho")

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        """(R, samples) to (R, num_frames, rows per frame * num_coefficients)."""
        rows = self._mel.mel_rows(self._mel.evaluate(stretch, first_frame, num_frames))
        decibels = (rows - 2.0) * 10.0
        coefficients: Tensor = decibels @ self._cosines.to(rows.device)
        return coefficients.reshape(len(rows), num_frames, self.size)


class Pcen:
    """Per-channel energy normalisation: each mel band by its own recent level, then compressed; takes off steady noise.

    With E the power in a band and M its smoothed past, a number is (E / (eps + M)^gain + bias)^power - bias^power, and
    M[t] = s E[t] + (1 - s) M[t - 1]. That smoother never quite forgets, while frames may not depend on where a run
    begins; so it is cut off after K rows, when what came before would weigh q = (1 - s)^K <= `forgotten`. Exactly:
    M here is M[t] - q M[t - K] of the endless one that starts at 0 before the recording (and the two are equal in the
    first K rows), so with one level throughout M is low by the share q, and the number high by at most gain * q.
    With the defaults K is 2.8 s of context before a run, spectra only.

    Args:
        grid: the model's frames.
        num_mels: bands.
        hop_seconds: from row to row; the grid's hop is a whole number of rows.
        window_seconds: length of the Hann window, in the middle of the transform.
        transform_samples: length of the Fourier transform.
        min_hz: lower edge of the lowest band.
        max_hz: upper edge of the highest band.
        gain: how much of the level is taken off; 0: nothing, 1: all of it.
        bias: what is added before the compression, and taken off after it.
        power: of the compression.
        time_constant_seconds: of the smoother.
        eps: added to the level, against division by silence.
        full_scale: what amplitude 1 counts as; 32768: eps and bias are those of 16-bit samples.
        forgotten: weight that the smoother's past beyond its memory may have; smaller costs longer context.
        rate_hz: sample rate.

    Raises:
        ValueError: if a parameter is out of range, or hops, window, bands and rate do not fit together.
    Source: Wang et al., Trainable frontend for robust and far-field keyword spotting, ICASSP 2017. The smoother's s by
        its time constant is librosa.pcen's.
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
        gain: float = 0.98,
        bias: float = 2.0,
        power: float = 0.5,
        time_constant_seconds: float = 0.4,
        eps: float = 1e-6,
        full_scale: float = 32768.0,
        forgotten: float = 1e-3,
        rate_hz: int = 16_000,
    ) -> None:
        above_zero = {"bias": bias, "power": power, "eps": eps, "full_scale": full_scale}
        above_zero["time_constant_seconds"] = time_constant_seconds
        for name, value in above_zero.items():
            if not value > 0:
                raise ValueError(f"{name}={value} must be above 0")
        if not 0 <= gain <= 1:
            raise ValueError(f"gain={gain} must be from 0 to 1; 1 takes all of the level off")
        if not 1e-9 <= forgotten < 1:
            raise ValueError(f"forgotten={forgotten} must be from 1e-9 to below 1; 1e-3 is usual")
        self._mel = LogMel(
            grid,
            num_mels=num_mels,
            hop_seconds=hop_seconds,
            window_seconds=window_seconds,
            transform_samples=transform_samples,
            min_hz=min_hz,
            max_hz=max_hz,
            floor_db=LOWEST_DB,
            rate_hz=rate_hz,
        )
        self.size, self.rows_per_frame, self.num_mels = self._mel.size, self._mel.rows_per_frame, num_mels
        self.smoothing = smoothing_of(time_constant_seconds / hop_seconds)
        num_rows = math.log(forgotten) / math.log1p(-self.smoothing)
        self._context_frames = math.ceil((num_rows - 1) / self.rows_per_frame)
        self.memory_rows = self._context_frames * self.rows_per_frame + 1
        self.needs = self._mel.needs._replace(left_seconds=self._context_frames * grid.hop_seconds)
        past = torch.arange(self.memory_rows - 1, -1, -1, dtype=torch.float64)
        self._taps = (self.smoothing * (1 - self.smoothing) ** past).float()
        self._gain, self._bias, self._power, self._eps = gain, bias, power, eps
        self._scale = full_scale**2

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        """(R, samples) to (R, num_frames, rows per frame * num_mels)."""
        num_all = self._context_frames + num_frames
        rows = self._mel.mel_rows(self._mel.evaluate(stretch, first_frame - self._context_frames, num_all))
        energy = 10.0 ** (rows - 2.0) * self._scale  # (R, rows, num_mels)
        bands = energy.transpose(1, 2).reshape(-1, 1, energy.shape[1])
        level = nn.functional.conv1d(bands, self._taps.to(bands)[None, None])
        level = level.reshape(len(energy), self.num_mels, -1).transpose(1, 2)
        ratio = energy[:, self.memory_rows - 1 :] * (level + self._eps) ** -self._gain
        # x^p - b^p through log1p and expm1: the difference of two near numbers would lose its digits
        compressed: Tensor = self._bias**self._power * torch.expm1(self._power * torch.log1p(ratio / self._bias))
        return compressed.reshape(len(energy), num_frames, self.size)


def smoothing_of(time_constant_rows: float) -> float:
    """Weight s of the newest row in a first-order smoother whose response is half as wide as its time constant asks.

    Source: librosa.pcen: s solves (s T)^2 + s = 1.
    """
    squared = time_constant_rows**2
    return (math.sqrt(1 + 4 * squared) - 1) / (2 * squared)
