"""Building blocks of computed sounds: curves, harmonics, pulses, ringing modes, formants."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.signal  # type: ignore[import-untyped]
from numpy.typing import ArrayLike, NDArray

from pipelines.corpora.acoustics import RATE_HZ, Samples

HIGHEST_HZ = 7700.0  # partials above are left out: they would fold back at half the sample rate
TABLE_SIZE = 2048


def log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is evenly spread: frequencies, lengths."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def num_samples_of(seconds: float) -> int:
    """Seconds as samples, at least one."""
    return max(1, round(seconds * RATE_HZ))


def seconds_axis(num_samples: int) -> NDArray[np.float64]:
    """The time of every sample, from 0."""
    return np.arange(num_samples) / RATE_HZ


def curve(generator: np.random.Generator, num_samples: int, per_second: float, low: float, high: float) -> Samples:
    """A random curve within [low, high] that changes direction about `per_second` times a second."""
    num_points = int(num_samples / RATE_HZ * per_second) + 3
    points = generator.uniform(low, high, size=num_points)
    return path(num_samples, points)


def path(num_samples: int, points: Sequence[float] | NDArray[Any]) -> Samples:
    """A line through points evenly spread from the first sample to the last."""
    if num_samples == 1:
        return np.array(points[:1], dtype=np.float32)
    corners = np.asarray(points, dtype=np.float32)
    places = np.arange(num_samples) * ((len(corners) - 1.0) / (num_samples - 1.0))
    before = np.minimum(places.astype(np.int64), len(corners) - 2)
    return corners[before] + (places - before).astype(np.float32) * np.diff(corners)[before]


def fade(sound: NDArray[Any], attack_seconds: float, release_seconds: float) -> Samples:
    """The sound, its ends brought to zero by half a cosine each."""
    shaped = np.array(sound, dtype=np.float32)
    for seconds, end in ((attack_seconds, shaped), (release_seconds, shaped[::-1])):
        length = min(num_samples_of(seconds), len(shaped))
        end[:length] *= 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
    return shaped


def add_at(track: Samples, place: int, sound: NDArray[Any]) -> None:
    """Add a sound from a sample on; what goes past the end is left out."""
    stop = min(place + len(sound), len(track))
    if place < stop:
        track[place:stop] += sound[: stop - place]


def harmonics(pitch_hz: ArrayLike, weights: ArrayLike, num_samples: int) -> Samples:
    """A tone of partials 1, 2, 3... times a pitch that may change from sample to sample."""
    frequency = np.broadcast_to(np.asarray(pitch_hz, dtype=np.float64), num_samples)
    loudness = np.asarray(weights, dtype=np.float64)
    loudness = loudness[: max(1, int(HIGHEST_HZ / float(frequency.max())))]
    spectrum = np.zeros(TABLE_SIZE // 2 + 1, dtype=np.complex128)
    numbers = np.arange(1, len(loudness) + 1)
    # Phases as of a swept pulse: no sample of the table towers over the others.
    spectrum[1 : len(loudness) + 1] = loudness * np.exp(-1j * np.pi * numbers**2 / len(numbers))
    table = np.fft.irfft(spectrum, TABLE_SIZE) * TABLE_SIZE / 2.0
    turns = np.cumsum(frequency) / RATE_HZ
    return np.asarray(table[(turns % 1.0 * TABLE_SIZE).astype(np.int64)], dtype=np.float32)


def pulses(pitch_hz: Samples, *, closing: float = 0.4) -> Samples:
    """Glottal-like pulses, one per period of a changing pitch: rounded opening, sharp closing.

    Args:
        closing: share of the period that a pulse lasts; smaller sounds brighter.
    """
    turn = np.cumsum(pitch_hz, dtype=np.float64) / RATE_HZ % 1.0
    flow = np.where(turn < closing, np.sin(np.pi * turn / closing) ** 2 * turn / closing, 0.0)
    return np.diff(flow, prepend=0.0).astype(np.float32)


def ring(force: Samples, frequencies_hz: NDArray[Any], decay_seconds: NDArray[Any], gains: NDArray[Any]) -> Samples:
    """What a struck body sounds like: modes, each a two-pole resonator driven by the same force.

    Args:
        decay_seconds: time in which a mode falls by 60 dB.
    Source: modal synthesis, as in K. van den Doel and D. Pai, The sounds of physical shapes (1998).
    """
    sound = np.zeros(len(force), dtype=np.float32)
    for frequency, decay, gain in zip(frequencies_hz, decay_seconds, gains, strict=True):
        if frequency >= HIGHEST_HZ:
            continue
        radius = 10.0 ** (-3.0 / (decay * RATE_HZ))
        angle = 2.0 * np.pi * frequency / RATE_HZ
        poles = np.array([1.0, -2.0 * radius * np.cos(angle), radius**2])
        sound += scipy.signal.lfilter(np.array([0.0, gain * np.sin(angle)]), poles, force).astype(np.float32)
    return sound


def blow(strength: float, contact_seconds: float) -> Samples:
    """The force of one blow: half a sine as long as the two bodies touch; longer is duller."""
    length = max(2, num_samples_of(contact_seconds))
    shape = np.sin(np.pi * (np.arange(length) + 0.5) / length)
    return np.asarray(strength * shape / shape.sum(), dtype=np.float32)


def formants(source: Samples, bands: Iterable[tuple[float, float, float]]) -> Samples:
    """A source through resonances side by side, each (centre in Hz, width in Hz, gain)."""
    sound = np.zeros(len(source), dtype=np.float32)
    for centre, width, gain in bands:
        if centre >= HIGHEST_HZ:
            continue
        radius = np.exp(-np.pi * width / RATE_HZ)
        poles = np.array([1.0, -2.0 * radius * np.cos(2.0 * np.pi * centre / RATE_HZ), radius**2])
        part = scipy.signal.lfilter(np.array([1.0 - radius, 0.0, radius - 1.0]), poles, source)
        sound += (gain * part).astype(np.float32)
    return sound


def noise(generator: np.random.Generator, num_samples: int, low_hz: float = 0.0, high_hz: float = 8000.0) -> Samples:
    """Gaussian noise between two frequencies, 12 dB per octave beyond."""
    sound = generator.standard_normal(num_samples, dtype=np.float32)
    if low_hz > 0.0:
        sound = _butterworth(sound, low_hz, np.array([1.0, -2.0, 1.0]))
    if high_hz < HIGHEST_HZ:
        bend = np.tan(np.pi * high_hz / RATE_HZ)
        sound = _butterworth(sound, high_hz, np.array([1.0, 2.0, 1.0]) * bend**2)
    return sound


def _butterworth(sound: Samples, corner_hz: float, numerator: NDArray[np.float64]) -> Samples:
    """Second-order Butterworth, its poles by the bilinear transform; scipy's design costs more than the filtering."""
    bend = np.tan(np.pi * corner_hz / RATE_HZ)
    poles = np.array([1.0 + np.sqrt(2.0) * bend + bend**2, 2.0 * (bend**2 - 1.0), 1.0 - np.sqrt(2.0) * bend + bend**2])
    return np.asarray(scipy.signal.lfilter(numerator, poles, sound), dtype=np.float32)


def mean_square(sound: NDArray[Any]) -> float:
    """Mean power; a sum that does not depend on how many threads a linear algebra library has."""
    return float(np.mean(np.square(sound)))


def unit_power(sound: NDArray[Any]) -> Samples:
    """The sound scaled to a mean square of 1."""
    return np.asarray(sound / max(float(np.sqrt(mean_square(sound))), 1e-9), dtype=np.float32)
