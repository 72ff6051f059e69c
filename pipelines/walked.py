"""What a walk over a whole recording found: columns that grow block by block."""

import torch
from torch import Tensor

from .heads import Held


class _Column:
    """Rows that are added block by block, in one piece of memory that doubles when it is full.

    A list of small tensors, day-long, would leave holes all over the heap.
    """

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float32) -> None:
        self._rows, self._length = torch.empty(0, *shape, dtype=dtype), 0

    def add(self, rows: Tensor) -> None:
        length = self._length + len(rows)
        if length > len(self._rows):
            larger = self._rows.new_empty(max(length, 2 * len(self._rows)), *self._rows.shape[1:])
            larger[: self._length] = self._rows[: self._length]
            self._rows = larger
        self._rows[self._length : length] = rows
        self._length = length

    def whole(self) -> Tensor:
        """All rows."""
        return self._rows[: self._length]


class Walked:
    """What a walk over one recording found, block by block."""

    def __init__(self, num_labels: int) -> None:
        self.is_open, self.index = _Column(dtype=torch.bool), _Column(dtype=torch.int64)
        self.level, self.decay, self.logits = _Column(num_labels), _Column(num_labels), _Column()
        self.has_logits = False
        self.frames_featurized = 0

    def add(self, is_open: Tensor, switch_logits: Tensor | None, held: Held, frames_featurized: int) -> None:
        """What one block told; see pipelines.line.Step."""
        self.is_open.add(is_open)
        if switch_logits is not None:
            self.logits.add(switch_logits)
            self.has_logits = True
        self.frames_featurized += frames_featurized
        self.hold(held)

    def hold(self, held: Held) -> None:
        """More open frames that were answered."""
        self.level.add(held.level)
        self.decay.add(held.decay)
        self.index.add(held.index)
