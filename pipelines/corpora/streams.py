"""Long streams of speech and noise with known keywords: `compose` mixes one from a stock of takes."""

from typing import NamedTuple, Protocol

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipelines.corpora.acoustics import (
    RATE_HZ,
    Samples,
    apply_filter,
    chain,
    convolve,
    equaliser,
    mean_power,
    telephone_band,
)
from pipelines.corpora.noises import UNSTEADY, coloured_noise
from pipelines.corpora.utterances import Take

NOISE_FRAME_SAMPLES = 1600
AROUND_SAMPLES = 3200


class Kind(NamedTuple):
    """What a sort of stream is made of.

    Args:
        keyword_share: of the time that keywords fill, at most.
        speech_share: of the time that other speech fills, at most.
        noise_share: of the time without keywords in which unsteady noise is louder than the steady one, at least.
        snr_db: lowest and highest ratio of a voice to the noise around it.
        sentence_share: of other speech, how many items are running sentences; the others are single words.
        babble: whether several voices at once are among the noises.
        near_misses: whether half of the single words are like a keyword, some of them invented: for teaching only.
        rooms: whether voices sound in rooms.
    """

    keyword_share: float
    speech_share: float
    noise_share: float
    snr_db: tuple[float, float]
    sentence_share: float
    babble: bool
    near_misses: bool = False
    rooms: bool = True


KINDS = {
    "practice": Kind(0.27, 0.33, 0.30, (0.0, 35.0), 0.25, True, near_misses=True),
    "talkative": Kind(0.058, 0.50, 0.42, (0.0, 20.0), 0.65, True),
    "quiet": Kind(0.027, 0.07, 0.35, (0.0, 20.0), 0.5, False),
    "sparse": Kind(0.004, 0.004, 0.35, (0.0, 20.0), 0.0, False),
    "dry": Kind(0.30, 0.10, 0.0, (25.0, 70.0), 0.25, False, near_misses=True, rooms=False),
}
DRY_ROOM = np.ones(1, dtype=np.float32)


class Takes(Protocol):
    """Things said that can be mixed: all of them by sort, keywords by label, sentences by voice."""

    by_sort: dict[str, list[Take]]
    keywords_by_label: dict[str, list[Take]]
    sentences_of: dict[str, list[Take]]

    def samples(self, take: Take) -> Samples:
        """(length,) float32 at 16 kHz."""
        ...


class Placed(NamedTuple):
    """A take in its place; positions are samples of the stream, half-open."""

    take: Take
    speed: float
    place: int
    onset: int
    offset: int
    label_onset: int
    label_offset: int
    snr_db: float


class Stream(NamedTuple):
    """A mixed stream: its stems add up to `speech + noise`, already scaled to be stored.

    Args:
        speech: (N,) every voice that counts as speech, with its room.
        noise: (N,) steady and unsteady noise, babble included.
        placed: what was said when, in order.
        noise_share: of the time without keywords, the part with unsteady noise above the steady one.
    """

    speech: Samples
    noise: Samples
    placed: tuple[Placed, ...]
    noise_share: float


def compose(generator: np.random.Generator, kind: Kind, stock: Takes, rooms: list[Samples], num_samples: int) -> Stream:
    """Mix a stream; the same generator state, kind, stock and rooms give the same samples."""
    microphone = [equaliser(generator, 5.0)]
    if generator.random() < 0.25:
        microphone.append(telephone_band(generator))
    placed = _place(generator, _choose(generator, kind, stock, num_samples), kind, num_samples)
    rooms = rooms if kind.rooms else [DRY_ROOM]
    noise, noise_share = _noise(generator, kind, stock, placed, num_samples)
    noise = apply_filter(np.concatenate(microphone), noise)
    chains = {take.variant: _chain(generator, rooms, microphone) for take in (item.take for item in placed)}
    speech = np.zeros(num_samples, dtype=np.float32)
    for item in placed:
        samples = stock.samples(item.take)
        if item.speed != 1.0:
            samples = soxr.resample(samples, RATE_HZ * item.speed, RATE_HZ, quality="LQ")
        lone = item.take.sort != "sentence" and generator.random() < 0.5
        response = _chain(generator, rooms, microphone) if lone else chains[item.take.variant]
        sound = convolve(samples, response)
        _add_at_ratio(speech, noise, item, sound)
    mixture_peak = float(np.abs(speech + noise).max())
    gain = np.float32(10.0 ** (-generator.uniform(0.5, 20.0) / 20.0) / max(mixture_peak, 1e-9))
    return Stream(speech * gain, noise * gain, tuple(placed), noise_share)


