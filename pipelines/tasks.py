"""What a task asks of frames: targets to train on, events to decode."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from featurizers import Grid

from .events import Event


class Targets(NamedTuple):
    """What training wants of the T frames of one recording.

    Args:
        labels: (T, C) in {0, 1}.
        weights: (T, C); 0 where nothing is asked.
        switch: (T,) in {0, 1}; frames that the helping loss wants open.
    """

    labels: Tensor
    weights: Tensor
    switch: Tensor


class KeywordSpotting:
    """Words in long audio: a score peaks where a word has just ended.

    A causal encoder knows a word only when it has heard most of it, so frames that end shortly after the word's offset
    are asked to be 1, frames within the word are asked nothing, all others 0.

    Args:
        before_seconds: the scores' target is 1 from so long before a word's offset.
        after_seconds: the scores' target is 1 until so long after a word's offset.
        slack_seconds: after the target has been 1, for so long the scores are free.
        open_before_seconds: the switch is asked to be open from so long before a word's offset.
        open_after_seconds: the switch is asked to be open until so long after a word's offset.
    """

    def __init__(
        self,
        *,
        before_seconds: float = 0.0,
        after_seconds: float = 0.3,
        slack_seconds: float = 0.2,
        open_before_seconds: float = 0.3,
        open_after_seconds: float = 0.35,
    ) -> None:
        self.before_seconds, self.after_seconds, self.slack_seconds = before_seconds, after_seconds, slack_seconds
        self.open_before_seconds, self.open_after_seconds = open_before_seconds, open_after_seconds

    def targets(self, events: Sequence[Event], labels: Sequence[str], grid: Grid, num_frames: int) -> Targets:
        """Targets of one recording; event times are on the media clock, as is the grid's origin."""
        wanted = torch.zeros(num_frames, len(labels))
        weights = torch.ones(num_frames, len(labels))
        switch = torch.zeros(num_frames)

        def frames(begin_seconds: float, end_seconds: float) -> slice:
            """Frames whose end lies in (begin, end]."""
            begin, end = (
                math.floor((seconds - grid.origin_seconds) / grid.hop_seconds + 1e-6)  # an exact end is an end
                for seconds in (begin_seconds, end_seconds)
            )
            return slice(max(0, begin), max(0, end))

        columns = {label: column for column, label in enumerate(labels)}
        for event in events:
            if event.label not in columns:
                continue
            column, end = columns[event.label], event.offset_seconds
            weights[frames(event.onset_seconds, end + self.after_seconds + self.slack_seconds), column] = 0
        for event in events:
            if event.label not in columns:
                continue
            column, end = columns[event.label], event.offset_seconds
            peak = frames(end - self.before_seconds, end + self.after_seconds)
            wanted[peak, column] = 1
            weights[peak, column] = 1
            switch[frames(end - self.open_before_seconds, end + self.open_after_seconds)] = 1
        return Targets(wanted, weights, switch)
