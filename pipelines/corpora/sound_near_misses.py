"""Sounds that resemble an event and are none: one or two for each kind in `SOURCES`, to be told apart from it."""

from collections.abc import Callable

import numpy as np

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
    pulses,
    ring,
    seconds_axis,
)

NearMiss = Callable[[np.random.Generator], Samples]


def whistle(generator: np.random.Generator) -> Samples:
    """Not an alarm: one unbroken tone, as of a kettle or feedback."""
    num_samples = num_samples_of(log_uniform(generator, 0.8, 4.0))
    pitch = log_uniform(generator, 1000.0, 3600.0) * (1.0 + curve(generator, num_samples, 3.0, -0.012, 0.012))
    tone = harmonics(pitch, np.array([1.0, 0.3, 0.2]) * generator.uniform(0.1, 1.0, 3), num_samples)
    return fade(tone * curve(generator, num_samples, 2.0, 0.5, 1.0), 0.2, 0.3)


def pluck(generator: np.random.Generator) -> Samples:
    """Not a bell: plucked strings, whose partials are harmonic and single."""
    sound = np.zeros(num_samples_of(log_uniform(generator, 0.7, 3.0)), dtype=np.float32)
    lowest_hz = log_uniform(generator, 160.0, 900.0)
    numbers = np.arange(1.0, 15.0)
    place = 0.0
    while place < len(sound) / RATE_HZ - 0.2:
        force = np.zeros(len(sound) - int(place * RATE_HZ), dtype=np.float32)
        add_at(force, 0, blow(generator.uniform(0.5, 1.0), 0.0005))
        pitch = lowest_hz * 2.0 ** (generator.integers(0, 13) / 12.0)
        decays = generator.uniform(0.6, 2.5) * numbers**-0.8
        add_at(sound, int(place * RATE_HZ), ring(force, pitch * numbers, decays, numbers**-0.7))
        place += generator.uniform(0.15, 0.9)
    return fade(sound, 0.0005, 0.1)


def glide(generator: np.random.Generator) -> Samples:
    """Not a siren: one long glide that does not come back, as of a motor running down."""
    num_samples = num_samples_of(log_uniform(generator, 0.8, 4.0))
    ends = np.exp(generator.uniform(np.log(350.0), np.log(1800.0), 2))
    tone = harmonics(path(num_samples, ends), np.arange(1, 10.0) ** -generator.uniform(0.7, 1.6), num_samples)
    return fade(tone, 0.2, 0.3)


def steps(generator: np.random.Generator) -> Samples:
    """Not a knock: slow steps, each a dull thump and a scrape."""
    sound = np.zeros(num_samples_of(log_uniform(generator, 0.6, 4.0)), dtype=np.float32)
    pace = generator.uniform(0.42, 0.75)
    modes, scrape_hz = (
        log_uniform(generator, 60.0, 160.0) * np.array([1.0, 1.8, 3.1]),
        log_uniform(generator, 500.0, 3000.0),
    )
    place = 0.0
    while place < len(sound) / RATE_HZ - 0.15:
        force = np.zeros(num_samples_of(0.15), dtype=np.float32)
        add_at(force, 0, blow(generator.uniform(0.6, 1.0), generator.uniform(0.003, 0.008)))
        thump = ring(force, modes, np.array([0.08, 0.06, 0.04]), np.array([1.0, 0.6, 0.3]))
        length = num_samples_of(generator.uniform(0.04, 0.12))
        scrape = fade(noise(generator, length, scrape_hz, 2.0 * scrape_hz), 0.02, 0.03)
        add_at(sound, num_samples_of(place), thump / max(float(np.abs(thump).max()), 1e-9))
        add_at(sound, num_samples_of(place + generator.uniform(0.0, 0.03)), 0.08 * scrape)
        place += pace * generator.uniform(0.92, 1.08)
    return fade(sound, 0.0005, 0.02)


def creak(generator: np.random.Generator) -> Samples:
    """Not a bark: a hinge that sticks and slips, slow pulses through wood."""
    num_samples = num_samples_of(log_uniform(generator, 0.2, 1.5))
    rate_hz = path(num_samples, np.exp(generator.uniform(np.log(40.0), np.log(260.0), int(generator.integers(3, 7)))))
    slips = pulses(rate_hz * (1.0 + curve(generator, num_samples, 60.0, -0.15, 0.15)), closing=0.15)
    bands = [(log_uniform(generator, 400.0, 3500.0), 80.0, generator.uniform(0.3, 1.0)) for _ in range(4)]
    return fade(formants(slips, bands) * curve(generator, num_samples, 6.0, 0.2, 1.0), 0.03, 0.05)


