"""A split's stock of things said, synthesised once and mixed many times: `speak_chunk` makes it, `Stock` reads it."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipelines.corpora.acoustics import RATE_HZ, Samples, sound_limits
from pipelines.corpora.espeak import Request, Synthesiser, Utterance, voices
from pipelines.corpora.texts import Lexicon

SPLITS = ("train", "validation", "test")
# Things said per chunk; a chunk lasts about five minutes.
NUM_KEYWORDS, NUM_CARRIERS, NUM_WORDS, NUM_SENTENCES, NUM_NEAR_MISSES = 80, 40, 80, 60, 40
REQUESTS_PER_ROUND_TRIP = 70
MELODIES = ("", "", "!", "?", ",")  # ends of a single word, heard as its melody


class Take(NamedTuple):
    """One thing said.

    Args:
        sort: "keyword" (alone), "carrier" (a sentence around a keyword), "sentence" or "word" (without a keyword), or
            "near miss" (a confusable or invented word, to teach with).
        text: what was said.
        variant, accent: who said it, and how.
        start, length: where its samples lie in the chunk.
        onset, offset: limits of the sound, in samples from its start.
        label: the keyword, or "".
        label_onset, label_offset: limits of the keyword, in samples from the start.
        chunk: which chunk.
    """

    sort: str
    text: str
    variant: str
    accent: str
    start: int
    length: int
    onset: int
    offset: int
    label: str
    label_onset: int
    label_offset: int
    chunk: int = 0


class _Plan(NamedTuple):
    sort: str
    label: str
    character: int
    request: Request
    speed: float


def num_chunks(hours: float) -> int:
    """How many chunks a split of so many hours of streams draws from: a take is used about twice."""
    return max(1, min(40, round(4.0 * hours)))


def speak_chunk(folder: Path, split: str, chunk: int, words: tuple[str, ...], lexicon: Lexicon, seed: int) -> None:
    """Synthesise one chunk into `folder`: a .npy file of 16 kHz samples, then a .json file of takes."""
    generator = np.random.default_rng([seed, SPLITS.index(split), 0, chunk])
    plans = _plan(generator, split, words, lexicon)
    takes: list[Take] = []
    sounds: list[NDArray[np.int16]] = []
    start = 0
    with Synthesiser() as synthesiser:
        for first in range(0, len(plans), REQUESTS_PER_ROUND_TRIP):
            batch = plans[first : first + REQUESTS_PER_ROUND_TRIP]
            for plan, utterance in zip(batch, synthesiser.say_all([plan.request for plan in batch]), strict=True):
                made = _take(plan, utterance, start)
                if made is None:
                    continue
                take, sound = made
                takes.append(take)
                sounds.append(sound)
                start += take.length
    stem = folder / f"{split}-{chunk:03d}"
    partial = stem.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, np.concatenate(sounds))
    partial.replace(stem.with_suffix(".npy"))
    partial.write_text(json.dumps(takes))
    partial.replace(stem.with_suffix(".json"))


def _plan(generator: np.random.Generator, split: str, words: tuple[str, ...], lexicon: Lexicon) -> list[_Plan]:
    """What to say in a chunk, by whom and how; voices and keywords take turns in random order."""
    everyone = voices(split)
    variants = sorted({voice.variant for voice in everyone})
    sorts = ["keyword"] * NUM_KEYWORDS + ["carrier"] * NUM_CARRIERS if words else []
    sorts += ["word"] * NUM_WORDS + ["sentence"] * NUM_SENTENCES
    look_alikes = (*lexicon.confusable, *lexicon.invented)
    if split == "train" and look_alikes:
        sorts += ["near miss"] * NUM_NEAR_MISSES
    order = [
        variants[place]
        for _ in range(1 + len(sorts) // len(variants))
        for place in generator.permutation(len(variants))
    ]
    rounds = range(1 + 120 // len(words)) if words else ()
    labels = [words[place] for _ in rounds for place in generator.permutation(len(words))]
    plans = []
    for number, sort in enumerate(sorts):
        label, character = "", 0
        if sort == "keyword":
            label = labels[number]
            text = label + MELODIES[int(generator.integers(len(MELODIES)))]
        elif sort == "carrier":
            label = labels[number]
            carrier = one_of(generator, lexicon.carriers)
            text, character = carrier.format(label), carrier.index("{}")
        elif sort in ("word", "near miss"):
            word = lexicon.word(generator) if sort == "word" else one_of(generator, look_alikes)
            text = word + MELODIES[int(generator.integers(len(MELODIES)))]
        else:
            text = lexicon.sentence(generator)
        speakers = [voice for voice in everyone if voice.variant == order[number]]
        request = Request(
            text,
            speakers[int(generator.integers(len(speakers)))],
            rate_wpm=int(generator.integers(120, 231)),
            pitch=int(generator.integers(25, 76)),
            pitch_range=int(generator.integers(20, 90)),
        )
        plans.append(_Plan(sort, label, character, request, float(generator.uniform(0.87, 1.15))))
    return plans


def _take(plan: _Plan, utterance: Utterance, start: int) -> tuple[Take, NDArray[np.int16]] | None:
    """The utterance at 16 kHz, made smaller or larger (faster and higher, or slower and lower); None if it is
    silent or its keyword cannot be told apart."""
    if len(utterance.samples) == 0 or float(np.abs(utterance.samples).max()) < 0.01:
        return None
    samples: Samples = soxr.resample(utterance.samples, utterance.rate_hz * plan.speed, RATE_HZ, quality="MQ")
    limits = sound_limits(samples)
    label_onset, label_offset = limits
    if plan.sort == "carrier":
        starts = {word.character: round(word.seconds / plan.speed * RATE_HZ) for word in utterance.word_starts}
        if plan.character not in starts:
            return None  # the keyword was spoken as one with the word before it
        begin = starts[plan.character]
        end = min(
            (at for place, at in starts.items() if place >= plan.character + len(plan.label)), default=len(samples)
        )
        word = sound_limits(samples[begin:end])
        label_onset, label_offset = begin + word.onset, begin + word.offset
    peak = max(float(np.abs(samples).max()), 1e-6)
    sound = np.round(samples * (32000.0 / peak)).astype(np.int16)
    voice = plan.request.voice
    text = plan.request.text.rstrip("!?,")
    take = Take(
        plan.sort, text, voice.variant, voice.accent, start, len(sound),
        min(limits.onset, label_onset), max(limits.offset, label_offset), plan.label, label_onset, label_offset,
    )  # fmt: skip
    return take, sound


def one_of(generator: np.random.Generator, pool: tuple[str, ...]) -> str:
    """One of several texts at random."""
    return pool[int(generator.integers(len(pool)))]


class Stock:
    """All takes of a split, read from the chunks in a folder."""

    def __init__(self, folder: Path, split: str, chunks: int) -> None:
        self.takes: list[Take] = []
        self._samples: list[NDArray[np.int16]] = []
        for chunk in range(chunks):
            stem = folder / f"{split}-{chunk:03d}"
            self._samples.append(np.load(stem.with_suffix(".npy"), mmap_mode="r"))
            self.takes += [
                Take(*fields)._replace(chunk=chunk) for fields in json.loads(stem.with_suffix(".json").read_text())
            ]
        self.by_sort: dict[str, list[Take]] = {}
        self.sentences_of: dict[str, list[Take]] = {}
        for take in self.takes:
            self.by_sort.setdefault(take.sort, []).append(take)
            if take.sort == "sentence":
                self.sentences_of.setdefault(take.variant, []).append(take)
        self.keywords_by_label: dict[str, list[Take]] = {}
        for take in self.by_sort.get("keyword", []) + self.by_sort.get("carrier", []):
            self.keywords_by_label.setdefault(take.label, []).append(take)

    def samples(self, take: Take) -> Samples:
        """(length,) float32 at 16 kHz, peak just under 1."""
        whole = self._samples[take.chunk][take.start : take.start + take.length]
        return whole.astype(np.float32) / np.float32(32768.0)
