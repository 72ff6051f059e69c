"""A corpus of your own clips: `ActionFolder` reads folders named after actions, Kinetics, UCF101, or an index file."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from pipelines.corpora.action_layouts import Entry, entries_of
from pipelines.corpora.event_table import refuse_shared_groups
from pipelines.corpora.table_formats import TableError
from pipelines.corpora.video_probe import probe
from pipelines.errors import UserError
from pipelines.events import Recording
from pipelines.yaml_text import did_you_mean

Progress = Callable[[str, int, int], None]
DRAWN = ("validation", "test")


class ActionFolder:
    """Video clips of your own with their actions, split by subject, file by file checked to hold pictures.

    Layouts, by what is there:
        index given         a table: file, label, and if known onset, offset, group (subject), split, kind
        ROOT/train/LABEL/*  split folders (also val, valid, validation, test), as Kinetics is stored
        ROOT/LABEL/*        and `lists`: the folder of UCF101's classInd.txt, trainlist01.txt, testlist01.txt
        ROOT/LABEL/*        alone

    A clip in a folder, or a row of the index without onset and offset, has a label for the whole of it
    (`clip_labels`); rows with both are events. A file that the index names without a label holds no action.

    Splits that the layout does not give are drawn from train: whole subjects where subjects are known, else file by
    file for each label, which is said by `progress` and on the card. No subject may be in two splits.

    Args:
        root: the folder of the clips.
        index: a table (.csv, .tsv, .parquet), by path from here or from `root`; it names files by path from `root`.
        lists: the folder of UCF101's lists; the subject is the gNN of a clip's name.
        fold: which of UCF101's three official splits.
        subject: a regular expression on a file's name whose first group is the subject; None: the index's column,
            UCF101's gNN where lists are given, else unknown.
        labels: the actions; any other is refused. None: every one that occurs.
        ignored_labels: actions that are not looked for: a clip of one of them is left out; a video in which it has
            onset and offset stays, as one in which nothing is to be found there.
        validation_share, test_share: of the subjects (files), where a split has to be drawn.
        seed: of the drawing.

    Raises:
        UserError: if a folder or file is missing, or a number is out of range. Files are read at first use.
    Source: layouts as torchvision.datasets.Kinetics and torchvision.datasets.UCF101 read them.
    """

    def __init__(
        self,
        root: str,
        *,
        index: str | None = None,
        lists: str | None = None,
        fold: int = 1,
        subject: str | None = None,
        labels: list[str] | None = None,
        ignored_labels: list[str] | None = None,
        validation_share: float = 0.15,
        test_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise UserError(f"root={root!r} is no folder; it must hold the clips")
        if index is not None and lists is not None:
            raise UserError(f"index={index!r} and lists={lists!r}: give one of them; either tells labels and splits")
        if fold not in (1, 2, 3):
            raise UserError(f"fold={fold} must be 1, 2 or 3; UCF101 has three official splits")
        for name, share in (("validation_share", validation_share), ("test_share", test_share)):
            if not 0 < share <= 0.5:
                raise UserError(f"{name}={share} must be above 0 and at most 0.5; 0.15 is usual")
        self._subject = _compiled(subject)
        self.index, self.lists, self.fold = index, lists, fold
        self.wanted = None if labels is None else tuple(labels)
        self.ignored_labels = frozenset(ignored_labels or ())
        self.shares = {"validation": validation_share, "test": test_share}
        self.seed = seed
        self.unusable: list[tuple[Path, str]] = []
        """Files that were left out, with reasons; known once `prepare` has run."""
        self._drawn = ""
        self._read: list[Entry] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The actions, in the order given, or by alphabet.

        Raises:
            UserError: if none were given, and there are none.
        """
        if self.wanted is not None:
            return self.wanted
        found = sorted({entry.label for entry in self._entries() if entry.label} - self.ignored_labels)
        if not found:
            raise UserError(f"{self.root} holds no labelled clips; put them into folders named after their actions")
        return tuple(found)

    def prepare(self, folder: Path, *, seed: int = 0, progress: Progress | None = None) -> list[Recording]:
        """The clips with their labels, sorted by path; nothing is copied. What was left out is in `unusable`.

        Args:
            folder: not needed: the clips stay where they are.
            seed: added to the corpus's own; it only draws splits.
            progress: called with what is being done, how many files are done, and how many there are.

        Raises:
            UserError: if nothing is usable, a split cannot be drawn, or a subject is in two.
            TableError: naming file and line of index rows that do not fit their clips.
        """
        del folder
        report = progress or _unwatched
        self._check_labels()
        entries = [each for each in self._entries() if each.event or each.label not in self.ignored_labels]
        by_path: dict[Path, list[Entry]] = {}
        for entry in entries:
            by_path.setdefault(entry.path, []).append(entry)
        self.unusable = []
        recordings: list[Recording] = []
        mistakes: list[str] = []
        for done, path in enumerate(sorted(by_path), start=1):
            probed = probe(path)
            if probed.reason:
                self.unusable.append((path, probed.reason))
                report(f"leaving out {path.name}: {probed.reason}", done, len(by_path))
                continue
            mistakes += _past_the_end(by_path[path], probed.end_seconds)
            recordings.append(_recording(path, by_path[path], self._subject, self.ignored_labels))
            report("reading clips", done, len(by_path))
        if mistakes:
            raise TableError("\n".join(mistakes[:10] + ([f"and {len(mistakes) - 10} more"] if mistakes[10:] else [])))
        if not recordings:
            first = f"; {self.unusable[0][0].name}: {self.unusable[0][1]}" if self.unusable else ""
            raise UserError(f"none of the {len(by_path)} files in {self.root} is a video that can be read{first}")
        refuse_shared_groups(recording for recording in recordings if recording.split)
        return self._split(recordings, self.seed + seed, report)

    def card(self) -> str:
        """Where the pictures come from, and how they were split, for a model card."""
        left_out = f" {len(self.unusable)} files could not be used." if self.unusable else ""
        return (
            f"Trained on clips in {self.root.name}, labelled {', '.join(self.labels)}. {self._drawn}{left_out}".strip()
        )

    def _check_labels(self) -> None:
        """Refuse a label that is neither looked for nor ignored."""
        labels = self.labels
        for label in sorted({entry.label for entry in self._entries() if entry.label} - self.ignored_labels):
            if label not in labels:
                hint = did_you_mean(label, labels) or "; add it to `labels`, or to `ignored_labels`"
                raise UserError(f"{self.root} has the label {label!r}, which `labels` does not name{hint}")

    def _entries(self) -> list[Entry]:
        if self._read is None:
            self._read = entries_of(self.root, self.index, self.lists, self.fold)
        return self._read

    def _split(self, recordings: list[Recording], seed: int, report: Progress) -> list[Recording]:
        """Give every recording a split; those that are missing are drawn from what is for training or for any."""
        given = {recording.split for recording in recordings}
        missing = [split for split in DRAWN if split not in given]
        free = [number for number, recording in enumerate(recordings) if recording.split in ("", "train")]
        if "" in given and given - {""}:
            named = next(recording.source for recording in recordings if not recording.split)
            raise UserError(f"{named} has no split, but other clips have; give all of them one, or none")
        if not missing:
            return recordings
        by_subject = all(recordings[number].group for number in free)
        how = "whole subjects" if by_subject else "file by file: no subjects are known, so one may be on both sides"
        self._drawn = f"Splits drawn ({', '.join(missing)}): {how}."
        report(self._drawn, len(recordings), len(recordings))
        units: dict[str, list[list[int]]] = {}
        for number in free:
            recording = recordings[number]
            if by_subject:
                of_all = units.setdefault("", [])
                same = next((unit for unit in of_all if recordings[unit[0]].group == recording.group), None)
                same.append(number) if same else of_all.append([number])
            else:
                units.setdefault(_main_label(recording), []).append([number])
        splits = dict.fromkeys(free, "train")
        generator = np.random.default_rng(seed)
        for label in sorted(units):
            for number, split in _draw(generator, units[label], missing, self.shares, label, self.root):
                splits[number] = split
        return [
            recording._replace(split=splits.get(number, recording.split)) for number, recording in enumerate(recordings)
        ]


def _draw(
    generator: np.random.Generator,
    units: Sequence[Sequence[int]],
    missing: Sequence[str],
    shares: dict[str, float],
    label: str,
    root: Path,
) -> Iterable[tuple[int, str]]:
    """Units (subjects, or files of a label) for the missing splits: their share, at least one each."""
    if len(units) <= len(missing):
        of = f"clips of {label!r}" if label else "subjects"
        raise UserError(
            f"{root} has {len(units)} {of} to draw {' and '.join(missing)} from; there must be at least "
            f"{len(missing) + 1}; add some, or give the splits in folders or in a column `split`"
        )
    order = [units[int(place)] for place in generator.permutation(len(units))]
    for split in missing:
        number = max(1, round(shares[split] * len(units)))
        number = min(number, len(order) - (len(missing) - missing.index(split)))
        taken, order = order[:number], order[number:]
        yield from ((recording, split) for unit in taken for recording in unit)


def _recording(
    path: Path, entries: Sequence[Entry], subject: re.Pattern[str] | None, ignored: Collection[str]
) -> Recording:
    facts = [{entry.split for entry in entries}, {entry.group for entry in entries}, {entry.kind for entry in entries}]
    for name, values in zip(("split", "group", "kind"), facts, strict=True):
        if len(values) > 1:
            raise UserError(
                f"{path}: its rows give different values of {name}: {', '.join(sorted(values))}; a clip has one"
            )
    split, group, kind = (values.pop() for values in facts)
    if subject is not None:
        match = subject.search(path.name)
        if match is None:
            raise UserError(
                f"{path}: subject={subject.pattern!r} does not match its name; every clip must tell its subject"
            )
        group = match.group(1)
    timed = [entry.event for entry in entries if entry.event is not None]
    events = sorted((event for event in timed if event.label not in ignored), key=lambda event: event[:3])
    whole = tuple(dict.fromkeys(entry.label for entry in entries if entry.event is None and entry.label))
    if whole and timed:
        raise UserError(f"{path}: some of its rows have onset and offset, others have not; give all of them, or none")
    return Recording(path, tuple(events), whole or None, () if whole else None, split, group, kind)


def _past_the_end(entries: Sequence[Entry], end_seconds: float | None) -> Iterable[str]:
    for entry in entries:
        if entry.event is not None and end_seconds is not None and entry.event.onset_seconds >= end_seconds:
            yield (
                f"{entry.place}: onset {entry.event.onset_seconds:g} s lies past the end of {entry.path.name} "
                f"({end_seconds:.3f} s); correct it, or take the row out"
            )


def _main_label(recording: Recording) -> str:
    """What files are drawn by where no subjects are known."""
    return (recording.clip_labels or tuple(event.label for event in recording.events) or ("",))[0]


def _compiled(subject: str | None) -> re.Pattern[str] | None:
    if subject is None:
        return None
    try:
        pattern = re.compile(subject)
    except re.error as error:
        raise UserError(f"subject={subject!r} is no regular expression: {error}") from None
    if pattern.groups < 1:
        raise UserError(f"subject={subject!r} has no group; put the subject into brackets, such as _(S\\d+)_")
    return pattern


def _unwatched(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""
    del what, done, total
