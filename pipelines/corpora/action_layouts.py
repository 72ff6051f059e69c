"""Which clip shows which action: read from folder names, Kinetics' and UCF101's layouts, or an index file."""

import re
from pathlib import Path
from typing import NamedTuple

from pipelines.corpora.table_formats import Cell, Mistakes, format_of, read_records
from pipelines.errors import UserError
from pipelines.events import Event

SPLIT_NAMES = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
               "validation": "validation", "dev": "validation", "test": "test", "testing": "test"}  # fmt: skip
TITLES = {
    "file": ("file", "filename", "path", "video"),
    "label": ("label", "class", "action"),
    "onset": ("onset", "onset_seconds", "start"),
    "offset": ("offset", "offset_seconds", "end"),
    "group": ("group", "subject", "person"),
    "split": ("split", "subset"),
    "kind": ("kind",),
}
_UCF_SUBJECT = re.compile(r"_(g\d\d)_c\d\d")


class Entry(NamedTuple):
    """What is known of a clip from one place.

    Args:
        path: the clip.
        label: its action; "": none.
        event: where onset and offset are known.
        split, group, kind: as in Recording; "": not told.
        place: file and line that say so; for messages.
    """

    path: Path
    label: str
    event: Event | None = None
    split: str = ""
    group: str = ""
    kind: str = ""
    place: str = ""


def entries_of(root: Path, index: str | None, lists: str | None, fold: int) -> list[Entry]:
    """All clips below a folder with what is known of them.

    Raises:
        UserError: if the layout is none of those that are known.
        TableError: naming lines of an index or a list that are wrong.
    """
    if index is not None:
        return _from_index(root, index)
    if lists is not None:
        return _from_lists(root, Path(lists), fold)
    splits = {path: SPLIT_NAMES[path.name.lower()] for path in _folders(root) if path.name.lower() in SPLIT_NAMES}
    if not splits:
        return _from_folders(root, "")
    others = [path.name for path in _folders(root) if path not in splits]
    if others:
        raise UserError(f"{root} has folders of splits and {others[0]!r} beside them; clips lie in ROOT/SPLIT/LABEL/")
    return [entry for path, split in splits.items() for entry in _from_folders(path, split)]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _from_folders(root: Path, split: str) -> list[Entry]:
    return [Entry(path, folder.name, split=split) for folder in _folders(root) for path in _files(folder)]


def _from_lists(root: Path, lists: Path, fold: int) -> list[Entry]:
    """UCF101: lines such as `Archery/v_Archery_g08_c01.avi 1`, the number only in lists for training."""
    classes = {line.split()[-1] for _, line in _lines(lists / "classInd.txt")}
    entries = []
    for name, split in ((f"trainlist0{fold}.txt", "train"), (f"testlist0{fold}.txt", "test")):
        mistakes = Mistakes(lists / name)
        for number, line in _lines(lists / name):
            listed = line.split()[0]
            label, subject = listed.split("/")[0], _UCF_SUBJECT.search(listed)
            if label not in classes or "/" not in listed:
                mistakes.add(number, f"{listed!r} is in no folder that classInd.txt names")
            elif not (root / listed).is_file():
                mistakes.add(number, f"there is no clip {listed!r} in {root}; put it there, or take the line out")
            elif subject is None:
                mistakes.add(number, f"{listed!r} has no gNN_cNN in its name, which tells the subject")
            else:
                entries.append(
                    Entry(root / listed, label, split=split, group=subject[1], place=f"{name}, line {number}")
                )
        mistakes.raise_any()
    return entries


def _lines(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise UserError(
            f"{path} is missing; `lists` is the folder of UCF101's classInd.txt, trainlist0N.txt, testlist0N.txt"
        )
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _from_index(root: Path, index: str) -> list[Entry]:
    path = next((path for path in (Path(index), root / index) if path.is_file()), None)
    if path is None:
        raise UserError(f"index={index!r} is no file, neither here nor in {root}")
    mistakes = Mistakes(path)
    titles, lines = read_records(path, format_of(path), None, mistakes)
    lowered = [title.lower() for title in titles]
    places = {
        name: next(lowered.index(title) for title in known if title in lowered)
        for name, known in TITLES.items()
        if any(title in lowered for title in known)
    }
    for name in ("file", "label"):
        if name not in places:
            raise mistakes.stop(
                1, f"has no column {name!r} (or {', '.join(TITLES[name][1:])}); it has {', '.join(titles)}"
            )
    entries = []
    for line, cells in lines:
        if len(cells) != len(titles):
            mistakes.add(line, f"has {len(cells)} cells; the header has {len(titles)}; every row has one per column")
            continue
        told = {name: _word(cells[place]) for name, place in places.items()}
        entry = _entry(root, path, line, told, mistakes)
        entries += [entry] if entry is not None else []
    mistakes.raise_any()
    return entries


def _entry(root: Path, index: Path, line: int, told: dict[str, str], mistakes: Mistakes) -> Entry | None:
    clip = root / told["file"].replace("\\", "/")
    if not told["file"] or not clip.is_file():
        mistakes.add(line, f"there is no clip {told['file']!r} in {root}; put it there, or take the row out")
        return None
    split = told.get("split", "")
    if split and split.lower() not in SPLIT_NAMES:
        mistakes.add(line, f"split {split!r} is unknown; it is one of {', '.join(SPLIT_NAMES)}")
        return None
    label, times = told["label"], [told.get(name, "") for name in ("onset", "offset")]
    event = None
    if any(times):
        try:
            onset, offset = (float(time) for time in times)
        except ValueError:
            mistakes.add(
                line, f"onset {times[0]!r} and offset {times[1]!r} must both be numbers of seconds, or both empty"
            )
            return None
        if not 0 <= onset < offset < float("inf") or not label:
            mistakes.add(line, f"an event has a label and 0 <= onset < offset, not {label!r}, {onset:g}, {offset:g}")
            return None
        event = Event(onset, offset, label)
    return Entry(
        clip,
        label,
        event,
        SPLIT_NAMES[split.lower()] if split else "",
        told.get("group", ""),
        told.get("kind", ""),
        f"{index}, line {line}",
    )


def _word(cell: Cell) -> str:
    return "" if cell is None or cell != cell else str(cell).strip()
