"""What a layer refuses, with the name, the value, the rule and the way out."""

from torch import Tensor

from surnn.layout import Restart
from surnn.types import Packed, Switch


def check_dense(frames: Tensor, input_size: int, lengths: Tensor | None) -> None:
    """Raises a ValueError unless frames are (B, T, input_size) and lengths fit them."""
    if frames.dim() != 3 or frames.shape[2] != input_size:
        raise ValueError(
            f"input has shape {tuple(frames.shape)} (streams first); "
            f"the rule is (streams, frames, input_size={input_size})"
        )
    batch, num_frames = frames.shape[:2]
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


def check_switch(switch: Switch, shape: tuple[int, int, int]) -> None:
    """Raises a ValueError unless the switch fits (streams, frames, neurons of all directions), and is 0 or 1."""
    _check("frames", switch.frames, shape[:2], switch.is_soft)
    if switch.neurons is not None:
        _check("neurons", switch.neurons, shape, switch.is_soft)


def check_restart(restart: Restart, bidirectional: bool) -> None:
    """Raises a ValueError unless the rule can ever act."""
    if not bidirectional:
        raise ValueError(f"{restart} is for the backward direction; leave it out, or set bidirectional=True")
    if restart == Restart():
        raise ValueError("Restart() never restarts; give after_closed or after_open, or leave restart out")
    for name, value in restart._asdict().items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1 frame")


def _check(name: str, values: Tensor, shape: tuple[int, ...], is_soft: bool) -> None:
    if values.shape != shape:
        raise ValueError(f"switch.{name} has shape {tuple(values.shape)}; the rule for this input is {shape}")
    if is_soft and not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(f"switch.{name} has values outside of [0, 1]; take e.g. the sigmoid of the logits")
    if not is_soft and not bool(((values == 0) | (values == 1)).all()):
        raise ValueError(f"switch.{name} has values other than 0 and 1; threshold it first, e.g. with hard_step")
