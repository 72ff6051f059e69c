"""The data set of DCASE challenges, task 4: `DESED` reads a local copy of it, as its own scripts lay it out."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from pipelines.corpora.audio_folder import NO_MEDIA, Lengths
from pipelines.corpora.table_formats import Mistakes
from pipelines.corpora.tables import Row, read_table
from pipelines.errors import UserError
from pipelines.events import Recording

LABELS = (
    "Alarm_bell_ringing", "Blender", "Cat", "Dishes", "Dog", "Electric_shaver_toothbrush", "Frying", "Running_water",
    "Speech", "Vacuum_cleaner",
)  # fmt: skip


class Part(NamedTuple):
    """One part of the data set: where its clips and its table are, from the root, and what it is for."""

    name: str
    audio: str
    table: str | None
    split: str


# DESED_task of DCASE 2021 to 2023; before 2021 the validation clips lay directly in audio/validation.
PARTS = (
    Part("weak", "audio/train/weak", "metadata/train/weak.tsv", "train"),
    Part("unlabelled", "audio/train/unlabel_in_domain", None, "train"),
    Part("strong", "audio/train/strong_label_real", "metadata/train/audioset_strong.tsv", "train"),
    Part("synthetic", "audio/train/synthetic21_train/soundscapes",
         "metadata/train/synthetic21_train/soundscapes.tsv", "train"),
    Part("synthetic_validation", "audio/validation/synthetic21_validation/soundscapes",
         "metadata/validation/synthetic21_validation/soundscapes.tsv", "validation"),
    Part("validation", "audio/validation/validation", "metadata/validation/validation.tsv", "test"),
    Part("public_evaluation", "audio/eval/public", "metadata/eval/public.tsv", "test"),
)  # fmt: skip

PartName = Literal[
    "weak", "unlabelled", "strong", "synthetic", "synthetic_validation", "validation", "public_evaluation"
]


class DESED:
    """Ten kinds of sound at home in clips of 10 s: weak, strong and synthetic training clips, two test sets.

    As in the challenge, the synthetic validation clips choose thresholds and the real validation clips are the test.
    Folders made at 16 kHz (weak_16k, ...) are taken where the plain ones are missing. Clips that are listed but were
    never downloaded are left out, and counted in the model card.

    Args:
        folder: the root, with audio/ and metadata/ below it; those of the synthetic part may lie in dcase_synth/.
        parts: which parts to read.
        cut_seconds: times at most so far past a clip's end are cut back to it: tables say 10 s of clips a little
            shorter.

    Raises:
        UserError: if there is no part.
    """

    labels = LABELS

    def __init__(
        self,
        folder: str,
        *,
        parts: tuple[PartName, ...] = ("weak", "strong", "synthetic", "synthetic_validation", "validation"),
        cut_seconds: float = 0.5,
    ) -> None:
        if not parts:
            raise UserError(f"parts is empty; the parts are {', '.join(part.name for part in PARTS)}")
        self.folder = Path(folder)
        self.parts = tuple(part for part in PARTS if part.name in parts)
        self.cut_seconds = cut_seconds
        self.num_missing: dict[str, int] = {}

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """The clips with their labels; `kind` is the part. Nothing is copied, nothing is drawn.

        Args:
            folder, seed: not needed: the clips stay where they are.
            progress: called with what is being done, how many clips are done, and how many there are.

        Raises:
            UserError: if a part's folder or table is not there.
            TableError: if a table is wrong.
        """
        del folder, seed
        lengths = Lengths(self.cut_seconds, progress)
        return [recording for part in self.parts for recording in self._clips(part, lengths)]

    def card(self) -> str:
        """Where the sound comes from, for a model card."""
        missing = "; ".join(f"{number} clips of {name} were not there" for name, number in self.num_missing.items())
        return (
            "Trained on DESED (Turpault et al., Sound event detection in domestic environments with weakly labeled "
            f"data and soundscape synthesis, DCASE 2019): {', '.join(part.name for part in self.parts)}."
            + (f" Of the clips listed, {missing}." if missing else "")
        )

    def _clips(self, part: Part, lengths: Lengths) -> list[Recording]:
        audio = self._place(part.audio, f"{part.audio}_16k", part.audio.removesuffix("/validation"), is_folder=True)
        clips = {path.stem: path for path in sorted(audio.iterdir()) if path.is_file() and path.suffix not in NO_MEDIA}
        if part.table is None:  # nothing is known of these
            return [Recording(path, (), None, (), part.split, _video(path), part.name) for path in clips.values()]
        table = read_table(self._place(part.table, is_folder=False), "dcase")
        mistakes = Mistakes(table.path)
        rows: dict[Path, list[Row]] = {}
        missing = set()
        for row in table.rows:
            path = clips.get(Path(row.file).stem)
            if path is None:
                missing.add(row.file)
                continue
            if row.event is not None and row.event.label not in LABELS:
                mistakes.add(row.line, f"label {row.event.label!r} is none of DESED's: {', '.join(LABELS)}")
            rows.setdefault(path, []).append(lengths.checked(path, row, mistakes))
        mistakes.raise_any()
        if not rows:
            raise UserError(
                f"none of the {len(missing)} clips that {table.path} lists is in {audio}; look at the names"
            )
        if missing:
            self.num_missing[part.name] = len(missing)
        return [_recording(path, rows[path], part) for path in sorted(rows)]

    def _place(self, *relative: str, is_folder: bool) -> Path:
        places = [root / place for place in relative for root in (self.folder, self.folder / "dcase_synth")]
        for place in places:
            if place.is_dir() if is_folder else place.is_file():
                return place
        raise UserError(f"{places[0]} is missing; leave its part out of `parts`, or give the folder that holds audio/")


def _recording(path: Path, rows: list[Row], part: Part) -> Recording:
    weak = [row.clip_labels for row in rows if row.clip_labels is not None]
    return Recording(
        path,
        tuple(sorted((row.event for row in rows if row.event is not None), key=lambda event: event[:3])),
        tuple(dict.fromkeys(label for labels in weak for label in labels)) if weak else None,
        () if weak else None,
        part.split,
        _video(path),
        part.name,
    )


def _video(path: Path) -> str:
    """The video that a clip was cut from: Y<id>_<start>_<end>; a synthetic clip is its own."""
    pieces = path.stem.rsplit("_", 2)
    return pieces[0] if len(pieces) == 3 else path.stem
