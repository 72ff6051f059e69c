"""Weights as the event loops read them, laid out once for as long as they do not change."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from surnn.cells import Weights
from surnn.kernels import event_loops as loops
from surnn.kernels.event_math import TAIL_VECTORS, VECTOR_BYTES

Array = NDArray[Any]


class Laid(NamedTuple):
    """One layer and direction: two weights, each with its bias, as torch has them and in tiles; the number of inputs.

    Args:
        read: of frames.
        state: of the state.
        num_outputs: to which tiles are padded.
    """

    read: tuple[Array, Array, Array, Array, int]
    state: tuple[Array, Array, Array, Array, int]
    num_outputs: int


_kept: Any = WeakIdKeyDictionary()  # weight_hh, while it lives: what it was laid out to


def laid_out(weights: Weights) -> Laid:
    """The weights in tiles; kept, and laid out again when any bit of the weights has changed.

    All of them are compared: `weight.data`, views of numpy and other processes change values, and no version counter.
    That reads as much as two frames' steps do.
    """
    if any(tensor is not None and tensor.is_inference() for tensor in weights):
        return _lay_out(weights)
    kept: Laid | None = _kept.get(weights.weight_hh)
    if kept is None or not _is_of(kept, weights):
        kept = _lay_out(weights)
        _kept[weights.weight_hh] = kept
    return kept


def back_tiles(weight_hh: Tensor) -> tuple[Array, int]:
    """The transpose of weight_hh in tiles, for the way back; and to how many outputs they are padded."""
    plain = np.ascontiguousarray(weight_hh.detach().numpy().T)
    num_outputs = _padded(weight_hh, plain.shape[0])
    tiles = np.empty(num_outputs * plain.shape[1], plain.dtype)
    loops.lay_in_tiles(plain, tiles, num_outputs)
    return tiles, num_outputs


def _padded(weight: Tensor, num_outputs: int) -> int:
    unit = TAIL_VECTORS * VECTOR_BYTES // weight.element_size()
    return -(-num_outputs // unit) * unit


def _is_of(laid: Laid, weights: Weights) -> bool:
    """Whether these are the weights, bit for bit, that were laid out."""
    halves = (weights.weight_ih, weights.bias_ih, laid.read), (weights.weight_hh, weights.bias_hh, laid.state)
    for weight, bias, (plain, biases, *_) in halves:
        if not _is_same(weight, plain) or not (bias is None or _is_same(bias, biases)):
            return False
    return True


def _is_same(tensor: Tensor, copy: Array) -> bool:
    values = tensor.detach().contiguous().numpy().reshape(-1)
    return values.dtype == copy.dtype and bool(loops.is_same(values.view(np.uint8), copy.view(np.uint8)))


def _lay_out(weights: Weights) -> Laid:
    num_outputs = _padded(weights.weight_hh, weights.weight_hh.shape[0])
    read, state = (
        _in_tiles(weight, bias, num_outputs)
        for weight, bias in ((weights.weight_ih, weights.bias_ih), (weights.weight_hh, weights.bias_hh))
    )
    return Laid(read, state, num_outputs)


def _in_tiles(weight: Tensor, bias: Tensor | None, num_outputs: int) -> tuple[Array, Array, Array, Array, int]:
    num_rows, num_inputs = weight.shape
    plain = np.array(weight.detach().numpy(), order="C")  # a copy: the tensor may change
    biases = np.zeros(num_outputs, plain.dtype)
    if bias is not None:
        biases[:num_rows] = bias.detach().numpy()
    tiles = np.empty(num_outputs * num_inputs, plain.dtype)
    loops.lay_in_tiles(plain, tiles, num_outputs)
    return plain.reshape(-1), biases[:num_rows], tiles, biases, num_inputs
