"""What a layer refuses, with the name, the value, the rule and the way out."""

from collections.abc import Callable

import torch
from torch import Tensor

from surnn.layout import Restart
from surnn.types import Packed, Sampled, Switch

WHOLE_NUMBERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_options(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
    proj_size: int,
    residual: bool,
    restart: Restart | None,
) -> None:
    """Raises a ValueError unless a layer can be built so, and every option has an effect."""
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout={dropout} must lie in [0, 1]; it is the share of numbers that are zeroed")
    if num_layers == 1 and (dropout > 0 or residual):
        raise ValueError("dropout and residual act between layers; leave them out, or give num_layers of 2 or more")
    if proj_size != 0:
        raise ValueError(f"proj_size={proj_size}: projected states are not supported; use proj_size=0")
    if restart is not None:
        check_restart(restart, bidirectional)


def check_dense(frames: Tensor, input_size: int, lengths: Tensor | None) -> None:
    """Raises a ValueError unless frames are (B, T, input_size) and lengths fit them."""
    if frames.dim() != 3 or frames.shape[2] != input_size:
        raise ValueError(
            f"input has shape {tuple(frames.shape)} (streams first); "
            f"the rule is (streams, frames, input_size={input_size})"
        )
    batch, num_frames = frames.shape[:2]
    if lengths is not None and (not isinstance(lengths, Tensor) or lengths.dtype not in WHOLE_NUMBERS):
        found = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise ValueError(f"lengths is {found}; the rule is a tensor of whole numbers; give torch.tensor([...])")
    if lengths is not None and (lengths.shape != (batch,) or bool(((lengths < 0) | (lengths > num_frames)).any())):
        raise ValueError(f"lengths={lengths.tolist()}; the rule is one per stream ({batch}), each in [0, {num_frames}]")


def check_rows(rows: Packed, input_size: int) -> None:
    """Raises a ValueError unless the rows have this size and agree with their lengths."""
    if rows.data.dim() != 2 or rows.data.shape[1] != input_size:
        raise ValueError(f"Packed.data has shape {tuple(rows.data.shape)}; the rule is (rows, input_size={input_size})")
    if int(rows.lengths.sum()) != len(rows.data) or len(rows.index) != len(rows.data):
        raise ValueError(
            f"Packed.lengths sum to {int(rows.lengths.sum())}, but there are {len(rows.data)} rows and "
            f"{len(rows.index)} indices; give the number of rows of each stream, and the frame of each row"
        )


def check_alone(switch: Switch | None, glance: Tensor | None, lengths: Tensor | None, backend: str) -> None:
    """Raises a ValueError if Packed input comes with what only dense frames can have."""
    if switch is not None or glance is not None or lengths is not None or backend == "reference":
        raise ValueError(
            "Packed input has its own lengths, all its rows are open, and the reference does not run it; "
            "leave out switch, glance, lengths and backend, or give dense frames"
        )


def check_state(parts: tuple[Tensor, ...], num_parts: int, shape: tuple[int, int, int]) -> None:
    """Raises a ValueError unless there are as many tensors as the cell has, of this shape."""
    if len(parts) != num_parts or any(part.shape != shape for part in parts):
        found = ", ".join(str(tuple(part.shape)) for part in parts)
        many = "a pair of tensors" if num_parts > 1 else "one tensor"
        raise ValueError(
            f"hx has shape {found}; the rule is {many} (num_layers * directions, streams, hidden_size) = {shape}"
        )


def check_switch(
    switch: Switch, shape: tuple[int, int, int], is_binary: Callable[[Tensor], bool] | None = None
) -> None:
    """Raises a ValueError unless the switch fits (streams, frames, neurons of all directions), and is 0 or 1.

    is_binary: tells whether values are all 0 or 1; None: torch does.
    """
    _check("frames", switch.frames, shape[:2], switch.is_soft, is_binary or _is_binary)
    if switch.neurons is not None:
        _check("neurons", switch.neurons, shape, switch.is_soft, is_binary or _is_binary)


def check_closed_frames(closed_frames: str | Sampled, shape: tuple[int, ...], is_soft: bool, backend: str) -> None:
    """Raises a ValueError unless this way to teach closed frames exists, and fits (streams, frames) and the backend."""
    if not isinstance(closed_frames, Sampled):
        if closed_frames not in ("exact", "confidence"):
            raise ValueError(f'closed_frames="{closed_frames}" must be "exact", "confidence" or a Sampled')
        if closed_frames == "confidence" and is_soft:
            raise ValueError('closed_frames="confidence" is for hard switches, and this one is soft; use "exact"')
        return
    if backend == "reference":
        raise ValueError(
            f'closed_frames=Sampled(...) is for backend="packed", "event" or "triton", and this is "{backend}", all '
            f'that a soft switch has; use closed_frames="exact"'
        )
    if closed_frames.frames.shape != shape or closed_frames.frames.dtype != torch.bool:
        raise ValueError(
            f"Sampled.frames has shape {tuple(closed_frames.frames.shape)} and type {closed_frames.frames.dtype}; the "
            f"rule for this input is bool, {tuple(shape)}; draw them with sample_closed"
        )
    if not 0 < closed_frames.probability <= 1:
        raise ValueError(f"Sampled.probability={closed_frames.probability} must lie in (0, 1]")


def check_restart(restart: Restart, bidirectional: bool) -> None:
    """Raises a ValueError unless the rule can ever act."""
    if not bidirectional:
        raise ValueError(f"{restart} is for the backward direction; leave it out, or set bidirectional=True")
    if restart == Restart():
        raise ValueError("Restart() never restarts; give after_closed or after_open, or leave restart out")
    for name, value in restart._asdict().items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1 frame")


def _check(
    name: str, values: Tensor, shape: tuple[int, ...], is_soft: bool, is_binary: Callable[[Tensor], bool]
) -> None:
    if values.shape != shape:
        raise ValueError(f"switch.{name} has shape {tuple(values.shape)}; the rule for this input is {shape}")
    if is_soft and not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(f"switch.{name} has values outside of [0, 1]; take e.g. the sigmoid of the logits")
    if not is_soft and not is_binary(values):
        raise ValueError(f"switch.{name} has values other than 0 and 1; threshold it first, e.g. with hard_step")


def _is_binary(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())
