"""A model for a problem: input layer, encoder, head, loss; and the width that gives it a number of parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from .contract import IGNORED, Batch, Encoded, Encoder, Problem


class Answers(NamedTuple):
    """What a model makes of a batch.

    Args:
        scores: (N, C), one row per answer asked for.
        targets: (N,) the true ones.
        encoded: what the encoder said.
    """

    scores: Tensor
    targets: Tensor
    encoded: Encoded


class SequenceModel(nn.Module):
    """Input layer, encoder, head.

    Args:
        problem: what sizes it has.
        encoder: of frames of `embedding` numbers.
        embedding: numbers per symbol or frame that enter the encoder.
    """

    def __init__(self, problem: Problem, encoder: Encoder, embedding: int) -> None:
        super().__init__()
        self.answers = problem.answers
        self.entry = (
            nn.Embedding(problem.input_size, embedding)
            if problem.reads_symbols
            else nn.Linear(problem.input_size, embedding)
        )
        self.encoder = encoder
        self.head = nn.Linear(encoder.size, problem.num_outputs)

    def encode(self, frames: Tensor, state: Any = None, lengths: Tensor | None = None) -> Encoded:
        """Symbols or numbers to hidden states, from a state or from the start."""
        return self.encoder(self.entry(frames), state, lengths)

    def forward(self, batch: Batch) -> Answers:
        """Every answer that the batch asks for."""
        encoded = self.encode(batch.frames, lengths=batch.lengths)
        if self.answers == "sequence":
            return Answers(self.head(self._read(encoded.output, batch.lengths)), batch.targets, encoded)
        asked = batch.targets != IGNORED if not batch.targets.is_floating_point() else ~batch.targets.isnan()
        return Answers(self.head(encoded.output[asked]), batch.targets[asked], encoded)

    def _read(self, output: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return output[:, -1] if self.encoder.readout == "last" else output.mean(1)
        lengths = lengths.to(output.device)
        if self.encoder.readout == "last":
            return output[torch.arange(len(output), device=output.device), lengths - 1]
        within = torch.arange(output.shape[1], device=output.device) < lengths[:, None]
        return (output * within[..., None]).sum(1) / lengths[:, None]


def task_loss(answers: Answers) -> Tensor:
    """Cross-entropy of classes, mean squared error of numbers."""
    if answers.targets.is_floating_point():
        return (answers.scores[:, 0] - answers.targets).square().mean()
    return cross_entropy(answers.scores, answers.targets)


def help_loss(encoded: Encoded, events: Tensor) -> Tensor:
    """Shows a switch by the problem's own knowledge which frames matter; both sorts count alike.

    Args:
        encoded: of a model whose frame switch has logits.
        events: (B, T) bool.
    """
    assert encoded.logits is not None
    wanted = events.to(encoded.logits.dtype)
    rare = (1 - wanted).sum() / wanted.sum().clamp_min(1)
    return binary_cross_entropy_with_logits(encoded.logits, wanted, pos_weight=rare) / 2


def num_parameters(module: nn.Module) -> int:
    """Trained numbers of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def matched_size(build: Callable[[int], nn.Module], wanted: int, *, allows: Callable[[int], bool] | None = None) -> int:
    """The hidden size at which a model comes nearest to a number of parameters.

    Args:
        build: a model of a hidden size; its parameters grow with it.
        wanted: parameters.
        allows: whether a size can be built (heads divide a width); None: all can.

    Raises:
        ValueError: if the nearest is more than 5 % away.
    """

    def count(size: int) -> int:
        return num_parameters(build(size))

    def allowed(size: int) -> bool:
        return allows is None or allows(size)

    low = next(size for size in range(1, 1_000) if allowed(size))
    high = low
    while count(high) < wanted:
        low, high = high, next(size for size in range(2 * high, 4 * high) if allowed(size))
    while sizes := [size for size in range(low + 1, high) if allowed(size)]:
        middle = sizes[len(sizes) // 2]
        low, high = (middle, high) if count(middle) < wanted else (low, middle)
    best = min((low, high), key=lambda size: abs(count(size) - wanted))
    if abs(count(best) - wanted) > 0.05 * wanted:
        raise ValueError(
            f"num_parameters={wanted}: hidden sizes {low} and {high} give {count(low)} and {count(high)}; the rule is "
            "within 5 %; ask for another number"
        )
    return best
