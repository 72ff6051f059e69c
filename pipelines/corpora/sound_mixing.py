"""One soundscape: a bed, noises that are no events, and events in their places with known levels: `compose`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.corpora.acoustics import (
    LEVEL_FRAME_SAMPLES,
    RATE_HZ,
    Limits,
    Samples,
    apply_filter,
    chain,
    convolve,
    equaliser,
    frame_power,
    sound_limits,
)
from pipelines.corpora.sound_backgrounds import UNSTEADY, steady_bed
from pipelines.corpora.sound_diary import Diary
from pipelines.corpora.sound_near_misses import NEAR_MISSES
from pipelines.corpora.sound_shapes import add_at, fade, log_uniform, mean_square, num_samples_of
from pipelines.corpora.sound_sources import Source

RANGE_DB = 30.0  # an event is where its sound is so little below its loudest 10 ms, and
BURIED_DB = 10.0  # not further than this below the noise around it
AROUND_SAMPLES = 3200
NOISE_FRAME_SAMPLES = 1600
CROSSFADE_SECONDS = 0.5
TRIES = 6
NO_ROOM = np.ones(1, dtype=np.float32)


class SoundKind(NamedTuple):
    """What a sort of soundscape is made of.

    Args:
        event_share: of the time in which an event sounds, at most.
        noise_share: of the time in which an unsteady noise is louder than the bed, at least.
        most_seconds: length of a stream, at most.
    """

    event_share: float
    noise_share: float
    most_seconds: float


KINDS = {
    "practice": SoundKind(0.3, 0.35, 60.0),  # many short ones: each is another place, microphone, level
    "busy": SoundKind(0.08, 0.35, 3600.0),
    "quiet": SoundKind(0.008, 0.35, 3600.0),
}


class Role(NamedTuple):
    """A source with its name; has_room: whether its takes are still without a room."""

    name: str
    source: Source
    has_room: bool


class Cast(NamedTuple):
    """What the soundscapes of a split draw from.

    Args:
        roles: label -> individuals.
        rooms: impulse responses.
        noises: names of computed noises.
        backgrounds: (name, int16 samples) of recorded ones, in place of bed and noises; empty: computed.
    """

    roles: dict[str, list[Role]]
    rooms: list[Samples]
    noises: tuple[str, ...]
    backgrounds: list[tuple[str, NDArray[np.int16]]]


class PlacedEvent(NamedTuple):
    """One event; positions in samples, half-open. The same role and seed give the same take."""

    onset: int
    offset: int
    label: str
    snr_db: float
    source: str
    seed: int


class PlacedNoise(NamedTuple):
    """One noise; its level against the bed."""

    onset: int
    offset: int
    name: str
    level_db: float


class Soundscape(NamedTuple):
    """A mixture: `events + noise`, scaled to be stored.

    Args:
        placed: events by onset.
        noises: everything else by onset.
        noise_share: of the time, the part with unsteady noise above the bed.
    """

    events: Samples
    noise: Samples
    placed: tuple[PlacedEvent, ...]
    noises: tuple[PlacedNoise, ...]
    noise_share: float


class _Take(NamedTuple):
    """A sound with its room, whose it is, the seed it came from, and where in it there is something to hear."""

    source: str
    seed: int
    sound: Samples
    limits: Limits


class _Pending(NamedTuple):
    """A take that has its place, but not yet its level."""

    place: int
    label: str
    take: _Take


def compose(
    generator: np.random.Generator, kind: SoundKind, cast: Cast, num_samples: int, snr_db: tuple[float, float]
) -> Soundscape:
    """Mix a soundscape; the same generator state, kind and cast give the same samples.

    Raises:
        UserError: if a label is too long for the events' share, or the share too large for the stream.
    """
    microphone = equaliser(generator, 5.0)
    if cast.backgrounds:
        noise, noises, noise_share = _recorded(generator, cast, num_samples)
    else:
        noise, noises, noise_share = _computed(generator, kind, cast, num_samples)
    noise = apply_filter(microphone.astype(np.float32), noise)
    events = np.zeros(num_samples, dtype=np.float32)
    placed = []
    for item in _place(generator, kind, cast, microphone, num_samples):
        placed.append(_add(events, noise, item, float(generator.uniform(*snr_db))))
    peak = max(float(np.abs(events + noise).max()), 1e-9)
    gain = np.float32(10.0 ** (-generator.uniform(0.5, 15.0) / 20.0) / peak)
    events *= gain
    noise *= gain
    return Soundscape(events, noise, tuple(sorted(placed)), tuple(sorted(noises)), noise_share)


def _place(
    generator: np.random.Generator, kind: SoundKind, cast: Cast, microphone: NDArray[np.float64], num_samples: int
) -> list[_Pending]:
    """Takes in their places: labels take turns, until the share of time is used up or nothing fits any more."""
    diary = Diary(num_samples, kind.event_share)
    pending: list[_Pending] = []
    labels = sorted(cast.roles)
    for label in labels:
        diary.refuse_if_too_long(label, min(role.source.seconds[0] for role in cast.roles[label]))
    rounds_in_vain, lacks_room = 0, False
    while rounds_in_vain < 3:
        before, lacks_room = len(pending), False
        for place in generator.permutation(len(labels)):
            label = labels[place]
            take = _fitting_take(generator, cast.roles[label], diary.free_seconds, cast.rooms, microphone)
            if take is None:
                continue
            onset = diary.find(generator, label, take.limits.offset - take.limits.onset)
            if onset is None:
                lacks_room = True
            else:
                pending.append(_Pending(onset - take.limits.onset, label, take))
        rounds_in_vain = rounds_in_vain + 1 if len(pending) == before else 0
    if lacks_room:
        diary.refuse_if_sparse()
    return pending


def _fitting_take(
    generator: np.random.Generator,
    roles: list[Role],
    most_seconds: float,
    rooms: list[Samples],
    microphone: NDArray[np.float64],
) -> _Take | None:
    """A take of somebody's that lasts no longer than it may; None if none of the tries does."""
    for _ in range(TRIES):
        role = roles[int(generator.integers(len(roles)))]
        seed = int(generator.integers(2**32))
        own = np.random.default_rng(seed)
        seconds = log_uniform(own, *role.source.seconds)
        if seconds > most_seconds:
            continue
        sound = role.source.take(own, seconds)
        if role.has_room:
            sound = convolve(sound, chain(NO_ROOM, [microphone]))
        else:
            sound = convolve(sound, chain(_room(own, rooms), [equaliser(own), microphone]))
        limits = sound_limits(sound, RANGE_DB)
        if limits.offset - limits.onset <= most_seconds * RATE_HZ:
            return _Take(role.name, seed, sound, limits)
    return None


