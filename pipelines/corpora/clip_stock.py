"""Words from people's own clips, ready to be mixed into streams: `OwnClips` puts them beside a synthesiser's speech."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from featurizers.media import open_audio
from pipelines.corpora.acoustics import (
    LEVEL_FRAME_SAMPLES,
    RATE_HZ,
    SPEECH_RANGE_DB,
    Limits,
    Samples,
    frame_power,
    sound_limits,
)
from pipelines.corpora.utterances import SPLITS, Stock, Take

KEPT_SAMPLES = 2400  # of a clip before and after its word: 0.15 s
FADE_SAMPLES = 160
ABOVE_NOISE_DB = 12.0  # a word is so much louder than its clip's noise, where the clip has at least QUIET_DB of room
QUIET_DB = 24.0
NOISE_SHARE = 0.15  # of a clip's frames are at most as loud as its noise
PAUSE_FRAMES = 20  # 0.2 s: longer ones end a word
VERSIONS = 6  # of each training clip, at speeds of their own
SPEEDS = (0.80, 1.25)
PIECE_SAMPLES = 4 * RATE_HZ  # of recordings without words
LONGEST_NEGATIVE_SECONDS = 600.0  # read of each
OWN = -1  # the chunk of takes that nobody synthesised


class OwnClip(NamedTuple):
    """A clip, and where in it its word is; label "": a recording without words that are looked for.

    Args:
        onset_seconds, offset_seconds: from the first sample.
        who: the speaker or source, or the file's name.
    """

    path: Path
    label: str
    split: str
    who: str
    onset_seconds: float = 0.0
    offset_seconds: float = 0.0


class OwnClips(NamedTuple):
    """What worker processes need to open a `ClipStock`.

    Args:
        clips: all splits'.
        spellings: what the synthesiser was asked to say -> label.
        synthesised: share of the training takes of each word that the synthesiser says.
        seed: of the speeds of training takes.
    """

    clips: tuple[OwnClip, ...]
    spellings: dict[str, str]
    synthesised: float
    seed: int

    def open(self, folder: Path, split: str, chunks: int) -> "ClipStock":
        """The takes of a split, in a worker process; the synthesiser's lie in so many chunks in the folder."""
        return ClipStock(Stock(folder, split, chunks), self, split)


class ClipStock:
    """All takes of a split: words from clips, other speech from a synthesiser and from clips without words.

    A training clip has several takes, each faster and higher or slower and lower: what a few speakers' voices lack in
    variety. A word of which the split has no clip is said by the synthesiser alone.
    """

    def __init__(self, spoken: Stock, own: OwnClips, split: str) -> None:
        self._spoken = spoken
        self._sounds: list[NDArray[np.int16]] = []
        self._versions: list[tuple[int, float]] = []
        self.by_sort = {
            sort: list(takes) for sort, takes in spoken.by_sort.items() if sort not in ("keyword", "carrier")
        }
        self.sentences_of = {who: list(takes) for who, takes in spoken.sentences_of.items()}
        said = {
            own.spellings[spelling]: [take._replace(label=own.spellings[spelling]) for take in takes]
            for spelling, takes in spoken.keywords_by_label.items()
        }
        self.keywords_by_label: dict[str, list[Take]] = {}
        clips = [clip for clip in own.clips if clip.split == split]
        generator = np.random.default_rng([own.seed, SPLITS.index(split), 3])
        for label in sorted({clip.label for clip in clips} - {""} | said.keys()):
            of_label = [clip for clip in clips if clip.label == label]
            self.keywords_by_label[label] = self._mixed(
                of_label, said.get(label, []), own.synthesised, split, generator
            )
        for clip in clips:
            if not clip.label:
                self._add_pieces(clip)

    def samples(self, take: Take) -> Samples:
        """(length,) float32 at 16 kHz."""
        if take.chunk != OWN:
            return self._spoken.samples(take)
        place, speed = self._versions[take.start]
        samples = self._sounds[place].astype(np.float32) / np.float32(32768.0)
        return samples if speed == 1.0 else resampled(samples, speed)

    def _mixed(
        self, clips: list[OwnClip], said: list[Take], synthesised: float, split: str, generator: np.random.Generator
    ) -> list[Take]:
        """Takes of one word in the wanted shares; of clips alone where the split is to judge by and has some."""
        if not clips:
            return said
        if split != "train":
            return [self._take(clip, self._sound(clip), 1.0) for clip in clips]
        said = said if synthesised > 0 else []
        wanted = len(said) * (1 - synthesised) / synthesised if said else 0.0
        num_versions = max(VERSIONS, math.ceil(wanted / len(clips)))
        takes = []
        for clip in clips:
            sound = self._sound(clip)
            for _ in range(num_versions):
                takes.append(self._take(clip, sound, float(np.exp(generator.uniform(*np.log(SPEEDS))))))
        num_said = round(len(takes) * synthesised / (1 - synthesised)) if said else 0
        return takes + [said[number % len(said)] for number in range(num_said)]

    def _sound(self, clip: OwnClip) -> int:
        """The samples of a clip around its word, faded at both ends; returns their place."""
        samples = read_clip(clip.path)
        begin = max(0, round(clip.onset_seconds * RATE_HZ) - KEPT_SAMPLES)
        end = min(len(samples), round(clip.offset_seconds * RATE_HZ) + KEPT_SAMPLES)
        self._sounds.append(_stored(samples[begin:end]))
        return len(self._sounds) - 1

    def _take(self, clip: OwnClip, place: int, speed: float) -> Take:
        begin = max(0, round(clip.onset_seconds * RATE_HZ) - KEPT_SAMPLES)
        self._versions.append((place, speed))
        length = round(len(self._sounds[place]) / speed)
        onset = round((clip.onset_seconds * RATE_HZ - begin) / speed)
        offset = min(length, round((clip.offset_seconds * RATE_HZ - begin) / speed))
        start = len(self._versions) - 1
        return Take(
            "keyword", clip.label, clip.who, "own", start, length, onset, offset, clip.label, onset, offset, OWN
        )

    def _add_pieces(self, clip: OwnClip) -> None:
        """A recording without words, in pieces: running speech, or a single word if it is short."""
        samples = read_clip(clip.path, LONGEST_NEGATIVE_SECONDS)
        for begin in range(0, len(samples), PIECE_SAMPLES):
            piece = samples[begin : begin + PIECE_SAMPLES]
            if len(piece) < RATE_HZ // 4 or float(np.abs(piece).max()) < 1e-4:
                continue
            self._sounds.append(_stored(piece))
            self._versions.append((len(self._sounds) - 1, 1.0))
            sort = "word" if len(piece) <= 1.5 * RATE_HZ else "sentence"
            start = len(self._versions) - 1
            take = Take(sort, "", clip.who, "own", start, len(piece), 0, len(piece), "", 0, len(piece), OWN)
            self.by_sort.setdefault(sort, []).append(take)
            if sort == "sentence":
                self.sentences_of.setdefault(clip.who, []).append(take)


