"""Machines that make themselves heard: alarms, telephones, sirens, engines."""

import numpy as np
from numpy.typing import NDArray

from pipelines.corpora.acoustics import RATE_HZ, Samples
from pipelines.corpora.sound_shapes import (
    add_at,
    blow,
    curve,
    fade,
    formants,
    harmonics,
    log_uniform,
    noise,
    num_samples_of,
    path,
    ring,
    seconds_axis,
)


class Alarm:
    """One electronic alarm: groups of beeps on one or two pitches, the same over and over."""

    seconds = (1.2, 5.0)

    def __init__(self, generator: np.random.Generator) -> None:
        first_hz = log_uniform(generator, 1100.0, 3600.0)
        second_hz = first_hz * generator.choice((1.0, 1.0, 0.8, 1.26))
        self._pitches = (first_hz, second_hz)
        self._beep = log_uniform(generator, 0.05, 0.3)
        self._gap = self._beep * generator.uniform(0.5, 1.3)
        self._beeps_per_group = int(generator.integers(1, 6))
        self._pause = generator.uniform(0.15, 0.5)
        self._weights = np.array([1.0, 0.3, 0.5, 0.1, 0.2]) * generator.uniform(0.1, 1.0, 5)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """As many beeps as there is time for; it runs a little fast or slow."""
        sound = np.zeros(num_samples_of(seconds), dtype=np.float32)
        pace = generator.uniform(0.92, 1.08)
        detune = generator.uniform(0.985, 1.015)
        length = num_samples_of(self._beep * pace)
        place, number = 0.0, int(generator.integers(self._beeps_per_group))
        while place + self._beep * pace < seconds or place == 0.0:
            pitch = self._pitches[number % 2] * detune
            add_at(sound, num_samples_of(place), fade(harmonics(pitch, self._weights, length), 0.004, 0.006))
            number += 1
            place += (self._beep + self._gap) * pace
            if number % self._beeps_per_group == 0:
                place += self._pause * pace
        return fade(sound, 0.0005, 0.004)


class Phone:
    """One telephone: a hammer between two gongs, or two tones in quick turn; rings of a second or so."""

    seconds = (0.8, 3.5)

    def __init__(self, generator: np.random.Generator) -> None:
        self._has_gongs = bool(generator.random() < 0.5)
        self._pitches = log_uniform(generator, 550.0, 1700.0) * np.array([1.0, generator.uniform(1.1, 1.4)])
        self._turns_hz = generator.uniform(16.0, 26.0) if self._has_gongs else generator.uniform(9.0, 19.0)
        self._ring, self._gap = generator.uniform(0.4, 1.6), generator.uniform(0.2, 0.5)
        ratios = np.array([1.0, 2.3, 3.1, 4.2])
        self._modes = self._pitches[:, None] * ratios * generator.uniform(0.95, 1.05, (2, 4))
        self._decays = log_uniform(generator, 0.25, 0.9) * ratios**-0.5
        self._weights = np.array([1.0, 0.5, 0.4, 0.2]) * generator.uniform(0.1, 1.0, 4)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """Rings and gaps as long as there is time."""
        num_samples = num_samples_of(seconds)
        turns_hz = self._turns_hz * generator.uniform(0.95, 1.05)
        time = seconds_axis(num_samples)
        is_ringing = time % (self._ring + self._gap) < self._ring
        if self._has_gongs:
            return fade(self._gongs(generator, turns_hz, is_ringing), 0.0005, 0.1)
        pitch = self._pitches[(time * turns_hz * 2.0).astype(np.int64) % 2] * generator.uniform(0.99, 1.01)
        smoothing = np.hanning(80)
        loudness = np.convolve(is_ringing, smoothing / smoothing.sum(), "same")
        return fade(harmonics(pitch, self._weights, num_samples) * loudness, 0.003, 0.01)

    def _gongs(self, generator: np.random.Generator, turns_hz: float, is_ringing: NDArray[np.bool_]) -> Samples:
        sound = np.zeros(len(is_ringing), dtype=np.float32)
        for side in range(2):
            force = np.zeros(len(is_ringing), dtype=np.float32)
            for number in range(side, int(2.0 * turns_hz * len(is_ringing) / RATE_HZ), 2):
                place = int((number + generator.uniform(-0.06, 0.06)) / (2.0 * turns_hz) * RATE_HZ)
                if 0 <= place < len(is_ringing) and is_ringing[place]:
                    add_at(force, place, blow(generator.uniform(0.7, 1.0), 0.0004))
            sound += ring(force, self._modes[side], self._decays, self._weights)
        return sound


