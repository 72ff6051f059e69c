"""A corpus without recordings: `SpokenWords` has a synthesiser say keywords amid other speech and noise."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.corpora import staging
from pipelines.corpora.espeak import ACCENTS, VARIANTS, Synthesiser
from pipelines.corpora.streams import KINDS
from pipelines.corpora.texts import Lexicon, check_spelling
from pipelines.errors import UserError
from pipelines.events import Recording

CODE_VERSION = 6  # raised whenever the same arguments give other samples

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
TRAIN_HOURS = {"practice": 1.5, "talkative": 2.0, "quiet": 1.0}
VALIDATION_HOURS = {"talkative": 0.5, "quiet": 0.5}
TEST_HOURS = {"talkative": 1.0, "quiet": 1.0}


class SpokenWords:
    """Streams in which a synthesiser says words, with noise and other speech, for training and testing a word spotter.

    Kinds of stream: "talkative" (other speech half of the time, keywords 6 %), "quiet" (speech a tenth of the
    time, keywords 2.5 %), "sparse" (all speech together at most 1 %), "practice" (keywords a quarter of the time; for
    training only), "dry" (as dense, without rooms and unsteady noise; see `WordClips`).

    Args:
        words: the keywords, in English; they are the labels.
        train_hours: hours of streams of each kind to train on.
        validation_hours: the same, to choose thresholds on; other voices.
        test_hours: the same, to judge by; other voices again.
        stream_seconds: length of a stream; hours are rounded to whole streams, at least one.
        seed: start of all random numbers. Another one is another corpus of the same kind: choose by one, judge by one
            that no choice has seen.
        num_workers: how many processes prepare the corpus; the result does not depend on it.

    Raises:
        UserError: if a word is no English word, a kind is unknown, or a number is out of range.
    """

    def __init__(
        self,
        words: Sequence[str] = WORDS,
        *,
        train_hours: dict[str, float] = TRAIN_HOURS,
        validation_hours: dict[str, float] = VALIDATION_HOURS,
        test_hours: dict[str, float] = TEST_HOURS,
        stream_seconds: float = 300.0,
        seed: int = 7,
        num_workers: int = 2,
    ) -> None:
        check_spelling(words)
        self.labels = tuple(words)
        self.hours = {"train": dict(train_hours), "validation": dict(validation_hours), "test": dict(test_hours)}
        for split, hours_of_kind in self.hours.items():
            _check_hours(split, hours_of_kind)
        if not 10 <= stream_seconds <= 3600:
            raise UserError(f"stream_seconds={stream_seconds} must be from 10 to 3600; 300 is usual")
        if num_workers < 1:
            raise UserError(f"num_workers={num_workers} must be at least 1")
        if not 0 <= seed < 2**32:
            raise UserError(f"seed={seed} must be a whole number from 0 to {2**32 - 1}")
        self.stream_seconds = stream_seconds
        self.seed = seed
        self.num_workers = num_workers

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """Stage all streams as 16 kHz mono FLAC files below `folder`, and return what is in them.

        Every set of arguments and seed has a folder of its own there: complete, it is reused; interrupted, it is
        continued. The same arguments and seed give the same bytes. Beside the streams lie recordings.csv (shares of
        keywords, speech, unsteady noise), events.csv (also voice and signal-to-noise ratio) and speech.csv (see
        `speech_spans`).

        Args:
            seed: added to the corpus's own.
            progress: called with what is being done, how many steps are done, and how many there are.

        Raises:
            UserError: if a word cannot be said, or two sound the same.
            SynthesisError: if the synthesiser's package is missing.
        """
        staged = Path(folder) / f"spoken-words-{self._fingerprint(self.seed + seed)}"
        if not staging.is_complete(staged):
            with Synthesiser() as synthesiser:
                lexicon = Lexicon(self.labels, synthesiser)
            staging.stage(
                staged,
                self.labels,
                lexicon,
                self.hours,
                stream_seconds=self.stream_seconds,
                seed=self.seed + seed,
                num_workers=self.num_workers,
                progress=progress or _unwatched,
            )
        return staging.read_recordings(staged)

    def card(self) -> str:
        """Where the sound comes from, for a model card."""
        return (
            f"Trained without recordings: the words {', '.join(self.labels)}, and all other speech, were said by the "
            "speech synthesiser espeak-ng (GPL-3.0; package espeakng-loader, run in a process of its own) in "
            f"{sum(map(len, VARIANTS.values()))} voice variants and {len(ACCENTS)} accents of English, the voices "
            "disjoint between training, validation and test. The synthesised sound is output of that program, not a "
            "part of it. Rooms, filters and noises were computed. No recording of a person or a place was used. Expect "
            "more errors on voices unlike those of a synthesiser: children, strong accents, strong emotion."
        )

    def _fingerprint(self, seed: int) -> str:
        facts = [CODE_VERSION, self.labels, self.hours, self.stream_seconds, seed]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _unwatched(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""
    del what, done, total


def _check_hours(split: str, hours_of_kind: dict[str, float]) -> None:
    for kind, hours in hours_of_kind.items():
        if kind not in KINDS:
            raise UserError(f"{split}_hours names the kind {kind!r}; the kinds are {', '.join(KINDS)}")
        if kind == "practice" and split != "train":
            raise UserError(f"{split}_hours names the kind 'practice', which is for training only; leave it out")
        if not 0 <= hours < 10_000:
            raise UserError(f"{split}_hours has {hours} hours of {kind!r}; it must be a number from 0 to 9999")
