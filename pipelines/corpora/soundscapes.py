"""A corpus of long recordings in which sounds happen, computed or mixed from your own clips: `Soundscapes`."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.corpora import sound_staging, staging
from pipelines.corpora.sound_backgrounds import UNSTEADY
from pipelines.corpora.sound_clips import Group, Variation, deal, find_groups
from pipelines.corpora.sound_mixing import KINDS, SoundKind
from pipelines.corpora.sound_near_misses import NEAR_MISSES
from pipelines.corpora.sound_sources import NUM_INDIVIDUALS, SOURCES
from pipelines.corpora.sound_speech import SPEECH
from pipelines.errors import UserError
from pipelines.events import Recording
from pipelines.yaml_text import did_you_mean

CODE_VERSION = 1  # raised whenever the same arguments give other samples

LABELS = (*SOURCES, SPEECH)
NOISES = (*UNSTEADY, *NEAR_MISSES)
TRAIN_HOURS = {"practice": 1.25, "busy": 0.25}
VALIDATION_HOURS = {"busy": 0.5}
TEST_HOURS = {"busy": 0.5, "quiet": 0.5}


class Soundscapes:
    """Long recordings with rare, overlapping sounds among unsteady noise, for training and testing a sound detector.

    Without `foreground` every sound is computed by a model of how it comes about, each take from other numbers, in a
    room; "speech" is said by a synthesiser. With it, clips of your own are mixed as they are (folder FOREGROUND/LABEL/,
    and FOREGROUND/LABEL/INDIVIDUAL/ for clips that belong together). Individuals (a bell, a dog, a voice, a clip or
    folder of clips) and rooms are never shared between splits.

    Kinds of stream: "busy" (events in at most 8 % of the time), "quiet" (at most 0.8 %), "practice" (30 %; streams of
    at most a minute, each another place, for training only). Unsteady noises and sounds that resemble events fill a
    third of the time in each.

    An event lasts from the first to the last 10 ms in which its sound, with its room, is within 30 dB of its loudest
    10 ms and at most 10 dB below the mean level of the noise from 0.2 s before to 0.2 s after it: so long it is heard.

    Args:
        labels: kinds of sounds looked for; None: all that are computed, or all folders of `foreground`.
        foreground: a folder with a folder of clips for each label; None: computed sounds.
        background: a folder with folders of long recordings without any of the labels; None: computed noise.
        train_hours: hours of streams of each kind to train on.
        validation_hours: the same, to choose thresholds on; other individuals.
        test_hours: the same, to judge by; other individuals again.
        stream_seconds: length of a stream; hours are rounded to whole streams, at least one.
        snr_db: lowest and highest level of an event against the noise around it.
        event_shares: kind -> share of the time with events, where it is to differ from the above.
        noises: names of computed noises to mix in; None: all, but next to `foreground` only those that are no event of
            ours or yours, by name.
        stretch: lowest and highest factor by which the length of your clips is changed.
        semitones: lowest and highest number by which the pitch of your clips is changed.
        num_workers: how many processes prepare the corpus; the result does not depend on it.

    Raises:
        UserError: if a label, kind, noise or folder is unknown, a label has no clips, or a number is out of range.
    Source: mixing from folders of clips after Scaper (J. Salamon et al., 2017).
    """

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        *,
        foreground: str | None = None,
        background: str | None = None,
        train_hours: dict[str, float] = TRAIN_HOURS,
        validation_hours: dict[str, float] = VALIDATION_HOURS,
        test_hours: dict[str, float] = TEST_HOURS,
        stream_seconds: float = 600.0,
        snr_db: tuple[float, float] = (0.0, 20.0),
        event_shares: dict[str, float] | None = None,
        noises: Sequence[str] | None = None,
        stretch: tuple[float, float] = (1.0, 1.0),
        semitones: tuple[float, float] = (0.0, 0.0),
        num_workers: int = 2,
    ) -> None:
        self._foreground = find_groups(foreground, "foreground") if foreground is not None else []
        self._background = find_groups(background, "background") if background is not None else []
        self.labels = _checked_labels(labels, self._foreground)
        self._foreground = [group for group in self._foreground if group.label in self.labels]
        self.noises = _checked_noises(noises, self.labels, has_foreground=foreground is not None)
        self.hours = {"train": dict(train_hours), "validation": dict(validation_hours), "test": dict(test_hours)}
        for split, hours_of_kind in self.hours.items():
            _check_hours(split, hours_of_kind)
        self.kinds = _kinds(event_shares or {})
        if not 10 <= stream_seconds <= 3600:
            raise UserError(f"stream_seconds={stream_seconds} must be from 10 to 3600; 600 is usual")
        if num_workers < 1:
            raise UserError(f"num_workers={num_workers} must be at least 1")
        _check_range("snr_db", snr_db, -10.0, 60.0)
        _check_range("stretch", stretch, 0.5, 2.0)
        _check_range("semitones", semitones, -12.0, 12.0)
        self.stream_seconds, self.num_workers = stream_seconds, num_workers
        self.snr_db = (snr_db[0], snr_db[1])
        self.variation = Variation((stretch[0], stretch[1]), (semitones[0], semitones[1]))

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """Stage all streams as 16 kHz mono FLAC files below `folder`, and return what is in them.

        Every set of arguments, clips and seed has a folder of its own there: complete, it is reused; interrupted, it is
        continued. The same arguments, clips and seed give the same bytes. Beside the streams lie events.tsv (filename,
        onset, offset, event_label; signal-to-noise ratio, individual, seed of the take), noises.tsv (what else was
        placed, level against the steady background) and recordings.tsv (split, kind, shares of the time).

        Args:
            progress: called with what is being done, how many steps are done, and how many there are.

        Raises:
            UserError: if a clip cannot be read, a label has too few clips, or events are too many to be placed.
            SynthesisError: if speech is looked for and the synthesiser's package is missing.
        """
        staged = Path(folder) / f"soundscapes-{self._fingerprint(seed)}"
        if not staging.is_complete(staged):
            jobs = sound_staging.jobs_of(self.hours, self.kinds, self.stream_seconds)
            splits = list(dict.fromkeys(job.split for job in jobs))
            plan = sound_staging.Plan(
                staged,
                self.labels,
                self.kinds,
                deal(self._foreground, splits, seed, "foreground") if self._foreground else {},
                deal(self._background, splits, seed, "background") if self._background else {},
                self.variation,
                self.noises,
                self.snr_db,
                seed,
            )
            sound_staging.stage(plan, jobs, self.num_workers, progress or _unwatched)
        return sound_staging.read_recordings(staged)

    def card(self) -> str:
        """Where the sound comes from, for a model card."""
        if self._foreground:
            return (
                f"Trained on mixtures of {sum(len(group.paths) for group in self._foreground)} clips of "
                f"{', '.join(self.labels)}, {'recorded' if self._background else 'computed'} backgrounds, levels "
                f"{self.snr_db[0]:g} to {self.snr_db[1]:g} dB above the noise. Rights in the clips are "
                "those of their owners."
            )
        spoken = (
            " Speech was said by the speech synthesiser espeak-ng (GPL-3.0; package espeakng-loader, run in a process "
            "of its own); what it says is its output, not a part of it."
            if SPEECH in self.labels
            else ""
        )
        return (
            f"Trained without recordings: the sounds {', '.join(self.labels)} were computed by models of how they come "
            f"about ({NUM_INDIVIDUALS['train']} individuals of each for training, others for validation and test), as "
            f"were rooms and noises.{spoken} Expect more errors on real sounds: try the model on some of yours before "
            "you trust it."
        )

    def _fingerprint(self, seed: int) -> str:
        clips = [
            [str(path), path.stat().st_size, path.stat().st_mtime_ns]
            for group in (*self._foreground, *self._background)
            for path in group.paths
        ]
        facts = [CODE_VERSION, self.labels, self.hours, self.stream_seconds, self.kinds, self.snr_db, self.noises]
        return hashlib.sha256(json.dumps([*facts, self.variation, clips, seed]).encode()).hexdigest()[:12]


def _unwatched(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""
    del what, done, total


def _checked_labels(labels: Sequence[str] | None, foreground: list[Group]) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(group.label for group in foreground)) or LABELS
    wanted = known if labels is None else tuple(labels)
    if not wanted or len(set(wanted)) != len(wanted):
        raise UserError(f"labels={list(wanted)} must name at least one label, and none twice")
    for label in wanted:
        if label not in known:
            where = "has no folder in foreground" if foreground else "is no sound that is computed"
            raise UserError(f"the label {label!r} {where}{did_you_mean(label, known)}; there are {', '.join(known)}")
    return wanted


def _checked_noises(noises: Sequence[str] | None, labels: Sequence[str], *, has_foreground: bool) -> tuple[str, ...]:
    if noises is None:
        return tuple(name for name in (UNSTEADY if has_foreground else NOISES) if name not in labels)
    for name in noises:
        if name not in NOISES:
            raise UserError(f"noises names {name!r}{did_you_mean(name, NOISES)}; there are {', '.join(NOISES)}")
    return tuple(noises)


def _kinds(event_shares: dict[str, float]) -> dict[str, SoundKind]:
    for kind, share in event_shares.items():
        if kind not in KINDS:
            raise UserError(f"event_shares names the kind {kind!r}; the kinds are {', '.join(KINDS)}")
        if not 0 < share <= 0.6:
            raise UserError(f"event_shares has {share} for {kind!r}; it must be above 0 and at most 0.6 of the time")
    return {name: kind._replace(event_share=event_shares.get(name, kind.event_share)) for name, kind in KINDS.items()}


def _check_range(name: str, values: tuple[float, float], least: float, most: float) -> None:
    if len(values) != 2 or not least <= values[0] <= values[1] <= most:
        raise UserError(f"{name}={list(values)} must be the lowest and the highest, from {least:g} to {most:g}")


def _check_hours(split: str, hours_of_kind: dict[str, float]) -> None:
    for kind, hours in hours_of_kind.items():
        if kind not in KINDS:
            raise UserError(f"{split}_hours names the kind {kind!r}; the kinds are {', '.join(KINDS)}")
        if kind == "practice" and split != "train":
            raise UserError(f"{split}_hours names the kind 'practice', which is for training only; leave it out")
        if not 0 <= hours < 10_000:
            raise UserError(f"{split}_hours has {hours} hours of {kind!r}; it must be a number from 0 to 9999")