def cricket(generator: np.random.Generator) -> Samples:
    """Not a chirp: trills on one pitch that does not glide."""
    num_samples = num_samples_of(log_uniform(generator, 0.4, 4.0))
    time = seconds_axis(num_samples)
    rate_hz, pulses_per_trill = generator.uniform(25.0, 70.0), int(generator.integers(3, 12))
    trill_hz = rate_hz / (pulses_per_trill * generator.uniform(1.2, 3.0))
    is_on = (time * trill_hz) % 1.0 < pulses_per_trill * trill_hz / rate_hz
    loudness = np.sin(np.pi * (time * rate_hz % 1.0)) ** 2 * np.convolve(is_on, np.hanning(65) / 32.0, "same")
    return fade(harmonics(log_uniform(generator, 2600.0, 6500.0), np.ones(1), num_samples) * loudness, 0.02, 0.05)


def motor(generator: np.random.Generator) -> Samples:
    """Not a combustion engine: an electric motor, its harmonics even and its speed steady once it is up."""
    num_samples = num_samples_of(log_uniform(generator, 1.0, 6.0))
    full_hz = log_uniform(generator, 70.0, 320.0)
    pitch = path(num_samples, full_hz * np.array([0.4, 0.95, 1.0, 1.0, 1.0, 1.0, 0.7]))
    weights = np.arange(1, 20.0) ** -generator.uniform(0.3, 1.2) * generator.uniform(0.2, 1.0, 19)
    brush = noise(generator, num_samples, 800.0, 4000.0)
    return fade(harmonics(pitch, weights, num_samples) + generator.uniform(0.1, 0.6) * brush, 0.15, 0.3)


def jingle(generator: np.random.Generator) -> Samples:
    """Not broken dishes: keys or coins, small and even, without a crash."""
    num_samples = num_samples_of(log_uniform(generator, 0.5, 2.5))
    sound = np.zeros(num_samples, dtype=np.float32)
    decays = np.full(3, log_uniform(generator, 0.03, 0.2))
    rate_hz = generator.uniform(6.0, 22.0)
    for _ in range(6):
        force = np.zeros(num_samples, dtype=np.float32)
        for place in generator.uniform(
            0.0, num_samples, int(generator.poisson(rate_hz * num_samples / RATE_HZ / 6.0)) + 1
        ):
            add_at(force, int(place), blow(generator.uniform(0.3, 1.0), 0.0002))
        sound += ring(force, np.exp(generator.uniform(np.log(2200.0), np.log(7500.0), 3)), decays, np.ones(3))
    return fade(sound, 0.02, 0.05)


def blips(generator: np.random.Generator) -> Samples:
    """Not a telephone: tones of random pitch in quick succession, as of a game or a dialled number."""
    sound = np.zeros(num_samples_of(log_uniform(generator, 0.5, 3.0)), dtype=np.float32)
    length = log_uniform(generator, 0.04, 0.16)
    weights = np.array([1.0, 0.5, 0.4, 0.2]) * generator.uniform(0.1, 1.0, 4)
    place = 0.0
    while place < len(sound) / RATE_HZ - length:
        tone = harmonics(log_uniform(generator, 400.0, 2400.0), weights, num_samples_of(length))
        add_at(sound, num_samples_of(place), fade(tone, 0.004, 0.008))
        place += length * generator.choice((1.0, 1.0, 2.0))
    return fade(sound, 0.001, 0.01)


def puff(generator: np.random.Generator) -> Samples:
    """Not a cough: air let out, as of brakes or a spray, without a throat's resonances."""
    sound = np.zeros(num_samples_of(log_uniform(generator, 0.3, 1.6)), dtype=np.float32)
    place, low_hz = 0.0, log_uniform(generator, 200.0, 1500.0)
    while place < len(sound) / RATE_HZ - 0.1:
        length = num_samples_of(generator.uniform(0.1, 0.6))
        add_at(sound, num_samples_of(place), fade(noise(generator, length, low_hz, low_hz * 4.0), 0.03, 0.08))
        place += length / RATE_HZ + generator.uniform(0.05, 0.5)
    return fade(sound, 0.002, 0.05)


def murmur(generator: np.random.Generator) -> Samples:
    """Not speech: a hummed voice that stays on its vowel, without syllables."""
    num_samples = num_samples_of(log_uniform(generator, 0.5, 3.0))
    notes = log_uniform(generator, 90.0, 260.0) * 2.0 ** (
        generator.integers(-3, 8, int(generator.integers(2, 7))) / 12.0
    )
    steps_between = np.repeat(notes, 12)
    pitch = path(num_samples, steps_between) * (1.0 + curve(generator, num_samples, 12.0, -0.015, 0.015))
    source = pulses(np.asarray(pitch, dtype=np.float32))
    bands = [
        (centre * generator.uniform(0.85, 1.2), 90.0, gain)
        for centre, gain in ((320.0, 1.0), (950.0, 0.3), (2400.0, 0.1))
    ]
    return fade(formants(source, bands) * curve(generator, num_samples, 2.0, 0.5, 1.0), 0.08, 0.15)


NEAR_MISSES: dict[str, NearMiss] = {
    "whistle": whistle,
    "pluck": pluck,
    "glide": glide,
    "steps": steps,
    "creak": creak,
    "cricket": cricket,
    "motor": motor,
    "jingle": jingle,
    "blips": blips,
    "puff": puff,
    "murmur": murmur,
}