class Siren:
    """One siren through its horn: a slow wail, a quick yelp, or two pitches in turn; coming nearer or going away."""

    seconds = (2.0, 7.0)

    def __init__(self, generator: np.random.Generator) -> None:
        self._pattern = str(generator.choice(("wail", "yelp", "two pitches")))
        rates_hz = {"wail": (0.2, 0.6), "yelp": (1.8, 4.5), "two pitches": (0.5, 1.3)}
        self._rate_hz = log_uniform(generator, *rates_hz[self._pattern])
        self._low_hz = log_uniform(generator, 380.0, 800.0)
        self._high_hz = self._low_hz * (
            generator.uniform(1.25, 1.5) if self._pattern == "two pitches" else generator.uniform(1.6, 2.6)
        )
        self._weights = np.arange(1, 12.0) ** -generator.uniform(0.7, 1.6)
        self._weights[1::2] *= generator.uniform(0.1, 1.0)
        self._horn = [
            (log_uniform(generator, 700.0, 1200.0), 500.0, 1.0),
            (log_uniform(generator, 1800.0, 3200.0), 900.0, 0.7),
        ]

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """A stretch of the pattern, from anywhere in it, the pitch shifted slowly as by passing."""
        num_samples = num_samples_of(seconds)
        turn = (seconds_axis(num_samples) * self._rate_hz * generator.uniform(0.93, 1.07) + generator.random()) % 1.0
        if self._pattern == "two pitches":
            share = (turn < 0.5).astype(np.float64)
        elif self._pattern == "yelp":
            share = np.minimum(turn / 0.7, (1.0 - turn) / 0.3)
        else:
            share = 0.5 - 0.5 * np.cos(2.0 * np.pi * turn)
        passing = path(num_samples, generator.uniform(0.96, 1.04, 3))
        pitch = self._low_hz * (self._high_hz / self._low_hz) ** share * passing
        sound = formants(harmonics(pitch, self._weights, num_samples), self._horn)
        return fade(sound * path(num_samples, generator.uniform(0.5, 1.0, 4)), 0.15, 0.3)


class Engine:
    """One combustion engine: single explosions, unequal cylinders, an exhaust's resonances; faster under load."""

    seconds = (2.0, 7.0)

    def __init__(self, generator: np.random.Generator) -> None:
        self._idle_hz = log_uniform(generator, 22.0, 60.0)  # explosions per second
        num_cylinders = int(generator.choice((1, 2, 3, 4, 6)))
        self._cylinders = generator.uniform(0.55, 1.0, num_cylinders)
        self._exhaust = [
            (log_uniform(generator, 90.0, 220.0), 60.0, 1.0),
            (log_uniform(generator, 250.0, 600.0), 120.0, generator.uniform(0.3, 0.9)),
            (log_uniform(generator, 800.0, 2200.0), 500.0, generator.uniform(0.1, 0.5)),
        ]
        self._jitter = generator.uniform(0.004, 0.025)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """Idling, revving up, slowing down, as the load goes."""
        num_samples = num_samples_of(seconds)
        load = path(num_samples, generator.uniform(0.0, 1.0, int(generator.integers(3, 6))))
        rate_hz = (
            self._idle_hz * 2.0 ** (1.6 * load) * (1.0 + curve(generator, num_samples, 12.0, -1.0, 1.0) * self._jitter)
        )
        turns = np.cumsum(rate_hz, dtype=np.float64) / RATE_HZ
        number = turns.astype(np.int64)
        within_seconds = (turns - number) / rate_hz
        strength = (
            self._cylinders[number % len(self._cylinders)] * generator.uniform(0.93, 1.07, number[-1] + 1)[number]
        )
        bang = strength * np.exp(-within_seconds / 0.004)
        blast = bang * (0.8 + 0.25 * generator.standard_normal(num_samples, dtype=np.float32))
        sound = formants(np.asarray(blast - blast.mean(), dtype=np.float32), self._exhaust)
        hiss = noise(generator, num_samples, 300.0, 2500.0) * bang
        sound = (sound + 0.05 * float(np.std(sound)) * hiss) * (0.5 + load)
        return fade(sound, generator.uniform(0.05, 0.6), generator.uniform(0.2, 0.8))
