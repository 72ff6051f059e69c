"""Sequences of unequal length as one tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def padded(sequences: Sequence[Tensor], padding: float) -> tuple[Tensor, Tensor]:
    """(B, T, ...) with `padding` after the end of each sequence, and (B,) lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return pad_sequence(list(sequences), batch_first=True, padding_value=padding), lengths
