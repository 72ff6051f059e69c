"""A tagging job: inputs in, journal filled by workers, tables and exports out; the same call goes on where it ended."""

import importlib.metadata
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipelines.errors import UsageError, UserError
from pipelines.exports.clips import check_clips_folder

from .finish import Finished, check_exports, finish, usual_missed_share_of
from .folder import empty_job_folder, job_folder
from .inputs import Found, Shard, Unusable, real_folders, walk_inputs
from .journal import Journal
from .outcomes import Counts, Outcome, Task, file_row
from .rows import FileRow
from .tagging import Settings
from .workers import Crew, Heard, Loader

if TYPE_CHECKING:  # imported late, because it brings torch, which only workers need
    from pipelines.model import Model

TIME_LIMIT_SECONDS = 300.0
TELL_EVERY_SECONDS = 0.5

Name = str | os.PathLike[str]


class ModelFolder(NamedTuple):
    """Loads the model of a folder, in a worker.

    Args:
        folder, trust: as in pipelines.load.
    """

    folder: str
    trust: tuple[str, ...] = ()

    def __call__(self) -> "Model":
        import torch

        from pipelines.model import load

        torch.set_num_threads(1)  # runs of open frames are small: a second thread only waits for the first
        return load(self.folder, trust=self.trust)


class JobProgress(NamedTuple):
    """How far a job is.

    Args:
        num_files: inputs that are to be tagged, those of earlier calls included; 0 while they are still looked for.
        num_found: files found so far.
        num_done, num_failed: what became of them.
        num_skipped: by this call: files that were never meant to be tagged.
        media_seconds: what this call has heard, files in work included.
        took_seconds: since this call began to tag.
        left_seconds: until all is tagged, as it seems; None while nothing is known.
        file: what has just been tagged or has failed, if anything.
        note: something that the user should know, such as a file that has changed.
    """

    num_files: int
    num_found: int
    num_done: int
    num_failed: int
    num_skipped: int = 0
    media_seconds: float = 0.0
    took_seconds: float = 0.0
    left_seconds: float | None = None
    file: FileRow | None = None
    note: str = ""


class Summary(NamedTuple):
    """What a job has done, earlier calls included.

    Args:
        num_done, num_failed, num_skipped: inputs; skipped ones were never meant to be tagged.
        num_events: in all of them.
        media_seconds: of the files that are done.
        took_seconds: by this call.
        written: tables, exports and clips.
        audit: estimate of the events that the switch missed, as text; "" without audit.
        notes: what could not be written, such as clips of a file that is gone.
    """

    num_done: int
    num_failed: int
    num_skipped: int
    num_events: int
    media_seconds: float
    took_seconds: float
    written: tuple[Path, ...]
    audit: str
    notes: tuple[str, ...]


def tag_archive(
    model: Name | Loader,
    media: Name | Iterable[Name],
    output: Name,
    *,
    lists: Iterable[Name] = (),
    workers: int = 1,
    min_score: float | None = None,
    gate: str = "learned",
    channel: int | Literal["each"] | None = None,
    merge_gap_seconds: float | None = None,
    audit_share: float = 0.0,
    exports: Collection[str] = (),
    clips: Name | None = None,
    shard: Shard | str | None = None,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    retry_failed: bool = False,
    on_error: Literal["skip", "fail"] = "skip",
    overwrite: bool = False,
    trust: Collection[str] = (),
    progress: Callable[[JobProgress], None] | None = None,
) -> Summary:
    """Tag many files into one folder of results; whatever ends it, the same call goes on and redoes nothing.

    `output` gets journal.sqlite (the one truth), and at the end files.parquet, events.parquet and the exports. Another
    call with other media adds to it. Worker processes import the calling script, so its own work must stand under
    `if __name__ == "__main__":`.

    Args:
        model: folder of a trained model; or a picklable callable that makes a tagger (see archive.tagging.Tagger).
        media: files, folders, glob patterns, "-" for standard input.
        output: folder of the job; made if it is missing.
        lists: files of paths, one per line or each ended by NUL.
        workers: processes, each with the model and one thread.
        min_score, gate, channel, merge_gap_seconds, audit_share: see archive.tagging.Settings.
        exports: names from pipelines.exports.FORMATS; the job remembers them, and keeps them up to date.
        clips: folder that gets a sound file of every event.
        shard: tag only this part, such as "1/4"; see archive.inputs.Shard and merge_shards.
        time_limit_seconds: a file of which nothing new is heard for so long has failed.
        retry_failed: try files again that failed before and have not changed since.
        on_error: "fail" to stop at the first file that fails; the next call then tries it again.
        overwrite: forget what an earlier job left in `output`.
        trust: classes that the model may import, see pipelines.load.
        progress: told whenever a file is done, and twice a second.

    Raises:
        UsageError: if an argument cannot be used, the folder belongs to something else, or the model or a parameter is
            not what the job was begun with.
        UserError: if the job cannot go on: a full disk, workers that cannot load the model, a file that failed with
            `on_error="fail"`.
    """
    begun = time.monotonic()
    settings = Settings(min_score, gate, channel, merge_gap_seconds, audit_share)
    settings.check()
    _check(workers, time_limit_seconds, on_error)
    check_exports(exports)
    if clips is not None:
        check_clips_folder(Path(clips))
    names = [os.fspath(media)] if isinstance(media, str | os.PathLike) else [os.fspath(name) for name in media]
    paths = [os.fspath(name) for name in lists]
    part = Shard.parse(shard) if isinstance(shard, str) else shard
    loader = model if callable(model) else ModelFolder(os.fspath(model), tuple(trust))
    folder, must_succeed = Path(output), on_error == "fail"
    with job_folder(folder), Crew(workers, loader, settings, time_limit_seconds=time_limit_seconds) as crew:
        identity = {"model": crew.fingerprint(), "version": importlib.metadata.version("surnn-pipelines")}
        if overwrite:  # not before there is a model to do better with
            empty_job_folder(folder)
        with Journal(folder) as journal:
            journal.settle(identity | settings._asdict())
            teller = _Teller(progress or _no_progress)
            found = walk_inputs(names, lists=paths, leave_out=real_folders(folder, clips))
            _enlist(journal, _part_of(found, part, teller, must_succeed=must_succeed), teller)
            if retry_failed or must_succeed:
                journal.retry_failed()
            _tag_all(journal, crew, teller, must_succeed=must_succeed)
            if journal.counts().total == 0 and not teller.left_to_others:
                where = ", ".join([*names, *paths])
                raise UsageError(f"no file that the model can read in {where}; name recordings, or folders of them")
            usual = usual_missed_share_of(model)
            finished = finish(journal, folder, exports=exports, clips=clips, usual_missed_share=usual)
            return summary_of(journal, time.monotonic() - begun, finished)


