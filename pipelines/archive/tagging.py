"""One file tagged: its events, or why there are none."""

import contextlib
import dataclasses
import errno
import math
import os
import re
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from pipelines.console import one_line
from pipelines.errors import UsageError
from pipelines.events import Event

from .channels import num_channels_of, tag_each
from .outcomes import Outcome, Task, file_state

if TYPE_CHECKING:  # imported late, because it brings torch, which the job itself does not need
    from pipelines.results import Events

MEDIA_ENDING = re.compile(
    r".*\.(3gp|aac|ac3|aif[cf]?|alac|amr|ape|au|avi|caf|flac|flv|m4[abv]|mk[av]|mov|mp[234]|mpe?g|mts|og[ag]|opus"
    r"|rf64|snd|ts|w64|wav|webm|wma|wmv|wv)",
    re.IGNORECASE | re.DOTALL,
)
# The file system's trouble, not the file's: worth another try when the job is run again.
_OUT_OF_REACH = {
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EIO, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}


class Tagger(Protocol):
    """What finds events in files; pipelines.Model is one."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def tag(self) -> Callable[..., "Events"]:
        """As pipelines.Model.tag: called with a path, channel, min_score, gate, progress, and perhaps audit_share.

        A tagger may have `tag_closed` as well, as pipelines.Model has, which spares many short files a call each; and
        `line`, without which the channels of a file cannot be counted.
        """


class Settings(NamedTuple):
    """What decides the results beside the model.

    Args:
        min_score: one threshold in [0, 1] instead of the model's own.
        gate: "learned", or "open" to skip nothing.
        channel: the one to hear; "each": every one by itself; None: the mean of all.
        merge_gap_seconds: events of one label with no more than this between them become one; None: they stay apart.
        audit_share: share of closed frames that are opened at random, to estimate what the switch missed.
    """

    min_score: float | None = None
    gate: str = "learned"
    channel: int | Literal["each"] | None = None
    merge_gap_seconds: float | None = None
    audit_share: float = 0.0

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: with the value and the rule.
        """
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"min-score {self.min_score:g} must lie in [0, 1]; it is a probability")
        if self.gate not in ("learned", "open"):
            raise UsageError(f"gate {self.gate!r} must be 'learned' (the model's own switch) or 'open' (no skipping)")
        if isinstance(self.channel, int) and self.channel < 0:
            raise UsageError(f"channel {self.channel} must be 0 or more")
        if not isinstance(self.channel, int | None) and self.channel != "each":
            raise UsageError(f"channel {self.channel!r} must be 'each', or a number from 0 on; None is the mean of all")
        if self.merge_gap_seconds is not None and not self.merge_gap_seconds >= 0:
            raise UsageError(f"merge-gap {self.merge_gap_seconds:g} must be 0 seconds or more")
        if not 0 <= self.audit_share <= 1:
            raise UsageError(f"audit {self.audit_share:g} must lie in [0, 1]; it is a share of the closed time")


class Failure(NamedTuple):
    """Why a file has no events.

    Args:
        reason: to be put behind its name.
        is_expected: it was never meant to be tagged: a file in a folder that is no medium.
        is_out_of_reach: the file system did not give it, which may change though the file does not.
        read_seconds: what was read of it.
    """

    reason: str
    is_expected: bool = False
    is_out_of_reach: bool = False
    read_seconds: float = 0.0


def tag_file(
    tagger: Tagger, settings: Settings, path: str, is_named: bool, heard: Callable[[float], None]
) -> "Events | Failure":
    """The events of a file, whatever it holds; faults of the tagger are failures of the file.

    Args:
        tagger, settings: how to tag.
        path: of the file.
        is_named: by the user, who then means it to be tagged.
        heard: told now and then how many seconds were heard.
    """
    if not is_named and os.path.exists(path) and not os.path.isfile(path):
        return Failure("is no regular file", is_expected=True)  # to open a pipe would be to wait for its writer
    try:
        if settings.channel != "each":
            return _tag_channel(tagger, settings, path, settings.channel, heard)
        num_channels = num_channels_of(tagger, path)
        if not num_channels:
            return Failure("its channels cannot be counted; hear the mean of all, or one by its number")
        if num_channels == 1:
            return _tag_channel(tagger, settings, path, None, heard)
        return tag_each(num_channels, heard, lambda channel, tell: _tag_channel(tagger, settings, path, channel, tell))
    except Exception as error:
        return _failure(error, path, is_named)


def _tag_channel(
    tagger: Tagger, settings: Settings, path: str, channel: int | None, heard: Callable[[float], None]
) -> "Events":
    audit: dict[str, Any] = {"audit_share": settings.audit_share} if settings.audit_share else {}
    events = tagger.tag(
        path, channel=channel, min_score=settings.min_score, gate=settings.gate, progress=heard, **audit
    )
    found = events.events
    for event in found:
        if not math.isfinite(event.onset_seconds + event.offset_seconds + event.score):
            raise ValueError(f"the model answered {event}")
    if settings.merge_gap_seconds is not None:
        found = tuple(merge_events(found, settings.merge_gap_seconds))
    return dataclasses.replace(events, events=tuple(event._replace(channel=channel or 0) for event in found))