def _choose(generator: np.random.Generator, kind: Kind, stock: Takes, num_samples: int) -> list[tuple[Take, float]]:
    """Takes and their speeds, such that neither keywords nor other speech exceed their shares."""
    labels = sorted(stock.keywords_by_label)
    keywords_left, speech_left = kind.keyword_share * num_samples, kind.speech_share * num_samples
    chosen: list[tuple[Take, float]] = []
    order = [labels[place] for _ in range(200) for place in generator.permutation(len(labels))]
    vain = 0
    while order and vain < 30:
        takes = stock.keywords_by_label[order[-1]]
        take, speed = takes[int(generator.integers(len(takes)))], float(generator.uniform(0.93, 1.07))
        keyword = (take.label_offset - take.label_onset) / speed
        around = (take.offset - take.onset) / speed - keyword
        if keyword > keywords_left or around > 0.3 * speech_left:
            vain += 1
            continue
        vain = 0
        order.pop()
        keywords_left, speech_left = keywords_left - keyword, speech_left - around
        chosen.append((take, speed))
    speakers = sorted(stock.sentences_of)
    speakers = [speakers[place] for place in generator.permutation(len(speakers))[: int(generator.integers(3, 9))]]
    vain = 0
    while vain < 30:
        if vain < 10 and generator.random() < kind.sentence_share:
            takes = stock.sentences_of[speakers[int(generator.integers(len(speakers)))]]
        elif kind.near_misses and "near miss" in stock.by_sort and generator.random() < 0.5:
            takes = stock.by_sort["near miss"]
        else:
            takes = stock.by_sort["word"]
        take, speed = takes[int(generator.integers(len(takes)))], float(generator.uniform(0.95, 1.05))
        length = (take.offset - take.onset) / speed
        if length > speech_left:
            vain += 1
            continue
        vain = 0
        speech_left -= length
        chosen.append((take, speed))
    return chosen


def _place(
    generator: np.random.Generator, chosen: list[tuple[Take, float]], kind: Kind, num_samples: int
) -> list[Placed]:
    """Put takes one after the other in random order, some close together, with the spare time spread between them."""
    order = [chosen[place] for place in generator.permutation(len(chosen))]
    lengths = np.array([(take.offset - take.onset) / speed for take, speed in order])
    is_close = generator.random(len(order)) < 0.35
    gaps = np.where(is_close, generator.uniform(0.02, 0.15, len(order)) * RATE_HZ, 0.0)
    spare = num_samples - 0.7 * RATE_HZ - float(lengths.sum()) - float(gaps.sum())
    shares = np.where(is_close, 0.0, generator.exponential(1.0, len(order)) + 0.05)
    last = generator.exponential(1.0)
    gaps += max(spare, 0.0) * shares / (float(shares.sum()) + last)
    placed = []
    position = 0.2 * RATE_HZ
    for (take, speed), length, gap in zip(order, lengths, gaps, strict=True):
        position += gap
        begin = position - take.onset / speed
        placed.append(
            Placed(
                take,
                speed,
                int(begin),
                int(position),
                int(position + length),
                int(begin + take.label_onset / speed),
                int(begin + take.label_offset / speed),
                float(generator.uniform(*kind.snr_db)),
            )
        )
        position += length
    return placed