def summary_of(journal: Journal, took_seconds: float, finished: Finished) -> Summary:
    """What a journal holds, in numbers, and what was made of it."""
    counts = journal.counts()
    numbers = counts.done, counts.failed, counts.skipped, journal.num_events()
    return Summary(*numbers, counts.seconds, took_seconds, *finished)


def _check(workers: int, time_limit_seconds: float, on_error: str) -> None:
    if workers < 1:
        raise UsageError(f"workers {workers} must be at least 1")
    if not time_limit_seconds > 0:
        raise UsageError(f"time-limit {time_limit_seconds:g} must be above 0 seconds")
    if on_error not in ("skip", "fail"):
        raise UsageError(f"on-error {on_error!r} must be skip or fail")


def _part_of(
    found: Iterable[Found | Unusable], part: Shard | None, teller: "_Teller", *, must_succeed: bool
) -> Iterator[Found | Unusable]:
    """The inputs that this job is to tag."""
    for each in found:
        if part is None or part.holds(each.path):
            if must_succeed and isinstance(each, Unusable):
                raise UserError(f"{each}; without it, or with --on-error skip, the job goes on")
            yield each
        else:
            teller.left_to_others = True  # of few files, no one may fall to this shard


def _enlist(journal: Journal, found: Iterable[Found | Unusable], teller: "_Teller") -> None:
    """Take all inputs in, and tell what has changed since an earlier call."""

    def changed(path: str) -> None:
        teller.note(f"{path}: has changed since it was tagged; it is tagged again")

    for num_found in journal.enlist(found, changed):
        teller.found(num_found)


def _tag_all(journal: Journal, crew: Crew, teller: "_Teller", *, must_succeed: bool) -> None:
    """Tag what waits; whatever ends it, what is finished is committed."""
    teller.begin(journal.counts())
    paths: dict[int, str] = {}

    def tasks() -> Iterator[Task]:
        for task in journal.tasks():
            paths[task.number] = task.path
            yield task

    try:
        for said in crew.outcomes(tasks()):
            if isinstance(said, Outcome):
                path = paths.pop(said.number)
                journal.record(said)
                teller.finished(path, said)
                if must_succeed and said.status == "failed":
                    raise UserError(f"{path}: {said.reason}; --on-error skip goes on without it")
            elif isinstance(said, Heard):
                teller.heard(said)
            else:
                journal.tend()
                teller.tell()
    finally:
        journal.commit()


def _no_progress(_progress: JobProgress) -> None:
    """Nobody asked."""


class _Teller:
    """Counts what a call has done, and tells it."""

    def __init__(self, progress: Callable[[JobProgress], None]) -> None:
        self._progress = progress
        self._now = JobProgress(0, 0, 0, 0)
        self._begun = self._told = time.monotonic()
        self._heard: dict[int, float] = {}  # seconds of the files in work
        self._media_seconds = 0.0  # of finished ones
        self._bytes_waiting = self._bytes_done = 0
        self.left_to_others = False  # some input falls to another shard

    def found(self, number: int) -> None:
        self._now = self._now._replace(num_found=number)
        self.tell()

    def note(self, text: str) -> None:
        self._progress(self._now._replace(note=text))

    def begin(self, counts: Counts) -> None:
        self._now = JobProgress(counts.total, counts.total, counts.done, counts.failed)
        self._bytes_waiting = counts.bytes_waiting
        self._begun = time.monotonic()

    def heard(self, heard: Heard) -> None:
        self._heard[heard.number] = heard.seconds

    def finished(self, path: str, outcome: Outcome) -> None:
        self._heard.pop(outcome.number, None)
        self._media_seconds += outcome.seconds
        self._bytes_done += outcome.size or 0
        now = self._now
        match outcome.status:
            case "done":
                self._now = now._replace(num_done=now.num_done + 1)
            case "failed":
                self._now = now._replace(num_failed=now.num_failed + 1)
            case _:
                self._now = now._replace(num_skipped=now.num_skipped + 1)
        self._tell(None if outcome.status == "skipped" else file_row(path, outcome))

    def tell(self) -> None:
        """Tell how far it is, if nothing was told for a while."""
        if time.monotonic() - self._told >= TELL_EVERY_SECONDS:
            self._tell(None)

    def _tell(self, file: FileRow | None) -> None:
        self._told = time.monotonic()
        took = self._told - self._begun
        left = None
        if self._bytes_done:
            left = took * max(self._bytes_waiting - self._bytes_done, 0) / self._bytes_done
        media = self._media_seconds + sum(self._heard.values())
        self._progress(self._now._replace(media_seconds=media, took_seconds=took, left_seconds=left, file=file))
