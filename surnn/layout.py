"""Rows in the order in which a recurrence takes them: chains, restarts, and what each frame holds.

One direction takes the open rows of each stream in order; where it restarts, a new chain begins at zero. Chains are
independent, so all of them step together, longest first:

    chains  a b c | d e | f    ->    steps  a d f | b e | c,  batch_sizes 3 2 1
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Restart(NamedTuple):
    """When the backward half of a bidirectional layer forgets what is to the right of it.

    Open frames fall into segments, and none hears a later one: so a segment can be computed as soon as it has ended,
    and a stream of any length in bounded memory. The rule looks at the switch alone; training and tagging agree.

    Args:
        after_closed: a segment ends before this many closed frames in a row; None: never.
        after_open: a segment has at most this many open frames; None: any number.
    """

    after_closed: int | None = None
    after_open: int | None = None


class Layout(NamedTuple):
    """N rows of B streams in C chains.

    Args:
        counts: (B,) rows per stream.
        source: (N,) rows, step by step.
        batch_sizes: chains that take each step; never grows.
        chain_stream: (C,) the stream of each chain, longest chain first.
        chain_is_fresh: (C,) bool; true: it begins at zero, not at its stream's state.
        previous: (N,), step by step: where the state before each step is, in a table of the C states before and then
            the N rows, step by step.
        last: (B,) where each stream's final state is, in a table of the B states before and then the N rows.
        final_chain: (B,) the chain in which each stream ends; -1 where it has no row.
    """

    counts: Tensor
    source: Tensor
    batch_sizes: list[int]
    chain_stream: Tensor
    chain_is_fresh: Tensor
    previous: Tensor
    last: Tensor
    final_chain: Tensor


def lay_out(counts: Tensor, fresh: Tensor | None = None) -> Layout:
    """Chains of rows that lie stream by stream.

    Args:
        counts: (B,) int64 rows per stream.
        fresh: (N,) bool, true for rows before which the state is set to zero; None: none.
    """
    device, num_rows = counts.device, int(counts.sum())
    stream = torch.repeat_interleave(counts, output_size=num_rows)
    first_row = counts.cumsum(0) - counts
    has_rows = counts > 0
    starts = torch.zeros(num_rows, dtype=torch.bool, device=device) if fresh is None else fresh.clone()
    starts[first_row[has_rows]] = True
    chain = starts.cumsum(0) - 1  # of each row
    chain_first = starts.nonzero()[:, 0]
    order = chain.bincount(minlength=len(chain_first)).argsort(descending=True, stable=True)
    place = torch.empty_like(order)  # of each chain, longest first
    place[order] = torch.arange(len(order), device=device)
    step = torch.arange(num_rows, device=device) - chain_first[chain]
    batch_sizes = step.bincount()
    source = (step * len(order) + place[chain]).argsort()
    # The row before a row of step j is, chain by chain, of step j - 1: as many places back as that step has chains.
    chains_before = torch.cat((batch_sizes.new_tensor([len(order)]), batch_sizes[:-1]))
    position = torch.arange(num_rows, device=device) + len(order)
    last_row = len(counts) + first_row + counts - 1
    final_chain = counts.new_full((len(counts),), -1)
    final_chain[has_rows] = place[chain[(first_row + counts - 1)[has_rows]]]
    return Layout(
        counts,
        source,
        batch_sizes.tolist(),
        stream[chain_first][order],
        torch.zeros_like(order, dtype=torch.bool) if fresh is None else fresh[chain_first][order],
        position - chains_before[step[source]],
        torch.where(has_rows, last_row, torch.arange(len(counts), device=device)),
        final_chain,
    )


def segment_starts(index: Tensor, counts: Tensor, restart: Restart | None) -> Tensor:
    """(N,) bool: rows with which a segment begins, the first row of every stream among them.

    Args:
        index: (N,) frames that the rows stand for, stream by stream in time order.
        counts: (B,) rows per stream.
        restart: the rule; None: one segment per stream.
    """
    starts = torch.zeros(len(index), dtype=torch.bool, device=index.device)
    starts[(counts.cumsum(0) - counts)[counts > 0]] = True
    if restart is None or not len(index):
        return starts
    row = torch.arange(len(index), device=index.device)
    if restart.after_closed is not None:
        starts[1:] |= index.diff() > restart.after_closed
    if restart.after_open is not None:
        since = row - torch.where(starts, row, row.new_zeros(())).cummax(0).values
        starts |= since % restart.after_open == 0
    return starts


def reversed_rows(counts: Tensor) -> Tensor:
    """(N,): the same rows, each stream from its end to its start; its own inverse."""
    num_rows = int(counts.sum())
    stream = torch.repeat_interleave(counts, output_size=num_rows)
    first_row = counts.cumsum(0) - counts
    return (2 * first_row + counts - 1)[stream] - torch.arange(num_rows, device=counts.device)


def held_rows(is_open: Tensor, counts: Tensor) -> Tensor:
    """(B, T): which row each frame holds, in a table of the B states before and then the N rows.

    Args:
        is_open: (B, T) bool, in the order of the rows.
        counts: (B,) rows per stream.
    """
    num_streams = len(counts)
    num_opened = is_open.cumsum(dim=1)
    before = torch.arange(num_streams, device=counts.device)[:, None]
    first_row = num_streams + (counts.cumsum(0) - counts)[:, None]
    return torch.where(num_opened > 0, first_row + num_opened - 1, before)
