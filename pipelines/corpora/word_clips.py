"""A word spotter from clips of your own: `WordClips` mixes them into long streams, and keeps them to judge by."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurizers.media import open_audio, write_audio
from pipelines.corpora import staging
from pipelines.corpora.acoustics import RATE_HZ
from pipelines.corpora.clip_folder import ClipFolder
from pipelines.corpora.clip_sounds import Unusable
from pipelines.corpora.clip_stock import OwnClip, OwnClips, read_clip, word_limits
from pipelines.corpora.espeak import Synthesiser
from pipelines.corpora.streams import KINDS
from pipelines.corpora.texts import Lexicon, check_spelling
from pipelines.corpora.utterances import SPLITS
from pipelines.errors import UserError
from pipelines.events import Event, Recording

CODE_VERSION = 1  # raised whenever the same arguments give other samples

TRAIN_HOURS = {"practice": 1.0, "dry": 1.0, "talkative": 0.5}
VALIDATION_HOURS = {"talkative": 0.5}
TEST_HOURS = {"talkative": 0.5}


class WordClips:
    """Streams made of your own clips of words, other speech and noise between them; and the test clips by themselves.

    Clips, classes and splits are found as `ClipFolder` does: a folder per word, or a table. Each word is cut out of its
    clip where it sounds, or where the table says, however tight the clip was trimmed, and mixed into streams of the
    kinds of `SpokenWords`. Between words a synthesiser says other English, files of the classes `negatives` are heard
    as well, and noises and rooms are computed. Training words come at many speeds. The kind "dry" has neither room nor
    unsteady noise, and words at 25 to 70 dB above the noise, as a trimmed clip has: for training.

    Clips of the test split come again as recordings of their own, kind "clip": the whole clip with silence on both
    sides, to tell how many are named right. A recording of several words is none of them.

    A split that has no clip of a word has it said by the synthesiser, which so also stands in for validation and test
    where all clips are needed for training (`splits: {}`). A handful of clips becomes enough with `synthesised`.

    Args:
        audio: the folder.
        table, columns, labels, negatives, group_pattern, splits, split_clips_at_random: see `ClipFolder`.
        said_as: label -> how it is spelled as English is, such as {"7": seven}; null: it is no English word. Other
            labels are spelled as they are, "_" and "-" for a space. Other speech keeps clear of these words.
        synthesised: share of the training takes of each word that the synthesiser says, from 0 to below 1.
        train_hours: hours of streams of each kind to train on.
        validation_hours: the same, to choose thresholds on.
        test_hours: the same, to judge by.
        stream_seconds: length of a stream; hours are rounded to whole streams, at least one.
        pad_seconds: silence on both sides of a test clip.
        seed: start of all random numbers, those of `ClipFolder` included.
        num_workers: how many processes prepare the corpus; the result does not depend on it.

    Raises:
        UserError: if a number is out of range, or a kind is unknown. Clips are looked at by `labels` and `prepare`.
    """

    def __init__(
        self,
        audio: str,
        *,
        table: str | None = None,
        columns: dict[str, str] | None = None,
        labels: list[str] | None = None,
        negatives: list[str] | tuple[str, ...] = ("_background_noise_", "_unknown_"),
        group_pattern: str | None = None,
        splits: dict[str, list[str]] | None = None,
        split_clips_at_random: bool = False,
        said_as: dict[str, str | None] | None = None,
        synthesised: float = 0.0,
        train_hours: dict[str, float] = TRAIN_HOURS,
        validation_hours: dict[str, float] = VALIDATION_HOURS,
        test_hours: dict[str, float] = TEST_HOURS,
        stream_seconds: float = 120.0,
        pad_seconds: float = 0.7,
        seed: int = 7,
        num_workers: int = 2,
    ) -> None:
        if not 0 <= synthesised < 1:
            raise UserError(f"synthesised={synthesised} must be from 0 to below 1; SpokenWords needs no clips at all")
        if not 10 <= stream_seconds <= 3600:
            raise UserError(f"stream_seconds={stream_seconds} must be from 10 to 3600; 120 is usual")
        if not 0 <= pad_seconds <= 10:
            raise UserError(f"pad_seconds={pad_seconds} must be from 0 to 10")
        if num_workers < 1:
            raise UserError(f"num_workers={num_workers} must be at least 1")
        self.hours = {"train": dict(train_hours), "validation": dict(validation_hours), "test": dict(test_hours)}
        for split, of_kind in self.hours.items():
            for kind, hours in of_kind.items():
                if kind not in KINDS:
                    raise UserError(f"{split}_hours names the kind {kind!r}; the kinds are {', '.join(KINDS)}")
                if not 0 <= hours < 10_000:
                    raise UserError(f"{split}_hours has {hours} hours of {kind!r}; it must be a number from 0 to 9999")
        self.said_as, self.synthesised = said_as or {}, synthesised
        self.stream_seconds, self.pad_seconds = stream_seconds, pad_seconds
        self.seed, self.num_workers = seed, num_workers
        self._folder: dict[str, Any] = {
            "audio": audio,
            "table": table,
            "columns": columns,
            "labels": labels,
            "negatives": negatives,
            "group_pattern": group_pattern,
            "splits": splits,
            "split_clips_at_random": split_clips_at_random,
            "seed": seed,
        }
        self._spoken: dict[str, list[str]] = {}

    @cached_property
    def clips(self) -> ClipFolder:
        """The folder, looked at when it is first needed."""
        return ClipFolder(**self._folder)

    @property
    def labels(self) -> tuple[str, ...]:
        """What is looked for, in the order given, or by alphabet."""
        return self.clips.labels

    @property
    def unusable(self) -> list[Unusable]:
        """What `prepare` left out, with reasons."""
        return self.clips.unusable

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """Stage streams and padded test clips as 16 kHz mono FLAC files below `folder`, and return what is in them.

        Every set of arguments, clips and seed has a folder of its own there: complete, it is reused; interrupted, it is
        continued. Beside the streams lie the tables of `SpokenWords`.

        Args:
            folder: for streams, padded clips, and the measured limits of the sounds.
            seed: added to the corpus's own.
            progress: called with what is being done, how many steps are done, and how many there are.

        Raises:
            UserError: if a split lacks a word that nobody can say, or the clips cannot be split; see `ClipFolder`.
            SynthesisError: if the synthesiser's package is missing.
        """
        progress = progress or _unwatched
        own = self._own_clips(self.clips.prepare(folder, seed=seed, progress=progress))
        spellings = self._spellings()
        self._spoken = self._spoken_words(own, spellings.values())
        staged = Path(folder) / f"word-clips-{self._fingerprint(own, spellings, self.seed + seed)}"
        num_words = Counter(clip.path for clip in own)
        tests = [clip for clip in own if clip.split == "test" and clip.label and num_words[clip.path] == 1]
        if not staging.is_complete(staged):
            (staged / "clips").mkdir(parents=True, exist_ok=True)
            for number, clip in enumerate(tests):
                self._pad(clip, self._padded_path(staged, number, clip))
                progress("padding test clips", number + 1, len(tests))
            progress("choosing other words", 0, 1)
            with Synthesiser() as synthesiser:
                lexicon = Lexicon(tuple(spellings), synthesiser)
            progress("choosing other words", 1, 1)
            staging.stage(
                staged,
                tuple(spellings),
                lexicon,
                self.hours,
                stream_seconds=self.stream_seconds,
                seed=self.seed + seed,
                num_workers=self.num_workers,
                progress=progress,
                open_stock=OwnClips(tuple(own), spellings, self.synthesised, self.seed + seed).open,
            )
        return staging.read_recordings(staged) + [
            self._padded(staged, number, clip) for number, clip in enumerate(tests)
        ]

    def card(self) -> str:
        """Where the sound comes from, for a model card."""
        spoken = "; ".join(f"{split}: {', '.join(words)}" for split, words in self._spoken.items() if words)
        told = [self.clips.card()]
        if self.synthesised:
            told.append(f"{self.synthesised:.0%} of the training takes of each word are synthesised.")
        if spoken:
            told.append(f"Where no clips were at hand, the synthesiser says the words ({spoken}).")
        told.append(
            "All words were mixed into streams with English speech of the synthesiser espeak-ng (GPL-3.0; run in a "
            "process of its own) and computed rooms and noises between them."
        )
        return " ".join(told)

    def _own_clips(self, recordings: Iterable[Recording]) -> list[OwnClip]:
        """Words, each where it sounds, and recordings without any."""
        own = []
        for recording in recordings:
            path, split, who = recording.source, recording.split, recording.group or recording.source.stem
            if not recording.events:
                own.append(OwnClip(path, "", split, who))
            elif self.clips.has_times:
                with open_audio(path, RATE_HZ) as stream:
                    start = stream.start_seconds
                own += [
                    OwnClip(path, event.label, split, who, event.onset_seconds - start, event.offset_seconds - start)
                    for event in recording.events
                ]
            else:
                onset, offset = (sample / RATE_HZ for sample in word_limits(read_clip(path)))
                own.append(OwnClip(path, recording.events[0].label, split, who, onset, offset))
        return own

    def _spellings(self) -> dict[str, str]:
        """Spelling -> label of every word that the synthesiser can say."""
        spellings: dict[str, str] = {}
        for label in self.said_as:
            if label not in self.labels:
                raise UserError(f"said_as names {label!r}, which is no label; they are {', '.join(self.labels)}")
        for label in self.labels:
            spelled = self.said_as.get(label, label.replace("_", " ").replace("-", " "))
            if spelled is None:
                continue
            try:
                check_spelling([spelled])
            except UserError as error:
                raise UserError(
                    f"label {label!r}: {error}. Say in said_as how it is spelled, or `{label!r}: null` if it is no "
                    "English word"
                ) from None
            if spelled in spellings:
                raise UserError(f"said_as spells {spellings[spelled]!r} and {label!r} alike ({spelled}); change one")
            spellings[spelled] = label
        return spellings

    def _spoken_words(self, own: Sequence[OwnClip], spoken: Iterable[str]) -> dict[str, list[str]]:
        """Split -> words of which it has no clip, so that the synthesiser says them."""
        can_say = set(spoken)
        lacking = {}
        for split in SPLITS:
            has = {clip.label for clip in own if clip.split == split}
            lacking[split] = [label for label in self.labels if label not in has]
            for label in lacking[split]:
                if label not in can_say and sum(self.hours[split].values()) > 0:
                    raise UserError(
                        f"the {split} split has no clip of {label!r}, and said_as says that nobody can say it; record "
                        "more speakers, name other splits, or give no hours to that split"
                    )
        return lacking

    def _padded_path(self, staged: Path, number: int, clip: OwnClip) -> Path:
        return staged / "clips" / f"{number:05d}-{clip.path.stem}.flac"

    def _pad(self, clip: OwnClip, path: Path) -> None:
        silence = np.zeros(round(self.pad_seconds * RATE_HZ), np.float32)
        write_audio(path, np.concatenate([silence, read_clip(clip.path), silence]), RATE_HZ)

    def _padded(self, staged: Path, number: int, clip: OwnClip) -> Recording:
        pad = round(self.pad_seconds * RATE_HZ) / RATE_HZ
        event = Event(clip.onset_seconds + pad, clip.offset_seconds + pad, clip.label)
        path = self._padded_path(staged, number, clip)
        return Recording(path, (event,), (clip.label,), None, "test", "test voices", "clip")

    def _fingerprint(self, own: Sequence[OwnClip], spellings: dict[str, str], seed: int) -> str:
        files = [(str(c.path), *c[1:], c.path.stat().st_size, c.path.stat().st_mtime_ns) for c in own]
        facts = [CODE_VERSION, files, spellings, self.synthesised, self.hours, self.stream_seconds, self.pad_seconds]
        return hashlib.sha256(json.dumps([*facts, seed]).encode()).hexdigest()[:12]


def _unwatched(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""
    del what, done, total
