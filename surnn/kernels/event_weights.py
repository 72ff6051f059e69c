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
NUM_SPOTS = 64


class Laid(NamedTuple):
    """One layer and direction: each of two weights with its bias, as torch has them and in tiles; the number of inputs.

    Args:
        read: of frames.
        state: of the state.
        num_outputs: to which tiles are padded.
    """

    read: tuple[Array, Array, Array, Array, int]
    state: tuple[Array, Array, Array, Array, int]
    num_outputs: int


class _Kept(NamedTuple):
    laid: Laid
    marks: tuple[tuple[int, int], ...]
    spots: bytes


_kept: Any = WeakIdKeyDictionary()  # weight_hh, while it lives: what it was laid out to


def laid_out(weights: Weights) -> Laid:
    """The weights in tiles; kept until autograd's version counter, the memory or a sample of the values changes."""
    if any(tensor is not None and tensor.is_inference() for tensor in weights):
        return _lay_out(weights)
    marks = tuple((tensor._version, tensor.data_ptr()) for tensor in weights if tensor is not None)
    kept = _kept.get(weights.weight_hh)
    if kept is not None and kept.marks == marks and _spots(weights) == kept.spots:
        laid: Laid = kept.laid
        return laid
    laid = _lay_out(weights)
    _kept[weights.weight_hh] = _Kept(laid, marks, _spots(weights))
    return laid


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


def _spots(weights: Weights) -> bytes:
    """Some of the numbers: `weight.data.mul_(2)` changes no version."""
    flat = weights.weight_hh.detach().numpy().reshape(-1)
    return bytes(flat[:: max(1, len(flat) // NUM_SPOTS)].tobytes())


def _lay_out(weights: Weights) -> Laid:
    num_outputs = _padded(weights.weight_hh, weights.weight_hh.shape[0])
    read, state = (
        _in_tiles(weight, bias, num_outputs)
        for weight, bias in ((weights.weight_ih, weights.bias_ih), (weights.weight_hh, weights.bias_hh))
    )
    return Laid(read, state, num_outputs)


def _in_tiles(weight: Tensor, bias: Tensor | None, num_outputs: int) -> tuple[Array, Array, Array, Array, int]:
    plain = weight.detach().contiguous().numpy()
    num_rows, num_inputs = plain.shape
    biases = np.zeros(num_outputs, plain.dtype)
    if bias is not None:
        biases[:num_rows] = bias.detach().numpy()
    tiles = np.empty(num_outputs * num_inputs, plain.dtype)
    loops.lay_in_tiles(plain, tiles, num_outputs)
    return plain.reshape(-1), biases[:num_rows], tiles, biases, num_inputs
