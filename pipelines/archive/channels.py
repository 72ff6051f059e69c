"""How many channels a file has, and what was found in each of them made one answer.

channel 0  ---[yes]------------   events of both, by onset, each with its channel
channel 1  -----------[no]-----   the time heard counts once, the work twice
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.events import Event

if TYPE_CHECKING:  # imported late, because they bring torch, which the job itself does not need
    from pipelines.audit import Audit
    from pipelines.results import Events


def num_channels_of(tagger: Any, path: str) -> int:
    """Channels of a file as it begins; 0 where nobody can tell: of pipes, of video, and for taggers without `line`.

    Raises:
        featurizers.MediaError, OSError: if the file cannot be read as sound.
    """
    line = getattr(tagger, "line", None)
    if line is None or line.is_video or not os.path.isfile(path):  # what is read of a pipe is gone for the walk
        return 0
    with line.open(path) as stream:
        return int(stream.num_channels)


def tag_each(
    num_channels: int, heard: Callable[[float], None], tag: Callable[[int, Callable[[float], None]], "Events"]
) -> "Events":
    """One answer for all channels of a file.

    Args:
        num_channels: of the file, at least 1.
        heard: told the seconds of the file that were heard, as if all channels were heard at once.
        tag: walks one channel, and tells what it has heard.
    """
    answers: list[Events] = []
    for channel in range(num_channels):
        before = sum(answer.seconds for answer in answers)
        answers.append(tag(channel, lambda seconds, before=before: heard((before + seconds) / num_channels)))  # type: ignore[misc]
    events = [event._replace(channel=number) for number, answer in enumerate(answers) for event in answer]
    return dataclasses.replace(
        answers[0],
        events=tuple(sorted(events, key=_by_onset)),
        frames_open=sum(answer.frames_open for answer in answers) / num_channels,
        work_seconds=sum(answer.work_seconds for answer in answers),
        audit=_one_audit([answer.audit for answer in answers if answer.audit is not None]),
    )


def _by_onset(event: Event) -> tuple[float, float, str, int]:
    return event.onset_seconds, event.offset_seconds, event.label, event.channel


def _one_audit(audits: "Sequence[Audit]") -> "Audit | None":
    """As of one recording: windows of different channels stay apart, for each was drawn by itself."""
    if not audits:
        return None
    missed, first_window = [], 0
    for audit in audits:
        missed += [each._replace(window=first_window + each.window) for each in audit.missed]
        first_window += 1 + max((each.window for each in audit.missed), default=-1)
    return audits[0]._replace(
        num_found=sum(audit.num_found for audit in audits),
        num_found_squared=sum(audit.num_found_squared for audit in audits),
        closed_seconds=sum(audit.closed_seconds for audit in audits),
        heard_seconds=sum(audit.heard_seconds for audit in audits),
        opened_seconds=sum(audit.opened_seconds for audit in audits),
        missed=tuple(missed),
    )