def read_clip(path: Path, most_seconds: float = math.inf) -> Samples:
    """(samples,) at 16 kHz, channels mixed, from the first sample on."""
    blocks: list[NDArray[Any]] = []
    with open_audio(path, RATE_HZ) as stream:
        for block in stream.blocks(RATE_HZ * 10):
            blocks.append(np.asarray(block).reshape(-1))
            if len(blocks) * 10 >= most_seconds:
                break
    return np.concatenate([np.zeros(0, np.float32), *blocks]).astype(np.float32)


def word_limits(samples: Samples) -> Limits:
    """Where the word in a clip is: the strongest stretch of sound without a pause of 0.2 s.

    Sound is what lies within 35 dB of the loudest moment, and clearly above the clip's noise where that is known: in a
    clip whose quietest 15 % are at least 24 dB below its loudest moment.

    Raises:
        ValueError: if the samples are silent.
    """
    power = frame_power(samples)
    if power.size == 0 or power.max() <= 0:
        return sound_limits(samples)
    level_db = 10 * np.log10(np.maximum(power, 1e-12))
    least, noise = level_db.max() - SPEECH_RANGE_DB, float(np.quantile(level_db, NOISE_SHARE))
    if level_db.max() - noise >= QUIET_DB:
        least = max(least, noise + ABOVE_NOISE_DB)
    loud = np.flatnonzero(level_db >= least)
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > PAUSE_FRAMES) + 1)
    strongest = max(parts, key=lambda part: float(power[part].sum()))
    end = min((int(strongest[-1]) + 1) * LEVEL_FRAME_SAMPLES, len(samples))
    return Limits(int(strongest[0]) * LEVEL_FRAME_SAMPLES, end)


def resampled(samples: Samples, speed: float) -> Samples:
    """Faster and higher (speed above 1), or slower and lower."""
    return np.asarray(soxr.resample(samples, RATE_HZ * speed, RATE_HZ, quality="LQ"), dtype=np.float32)


def _stored(samples: Samples) -> NDArray[np.int16]:
    """With faded ends and a peak just under full scale."""
    fade = np.minimum(1.0, (np.minimum(np.arange(len(samples)), np.arange(len(samples))[::-1]) + 1) / FADE_SAMPLES)
    faded = samples * fade
    return np.round(faded * (32000.0 / max(float(np.abs(faded).max(initial=0.0)), 1e-6))).astype(np.int16)
