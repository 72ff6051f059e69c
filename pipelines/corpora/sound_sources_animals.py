"""Throats: barks, birds' chirps, coughs."""

import numpy as np

from pipelines.corpora.acoustics import RATE_HZ, Samples
from pipelines.corpora.sound_shapes import (
    add_at,
    curve,
    fade,
    formants,
    harmonics,
    log_uniform,
    noise,
    num_samples_of,
    path,
    pulses,
)


class Bark:
    """One dog: a rough pitch that leaps up and falls, through a mouth that opens and closes."""

    seconds = (0.25, 1.8)

    def __init__(self, generator: np.random.Generator) -> None:
        size = generator.uniform(0.0, 1.0)  # 0: small
        self._pitch_hz = 620.0 * 0.27**size * generator.uniform(0.85, 1.15)
        scale = 1.35 * 0.55**size
        self._formants_hz = scale * np.array([850.0, 1700.0, 2900.0]) * generator.uniform(0.85, 1.15, 3)
        self._length = 0.1 + 0.13 * size * generator.uniform(0.7, 1.2)
        self._roughness = generator.uniform(0.1, 0.45)
        self._breath = generator.uniform(0.1, 0.5)
        self._pause = generator.uniform(0.12, 0.4)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """One to five barks."""
        sound = np.zeros(num_samples_of(seconds), dtype=np.float32)
        place = 0.0
        for _ in range(int(generator.integers(1, 6))):
            bark = self._one(generator)
            if place > 0.0 and place + len(bark) / RATE_HZ > seconds:
                break
            add_at(sound, num_samples_of(place), bark)
            place += len(bark) / RATE_HZ + self._pause * generator.uniform(0.7, 1.4)
        return fade(sound, 0.001, 0.01)

    def _one(self, generator: np.random.Generator) -> Samples:
        num_samples = num_samples_of(self._length * generator.uniform(0.75, 1.3))
        contour = path(num_samples, np.array([0.65, 1.1, 1.15, 0.95, 0.6])) * generator.uniform(0.9, 1.15)
        shaken = 1.0 + curve(generator, num_samples, 170.0, -1.0, 1.0) * self._roughness
        source = pulses(np.asarray(self._pitch_hz * contour * shaken, dtype=np.float32))
        source += self._breath * float(np.std(source)) * generator.standard_normal(num_samples, dtype=np.float32)
        opening = generator.uniform(0.9, 1.1)
        bands = [(hz * opening, 90.0 + hz * 0.12, 0.6**place) for place, hz in enumerate(self._formants_hz)]
        loudness = path(num_samples, np.array([0.2, 1.0, 0.9, 0.5, 0.1]))
        return fade(formants(source, bands) * loudness * generator.uniform(0.6, 1.0), 0.006, 0.03)


class Chirp:
    """One bird: a motif of two to five gliding syllables, sung again and again."""

    seconds = (0.3, 2.5)

    def __init__(self, generator: np.random.Generator) -> None:
        centre_hz = log_uniform(generator, 2300.0, 5600.0)
        self._syllables = [
            (
                np.clip(centre_hz * 2.0 ** generator.uniform(-0.6, 0.6, int(generator.integers(2, 5))), 1500.0, 7500.0),
                generator.uniform(0.03, 0.16),
                generator.uniform(0.02, 0.09),
                generator.uniform(0.4, 1.0),
            )
            for _ in range(int(generator.integers(2, 6)))
        ]
        self._overtone = generator.uniform(0.0, 0.25)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """The motif from its beginning, repeated as long as there is time, each syllable a little different."""
        sound = np.zeros(num_samples_of(seconds), dtype=np.float32)
        pace, transposed = generator.uniform(0.85, 1.2), 2.0 ** generator.uniform(-0.08, 0.08)
        place, number = 0.0, 0
        while place < seconds - 0.1 or number == 0:
            points, length, gap, loudness = self._syllables[number % len(self._syllables)]
            num_samples = num_samples_of(length * pace * generator.uniform(0.9, 1.1))
            pitch = path(
                num_samples, np.minimum(points * transposed * generator.uniform(0.98, 1.02, len(points)), 7600.0)
            )
            syllable = harmonics(pitch, np.array([1.0, self._overtone]), num_samples)
            add_at(sound, num_samples_of(place), fade(syllable, 0.3 * length, 0.5 * length) * loudness)
            place += length * pace + gap * generator.uniform(0.8, 1.3)
            number += 1
            if number % len(self._syllables) == 0:
                place += 2.0 * gap
        return fade(sound, 0.001, 0.01)


class Cough:
    """One person's cough: a burst as the throat opens, rushing air, at times a voiced end."""

    seconds = (0.3, 1.6)

    def __init__(self, generator: np.random.Generator) -> None:
        scale = generator.uniform(0.85, 1.3)
        self._formants_hz = scale * np.array([620.0, 1350.0, 2500.0, 3600.0]) * generator.uniform(0.9, 1.1, 4)
        self._pitch_hz = log_uniform(generator, 110.0, 330.0)
        self._voiced = generator.uniform(0.0, 0.8)
        self._length = generator.uniform(0.18, 0.34)
        self._pause = generator.uniform(0.08, 0.35)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """One to four coughs, each softer as a rule."""
        sound = np.zeros(num_samples_of(seconds), dtype=np.float32)
        place, loudness = 0.0, 1.0
        for _ in range(int(generator.integers(1, 5))):
            cough = self._one(generator) * loudness
            if place > 0.0 and place + len(cough) / RATE_HZ > seconds:
                break
            add_at(sound, num_samples_of(place), cough)
            place += len(cough) / RATE_HZ + self._pause * generator.uniform(0.6, 1.4)
            loudness *= generator.uniform(0.6, 1.05)
        return fade(sound, 0.001, 0.01)

    def _one(self, generator: np.random.Generator) -> Samples:
        num_samples = num_samples_of(self._length * generator.uniform(0.8, 1.25))
        time = np.arange(num_samples) / num_samples
        air = noise(generator, num_samples, 200.0) * (np.exp(-18.0 * time) * 2.0 + 0.5 * (1.0 - time) ** 1.5)
        pitch = path(num_samples, self._pitch_hz * np.array([0.9, 1.15, 1.0, 0.75])) * (
            1.0 + curve(generator, num_samples, 60.0, -0.12, 0.12)
        )
        voice = pulses(pitch)
        voice *= np.clip((time - 0.25) * 4.0, 0.0, 1.0) * (1.0 - time) / max(float(np.std(voice)), 1e-9)
        bands = [(hz, 120.0 + hz * 0.12, 0.75**place) for place, hz in enumerate(self._formants_hz)]
        sound = formants(np.asarray(air + self._voiced * voice, dtype=np.float32), bands) + 0.04 * air
        return fade(sound, 0.002, 0.05)
