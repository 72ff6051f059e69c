"""Why a memory lasts: gradients to past events, exactness of held states, rates of neurons, costs over length."""

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pipelines.research import DenseRecurrent, MinGRU, SelectiveCopy, SelectiveUpdate, Transformer
from pipelines.research.contract import Encoded, Problem, seeded
from pipelines.research.model import Answers, SequenceModel, matched_size, task_loss
from surnn import SuGRU, SuLSTM, SuRNN, Switch

HELD_FRAMES = 1_000_000
BLOCK_FRAMES = 20_000
DISTANCES = (4, 16, 64, 256, 1024)


class Gradient(NamedTuple):
    """How much of the answer's gradient reaches an event in the past.

    Args:
        distance: frames from the event to the end.
        num_open_between: mean number of steps between, NaN for a model without steps.
        at_event: mean norm of the loss's gradient at that frame's embedding.
        at_blank: the same, at the blank frame beside it.
    """

    distance: int
    num_open_between: float
    at_event: float
    at_blank: float


def gradients_over_distance(
    model: SequenceModel, problem: SelectiveCopy, distances: Sequence[int] = DISTANCES, num_sequences: int = 16
) -> list[Gradient]:
    """One symbol among blanks, one query: the norm of the loss's gradient at the symbol's frame, over its distance.

    Args:
        model: trained on selective copy.
        problem: what it was trained on.
        distances: frames from symbol to query.
        num_sequences: averaged over; symbols differ.
    """
    found = []
    blank, query = problem.num_symbols, problem.num_symbols + 1
    symbols = torch.arange(num_sequences) % problem.num_symbols
    for distance in distances:
        frames = torch.full((num_sequences, distance + 5), blank)
        frames[:, 4], frames[:, -1] = symbols, query
        embedded = model.entry(frames).detach().requires_grad_()
        encoded: Encoded = model.encoder(embedded)
        loss = task_loss(Answers(model.head(encoded.output[:, -1]), symbols, encoded)) * num_sequences
        (gradient,) = torch.autograd.grad(loss, embedded)
        norms = gradient.norm(dim=-1).mean(0)
        between = float("nan") if encoded.opened is None else float(encoded.opened[:, 5:].sum(1).mean())
        found.append(Gradient(distance, between, float(norms[4]), float(norms[3])))
    return found


class Held(NamedTuple):
    """What is left of a state after many frames without an event.

    Args:
        num_frames: that passed.
        is_equal: to the last bit.
        relative_change: norm of the difference over the norm of the state before.
        seconds: it took.
    """

    num_frames: int
    is_equal: bool
    relative_change: float
    seconds: float


def hold_exactly(cell: str, num_frames: int = HELD_FRAMES) -> Held:
    """An untrained suRNN, suGRU or suLSTM, its state after ten open frames and so many closed ones, full of noise."""
    generator = seeded(17)
    torch.manual_seed(17)
    layer: Any = {"rnn": SuRNN, "gru": SuGRU, "lstm": SuLSTM}[cell](8, 64, batch_first=True)
    with torch.no_grad():
        before = layer(torch.randn(2, 10, 8, generator=generator)).state
        state, begun = before, time.perf_counter()
        for first in range(0, num_frames, BLOCK_FRAMES):
            number = min(BLOCK_FRAMES, num_frames - first)
            noise = torch.randn(2, number, 8, generator=generator)
            state = layer(noise, state, switch=Switch(torch.zeros(2, number))).state
    return _held(_flat(before), _flat(state), num_frames, time.perf_counter() - begun)


def hold_by_learning(model: SequenceModel, problem: SelectiveCopy, num_frames: int) -> Held:
    """A model trained on selective copy: its output after one symbol, and again after so many blanks in a stream."""
    blank = torch.full((8, min(2_000, num_frames)), problem.num_symbols)
    with torch.no_grad():
        first = torch.cat((torch.arange(8)[:, None] % problem.num_symbols, blank[:, :1]), 1)
        encoded = model.encode(first)
        before, state, begun = encoded.output[:, -1], encoded.state, time.perf_counter()
        passed = 0
        while passed < num_frames:
            encoded = model.encode(blank[:, : num_frames - passed], state)
            state, passed = encoded.state, passed + encoded.output.shape[1]
    return _held(before, encoded.output[:, -1], num_frames, time.perf_counter() - begun)


def _held(before: Tensor, after: Tensor, num_frames: int, seconds: float) -> Held:
    change = float((after - before).norm() / before.norm())
    return Held(num_frames, torch.equal(before, after), change, seconds)


