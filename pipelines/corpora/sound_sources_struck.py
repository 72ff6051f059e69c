"""Things that are struck: bells, doors knocked at, dishes that break."""

import numpy as np

from pipelines.corpora.acoustics import Samples
from pipelines.corpora.sound_shapes import add_at, blow, fade, log_uniform, noise, num_samples_of, ring

# Partials of a tuned bell relative to the one it is named by: hum, prime, tierce, quint, nominal, and above.
BELL_RATIOS = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.66, 3.0, 4.1, 5.3, 6.7])


class Bell:
    """One bell: partials in pairs that beat, the high ones soon gone; struck once to four times.

    Source: ratios of partials after T. Rossing, Science of Percussion Instruments (2000).
    """

    seconds = (0.8, 4.0)

    def __init__(self, generator: np.random.Generator) -> None:
        strike_hz = log_uniform(generator, 350.0, 2200.0)
        ratios = BELL_RATIOS * generator.uniform(0.97, 1.03, len(BELL_RATIOS))
        beats = 1.0 + generator.uniform(0.0005, 0.006, len(ratios))
        falloff = generator.uniform(0.2, 0.7)
        decay = log_uniform(generator, 1.0, 5.0)
        self._frequencies = strike_hz * np.concatenate([ratios, ratios * beats])
        self._decays = decay * np.concatenate([ratios, ratios]) ** -generator.uniform(0.5, 1.0)
        self._gains = np.concatenate([ratios**-falloff, ratios**-falloff]) * generator.uniform(
            0.2, 1.0, 2 * len(ratios)
        )

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """Strikes at a steady pace, one where there is time for no more."""
        force = np.zeros(num_samples_of(seconds), dtype=np.float32)
        pace = generator.uniform(0.25, 1.2)
        contact = log_uniform(generator, 0.0002, 0.0012)
        for number in range(int(generator.integers(1, 5))):
            add_at(
                force,
                num_samples_of(number * pace * generator.uniform(0.95, 1.05)),
                blow(generator.uniform(0.5, 1.0), contact),
            )
        gains = self._gains * generator.uniform(0.6, 1.4, len(self._gains))
        return fade(ring(force, self._frequencies, self._decays, gains), 0.0002, 0.06)


class Knock:
    """One door and a habit of knocking: short blows through a few strongly damped modes of wood."""

    seconds = (0.4, 1.6)

    def __init__(self, generator: np.random.Generator) -> None:
        lowest_hz = log_uniform(generator, 90.0, 320.0)
        num_modes = int(generator.integers(5, 10))
        ratios = np.cumsum(np.concatenate([[1.0], generator.uniform(0.3, 1.3, num_modes - 1)]))
        self._frequencies = lowest_hz * ratios
        self._decays = log_uniform(generator, 0.05, 0.16) * ratios ** -generator.uniform(0.3, 0.8)
        self._gains = generator.uniform(0.3, 1.0, num_modes) * ratios ** -generator.uniform(0.0, 0.8)
        self._pace = generator.uniform(0.13, 0.33)
        self._contact = log_uniform(generator, 0.0003, 0.0015)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """Two to six knocks, the pace steady within a tenth."""
        pace = self._pace * generator.uniform(0.85, 1.15)
        force = np.zeros(num_samples_of(seconds), dtype=np.float32)
        most = max(2, int((seconds - 0.15) / pace) + 1)
        place = 0.0
        for _ in range(min(int(generator.integers(2, 7)), most)):
            contact = self._contact * generator.uniform(0.8, 1.25)
            add_at(force, num_samples_of(place), blow(generator.uniform(0.55, 1.0), contact))
            place += pace * generator.uniform(0.92, 1.08)
        sound = ring(force, self._frequencies, self._decays, self._gains)
        thump = ring(force, np.array([self._frequencies[0] * 0.5]), np.array([0.05]), np.array([0.5]))
        return fade(sound + thump, 0.0002, 0.05)


class Dishes:
    """One sort of crockery or glass that breaks: a crash, then shards, each with modes of its own, fewer and fewer."""

    seconds = (0.6, 2.2)
    num_shards = 9

    def __init__(self, generator: np.random.Generator) -> None:
        lowest_hz = log_uniform(generator, 900.0, 2600.0)
        self._frequencies = lowest_hz * np.exp(generator.uniform(0.0, np.log(5.0), (self.num_shards, 4)))
        self._decays = log_uniform(generator, 0.06, 0.3) * generator.uniform(0.4, 1.6, (self.num_shards, 4))
        self._crash_hz = log_uniform(generator, 900.0, 2500.0)
        self._brightness = generator.uniform(0.0, 0.6)

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """One fall: arrivals of shards thin out and soften."""
        num_samples = num_samples_of(seconds)
        spread = seconds * generator.uniform(0.12, 0.3)
        forces = np.zeros((self.num_shards, num_samples), dtype=np.float32)
        for _ in range(int(generator.integers(25, 90))):
            when = generator.exponential(spread)
            strength = generator.uniform(0.15, 1.0) * np.exp(-when / (2.0 * spread))
            shard = int(generator.integers(self.num_shards))
            add_at(forces[shard], num_samples_of(when), blow(strength, log_uniform(generator, 0.0001, 0.0005)))
        sound = np.zeros(num_samples, dtype=np.float32)
        for force, frequencies, decays in zip(forces, self._frequencies, self._decays, strict=True):
            sound += ring(force, frequencies, decays, (frequencies / frequencies.min()) ** self._brightness)
        crash_length = num_samples_of(generator.uniform(0.03, 0.12))
        crash = noise(generator, crash_length, self._crash_hz) * np.exp(-5.0 * np.arange(crash_length) / crash_length)
        add_at(sound, 0, crash * (0.3 * float(np.abs(sound).max())))
        return fade(sound, 0.001, 0.08)
