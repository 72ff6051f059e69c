"""The part of a recording that somebody labelled: its length, its true events, what a model says there."""

from collections.abc import Sequence

import torch

from .events import Event, Recording
from .heads import Held, scores_at
from .line import Track


def true_events(recording: Recording, labels: Sequence[str]) -> list[Event]:
    """True events of the labels that reach into labelled time."""
    spans = recording.labelled_spans
    return [
        event
        for event in recording.events
        if event.label in labels
        and (spans is None or any(event.onset_seconds < end and begin < event.offset_seconds for begin, end in spans))
    ]


def labelled_seconds(track: Track, recording: Recording) -> float:
    """How much of a recording is labelled."""
    if recording.labelled_spans is None:
        return track.seconds
    begin, end = track.grid.origin_seconds, track.grid.origin_seconds + track.seconds
    return sum(max(0.0, min(end, offset) - max(begin, onset)) for onset, offset in recording.labelled_spans)


def labelled_part(track: Track, recording: Recording) -> Track:
    """The track with scores of 0 (as probabilities) on frames whose middle lies outside labelled time."""
    if recording.labelled_spans is None:
        return track
    frames = torch.arange(track.grid.num_frames(track.seconds))
    middles = track.grid.origin_seconds + (frames.double() + 0.5) * track.grid.hop_seconds
    is_labelled = torch.zeros(len(frames), 1, dtype=torch.bool)
    for onset, offset in recording.labelled_spans:
        is_labelled[(onset <= middles) & (middles < offset)] = True
    level = torch.where(is_labelled, scores_at(track.held, track.grid, frames), -torch.inf)
    return track._replace(held=Held(level, torch.zeros_like(level), frames))
