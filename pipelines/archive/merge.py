"""Shards of one job, tagged on several machines, become one."""

import os
import time
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import Path

from pipelines.errors import UsageError

from .finish import check_exports, finish
from .folder import job_folder
from .job import Summary, summary_of
from .journal import JOURNAL_FILE, Journal


def merge_shards(
    outputs: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    exports: Collection[str] = (),
) -> Summary:
    """Make one folder of results out of several, as if one job had tagged all; the parts stay as they are.

    Args:
        outputs: folders of finished jobs with the same model and parameters, such as those of all shards.
        output: a new folder, which is a job of its own: it can be added to.
        exports: names from pipelines.exports.FORMATS.

    Raises:
        UsageError: if a part is no job, is unfinished or in work, or was made otherwise than the others.
        UserError: if the disk refuses.
    """
    begun = time.monotonic()
    check_exports(exports)
    folder, parts = Path(output), [Path(part) for part in outputs]
    for part in parts:
        if not (part / JOURNAL_FILE).is_file():
            raise UsageError(f"{part}: holds no tagging job; name the output folders of the shards")
        if part.resolve() == folder.resolve():
            raise UsageError(f"{part}: is the folder to write to and a part as well; choose another --output")
    if (folder / JOURNAL_FILE).exists():
        raise UsageError(f"{folder}: holds a job already; choose another --output")
    with job_folder(folder), Journal(folder) as merged:
        for part in parts:
            with ExitStack() as stack:
                stack.enter_context(job_folder(part))
                journal = stack.enter_context(Journal(part))
                waiting = journal.counts().waiting
                if waiting:
                    raise UsageError(f"{part}: {waiting} files are not tagged yet; give its command again, then merge")
                merged.settle(journal.identity())
                merged.add_all(journal)
        finished = finish(merged, folder, exports=exports)
        return summary_of(merged, time.monotonic() - begun, finished)