def _room(generator: np.random.Generator, rooms: list[Samples]) -> Samples:
    """A room; none for one in six."""
    if generator.random() < 0.17:
        return NO_ROOM
    return rooms[int(generator.integers(len(rooms)))]


def _add(events: Samples, noise: Samples, item: _Pending, snr_db: float) -> PlacedEvent:
    """Add a take so that it stands `snr_db` above the noise within 0.2 s of it; where it is heard is its event."""
    take, limits = item.take, item.take.limits
    onset, offset = item.place + limits.onset, item.place + limits.offset
    around = mean_square(noise[max(onset - AROUND_SAMPLES, 0) : offset + AROUND_SAMPLES])
    wanted = around * 10.0 ** (snr_db / 10.0)
    sound = take.sound * np.float32(np.sqrt(wanted / mean_square(take.sound[limits.onset : limits.offset])))
    levels = frame_power(sound)
    least = max(levels.max() * 10.0 ** (-RANGE_DB / 10.0), around * 10.0 ** (-BURIED_DB / 10.0))
    heard = np.flatnonzero(levels >= least)
    first = max(item.place, 0)
    add_at(events, first, sound[first - item.place :])
    return PlacedEvent(
        item.place + int(heard[0]) * LEVEL_FRAME_SAMPLES,
        min(item.place + (int(heard[-1]) + 1) * LEVEL_FRAME_SAMPLES, len(events)),
        item.label,
        snr_db,
        take.source,
        take.seed,
    )


def _computed(
    generator: np.random.Generator, kind: SoundKind, cast: Cast, num_samples: int
) -> tuple[Samples, list[PlacedNoise], float]:
    """A bed of unit power, with unsteady noises and near misses over it until they cover the wanted share of time."""
    noise = steady_bed(generator, num_samples)
    is_covered = np.zeros(num_samples // NOISE_FRAME_SAMPLES, dtype=bool)
    noises: list[PlacedNoise] = []
    while cast.noises and is_covered.mean() < kind.noise_share:
        name = cast.noises[int(generator.integers(len(cast.noises)))]
        if name in NEAR_MISSES:
            sound = convolve(NEAR_MISSES[name](generator), chain(_room(generator, cast.rooms), [equaliser(generator)]))
        else:
            length = num_samples_of(log_uniform(generator, 0.5, 12.0))
            sound = fade(UNSTEADY[name](generator, length), *generator.uniform(0.02, 0.8, 2))
        limits = sound_limits(sound, RANGE_DB)
        sound = sound[limits.onset : limits.offset][:num_samples]
        level_db = float(generator.uniform(2.0, 24.0))
        sound = sound * np.float32(np.sqrt(10.0 ** (level_db / 10.0) / mean_square(sound)))
        first = int(generator.integers(num_samples - len(sound) + 1)) // NOISE_FRAME_SAMPLES
        add_at(noise, first * NOISE_FRAME_SAMPLES, sound)
        whole = len(sound) // NOISE_FRAME_SAMPLES
        frames = sound[: whole * NOISE_FRAME_SAMPLES].reshape(whole, NOISE_FRAME_SAMPLES)
        is_covered[first : first + whole] |= np.mean(frames**2, axis=1) > 1.0
        onset = first * NOISE_FRAME_SAMPLES
        noises.append(PlacedNoise(onset, onset + len(sound), name, level_db))
    return noise, noises, float(is_covered.mean())


def _recorded(generator: np.random.Generator, cast: Cast, num_samples: int) -> tuple[Samples, list[PlacedNoise], float]:
    """Pieces of recorded backgrounds at equal power, faded into one another."""
    noise = np.zeros(num_samples, dtype=np.float32)
    noises: list[PlacedNoise] = []
    overlap = num_samples_of(CROSSFADE_SECONDS)
    place = -overlap
    while place < num_samples:
        name, clip = cast.backgrounds[int(generator.integers(len(cast.backgrounds)))]
        length = min(len(clip), num_samples - place)
        start = int(generator.integers(len(clip) - length + 1))
        piece = clip[start : start + length].astype(np.float32)
        piece = piece / np.float32(np.sqrt(max(mean_square(piece), 1e-9)))
        seconds = min(CROSSFADE_SECONDS, length / RATE_HZ / 2.0)
        piece = fade(piece, seconds, seconds)
        first = max(place, 0)
        add_at(noise, first, piece[first - place :])
        noises.append(PlacedNoise(first, min(place + length, num_samples), name, 0.0))
        place += max(length - overlap, 1 + length // 2)
    return noise, noises, 0.0
