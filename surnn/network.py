"""The weights of a stack of recurrent layers, as every kernel takes them."""

from typing import NamedTuple

from torch import Tensor

from surnn.cells import Cell, Weights
from surnn.layout import Restart


class Network(NamedTuple):
    """L layers of D directions (1: forward; 2: forward and backward); all of them share the switch.

    Args:
        cell: the equations.
        layers: weights, per layer and direction. Layers above the first take D * H numbers.
        masks: per layer, what its input is multiplied by, (B, D * H), the same at every frame (locked dropout); None:
            nothing. The first layer has none.
        residual: every layer above the first adds its input to its output.
        restart: of the backward direction.
    """

    cell: Cell
    layers: tuple[tuple[Weights, ...], ...]
    masks: tuple[Tensor | None, ...]
    residual: bool = False
    restart: Restart | None = None

    @property
    def num_directions(self) -> int:
        return len(self.layers[0])