def rates_of_neurons(model: SequenceModel, problem: Problem, num_sequences: int = 64) -> Tensor:
    """(H,) share of frames at which each neuron is updated, on drawn sequences; sorted, the busiest first.

    Args:
        model: a SelectiveUpdate.
        problem: draws the sequences.
        num_sequences: drawn.

    Raises:
        ValueError: if its encoder has no gate.
    """
    if not isinstance(model.encoder, SelectiveUpdate):
        raise ValueError(f"{type(model.encoder).__name__} has no gate; give a SelectiveUpdate")
    batch = problem.draw(num_sequences, seeded(23))
    with torch.no_grad():
        switch: Switch = model.encoder.layer(model.entry(batch.frames), lengths=batch.lengths).switch
    neurons = torch.ones(*switch.frames.shape, model.encoder.size) if switch.neurons is None else switch.neurons
    return (switch.frames[..., None] * neurons).mean((0, 1)).sort(descending=True).values


class Cost(NamedTuple):
    """What a model costs at one length.

    Args:
        num_frames: per sequence.
        training_seconds: forward and backward, processor time, the best of the turns.
        kept_bytes: that autograd keeps from forward to backward.
        inference_seconds: forward alone, likewise.
    """

    num_frames: int
    training_seconds: float
    kept_bytes: int
    inference_seconds: float


def costs_over_length(
    encoder: Callable[..., Any], lengths: Sequence[int], *, num_sequences: int = 4, turns: int = 3
) -> list[Cost]:
    """A training step and a forward pass on noise, at each length, one thread."""
    found = []
    for length in lengths:
        frames = torch.randn(num_sequences, length, 16, generator=seeded(length))
        training, inference, kept = [], [], 0
        for _ in range(turns):
            kept = 0
            seen: set[int] = set()

            def count(tensor: Tensor, seen: set[int] = seen) -> Tensor:
                nonlocal kept
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in seen:
                    seen.add(storage.data_ptr())
                    kept += storage.nbytes()
                return tensor

            begun = time.process_time()
            with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
                output = encoder(frames).output
            output[:, -1].square().mean().backward()
            training.append(time.process_time() - begun)
            with torch.no_grad():
                begun = time.process_time()
                encoder(frames)
                inference.append(time.process_time() - begun)
        found.append(Cost(length, min(training), kept, min(inference)))
    return found


def encoders_of_equal_size(wanted: int = 20_000) -> dict[str, nn.Module]:
    """A suGRU that opens 5 % and 20 % of frames at random, and its rivals, of about so many parameters."""

    def sized(build: Callable[[int], nn.Module], allows: Callable[[int], bool] | None = None) -> nn.Module:
        torch.manual_seed(0)
        return build(matched_size(build, wanted, allows=allows))

    def selective(rate: float) -> nn.Module:
        arguments: dict[str, Any] = {"gate": "surnn.RandomGate", "gate_args": {"rate": rate}}
        return sized(lambda size: SelectiveUpdate(16, size, **arguments))

    return {
        "suGRU, 5 % open": selective(0.05),
        "suGRU, 20 % open": selective(0.2),
        "GRU": sized(lambda size: DenseRecurrent(16, size)),
        "minGRU": sized(lambda size: MinGRU(16, size)),
        "Transformer": sized(lambda size: Transformer(16, size, causal=True), Transformer.allows),
    }


class Streamed(NamedTuple):
    """A stream at one moment.

    Args:
        num_frames: that have passed.
        state_bytes: of what is carried from block to block.
        block_seconds: processor time of the last block of 256 frames.
        resident_bytes: most memory of the process so far.
    """

    num_frames: int
    state_bytes: int
    block_seconds: float
    resident_bytes: int


def stream(encoder: Callable[..., Any], moments: Sequence[int], *, block: int = 256) -> list[Streamed]:
    """Run over an endless stream of noise, block by block; noted at some moments (multiples of the block)."""
    found, state = [], None
    generator = seeded(31)
    with torch.no_grad():
        for first in range(0, max(moments), block):
            frames = torch.randn(1, block, 16, generator=generator)
            begun = time.process_time()
            state = encoder(frames, state).state
            seconds = time.process_time() - begun
            if first + block in moments:
                most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                found.append(Streamed(first + block, _bytes_of(state), seconds, most))
    return found


def _bytes_of(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return sum(_bytes_of(part) for part in state) if isinstance(state, list | tuple) else 0


def _flat(state: Any) -> Tensor:
    return torch.cat([part.flatten() for part in state]) if isinstance(state, tuple) else state.flatten()