def _chain(generator: np.random.Generator, rooms: list[Samples], microphone: list[NDArray[np.float64]]) -> Samples:
    """A voice's way: a room (nearly dry for one in six), an equaliser, sometimes a telephone, the microphone."""
    response = np.ones(1, dtype=np.float32) if generator.random() < 0.17 else rooms[int(generator.integers(len(rooms)))]
    sections = [equaliser(generator)]
    if generator.random() < 0.15:
        sections.append(telephone_band(generator))
    return chain(response, sections + microphone)


def _add_at_ratio(speech: Samples, noise: Samples, item: Placed, sound: Samples) -> None:
    """Add a sound so that its keyword, or the whole of it, stands `snr_db` above the noise within 0.2 s of it."""
    onset, offset = (item.label_onset, item.label_offset) if item.take.label else (item.onset, item.offset)
    around = noise[max(onset - AROUND_SAMPLES, 0) : offset + AROUND_SAMPLES]
    wanted = mean_power(around) * 10.0 ** (item.snr_db / 10.0)
    power = mean_power(sound[onset - item.place : offset - item.place])
    begin, first = max(item.place, 0), max(-item.place, 0)
    end = min(begin + len(sound) - first, len(speech))
    speech[begin:end] += sound[first : first + end - begin] * np.float32(np.sqrt(wanted / max(power, 1e-12)))


def _noise(
    generator: np.random.Generator, kind: Kind, stock: Takes, placed: list[Placed], num_samples: int
) -> tuple[Samples, float]:
    """Steady noise of unit power, with unsteady ones over it until they cover the wanted share of time."""
    noise = coloured_noise(generator, num_samples)
    num_frames = num_samples // NOISE_FRAME_SAMPLES
    is_free = np.ones(num_frames, dtype=bool)
    for item in placed:
        if item.take.label:
            is_free[item.label_onset // NOISE_FRAME_SAMPLES : item.label_offset // NOISE_FRAME_SAMPLES + 1] = False
    is_covered = np.zeros(num_frames, dtype=bool)
    names = sorted(UNSTEADY) + (["babble"] if kind.babble else [])
    while is_covered[is_free].mean() < kind.noise_share:
        length = min(int(np.exp(generator.uniform(np.log(0.3), np.log(9.0))) * RATE_HZ), num_samples)
        name = names[int(generator.integers(len(names)))]
        sound = babble(generator, length, stock) if name == "babble" else UNSTEADY[name](generator, length)
        sound *= np.float32(10.0 ** (generator.uniform(2.0, 24.0) / 20.0))
        sound *= np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / 160.0).astype(np.float32)
        first = int(generator.integers(num_samples - length + 1)) // NOISE_FRAME_SAMPLES
        place = first * NOISE_FRAME_SAMPLES
        length = min(length, num_samples - place)
        noise[place : place + length] += sound[:length]
        whole = length // NOISE_FRAME_SAMPLES
        frames = sound[: whole * NOISE_FRAME_SAMPLES].reshape(whole, NOISE_FRAME_SAMPLES)
        is_covered[first : first + whole] |= np.mean(frames**2, axis=1) > 1.0
    return noise, float(is_covered[is_free].mean())


def babble(generator: np.random.Generator, num_samples: int, stock: Takes) -> Samples:
    """Four to seven voices of the split at once, of unit power: a crowd, no word of which is a keyword."""
    sound = np.zeros(num_samples, dtype=np.float32)
    takes = stock.by_sort["sentence"]
    for _ in range(int(generator.integers(4, 8))):
        place = -int(generator.integers(RATE_HZ))
        while place < num_samples:
            samples = stock.samples(takes[int(generator.integers(len(takes)))])
            begin, first = max(place, 0), max(-place, 0)
            end = min(place + len(samples), num_samples)
            if end > begin:
                sound[begin:end] += samples[first : first + end - begin]
            place += len(samples)
    return np.asarray(sound / np.sqrt(max(mean_power(sound), 1e-12)), dtype=np.float32)
