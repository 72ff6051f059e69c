"""Google's Speech Commands, a word a second: `SpeechCommands` reads a local copy, or fetches it if told to."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torchaudio.datasets import SPEECHCOMMANDS  # type: ignore[import-untyped]

from pipelines.corpora.clip_sounds import Sounding, Unusable, sounding_parts, told_unusable
from pipelines.errors import UserError
from pipelines.events import Event, Recording
from pipelines.yaml_text import did_you_mean

# The ten words of the TensorFlow challenge of 2017, which most published figures are of.
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
NOISE_FOLDER = "_background_noise_"
# The official lists name no noise; each recording goes to one split, those not named here to train.
NOISE_SPLITS = {"running_tap": "validation", "exercise_bike": "test"}


class SpeechCommands:
    """Words of one second each, by thousands of speakers: the official training, validation and test lists.

    A clip of a word that is looked for becomes a recording with one event, over its sounding part (within 35 dB of its
    loudest moment), and with that clip label; clips of other words have neither: they are what must not be found.
    Kinds: "word", "other" and "noise" (the recordings in _background_noise_, minutes long: one is for validation, one
    for test). The speaker, as far as the file name tells, is the group.

    Args:
        root: the folder that holds validation_list.txt, or one above it: as torchaudio lays it out, below
            SpeechCommands/.
        labels: the words that are looked for.
        other_share: share of the clips of all other words that is kept, the same ones every time; all of them are ten
            times as many as those of a few words.
        noise: whether to read _background_noise_.
        version: of the data set; v0.02 has 35 words, 105,829 clips.
        download: fetch the data set (2.3 GB) into root if it is not there.

    Raises:
        UserError: if there are no labels, or other_share is out of range. Files are read by `prepare`.
    Source: Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, arXiv:1804.03209 (CC BY 4.0).
    """

    def __init__(
        self,
        root: str,
        *,
        labels: list[str] | tuple[str, ...] = WORDS,
        other_share: float = 0.25,
        noise: bool = True,
        version: Literal["v0.01", "v0.02"] = "v0.02",
        download: bool = False,
    ) -> None:
        if not labels:
            raise UserError(f"labels is empty; name the words to look for, such as {', '.join(WORDS)}")
        if not 0 <= other_share <= 1:
            raise UserError(f"other_share={other_share} must be from 0 to 1")
        self.root, self.labels, self.other_share, self.noise = Path(root), tuple(labels), other_share, noise
        self.version, self.download = version, download
        self.unusable: list[Unusable] = []

    @property
    def must_fetch(self) -> bool:
        """Whether `prepare` would begin with a download."""
        return self.download and self._folder() is None

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """The clips with their labels, split by the official lists; nothing is copied, nothing is drawn.

        What cannot be used (silent, unreadable, listed but not there) is in `unusable` afterwards.

        Args:
            folder: where the measured limits of the sounds are kept.
            seed: not needed.
            progress: called with what is being done, how many clips are done, and how many there are.

        Raises:
            UserError: if the data set is not there, or lacks a word.
        """
        del seed
        data = self._folder()
        if data is None and self.download:
            if progress is not None:
                progress("fetching Speech Commands", 0, 1)
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                SPEECHCOMMANDS(self.root, url=f"speech_commands_{self.version}", download=True)
            except (OSError, RuntimeError) as error:
                raise UserError(f"Speech Commands cannot be fetched into {self.root}: {error}") from error
            data = self._folder()
        if data is None:
            raise UserError(
                f"root={str(self.root)!r} holds no Speech Commands (no {LISTS['test']}); give the folder that does, or "
                "say `download: true` to fetch 2.3 GB"
            )
        words = {path.name for path in data.iterdir() if path.is_dir() and not path.name.startswith("_")}
        for label in self.labels:
            if label not in words:
                hint = did_you_mean(label, words) or f"; the words are {', '.join(sorted(words))}"
                raise UserError(f"labels names {label!r}, of which {data} holds no folder{hint}")
        self.unusable = []
        chosen = [
            (path, label, speaker, split)
            for split, subset in (("train", "training"), ("validation", "validation"), ("test", "testing"))
            for path, label, speaker in _clips(data, subset)
            if label in self.labels or _share_of(path) < self.other_share
        ]
        cache = Path(folder) / f"sounds-{zlib.crc32(str(data.resolve()).encode()):08x}.json"
        sounds = sounding_parts([path for path, *_ in chosen], cache, progress)
        recordings = [r for clip in chosen if (r := self._recording(*clip, sounds[clip[0]])) is not None]
        return recordings + (_noises(data) if self.noise else [])

    def card(self) -> str:
        """Where the sound comes from, for a model card."""
        return (
            f"Trained on Speech Commands {self.version} (Warden 2018, CC BY 4.0): the words {', '.join(self.labels)}; "
            f"{self.other_share:.0%} of the clips of all other words as what must not be found. Split by the official "
            f"lists, which keep speakers apart.{told_unusable(self.unusable, self.root)}"
        )

    def _folder(self) -> Path | None:
        name = f"speech_commands_{self.version}"
        places = (self.root, self.root / name, self.root / "SpeechCommands" / name)
        return next((place for place in places if (place / LISTS["test"]).is_file()), None)

    def _recording(self, path: Path, label: str, speaker: str, split: str, sound: Sounding | str) -> Recording | None:
        is_word = label in self.labels
        if isinstance(sound, str):
            self.unusable.append(Unusable(path, sound if path.exists() else "is listed, but not there"))
            return None
        if not is_word:
            return Recording(path, (), (), None, split, speaker, "other")
        if sound.is_silent:
            self.unusable.append(Unusable(path, "is silent"))
            return None
        event = Event(sound.onset_seconds, sound.offset_seconds, label)
        return Recording(path, (event,), (label,), None, split, speaker, "word")


def _clips(data: Path, subset: str) -> list[tuple[Path, str, str]]:
    """File, word and speaker of every clip of a subset, as torchaudio reads them."""
    try:
        listed = SPEECHCOMMANDS(data.parent, url=f"{data.name}.tar.gz", folder_in_archive=".", subset=subset)
    except OSError as error:
        raise UserError(f"{data} lacks {error.filename}; fetch the data set again") from error
    clips = []
    for number in range(len(listed)):
        relative, _, label, speaker, _ = listed.get_metadata(number)
        clips.append((data.parent / relative, label, speaker))
    return sorted(clips)


def _share_of(path: Path) -> float:
    """A number in [0, 1) that goes with the clip, as if drawn."""
    return zlib.crc32(f"{path.parent.name}/{path.name}".encode()) / 2**32


def _noises(data: Path) -> list[Recording]:
    return [
        Recording(path, (), (), None, NOISE_SPLITS.get(path.stem, "train"), path.stem, "noise")
        for path in sorted((data / NOISE_FOLDER).glob("*.wav"))
    ]
