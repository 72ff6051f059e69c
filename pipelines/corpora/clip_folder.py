"""Clips of your own, one sound each: `ClipFolder` takes the class from the folder, or from a table."""

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.corpora.audio_folder import NO_MEDIA, AudioFolder, Lengths
from pipelines.corpora.clip_sounds import Sounding, Unusable, sounding_parts, told_unusable
from pipelines.corpora.event_table import SPLITS, refuse_shared_groups
from pipelines.corpora.table_formats import Mistakes, format_of, read_records
from pipelines.corpora.tables import KNOWN_TITLES, Row, read_table
from pipelines.errors import UserError
from pipelines.events import Event, Recording
from pipelines.yaml_text import did_you_mean

SPLIT_NAMES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
               "val": "validation", "dev": "validation", "test": "test", "testing": "test", "eval": "test"}  # fmt: skip
SHARES = {"test": 0.25, "validation": 0.15}  # of the clips, at least; the rest is for training
GROUP_TITLES = ("speaker", "speaker_id", "source", "source_group", "group", "individual", "session")


class Clip(NamedTuple):
    """A file and what folder or table tell of it; events None: where the sound is has to be measured."""

    path: Path
    label: str
    split: str
    group: str
    events: tuple[Event, ...] | None = None


class ClipFolder:
    """Short recordings of one sound each, such as a folder of takes for each word.

    Without a table the first folder on a clip's path is its class, and a folder below that, if there is one, is its
    group: FOLDER/CLASS/CLIP or FOLDER/CLASS/SPEAKER/CLIP; where the first folders are train, validation and test (also
    val, valid, dev, eval), they are the splits, and the class comes next. With a table (CSV, TSV or Parquet) its rows
    name file and label, and if known onset, offset, speaker (or source, group, session) and split.

    Where no onset and offset are given, a clip's event is its sounding part: what lies within 35 dB of its loudest
    moment, to 10 ms. So a clip holds one sound, and not one word amid others. All of it is searched: what else there is
    in a clip is taken as no event.

    Splits come, in this order, from `splits`, from the table or the folders, or are drawn: whole groups at random, at
    least 25 % of the clips for test, 15 % for validation. Where no group is known nothing is drawn unless
    `split_clips_at_random` says so, and the model's card then says what that means.

    Args:
        audio: the folder.
        table: names files by path from the folder, or by name with or without suffix; None: folders are classes.
        columns: file, label, onset_seconds, offset_seconds, split or group -> its title, where it is no usual one.
        labels: what is looked for; clips of all other classes have no event. None: all classes but `negatives`.
        negatives: classes that are what must not be found, such as noise, other speech, other words.
        group_pattern: without a table: a regular expression whose first parentheses hold the group in a file's name,
            such as "_([a-z]+)_" for 7_jackson_32.wav.
        splits: split -> its groups, such as {validation: [theo], test: [nicolas]}; all others are for training.
        split_clips_at_random: draw single clips where no group is known.
        seed: of what is drawn.

    Raises:
        UserError: if the folder or a split's name is unknown, or group_pattern is no such expression. Files are read by
            `prepare`, and their names for `labels`.
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
        seed: int = 0,
    ) -> None:
        self.audio, self.table, self.columns = Path(audio), None if table is None else Path(table), columns or {}
        if not self.audio.is_dir():
            raise UserError(f"audio={audio!r} is no folder; it must hold a folder of clips for each class")
        if labels is not None and not labels:
            raise UserError("labels is empty; name what to look for, or leave labels out")
        for split in splits or {}:
            if split not in SPLITS:
                raise UserError(f"splits names {split!r}; a split is one of {', '.join(SPLITS)}")
        if group_pattern is not None and table is not None:
            raise UserError("group_pattern goes without a table; give the table a column speaker, source or group")
        self.pattern = _compiled(group_pattern)
        self.wanted, self.negatives, self.splits = labels, frozenset(negatives), splits
        self.split_clips_at_random, self.seed = split_clips_at_random, seed
        self.unusable: list[Unusable] = []
        self._clips: list[Clip] | None = None
        self._how = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """What is looked for, in the order given, or by alphabet.

        Raises:
            UserError: if a label has no clip, or there is none.
        """
        found = {clip.label for clip in self._found()} - {""}
        found |= {event.label for clip in self._found() for event in clip.events or ()}
        if self.wanted is None:
            if not found - self.negatives:
                raise UserError(f"{self.table or self.audio} names no class; {', '.join(self.negatives)} are none")
            return tuple(sorted(found - self.negatives))
        for label in self.wanted:
            if label not in found:
                hint = did_you_mean(label, found) or f"; there are {', '.join(sorted(found))}"
                raise UserError(f"labels names {label!r}, of which there is no clip in {self.audio}{hint}")
        return tuple(self.wanted)

    @property
    def has_times(self) -> bool:
        """Whether the table says where in the clips the sounds are."""
        return any(clip.events is not None for clip in self._found())

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """The clips with their labels, sorted by path; nothing is copied. Kinds: "clip" and "negative".

        What cannot be used (silent, unreadable) is in `unusable` afterwards.

        Args:
            folder: where the measured limits of the sounds are kept.
            seed: added to the corpus's own.
            progress: called with what is being done, how many clips are done, and how many there are.

        Raises:
            UserError: if no split is known and none may be drawn, or a group is in two.
            TableError: naming file and line of what is wrong in the table.
        """
        labels = self.labels
        cache = Path(folder) / f"sounds-{zlib.crc32(str(self.audio.resolve()).encode()):08x}.json"
        clips = self._found()
        sounds = sounding_parts([clip.path for clip in clips], cache, progress)
        self.unusable, usable = [], []
        for clip in clips:
            events = _events(clip, sounds[clip.path], labels)
            if isinstance(events, str):
                self.unusable.append(Unusable(clip.path, events))
            else:
                usable.append(clip._replace(events=events))
        recordings = []
        for clip, split in zip(usable, self._dealt(usable, self.seed + seed), strict=True):
            events = clip.events or ()
            tags = tuple(dict.fromkeys(event.label for event in events))
            kind = "clip" if events else "negative"
            recordings.append(Recording(clip.path, events, tags, None, split, clip.group, kind))
        refuse_shared_groups(recordings)
        return recordings

    def card(self) -> str:
        """Where the sound comes from and how it was split, for a model card."""
        return (
            f"Trained on clips in {self.audio.name}, labelled {', '.join(self.labels)}. {self._how}"
            f"{told_unusable(self.unusable, self.audio)}"
        )

    def _found(self) -> list[Clip]:
        if self._clips is None:
            self._clips = self._from_folders() if self.table is None else self._from_table(self.table)
            if not self._clips:
                raise UserError(f"{self.audio} holds no clips; put them into FOLDER/CLASS/, one folder a class")
        return self._clips

    def _from_folders(self) -> list[Clip]:
        places = [
            (path, path.relative_to(self.audio).parts)
            for path in sorted(self.audio.rglob("*"))
            if path.is_file() and path.suffix.lower() not in NO_MEDIA and not _is_hidden(path.relative_to(self.audio))
        ]
        firsts = {parts[0].lower() for _, parts in places if len(parts) > 1}
        has_splits = bool(firsts) and firsts <= SPLIT_NAMES.keys()
        clips = []
        for path, parts in places:
            split = SPLIT_NAMES[parts[0].lower()] if has_splits and len(parts) > 1 else ""
            label, *below = parts[1:] if split else parts
            if not below:
                raise UserError(f"{path} lies in no folder of a class; put it into one, or take it out of {self.audio}")
            clips.append(Clip(path, label, split, self._group(path, below[0] if len(below) > 1 else "")))
        return clips

    def _group(self, path: Path, folder: str) -> str:
        if self.pattern is None:
            return folder
        match = self.pattern.search(path.name)
        if match is None:
            raise UserError(f"{path}: its name does not match group_pattern={self.pattern.pattern!r}; correct either")
        return match[1]

    def _from_table(self, table: Path) -> list[Clip]:
        columns = self._columns(table)
        read = read_table(table, columns=columns)
        audio, lengths, mistakes = AudioFolder(self.audio), Lengths(0.1, None), Mistakes(table)
        rows: dict[Path, list[Row]] = {}
        for row in read.rows:
            path = audio.find(row, mistakes)
            if path is not None:
                rows.setdefault(path, []).append(lengths.checked(path, row, mistakes) if row.event else row)
        mistakes.raise_any()
        return [_clip_of(path, rows[path], table) for path in sorted(rows)]

    def _columns(self, table: Path) -> dict[str, str]:
        """Our name of a column -> its title: a label without times is one of the clip, a speaker is a group."""
        kind = format_of(table)
        separator = "\t" if kind == "dcase" else None
        titles = read_records(table, kind, separator, Mistakes(table)).titles
        lower = {title.lower(): title for title in titles}
        columns = dict(self.columns)
        if "group" not in columns and (group := next((lower[t] for t in GROUP_TITLES if t in lower), None)):
            columns["group"] = group
        has_times = any(lower.get(t) or t in columns for t in ("onset_seconds", *KNOWN_TITLES["onset_seconds"]))
        label = columns.get("label") or next((lower[t] for t in KNOWN_TITLES["label"] if t in lower), None)
        if not has_times and label is not None:
            columns.pop("label", None)
            columns["clip_labels"] = label
        return columns

    def _dealt(self, clips: Sequence[Clip], seed: int) -> list[str]:
        """The split of each clip; how it came about is noted for the card."""
        if self.splits is not None:
            return self._named(clips, self.splits)
        without = [clip for clip in clips if not clip.split]
        if not without:
            self._how = "Splits are those of the table or the folders."
            return [clip.split for clip in clips]
        if len(without) < len(clips):
            raise UserError(f"{without[0].path} has no split, others have one; give each clip one, or none")
        units = [clip.group for clip in clips]
        if not all(units):
            if any(units):
                raise UserError(f"{clips[units.index('')].path} has no group, others have one; give each clip one")
            if not self.split_clips_at_random:
                raise UserError(
                    f"no speaker or source of the clips in {self.audio} is known, so any split may have a voice on "
                    "both sides; name them by folders CLASS/SPEAKER/, `group_pattern`, or a table's column speaker; or "
                    "name splits by folders or a column split; or say `split_clips_at_random: true`, and the model's "
                    "card will tell it"
                )
            units = [clip.path.relative_to(self.audio).as_posix() for clip in clips]
            self._how = (
                "Splits were drawn clip by clip, since no speaker or source was known: a voice or a recording of the "
                "test split may have been trained on, and figures may flatter."
            )
        else:
            self._how = (
                f"Splits were drawn by whole groups ({len(set(units))} speakers or sources), none in two splits."
            )
        split_of = _deal(units, seed)
        return [split_of[unit] for unit in units]

    def _named(self, clips: Sequence[Clip], splits: dict[str, list[str]]) -> list[str]:
        groups = {clip.group for clip in clips}
        split_of: dict[str, str] = {}
        for split, names in splits.items():
            for name in names:
                if name not in groups:
                    hint = did_you_mean(name, groups) or f"; there are {', '.join(sorted(groups)[:20])}"
                    raise UserError(f"splits names the group {name!r}, of which there is no clip{hint}")
                if split_of.setdefault(name, split) != split:
                    raise UserError(f"splits names the group {name!r} in {split_of[name]} and in {split}; keep one")
        told = "; ".join(f"{split}: {', '.join(names)}" for split, names in splits.items())
        self._how = f"Split by speaker or source as named ({told}; all others to train)."
        return [split_of.get(clip.group, "train") for clip in clips]


def _events(clip: Clip, sound: Sounding | str, labels: Iterable[str]) -> tuple[Event, ...] | str:
    """The events of a clip that are looked for, or why it cannot be used."""
    if isinstance(sound, str):
        return sound
    if clip.events is not None:
        return tuple(event for event in clip.events if event.label in labels)
    if clip.label not in labels:
        return ()
    return "is silent" if sound.is_silent else (Event(sound.onset_seconds, sound.offset_seconds, clip.label),)


def _clip_of(path: Path, rows: Sequence[Row], table: Path) -> Clip:
    """What all rows of a file say together."""

    def sole(name: str, values: Iterable[str]) -> str:
        told = sorted({value for value in values if value})
        if len(told) > 1:
            raise UserError(f"{table}: rows of {path.name} give different values of {name}: {', '.join(told)}")
        return told[0] if told else ""

    split = sole("split", (row.split for row in rows))
    if split and split.lower() not in SPLIT_NAMES:
        raise UserError(f"{table}: {path.name} has the split {split!r}; a split is one of {', '.join(SPLITS)}")
    events = tuple(sorted((row.event for row in rows if row.event is not None), key=lambda event: event[:3]))
    label = sole("label", (label for row in rows for label in row.clip_labels or ())) if not events else events[0].label
    is_timed = bool(events) or not label  # a row with a file and nothing else: nothing is in it
    group = sole("group", (row.group for row in rows))
    return Clip(path, label, SPLIT_NAMES[split.lower()] if split else "", group, events if is_timed else None)


def _deal(units: Sequence[str], seed: int) -> dict[str, str]:
    """Whole units to splits at random, until test and validation have their share of the clips.

    Raises:
        UserError: if there are fewer than three.
    """
    names, counts = np.unique(units, return_counts=True)
    if len(names) < 3:
        raise UserError(
            f"{len(names)} speakers or sources ({', '.join(names)}) cannot be dealt to three splits without sharing; "
            "record at least three, or name splits by folders, a column split, or `splits`"
        )
    order = np.random.default_rng([seed, 5]).permutation(len(names)).tolist()
    split_of = {}
    for split, share in SHARES.items():
        num_clips = 0
        while not num_clips or (num_clips < share * len(units) and len(order) > 2):
            place = order.pop()
            split_of[str(names[place])] = split
            num_clips += int(counts[place])
    return split_of | {str(names[place]): "train" for place in order}


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"group_pattern={pattern!r} is no regular expression: {error}") from None
    if compiled.groups < 1:
        raise UserError(
            f"group_pattern={pattern!r} has no parentheses; put them around the group, such as '_([a-z]+)_'"
        )
    return compiled


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
