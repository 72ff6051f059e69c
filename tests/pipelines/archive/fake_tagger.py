"""A tagger without a model, for jobs: what a file holds decides what becomes of it."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipelines.archive.job import tag_archive
from pipelines.console import EXIT_INTERRUPTED, EXIT_OK, leave, stop_on_signals
from pipelines.errors import UserError
from pipelines.events import Event


@dataclass(frozen=True)
class FakeEvents:
    """What a job reads of pipelines.Events."""

    events: tuple[Event, ...]
    seconds: float
    frames_open: float = 0.25
    audit: None = None
    recording_start: str = ""
    damage_text: str = ""
    sample_rate_hz: int = 0
    missing_band: str = ""


class FakeTagger(NamedTuple):
    """Reads files of one line: "events SEED", or a way to go wrong."""

    fingerprint: str
    pause_seconds: float

    def tag(
        self,
        path: str,
        *,
        channel: int | None,
        min_score: float | None,
        gate: str,
        progress: Callable[[float], None],
    ) -> FakeEvents:
        time.sleep(self.pause_seconds)
        word, _, rest = Path(path).read_text().partition(" ")
        match word:
            case "events":
                seed = int(rest)
                onsets = (round(0.37 * number, 3) for number in range(seed % 4))
                found = (Event(onset, onset + 0.2, ("yes", "no")[seed % 2], 0.5 + 1e-3 * seed) for onset in onsets)
                return FakeEvents(tuple(event for event in found if event.score >= (min_score or 0)), 10.0 + seed)
            case "hang":
                time.sleep(3600)
            case "slow":
                for step in range(int(rest)):
                    time.sleep(0.1)
                    progress(step)
                return FakeEvents((), 1.0)
            case "die":
                os.kill(os.getpid(), int(rest))
                time.sleep(60)
            case "die-once":  # the file says so no more when it is tried again
                Path(path).write_text("events 3")
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(int(rest))
        raise OSError(f"says {word!r}, with channel {channel} and gate {gate}")


class GroupTagger(FakeTagger):
    """Reads the files of a group one after the other, as `tag` does, but knows of none that is closed."""

    def tag_closed(self, paths: Iterable[str], *, at: Callable[[str], None], **_: object) -> list[FakeEvents]:
        for path in paths:
            at(path)
            if Path(path).read_text().startswith("die"):
                self.tag(path, channel=None, min_score=None, gate="learned", progress=print)
        return []


class Loader(NamedTuple):
    """Makes the tagger.

    Args:
        fingerprint: of the tagger.
        pause_seconds: before each file.
        trouble: how loading fails.
        kind: of tagger.
    """

    fingerprint: str = "fake"
    pause_seconds: float = 0.0
    trouble: str = ""
    kind: type[FakeTagger] = FakeTagger

    def __call__(self) -> FakeTagger:
        if self.trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble:
            raise RuntimeError(self.trouble)
        return self.kind(self.fingerprint, self.pause_seconds)


def write_files(folder: Path, number: int) -> None:
    """Files that hold events, in folders of ten."""
    for seed in range(number):
        path = folder / f"{seed // 10:03d}" / f"{seed:04d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"events {seed}")


def main() -> int:
    """A job in a process of its own, to be ended: MEDIA OUTPUT WORKERS PAUSE_SECONDS LARGEST_FILE_BYTES."""
    media, output, workers, pause_seconds, largest_file_bytes = sys.argv[1:]
    if int(largest_file_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file_bytes), resource.RLIM_INFINITY))
    with stop_on_signals(lambda: "stopped"):
        try:
            tag_archive(
                Loader(pause_seconds=float(pause_seconds)),
                media,
                output,
                workers=int(workers),
                exports=["csv"],
                progress=lambda now: print(now.num_done, flush=True),
            )
        except UserError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
    return EXIT_OK


if __name__ == "__main__":
    leave(main())