def _failure(error: Exception, path: str, is_named: bool) -> Failure:
    if isinstance(error, OSError):
        return Failure(one_line(error.strerror or str(error)), is_out_of_reach=_is_out_of_reach(error, path))
    from featurizers import MediaError

    if isinstance(error, MediaError):
        is_expected = not (is_named or error.read_seconds or MEDIA_ENDING.fullmatch(path))
        reason = one_line(str(error).removeprefix(path).lstrip(": "))
        return Failure(reason, is_expected, _is_out_of_reach(error, path), error.read_seconds)
    where = traceback.extract_tb(error.__traceback__)[-1]
    fault = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
    return Failure(one_line(f"a fault in the program: {fault}"))


def merge_events(events: Iterable[Event], gap_seconds: float) -> list[Event]:
    """Events of one label with at most `gap_seconds` between them joined into one, with the highest score; by onset."""
    merged: list[Event] = []
    last: dict[str, int] = {}  # where each label's latest event lies
    for event in sorted(events):
        place = last.get(event.label)
        if place is not None and event.onset_seconds - merged[place].offset_seconds <= gap_seconds:
            before = merged[place]
            merged[place] = before._replace(
                offset_seconds=max(before.offset_seconds, event.offset_seconds), score=max(before.score, event.score)
            )
        else:
            last[event.label] = len(merged)
            merged.append(event)
    return merged


def gains_by_groups(tagger: Tagger, settings: Settings) -> bool:
    """Whether several short files together cost less than each alone."""
    is_plain = settings.gate == "learned" and settings.channel != "each" and not settings.audit_share
    return hasattr(tagger, "tag_closed") and is_plain


def outcomes_of(
    tagger: Tagger,
    settings: Settings,
    tasks: Sequence[Task],
    *,
    at: Callable[[Task | None], None],
    heard: Callable[[float], None],
) -> Iterator[Outcome]:
    """`outcome_of` several files that are short, as far as their size tells; the same outcomes at less cost.

    Args:
        tagger, settings: how to tag.
        tasks: the files.
        at: told which file is read next; None for what is done for several of them.
        heard: as in `tag_file`, of whichever file is read.
    """
    closed: dict[str, Events] = {}
    states = {task.path: file_state(task.path) for task in tasks}
    if len(tasks) > 1 and gains_by_groups(tagger, settings):
        tag_closed = getattr(tagger, "tag_closed")  # noqa: B009 (not all taggers have it)
        by_path = {task.path: task for task in tasks if os.path.isfile(task.path)}

        def tell(path: str) -> None:
            at(by_path.get(path))
            heard(0.0)

        # Whatever goes wrong here goes wrong again, and is told, when the file at fault is tagged alone.
        with contextlib.suppress(Exception):
            found = tag_closed(by_path, channel=settings.channel, min_score=settings.min_score, at=tell)
            closed = {events.source: events for events in found if not events.events}
    for task in tasks:
        if (events := closed.get(task.path)) is not None:
            yield _done(task, *states[task.path], events, events.work_seconds)
        else:
            at(task)
            yield outcome_of(tagger, settings, task, heard)


def outcome_of(tagger: Tagger, settings: Settings, task: Task, heard: Callable[[float], None]) -> Outcome:
    """`tag_file` for the journal."""
    size, mtime_ns = file_state(task.path)  # before it is read: a file that is still being written counts as changed
    begun = time.perf_counter()
    tagged = tag_file(tagger, settings, task.path, task.is_named, heard)
    if isinstance(tagged, Failure):
        if tagged.is_out_of_reach:
            size = mtime_ns = None
        return Outcome(
            task.number,
            "skipped" if tagged.is_expected else "failed",
            tagged.reason,
            size,
            mtime_ns,
            seconds=tagged.read_seconds,
            work_seconds=time.perf_counter() - begun,
        )
    return _done(task, size, mtime_ns, tagged, time.perf_counter() - begun)


def _done(task: Task, size: int | None, mtime_ns: int | None, tagged: "Events", work_seconds: float) -> Outcome:
    return Outcome(
        task.number,
        "done",
        "; ".join(filter(None, (tagged.damage_text, tagged.missing_band))),
        size,
        mtime_ns,
        tagged.seconds,
        tagged.frames_open,
        work_seconds,
        tagged.recording_start,
        tagged.sample_rate_hz,
        None if tagged.audit is None else tagged.audit.to_json(),
        tagged.events,
    )


def _is_out_of_reach(error: Exception, path: str) -> bool:
    system = error if isinstance(error, OSError) else error.__cause__
    return (isinstance(system, OSError) and system.errno in _OUT_OF_REACH) or not os.path.exists(path)
