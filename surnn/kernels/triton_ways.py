"""Ways through time on a GPU, and which of them a layer takes.

on chip    a program per chain; weights in registers for all of its steps
gathered   a program per chain; each step reads the weights of its open neurons
grouped    programs for 16 chains, each with a share of the neurons; all weights for all of them, and after each step
           the programs of a group meet

Programs cannot see each other's registers, and to meet costs as much as a step. So a chain stays with one program where
that is quick enough; where it is not, 16 chains share each meeting, and each program so few neurons that their weights
stay near it.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from surnn.cells import Cell, Weights
from surnn.layout import Layout

Way = Literal["on chip", "gathered", "grouped"]
# Weights, in registers of 4 bytes, that compilation for compute capability 9.0 keeps there: the most without spilling,
# but for 148 bytes a thread of a GRU of 128. A processor has 65,536 registers, and a step needs many of them.
MAX_REGISTERS_FORWARD, MAX_REGISTERS_BACKWARD = 49_152, 24_576
GROUP_CHAINS = 16  # the least that tl.dot multiplies
USUAL_SHARE = 0.25  # of neurons that a switch opens: the rule looks at no switch, for which a GPU would have to wait

# Nominal figures of an H100, in microseconds and per microsecond; steps and meetings are guesses, to be measured.
STEP, MEETING = 0.5, 1.5  # a step's latency without its reads; a meeting of programs
BYTES_OF_PROCESSOR, BYTES_OF_ALL = 109e3, 5.5e6  # read from the cache that all processors share
PRODUCTS_OF_PROCESSOR = {torch.float32: 218e3, torch.float64: 109e3, torch.bfloat16: 1.7e6}  # of tl.dot


class Shares(NamedTuple):
    """How grouped chains are split.

    Args:
        num_groups: of up to 16 chains.
        num_shares: programs of each group.
        tile_neurons: neurons that a program steps at one time.
    """

    num_groups: int
    num_shares: int
    tile_neurons: int


class Plan(NamedTuple):
    """How the rows of one call are gone through.

    Args:
        forward, backward: which kernels.
        num_steps: of the longest chain.
        first: (C,) first row of each chain, longest chain first.
        length: (C,) rows of each.
        takes: (N, H) int8, open neurons; None: all.
        open_neurons: which are open, row by row; None unless they are gathered.
        begin: (N + 1,) where each row's begin.
    """

    forward: Way
    backward: Way
    num_steps: int
    first: Tensor
    length: Tensor
    takes: Tensor | None
    open_neurons: Tensor | None
    begin: Tensor | None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """All tensors in it, for autograd to keep."""
        return self[3:]


def plan_ways(cell: Cell, weights: Weights, layout: Layout, gate: Tensor | None, way: Way | None) -> Plan:
    """A plan for rows.

    Args:
        cell, weights, layout, gate: as in `rows.run_rows`.
        way: forward and backward; None: as `choose_way` says. Backward, on chip gives way where weights do not fit.
    """
    weight, num_chains = weights.weight_hh, len(layout.chain_stream)
    takes = (gate > 0.5).to(torch.int8).contiguous() if gate is not None and gate.shape[1] > 1 else None
    share = 1.0 if takes is None else USUAL_SHARE
    # Streams, too: how many of them have a row changes from block to block, and the way had better not.
    of_rule = cell, weight, max(num_chains, len(layout.counts)), share, num_processors(weight.device)
    forward = way or choose_way(*of_rule, is_backward=False)
    fits = way != "on chip" or fits_on_chip(cell, weight, is_backward=True)
    backward = way if way and fits else choose_way(*of_rule, is_backward=True)
    open_neurons = begin = None
    if takes is not None and "gathered" in (forward, backward):
        counts = takes.sum(dim=1, dtype=torch.int64)
        begin = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        open_neurons = takes.nonzero()[:, 1].to(torch.int32)
    sizes = torch.tensor(layout.batch_sizes, dtype=torch.int64, device=weight.device)
    chain = torch.arange(num_chains, device=weight.device)
    length = len(sizes) - torch.searchsorted(sizes.flip(0), chain, right=True)  # steps of more chains than this many
    return Plan(forward, backward, len(sizes), layout.source[:num_chains], length, takes, open_neurons, begin)


def choose_way(cell: Cell, weight: Tensor, num_chains: int, share: float, processors: int, *, is_backward: bool) -> Way:
    """The way that should take the least time. Reasoned from figures of the machine, not measured.

    Args:
        cell: the equations.
        weight: (G * H, H) of the state.
        num_chains: independent chains.
        share: of neurons that are expected to be open.
        processors: of the GPU.
        is_backward: the kernel that needs more registers.
    """
    weight_bytes = weight.numel() * weight.element_size()
    turns = max(1, math.ceil(num_chains / processors))
    read = share * weight_bytes
    took: dict[Way, float] = {}
    if fits_on_chip(cell, weight, is_backward=is_backward):
        took["on chip"] = turns * STEP
    took["gathered"] = turns * STEP + max(turns * read / BYTES_OF_PROCESSOR, num_chains * read / BYTES_OF_ALL)
    groups, shares, _ = shares_of(num_chains, weight.shape[1], processors)
    multiply = GROUP_CHAINS * weight.numel() / PRODUCTS_OF_PROCESSOR[weight.dtype]
    work = max(multiply, weight_bytes / BYTES_OF_PROCESSOR) / shares
    took["grouped"] = (MEETING if shares > 1 else STEP) + math.ceil(groups * shares / processors) * work
    return min(took, key=lambda way: took[way])


def fits_on_chip(cell: Cell, weight: Tensor, *, is_backward: bool) -> bool:
    """Whether a program can keep (G * H, H) weights in registers."""
    limit = MAX_REGISTERS_BACKWARD if is_backward else MAX_REGISTERS_FORWARD
    size_bytes = max(4, weight.element_size())  # in a step, bfloat16 is float32
    return cell.num_blocks * tile_of(weight.shape[1]) ** 2 * size_bytes // 4 <= limit


def shares_of(num_chains: int, hidden_size: int, processors: int) -> Shares:
    """As many programs as run at the same time; as few neurons for each as leave no processor idle."""
    groups = max(1, math.ceil(num_chains / GROUP_CHAINS))
    tile_neurons = 16 if groups * math.ceil(hidden_size / 16) <= processors else 32
    shares = min(math.ceil(hidden_size / tile_neurons), processors // groups)
    return Shares(groups, max(1, shares), tile_neurons)


def tile_of(size: int) -> int:
    """The power of two that holds so many."""
    return max(4, 1 << (size - 1).bit_length())


def num_processors(device: torch.device) -> int:
    """Programs that run at the same time, at least."""
    if device.type != "cuda":
        return 4  # of the interpreter: enough for the neurons of a group to be shared
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
