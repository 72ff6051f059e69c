"""What a sequence problem and a sequence model are, so that any of the one runs with any of the other."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

IGNORED = -100  # a class target that is not asked for; of a number, NaN
Split = Literal["validation", "test"]


class Batch(NamedTuple):
    """B sequences of T frames and what is to be answered.

    Args:
        frames: (B, T) int64 symbols, or (B, T, F) numbers.
        targets: int64 classes or floating numbers; (B,), one per sequence, or (B, T), one per frame, where
            `IGNORED` and NaN are not asked for.
        lengths: (B,) frames per sequence, after which comes padding; None: no padding.
        events: (B, T) bool, the frames that matter, where a problem knows; None: it does not.
    """

    frames: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    events: Tensor | None = None

    def to(self, device: str) -> "Batch":
        """The same on another device."""
        return Batch(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]


class Problem(Protocol):
    """A sequence problem.

    title: of the report.
    input_size: numbers per frame, or of symbols.
    reads_symbols: frames are symbols.
    num_outputs: classes, or 1 where a number is asked for.
    answers: one per "sequence", or one per "frame".
    must_be_causal: an answer could be read off later frames, so models must not look ahead.
    """

    title: str
    input_size: int
    reads_symbols: bool
    num_outputs: int
    answers: Literal["sequence", "frame"]
    must_be_causal: bool

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Sequences to train on; what comes depends on the generator alone."""
        ...

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """The sequences of a split, the same ones at every call."""
        ...


class Encoded(NamedTuple):
    """What a model's encoder makes of a batch.

    Args:
        output: (B, T, H).
        state: to go on from, with the frames that follow; None: the encoder cannot stream.
        opened: (B, T) in {0, 1}, frames at which it stepped, without a gradient; None: it steps at all.
        logits: (B, T) of the frame switch, where it has any.
        cost: loss that holds the switch to its budget; None: there is none.
        update_share: share of all neurons and frames updated; None: all.
    """

    output: Tensor
    state: Any = None
    opened: Tensor | None = None
    logits: Tensor | None = None
    cost: Tensor | None = None
    update_share: Tensor | None = None


class Encoder(Protocol):
    """A sequence model without its input layer and its head: built as Class(input_size, hidden_size, **options).

    size: H, numbers per output frame.
    readout: where an answer per sequence is read: after the "last" frame, or from the "mean" over all.
    is_causal: no output depends on later frames.
    """

    size: int
    readout: Literal["last", "mean"]
    is_causal: bool

    def __call__(self, frames: Tensor, state: Any = None, lengths: Tensor | None = None) -> Encoded:
        """Run over (B, T, input_size), from a state or from the start."""
        ...


def seeded(*numbers: int) -> torch.Generator:
    """A generator of random numbers for this tuple of whole numbers: another tuple, another sequence."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 63)
    return torch.Generator().manual_seed(seed)


SPLIT_SEEDS = {"validation": 1, "test": 2}


def split_seed(split: Split) -> torch.Generator:
    """The generator that a drawn split begins with; no draw for training uses it."""
    return seeded(910_117, SPLIT_SEEDS[split])
