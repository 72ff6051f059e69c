"""A corpus of video without recordings: `StagedActions` renders people who act, in clips and in long recordings."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.corpora import staged_files, staging
from pipelines.corpora.staged_moves import ACTIONS
from pipelines.corpora.staged_scripts import KINDS
from pipelines.corpora.staged_video import Format
from pipelines.errors import UserError
from pipelines.events import Recording
from pipelines.yaml_text import did_you_mean

CODE_VERSION = 6  # raised whenever the same arguments give other pictures

LABELS = tuple(ACTIONS)
TRAIN_MINUTES = {"sparse": 6.0, "busy": 8.0}
VALIDATION_MINUTES = {"sparse": 4.0, "busy": 4.0}
TEST_MINUTES = {"sparse": 8.0, "busy": 4.0}
NUM_CLIPS = {"train": 390, "validation": 78, "test": 130}


class StagedActions:
    """Rendered figures who act, as trimmed clips and as long recordings in which actions are rare.

    Kinds: "clips" (one action each; its label is the clip's), "classless" (clips of a movement that is no action),
    "sparse" (actions in at most 8 % of the time, other movement in at most 6 %, else nothing but light and noise
    changes) and "busy" (actions in at most 20 %, other movement nearly always). People, curtains, plants, fans,
    screens, balls and shadows move without acting. Figures and places are never shared between splits.

    An event lasts from the first picture that differs from the pose before it to the last one in which the figure
    moves. Clips are drawn alike for every label: the same lengths, figures, places and colours.

    Args:
        labels: the actions; None: all that can be rendered.
        train_minutes: minutes of long recordings of each kind to train on.
        validation_minutes: the same, to choose thresholds on; other figures and places.
        test_minutes: the same, to judge by; other figures and places again.
        num_clips: split -> number of clips with an action, the labels in turn.
        num_classless_clips: split -> number of clips with a movement of no class.
        recording_seconds: length of a long recording; minutes are rounded to whole ones, at least one.
        width, height: of the picture, in pixels.
        pictures_per_second: of the video.
        key_seconds: time from one key frame to the next.
        seed: start of all random numbers. Another one is another corpus of the same kind.
        num_workers: how many processes prepare the corpus; the result does not depend on it.

    Raises:
        UserError: if a label, kind or split is unknown, or a number is out of range.
    """

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        *,
        train_minutes: dict[str, float] = TRAIN_MINUTES,
        validation_minutes: dict[str, float] = VALIDATION_MINUTES,
        test_minutes: dict[str, float] = TEST_MINUTES,
        num_clips: dict[str, int] = NUM_CLIPS,
        num_classless_clips: dict[str, int] | None = None,
        recording_seconds: float = 120.0,
        width: int = 320,
        height: int = 240,
        pictures_per_second: float = 12.5,
        key_seconds: float = 2.0,
        seed: int = 7,
        num_workers: int = 2,
    ) -> None:
        self.labels = _checked_labels(labels)
        self.minutes = {
            "train": dict(train_minutes), "validation": dict(validation_minutes), "test": dict(test_minutes)
        }  # fmt: skip
        for split, of_kind in self.minutes.items():
            _check_minutes(split, of_kind)
        self.num_clips = _checked_numbers("num_clips", num_clips)
        self.num_classless_clips = _checked_numbers("num_classless_clips", num_classless_clips or {})
        _check_range("recording_seconds", recording_seconds, 30, 7200, "120 is usual")
        _check_range("pictures_per_second", pictures_per_second, 5, 60, "12.5 is usual")
        _check_range("key_seconds", key_seconds, 1.0 / pictures_per_second, 60, "2 is usual")
        for name, value in (("width", width), ("height", height)):
            if not 64 <= value <= 4096 or value % 2:
                raise UserError(f"{name}={value} must be an even number of pixels from 64 to 4096")
        if num_workers < 1:
            raise UserError(f"num_workers={num_workers} must be at least 1")
        if not 0 <= seed < 2**32:
            raise UserError(f"seed={seed} must be a whole number from 0 to {2**32 - 1}")
        self.form = Format(width, height, float(pictures_per_second), float(key_seconds))
        self.recording_seconds, self.seed, self.num_workers = float(recording_seconds), seed, num_workers

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """Stage all videos as H.264 in MP4 files below `folder`, and return what is in them.

        Every set of arguments and seed has a folder of its own there: complete, it is reused; interrupted, it is
        continued. The same arguments and seed give the same bytes with the same FFmpeg. Beside the videos lie
        recordings.csv (split, kind, group, place, figures, shares of the time), events.csv (file, onset, offset, label;
        figure) and distractions.csv (what else moved when).

        Args:
            seed: added to the corpus's own.
            progress: called with what is being done, how many steps are done, and how many there are.
        """
        staged = Path(folder) / f"staged-actions-{self._fingerprint(self.seed + seed)}"
        if not staging.is_complete(staged):
            jobs = staged_files.jobs_of(
                self.minutes, self.num_clips, self.num_classless_clips, self.labels, self.recording_seconds
            )
            plan = staged_files.Plan(staged, self.labels, self.form, self.recording_seconds, self.seed + seed)
            staged_files.stage(plan, jobs, self.num_workers, progress or _unwatched)
        return staged_files.read_recordings(staged)

    def card(self) -> str:
        """Where the pictures come from, for a model card."""
        return (
            f"Trained without recordings: figures who perform {', '.join(self.labels)} were rendered "
            f"({staged_files.NUM_FIGURES['train']} bodies for training, others for validation and test), as were the "
            "places, the lights, the camera's noise and whatever else moves. No recording of a person or a place was "
            "used. Expect many more errors on real video: train on clips of your own before you trust it."
        )

    def _fingerprint(self, seed: int) -> str:
        facts = [CODE_VERSION, self.labels, self.minutes, self.num_clips, self.num_classless_clips]
        facts += [self.recording_seconds, self.form, seed]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _unwatched(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""
    del what, done, total


def _checked_labels(labels: Sequence[str] | None) -> tuple[str, ...]:
    wanted = LABELS if labels is None else tuple(labels)
    if not wanted or len(set(wanted)) != len(wanted):
        raise UserError(f"labels={list(wanted)} must name at least one action, and none twice")
    for label in wanted:
        if label not in LABELS:
            hint = did_you_mean(label, LABELS)
            raise UserError(
                f"the label {label!r} is no action that can be rendered{hint}; there are {', '.join(LABELS)}"
            )
    return wanted


def _check_minutes(split: str, of_kind: dict[str, float]) -> None:
    for kind, minutes in of_kind.items():
        if kind not in KINDS:
            raise UserError(f"{split}_minutes names the kind {kind!r}; the kinds are {', '.join(KINDS)}")
        if not 0 <= minutes < 100_000:
            raise UserError(f"{split}_minutes has {minutes} minutes of {kind!r}; it must be a number from 0 to 99999")


def _checked_numbers(name: str, numbers: dict[str, int]) -> dict[str, int]:
    for split, number in numbers.items():
        if split not in staged_files.SPLITS:
            raise UserError(f"{name} names {split!r}; a split is one of {', '.join(staged_files.SPLITS)}")
        if not 0 <= number < 10_000_000:
            raise UserError(f"{name} has {number} for {split!r}; it must be a whole number of clips from 0 to 9999999")
    return {split: numbers.get(split, 0) for split in staged_files.SPLITS}


def _check_range(name: str, value: float, least: float, most: float, usual: str) -> None:
    if not least <= value <= most:
        raise UserError(f"{name}={value} must be from {least:g} to {most:g}; {usual}")
