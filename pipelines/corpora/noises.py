"""Sounds that are no speech: steady coloured noise, and a dozen kinds of unsteady ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.signal  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipelines.corpora.acoustics import RATE_HZ, Samples

UnsteadyNoise = Callable[[np.random.Generator, int], Samples]


def coloured_noise(generator: np.random.Generator, num_samples: int) -> Samples:
    """Steady noise of unit power whose spectrum falls off by a random slope and has one random resonance."""
    white = generator.standard_normal(num_samples, dtype=np.float32)
    tilt = generator.uniform(0.0, 0.97)
    sections = [
        [1.0, 0.0, 0.0, 1.0, -tilt, 0.0],
        _resonance(generator.uniform(150.0, 4000.0), generator.uniform(0.5, 2.0)),
    ]
    coloured = scipy.signal.sosfilt(np.array(sections), white)
    white_share = generator.uniform(0.02, 0.3)
    coloured = coloured / np.std(coloured) + white_share * white
    return _unit_power(coloured)


def bursts(generator: np.random.Generator, num_samples: int) -> Samples:
    """Short noises of 30 to 400 ms, two to six a second."""
    envelope = np.zeros(num_samples, dtype=np.float32)
    for place in _places(generator, num_samples, generator.uniform(2.0, 6.0)):
        length = int(generator.uniform(0.03, 0.4) * RATE_HZ)
        shape = np.hanning(length) ** generator.uniform(0.3, 1.5) * generator.uniform(0.3, 1.0)
        _add(envelope, place, shape)
    return _unit_power(coloured_noise(generator, num_samples) * envelope)


def clatter(generator: np.random.Generator, num_samples: int) -> Samples:
    """Knocks: impulses through two or three ringing resonances, as of dishes, keys, steps."""
    rate = generator.uniform(1.5, 14.0)
    impulses = np.zeros(num_samples, dtype=np.float32)
    for place in _places(generator, num_samples, rate):
        impulses[place] += generator.choice((-1.0, 1.0)) * generator.uniform(0.2, 1.0)
    sound = np.zeros(num_samples, dtype=np.float32)
    for _ in range(int(generator.integers(2, 4))):
        frequency = float(np.exp(generator.uniform(np.log(120.0), np.log(6500.0))))
        radius = 1.0 - 1.0 / (generator.uniform(0.004, 0.05) * RATE_HZ)
        poles = [1.0, -2.0 * radius * np.cos(2.0 * np.pi * frequency / RATE_HZ), radius**2]
        ringing = scipy.signal.sosfilt(np.array([[1.0, 0.0, -1.0, *poles]]), impulses)
        sound += (ringing * generator.uniform(0.3, 1.0) / max(float(np.std(ringing)), 1e-9)).astype(np.float32)
    return _unit_power(sound)


def engine(generator: np.random.Generator, num_samples: int) -> Samples:
    """Harmonics of a wandering low pitch with irregular loudness: motors, drills, hum."""
    pitch_hz = np.exp(generator.uniform(np.log(40.0), np.log(220.0)))
    phase = 2.0 * np.pi * np.cumsum(pitch_hz * (1.0 + 0.25 * _wander(generator, num_samples, 1.5))) / RATE_HZ
    # A pulse shape through a table sounds like all harmonics at once and costs one lookup.
    turns = np.arange(1024) / 1024.0
    table = np.zeros(1024)
    falloff = generator.uniform(0.4, 1.5)
    for harmonic in range(1, 25):
        table += np.sin(2.0 * np.pi * harmonic * (turns + generator.random())) * harmonic**-falloff
    sound = table[((phase / (2.0 * np.pi)) % 1.0 * 1024.0).astype(np.int64)]
    return _unit_power(sound * (1.0 + 0.6 * _wander(generator, num_samples, 6.0)))


def wind(generator: np.random.Generator, num_samples: int) -> Samples:
    """Coloured noise whose loudness comes and goes within a second or so."""
    gusts = 10.0 ** (0.6 * _wander(generator, num_samples, generator.uniform(0.5, 3.0)))
    return _unit_power(coloured_noise(generator, num_samples) * gusts)


def hiss(generator: np.random.Generator, num_samples: int) -> Samples:
    """High-pass noise in puffs: steam, spray, cloth."""
    white = generator.standard_normal(num_samples, dtype=np.float32)
    corner_hz = generator.uniform(1500.0, 4500.0)
    sections = scipy.signal.butter(2, corner_hz, "highpass", output="sos", fs=RATE_HZ)
    puffs = 10.0 ** (0.9 * _wander(generator, num_samples, generator.uniform(2.0, 8.0)))
    return _unit_power(scipy.signal.sosfilt(sections, white) * puffs)


def beeps(generator: np.random.Generator, num_samples: int) -> Samples:
    """Tones of 50 to 400 ms, repeated: alarms, microwaves, telephones."""
    envelope = np.zeros(num_samples, dtype=np.float32)
    length = int(generator.uniform(0.05, 0.4) * RATE_HZ)
    step = int(length * generator.uniform(1.3, 4.0))
    shape = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / 80.0)
    for place in range(0, num_samples, step):
        _add(envelope, place, shape)
    frequency = np.exp(generator.uniform(np.log(300.0), np.log(4000.0)))
    time = np.arange(num_samples) / RATE_HZ
    sound = np.sin(2.0 * np.pi * frequency * time) + generator.uniform(0.0, 0.7) * np.sin(
        6.0 * np.pi * frequency * time
    )
    return _unit_power(sound * envelope)


def chirps(generator: np.random.Generator, num_samples: int) -> Samples:
    """Gliding tones of 30 to 250 ms, as of birds and squeaking hinges."""
    sound = np.zeros(num_samples, dtype=np.float32)
    for place in _places(generator, num_samples, generator.uniform(2.0, 8.0)):
        length = int(generator.uniform(0.03, 0.25) * RATE_HZ)
        start_hz, end_hz = np.exp(generator.uniform(np.log(800.0), np.log(6500.0), size=2))
        phase = 2.0 * np.pi * np.cumsum(np.linspace(start_hz, end_hz, length)) / RATE_HZ
        _add(sound, place, np.sin(phase) * np.hanning(length) * generator.uniform(0.3, 1.0))
    return _unit_power(sound)


def music(generator: np.random.Generator, num_samples: int) -> Samples:
    """Plucked or held notes of a random scale, one to three at once."""
    sound = np.zeros(num_samples, dtype=np.float32)
    root_hz = generator.uniform(110.0, 330.0)
    scale = np.array([0, 2, 3, 5, 7, 8, 10, 12]) if generator.random() < 0.5 else np.array([0, 2, 4, 5, 7, 9, 11, 12])
    falloff = generator.uniform(0.8, 2.0)
    beat = int(generator.uniform(0.12, 0.5) * RATE_HZ)
    for place in range(0, num_samples, beat):
        for _ in range(int(generator.integers(1, 4))):
            length = min(int(beat * generator.uniform(0.8, 2.5)), num_samples - place)
            frequency = root_hz * 2.0 ** (generator.choice(scale) / 12.0) * generator.choice((1.0, 2.0))
            time = np.arange(length) / RATE_HZ
            note = sum(np.sin(2.0 * np.pi * k * frequency * time) * k**-falloff for k in range(1, 6))
            _add(sound, place, note * np.exp(-time * generator.uniform(1.0, 8.0)))
    return _unit_power(sound)


UNSTEADY: dict[str, UnsteadyNoise] = {
    "bursts": bursts,
    "clatter": clatter,
    "engine": engine,
    "wind": wind,
    "hiss": hiss,
    "beeps": beeps,
    "chirps": chirps,
    "music": music,
}


def _resonance(frequency_hz: float, quality: float) -> list[float]:
    numerator, denominator = scipy.signal.iirpeak(frequency_hz, quality, fs=RATE_HZ)
    return [*(numerator + 0.3 * denominator), *denominator]


def _places(generator: np.random.Generator, num_samples: int, per_second: float) -> list[int]:
    """Irregular moments, the first one early so that the noise is never empty."""
    gaps = 0.2 / per_second + generator.exponential(
        0.8 / per_second, size=int(num_samples / RATE_HZ * per_second * 2) + 2
    )
    places = np.cumsum(gaps) - gaps[0]
    return [int(place * RATE_HZ) for place in places if place * RATE_HZ < num_samples]


def _wander(generator: np.random.Generator, num_samples: int, per_second: float) -> Samples:
    """A smooth random curve within [-1, 1] that changes direction about `per_second` times a second."""
    num_points = int(num_samples / RATE_HZ * per_second) + 3
    points = generator.uniform(-1.0, 1.0, size=num_points)
    return np.interp(np.linspace(0.0, num_points - 1.0, num_samples), np.arange(num_points), points).astype(np.float32)


def _add(track: Samples, place: int, sound: NDArray[np.floating[Any]]) -> None:
    stop = min(place + len(sound), len(track))
    track[place:stop] += sound[: stop - place]


def _unit_power(sound: NDArray[np.floating[Any]]) -> Samples:
    return np.asarray(sound / max(float(np.sqrt(np.mean(np.square(sound)))), 1e-9), dtype=np.float32)
