"""Which backend "auto" takes: all of the rules, and what was measured for them.

A rule looks at nothing that changes from block to block of a stream: not at the number of frames, of streams, or of
open ones. So any cut of a stream into blocks runs on one backend, and gives the same bits.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surnn.kernels import packed, reference, triton_rows
from surnn.types import Switch

BACKENDS = ("auto", "event", "packed", "triton", "reference")


class Chosen(NamedTuple):
    """A backend.

    Args:
        name: one of BACKENDS, but "auto".
        scan: over dense frames.
        scan_rows: over packed rows; None: it has no such thing.
        is_binary: tells whether a tensor is all 0 and 1, if it can do so faster than torch.
    """

    name: str
    scan: Callable[..., Any]
    scan_rows: Callable[..., Any] | None
    is_binary: Callable[[Tensor], bool] | None


def choose(backend: str, frames: Tensor, switch: Switch | None) -> Chosen:
    """The backend that was asked for, or the best one.

    Raises:
        ValueError: if there is no such backend, or what it needs is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f'backend="{backend}" must be one of {", ".join(BACKENDS)}')
    if backend == "auto":
        backend = best(frames, switch)
    if backend == "reference":
        return Chosen("reference", reference.scan, None, None)
    if backend == "packed":
        return Chosen("packed", packed.scan, packed.scan_rows, None)
    if backend == "triton":
        scan, scan_rows = (partial(each, run=triton_rows.run_rows) for each in (packed.scan, packed.scan_rows))
        return Chosen("triton", scan, scan_rows, None)
    if not has_numba():
        raise ValueError(
            'backend="event" is compiled by numba, which is not installed; install numba, or use backend="packed"'
        )
    event = import_module("surnn.kernels.event")  # numba takes half a second to import: not before it is asked for
    return Chosen("event", event.scan, event.scan_rows, event.is_binary)


def best(frames: Tensor, switch: Switch | None) -> str:
    """The name of the backend that "auto" takes.

    A soft switch closes nothing: only the reference mixes states. On a CPU the event loops are as fast as the fastest
    dense library where everything is open, and faster the more is closed, forward and backward (python -m
    benchmarks.kernels). Elsewhere, in other types, and without numba, torch's own kernels over open frames. "triton"
    has to be asked for until it has been timed on a GPU (python -m benchmarks.gpu_kernels).
    """
    if switch is not None and switch.is_soft:
        return "reference"
    is_plain = frames.device.type == "cpu" and frames.dtype in (torch.float32, torch.float64)
    in_transform = torch._C._are_functorch_transforms_active()
    return "event" if is_plain and has_numba() and not in_transform else "packed"


@cache
def has_numba() -> bool:
    """Whether numba is installed; it is not imported."""
    return find_spec("numba") is not None
