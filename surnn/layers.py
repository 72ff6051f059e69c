"""Recurrent layers that are used like torch.nn.GRU, with a switch."""

import math
from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor, nn

from surnn.cells import GRUWeights
from surnn.kernels import packed, reference
from surnn.types import Packed, ScanResult, Switch

Backend = Literal["auto", "packed", "reference"]


class SuGRU(nn.Module):
    """A GRU that steps only where the switch is open, and holds its state to the last bit elsewhere.

    Weights have the names, shapes and initial values of torch.nn.GRU, and its state dicts load. All layers share the
    switch. With everything open it is torch.nn.GRU.

    Args:
        input_size: F, numbers per frame.
        hidden_size: H, neurons per layer.
        num_layers: layers one above the other.

    Source: selective-update RNN, arXiv:2603.02226.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__()
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        for layer in range(num_layers):
            below = input_size if layer == 0 else hidden_size
            self.register_parameter(f"weight_ih_l{layer}", nn.Parameter(torch.empty(3 * hidden_size, below)))
            self.register_parameter(f"weight_hh_l{layer}", nn.Parameter(torch.empty(3 * hidden_size, hidden_size)))
            self.register_parameter(f"bias_ih_l{layer}", nn.Parameter(torch.empty(3 * hidden_size)))
            self.register_parameter(f"bias_hh_l{layer}", nn.Parameter(torch.empty(3 * hidden_size)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from +-1 / sqrt(H), as torch.nn.GRU does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # After a move to a GPU, cuDNN wants all weights in one piece of memory; else it warns and copies at every call.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        flat = [tensor for layer in self.layer_weights for tensor in layer]
        if torch.backends.cudnn.is_acceptable(flat[0]):  # type: ignore[no-untyped-call]
            with torch.no_grad(), torch.cuda.device(flat[0].device):
                gru, no_projection = 3, 0
                torch._cudnn_rnn_flatten_weight(
                    flat, 4, self.input_size, gru, self.hidden_size, no_projection, self.num_layers, True, False
                )
        return self

    @property
    def layer_weights(self) -> list[GRUWeights]:
        """The weights, layer by layer."""
        names = GRUWeights._fields
        return [GRUWeights(*(getattr(self, f"{name}_l{layer}") for name in names)) for layer in range(self.num_layers)]

    def forward(
        self,
        input: Tensor | Packed,
        hx: Tensor | None = None,
        *,
        switch: Switch | None = None,
        lengths: Tensor | None = None,
        backend: Backend = "auto",
    ) -> ScanResult:
        """Run over dense frames under a switch, or over rows that were packed already.

        Args:
            input: (B, T, F) dense frames; or the Packed open frames of B streams, every row of which is one step.
            hx: (num_layers, B, H) state before the first frame; None: zeros.
            switch: for dense input; None: everything open.
            lengths: (B,) frames per stream, for dense input; padding after them holds. None: no padding.
            backend: "auto" takes "packed", or "reference" where the switch has neurons or requires a gradient.

        Returns:
            Output (B, T, H) for dense input, (N, H) for Packed; the state after the last frame.

        Raises:
            ValueError: if shapes do not fit, switch values are not 0 or 1, or the backend cannot do what is asked.
        """
        if isinstance(input, Packed):
            if switch is not None or lengths is not None or backend == "reference":
                raise ValueError(
                    "Packed input has its own lengths, all its rows are open, and only the packed backend runs it; "
                    "leave out switch, lengths and backend, or give dense frames"
                )
            self._check_packed(input)
            return packed.scan_rows(input, self._state(hx, input.data, len(input.lengths)), self.layer_weights)

        self._check_dense(input, switch, lengths)
        if backend not in ("auto", "packed", "reference"):
            raise ValueError(f'backend="{backend}" must be "auto", "packed" or "reference"')
        if backend == "auto":
            backend = "reference" if switch is not None and _needs_reference(switch) else "packed"
        scan = reference.scan if backend == "reference" else packed.scan
        return scan(input, self._state(hx, input, input.shape[0]), self.layer_weights, switch, lengths)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"

    def _state(self, hx: Tensor | None, like: Tensor, batch: int) -> Tensor:
        shape = (self.num_layers, batch, self.hidden_size)
        if hx is None:
            return like.new_zeros(shape)
        if hx.shape != shape:
            raise ValueError(
                f"hx has shape {tuple(hx.shape)}; the rule is (num_layers, streams, hidden_size) = {shape}"
            )
        return hx

    def _check_packed(self, rows: Packed) -> None:
        if rows.data.dim() != 2 or rows.data.shape[1] != self.input_size:
            raise ValueError(
                f"Packed.data has shape {tuple(rows.data.shape)}; the rule is (rows, input_size={self.input_size})"
            )
        if int(rows.lengths.sum()) != len(rows.data):
            raise ValueError(
                f"Packed.lengths sum to {int(rows.lengths.sum())}, but there are {len(rows.data)} rows; "
                f"give the number of rows of each stream"
            )

    def _check_dense(self, frames: Tensor, switch: Switch | None, lengths: Tensor | None) -> None:
        if frames.dim() != 3 or frames.shape[2] != self.input_size:
            raise ValueError(
                f"input has shape {tuple(frames.shape)}; the rule is (streams, frames, input_size={self.input_size})"
            )
        batch, num_frames = frames.shape[:2]
        if switch is not None:
            _check_switch("frames", switch.frames, (batch, num_frames))
            if switch.neurons is not None:
                _check_switch("neurons", switch.neurons, (batch, num_frames, self.hidden_size))
        if lengths is not None and (lengths.shape != (batch,) or bool(((lengths < 0) | (lengths > num_frames)).any())):
            raise ValueError(
                f"lengths={lengths.tolist()}; the rule is one per stream ({batch}), each in [0, {num_frames}]"
            )


def _needs_reference(switch: Switch) -> bool:
    return switch.neurons is not None or (switch.frames.requires_grad and torch.is_grad_enabled())


def _check_switch(name: str, values: Tensor, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"switch.{name} has shape {tuple(values.shape)}; the rule for this input is {shape}")
    if not bool(((values == 0) | (values == 1)).all()):
        raise ValueError(f"switch.{name} has values other than 0 and 1; threshold it first, e.g. with hard_step")
