"""What goes on behind the events: a steady bed for a whole stream, and unsteady noises that are no events."""

from collections.abc import Callable

import numpy as np
import scipy.signal  # type: ignore[import-untyped]

from pipelines.corpora.acoustics import RATE_HZ, Samples
from pipelines.corpora.noises import bursts, hiss, music, wind
from pipelines.corpora.sound_shapes import (
    add_at,
    curve,
    formants,
    harmonics,
    log_uniform,
    noise,
    num_samples_of,
    path,
    pulses,
    unit_power,
)

STEP_SAMPLES = 160  # the bed's level moves in steps, at most 0.006 dB each

Background = Callable[[np.random.Generator, int], Samples]


def steady_bed(generator: np.random.Generator, num_samples: int) -> Samples:
    """Noise of about unit power for a whole stream: random slope, one broad resonance, level adrift by 3 dB."""
    white = generator.standard_normal(num_samples, dtype=np.float32)
    tilt = generator.uniform(0.2, 0.95)
    radius = generator.uniform(0.3, 0.85)
    angle = 2.0 * np.pi * log_uniform(generator, 150.0, 4000.0) / RATE_HZ
    sections = [[1.0, 0.0, 0.0, 1.0, -tilt, 0.0], [1.0, 0.0, 0.0, 1.0, -2.0 * radius * np.cos(angle), radius**2]]
    bed = scipy.signal.sosfilt(np.array(sections, dtype=np.float32), white)
    bed *= np.float32(1.0 / max(float(bed[: 10 * RATE_HZ].std()), 1e-9))
    white *= np.float32(generator.uniform(0.02, 0.3))
    bed += white
    num_steps = -(-num_samples // STEP_SAMPLES)
    drift_db = path(num_steps, generator.uniform(-3.0, 3.0, num_samples // (10 * RATE_HZ) + 3))
    bed *= np.repeat(10.0 ** (drift_db / np.float32(20.0)), STEP_SAMPLES)[:num_samples]
    return np.asarray(bed, dtype=np.float32)


def rain(generator: np.random.Generator, num_samples: int) -> Samples:
    """Drops without number, some heavy ones among them, in showers."""
    showers = 10.0 ** curve(generator, num_samples, generator.uniform(0.3, 1.5), -0.6, 0.0)
    drops = np.zeros(num_samples, dtype=np.float32)
    places = generator.integers(0, num_samples, int(num_samples / RATE_HZ * generator.uniform(20.0, 120.0)) + 1)
    drops[places] = generator.exponential(1.0, len(places))
    patter = formants(drops, [(log_uniform(generator, 700.0, 4500.0), 900.0, 1.0)])
    fine = noise(generator, num_samples, log_uniform(generator, 800.0, 2500.0))
    return unit_power((unit_power(patter) * generator.uniform(0.3, 1.2) + unit_power(fine)) * showers)


def hum(generator: np.random.Generator, num_samples: int) -> Samples:
    """Mains, transformers, refrigerators: harmonics of 50 or 60 Hz that do not move, switched on and off."""
    weights = np.arange(1, 14.0) ** -generator.uniform(0.3, 1.5) * generator.uniform(0.1, 1.0, 13)
    tone = harmonics(float(generator.choice((50.0, 60.0, 100.0, 120.0))), weights, num_samples)
    return unit_power(tone * curve(generator, num_samples, 1.0, 0.7, 1.0))


def traffic(generator: np.random.Generator, num_samples: int) -> Samples:
    """Cars far away: rolling noise that swells and fades as they pass, without any explosions of an engine."""
    passing = 0.05 + np.zeros(num_samples, dtype=np.float32)
    for _ in range(1 + int(generator.poisson(num_samples / RATE_HZ / 4.0))):
        length = num_samples_of(generator.uniform(1.5, 6.0))
        add_at(passing, int(generator.integers(num_samples)), np.hanning(length) ** 2 * generator.uniform(0.3, 1.0))
    return unit_power(noise(generator, num_samples, 60.0, log_uniform(generator, 400.0, 1800.0)) * passing)


def babble(generator: np.random.Generator, num_samples: int) -> Samples:
    """A crowd without words: voices gliding from vowel to vowel, three to six at once."""
    crowd = np.zeros(num_samples, dtype=np.float32)
    for _ in range(int(generator.integers(3, 7))):
        pitch = log_uniform(generator, 90.0, 260.0) * curve(generator, num_samples, 4.0, 0.8, 1.25)
        scale = generator.uniform(0.85, 1.2)
        loudness = np.clip(curve(generator, num_samples, 9.0, -0.4, 1.0), 0.0, 1.0)
        source = np.asarray(pulses(np.asarray(pitch, dtype=np.float32)) * loudness, dtype=np.float32)
        vowels = [(300.0, 2300.0), (500.0, 900.0), (700.0, 1200.0), (400.0, 1800.0)]
        turn = curve(generator, num_samples, 5.0, 0.0, 3.0)
        for place, (first_hz, second_hz) in enumerate(vowels):
            weight = np.clip(1.0 - np.abs(turn - place), 0.0, 1.0)
            bands = [(first_hz * scale, 90.0, 1.0), (second_hz * scale, 130.0, 0.5), (2700.0 * scale, 200.0, 0.2)]
            crowd += formants(np.asarray(source * weight, dtype=np.float32), bands)
    return unit_power(crowd)


def clicks(generator: np.random.Generator, num_samples: int) -> Samples:
    """Switches, keys of a computer, crackle: impulses in bunches, through a small box."""
    impulses = np.zeros(num_samples, dtype=np.float32)
    place = 0.0
    while place < num_samples / RATE_HZ:
        for _ in range(int(generator.integers(1, 8))):
            add_at(impulses, int(place * RATE_HZ), np.array([1.0, -0.6]) * generator.uniform(0.2, 1.0))
            place += generator.uniform(0.03, 0.25)
        place += generator.exponential(0.4)
    box = [(log_uniform(generator, 1200.0, 5500.0), generator.uniform(300.0, 1500.0), 1.0) for _ in range(2)]
    return unit_power(formants(impulses, box))


def rumble(generator: np.random.Generator, num_samples: int) -> Samples:
    """Thunder, furniture moved, a lift: low noise in slow surges."""
    surges = 10.0 ** curve(generator, num_samples, generator.uniform(1.0, 4.0), -1.2, 0.0)
    points = generator.uniform(0.3, 1.0, 4)
    low = noise(generator, num_samples, 30.0, log_uniform(generator, 150.0, 500.0))
    return unit_power(low * surges * path(num_samples, points))


UNSTEADY: dict[str, Background] = {
    "babble": babble,
    "bursts": bursts,
    "clicks": clicks,
    "hiss": hiss,
    "hum": hum,
    "music": music,
    "rain": rain,
    "rumble": rumble,
    "traffic": traffic,
    "wind": wind,
}
