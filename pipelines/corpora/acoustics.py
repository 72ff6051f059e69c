"""Rooms, microphones and levels: what happens to a voice between mouth and file, as impulse responses and filters."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft  # type: ignore[import-untyped]
import scipy.signal  # type: ignore[import-untyped]
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE_HZ = 16000
LEVEL_FRAME_SAMPLES = 160
SPEECH_RANGE_DB = 35.0


class Limits(NamedTuple):
    """Where a sound is, in samples, half-open."""

    onset: int
    offset: int


def sound_limits(samples: Samples, range_db: float = SPEECH_RANGE_DB) -> Limits:
    """First and last 10 ms frame within `range_db` of the loudest one, as sample positions.

    Raises:
        ValueError: if the samples are silent.
    """
    power = frame_power(samples)
    if power.size == 0 or power.max() <= 0.0:
        raise ValueError(f"{len(samples)} samples are silent: there is nothing to find limits of")
    loud = np.flatnonzero(power >= power.max() * 10.0 ** (-range_db / 10.0))
    return Limits(int(loud[0]) * LEVEL_FRAME_SAMPLES, min((int(loud[-1]) + 1) * LEVEL_FRAME_SAMPLES, len(samples)))


def frame_power(samples: Samples) -> NDArray[np.float64]:
    """Mean square of every 10 ms frame; the last one may be short."""
    if len(samples) == 0:
        return np.zeros(0)
    starts = np.arange(0, len(samples), LEVEL_FRAME_SAMPLES)
    lengths = np.minimum(LEVEL_FRAME_SAMPLES, len(samples) - starts)
    sums: NDArray[np.float64] = np.add.reduceat(samples.astype(np.float64) ** 2, starts)
    return sums / lengths


def mean_power(samples: Samples) -> float:
    """Mean square."""
    return float(np.vdot(samples, samples)) / max(len(samples), 1)


def room_response(generator: np.random.Generator) -> Samples:
    """Impulse response of a synthetic room: direct sound, a few early reflections, noise that decays by 60 dB in rt60.

    rt60 is drawn from 0.1 to 0.8 s, the direct-to-reverberant ratio from -2 to 15 dB. The direct sound comes first,
    with value 1: a room never moves an onset.
    """
    rt60_seconds = float(np.exp(generator.uniform(np.log(0.1), np.log(0.8))))
    num_samples = int(0.75 * rt60_seconds * RATE_HZ)  # down to -45 dB
    decay = 10.0 ** (-3.0 * np.arange(num_samples) / (rt60_seconds * RATE_HZ))
    tail = generator.standard_normal(num_samples) * decay
    first_reflection = int(generator.uniform(0.002, 0.012) * RATE_HZ)
    tail[:first_reflection] = 0.0
    for _ in range(int(generator.integers(2, 7))):
        place = first_reflection + int(generator.exponential(0.012) * RATE_HZ)
        if place < num_samples:
            tail[place] += generator.choice((-1.0, 1.0)) * generator.uniform(2.0, 6.0) * decay[place]
    ratio_db = generator.uniform(-2.0, 15.0)
    tail *= 10.0 ** (-ratio_db / 20.0) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    tail[0] = 1.0
    return tail.astype(np.float32)


def equaliser(generator: np.random.Generator, strength_db: float = 8.0) -> NDArray[np.float64]:
    """Second-order sections of one low shelf, one high shelf and one peak with random gains up to +-`strength_db`.

    Source: the cookbook formulae for audio equalizer biquads (R. Bristow-Johnson).
    """
    low_hz, high_hz = generator.uniform(80.0, 500.0), generator.uniform(1800.0, 6000.0)
    peak_hz = float(np.exp(generator.uniform(np.log(300.0), np.log(5000.0))))
    gains_db = generator.uniform(-strength_db, strength_db, size=3)
    return np.stack([_shelf(low_hz, gains_db[0], -1.0), _shelf(high_hz, gains_db[1], 1.0), _peak(peak_hz, gains_db[2])])


def _shelf(corner_hz: float, gain_db: float, side: float) -> NDArray[np.float64]:
    """A shelf below (side -1) or above (side +1) the corner, slope 1."""
    amplitude = 10.0 ** (gain_db / 40.0)
    angle = 2.0 * np.pi * corner_hz / RATE_HZ
    cosine, alpha = np.cos(angle) * side, np.sin(angle) / np.sqrt(2.0)
    root = 2.0 * np.sqrt(amplitude) * alpha
    numerator = (
        amplitude * ((amplitude + 1) + (amplitude - 1) * cosine + root),
        -2.0 * side * amplitude * ((amplitude - 1) + (amplitude + 1) * cosine),
        amplitude * ((amplitude + 1) + (amplitude - 1) * cosine - root),
    )
    denominator = (
        (amplitude + 1) - (amplitude - 1) * cosine + root,
        2.0 * side * ((amplitude - 1) - (amplitude + 1) * cosine),
        (amplitude + 1) - (amplitude - 1) * cosine - root,
    )
    return np.asarray([*numerator, *denominator], dtype=np.float64) / float(denominator[0])


def _peak(centre_hz: float, gain_db: float, quality: float = 1.0) -> NDArray[np.float64]:
    amplitude = 10.0 ** (gain_db / 40.0)
    angle = 2.0 * np.pi * centre_hz / RATE_HZ
    alpha = np.sin(angle) / (2.0 * quality)
    numerator = (1.0 + alpha * amplitude, -2.0 * np.cos(angle), 1.0 - alpha * amplitude)
    denominator = (1.0 + alpha / amplitude, -2.0 * np.cos(angle), 1.0 - alpha / amplitude)
    return np.asarray([*numerator, *denominator], dtype=np.float64) / float(denominator[0])


def telephone_band(generator: np.random.Generator) -> NDArray[np.float64]:
    """Second-order sections that leave what 8 kHz sampling leaves: below 3.4 to 3.9 kHz, half the time above 300 Hz."""
    low_pass = scipy.signal.ellip(8, 0.2, 50.0, generator.uniform(3400.0, 3900.0), "lowpass", output="sos", fs=RATE_HZ)
    if generator.random() < 0.5:
        high_pass = scipy.signal.butter(2, 300.0, "highpass", output="sos", fs=RATE_HZ)
        low_pass = np.concatenate([low_pass, high_pass])
    return np.asarray(low_pass)


def apply_filter(sections: NDArray[np.float64], samples: Samples) -> Samples:
    """Samples after a row of second-order sections."""
    return np.asarray(scipy.signal.sosfilt(sections, samples), dtype=np.float32)


def chain(response: Samples, sections: Sequence[NDArray[np.float64]]) -> Samples:
    """One impulse response for a room followed by filters."""
    if not sections:
        return response
    padded = np.concatenate([response, np.zeros(512, dtype=np.float32)])  # the filters ring on after the room
    return apply_filter(np.concatenate(sections), padded)


def convolve(samples: Samples, response: Samples) -> Samples:
    """Samples through an impulse response; longer by its length less one."""
    num_samples = len(samples) + len(response) - 1
    size = scipy.fft.next_fast_len(num_samples, real=True)
    spectrum = scipy.fft.rfft(samples, size) * scipy.fft.rfft(response, size)
    return np.asarray(scipy.fft.irfft(spectrum, size)[:num_samples], dtype=np.float32)
