"""The rhythm gate: decisions that are learned as a function of time alone, a sum of sines per neuron.

Time enters as a whole number of frames and phases as whole numbers of 2**-64 turns, whose products wrap exactly; what
follows is float64, one element at a time. So a decision depends on nothing but the parameters and the frame's index:
not on where a stream was cut, nor on how long it has been running.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from surnn.budgets import check_budget
from surnn.gates.fixed import frames_of
from surnn.gates.step import close_outside, hard_step
from surnn.types import Switch


class RhythmGate(nn.Module):
    """Open where a learned sum of sines of the frame's index is above 0; the glance is not looked at.

    a[t,i] = b[i] + sum_k alpha[i,k] sin(2 pi (f[k] t + p[i,k])), open where a > 0, straight-through. The K frequencies
    are shared by all neurons. The gradient of f grows with t: train on crops that count from 0.

    The phase f[k] t is that of the stored f[k] to within 2**-54 turns at any t, for float32 frequencies of 2**-40 or
    more; for others add t * 2**-65: 3e-13 turns at frame 10**7, 3e-11 at 10**9.

    With num_neurons this is the paper's switch: all frames open, each neuron with a rhythm of its own. What could be
    read of the paper leaves open, and this class chooses: K; the slope of the hard step (see hard_step); two-sided
    budgets; initial values. Periods are spread evenly on a logarithmic scale; p is uniform; alpha is normal, with
    variance 2 / K, so that the sum of sines has variance 1; b is initial_logit (0.5: about 69 % open).

    Args:
        glance_size: F, numbers per glance frame.
        num_neurons: H, a rhythm for each neuron, with all frames open; None: one rhythm that opens whole frames.
        num_frequencies: K.
        shortest_period_frames: of the initial frequencies, in frames per turn.
        longest_period_frames: of the initial frequencies, in frames per turn.
        frame_budget: share of frames to be open, for `frame_and_neuron_losses`; without effect with num_neurons.
        neuron_budget: share of neurons to be open on a frame, for `frame_and_neuron_losses`.
        initial_logit: b at the start; above 0, training starts from a gate that is mostly open.

    Attributes:
        frequencies: f, (K,), turns per frame. The paper's omega is 2 pi f.
        amplitudes: alpha, (H, K); H is 1 without num_neurons.
        phases: p, (H, K), in turns. The paper's phi is 2 pi p.
        bias: b, (H,).

    Source: arXiv:2603.02226.
    """

    lookahead_frames = 0
    lookback_frames = 0

    def __init__(
        self,
        glance_size: int,
        *,
        num_neurons: int | None = None,
        num_frequencies: int = 16,
        shortest_period_frames: float = 4.0,
        longest_period_frames: float = 1024.0,
        frame_budget: float = 0.10,
        neuron_budget: float = 0.5,
        initial_logit: float = 0.5,
    ) -> None:
        super().__init__()
        check_budget("frame_budget", frame_budget)
        check_budget("neuron_budget", neuron_budget)
        rows = 1 if num_neurons is None else num_neurons
        for name, value in (("num_neurons", rows), ("num_frequencies", num_frequencies)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if not 2 <= shortest_period_frames <= longest_period_frames < math.inf:
            raise ValueError(
                f"shortest_period_frames={shortest_period_frames}, longest_period_frames={longest_period_frames}; the "
                f"rule is 2 <= shortest <= longest: a shorter period looks like a longer one"
            )
        self.glance_size = glance_size
        self.num_neurons = num_neurons
        self.period_frames = (shortest_period_frames, longest_period_frames)
        self.frame_budget = frame_budget
        self.neuron_budget = neuron_budget
        self.initial_logit = initial_logit
        self.frequencies = nn.Parameter(torch.empty(num_frequencies))
        self.amplitudes = nn.Parameter(torch.empty(rows, num_frequencies))
        self.phases = nn.Parameter(torch.empty(rows, num_frequencies))
        self.bias = nn.Parameter(torch.empty(rows))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values that the class describes."""
        shortest, longest = self.period_frames
        num_frequencies = len(self.frequencies)
        with torch.no_grad():
            self.frequencies.copy_(torch.logspace(-math.log2(shortest), -math.log2(longest), num_frequencies, base=2.0))
        nn.init.normal_(self.amplitudes, std=math.sqrt(2 / num_frequencies))
        nn.init.uniform_(self.phases)
        nn.init.constant_(self.bias, self.initial_logit)

    def logits(self, num_frames: int, first_frame: int = 0) -> Tensor:
        """a[t, i] of consecutive frames, before the threshold: (T, H) float64, H = 1 without num_neurons.

        Args:
            num_frames: T.
            first_frame: index of the first frame on the grid of the recording.
        """
        return self._logits(torch.arange(first_frame, first_frame + num_frames, device=self.bias.device))

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """Decide for frames first_frame, first_frame + 1, ..., alike in every stream; see Gate.

        Args:
            glance: (B, T, F), of which the shape and the type count.
            first_frame: index of glance[:, 0] on the grid of the recording.
            among: (B, T) bool; other frames stay closed.
            lengths: (B,) frames per recording; padding after them stays closed. None: no padding.

        Returns:
            With num_neurons: neurons and neuron_logits, frames open without a gradient; else frames and logits.
            Their type is that of the glance or of the weights, whichever is finer.
        """
        logits = self._logits(frames_of(glance, first_frame)).to(torch.promote_types(glance.dtype, self.bias.dtype))
        streams = glance.shape[0]
        if self.num_neurons is None:
            frame_logits = logits[:, 0].expand(streams, -1)
            return Switch(close_outside(hard_step(frame_logits), among, lengths), logits=frame_logits)
        neuron_logits = logits.expand(streams, -1, -1)
        neurons = hard_step(logits).expand(streams, -1, -1)
        frames = close_outside(logits.new_ones(glance.shape[:2]), among, lengths)
        return Switch(frames, neurons, neuron_logits=neuron_logits)

    def extra_repr(self) -> str:
        return f"{self.glance_size}, num_neurons={self.num_neurons}, num_frequencies={len(self.frequencies)}"

    def _logits(self, frame: Tensor) -> Tensor:
        # T frames, K frequencies, H neurons. sin(u + v) = sin u cos v + cos u sin v: 2 T K sines instead of T H K.
        turns = _turns(self.frequencies, frame)
        sines = torch.cat(_sine_and_cosine(turns), dim=1)  # (T, 2K)
        phases = self.phases.double()
        sine, cosine = _sine_and_cosine(phases - phases.detach().round())
        amplitudes = self.amplitudes.double()
        weights = torch.cat((amplitudes * cosine, amplitudes * sine), dim=1)  # (H, 2K)
        return self.bias.double() + cast(Tensor, _RowProduct.apply(sines, weights.T))  # type: ignore[no-untyped-call]


def _turns(frequencies: Tensor, frame: Tensor) -> Tensor:
    """frequency * frame without its whole turns, (T, K) in [-1/2, 1/2], float64."""
    step = frequencies.double()
    fraction = step.detach() - step.detach().round()
    fraction = torch.where(fraction < 0.5, fraction, fraction - 1)  # 2**63 is no int64
    units = (fraction * 2.0**64).round().to(torch.int64)
    exact = (frame[:, None] * units).double() * 2.0**-64  # int64 products wrap, as whole turns do
    return exact + frame[:, None] * (step - step.detach())  # the sum adds 0, and the gradient


class _SineAndCosine(torch.autograd.Function):
    """Sine and cosine of turns in [-1/2, 1/2], of additions and products only.

    Vectorised library sines may differ in the last bit from place to place; these do not, and zero crossings are exact.
    """

    @staticmethod
    def forward(ctx: Any, turns: Tensor) -> tuple[Tensor, Tensor]:
        quarter = (turns * 4).round()
        angle = (turns - quarter / 4) * (2 * math.pi)  # within pi / 4: the next terms are below 2**-53
        sine, cosine = _taylor(angle, 15), _taylor(angle, 16)
        quarter = quarter.to(torch.int64) % 4
        is_odd, is_minus_sine, is_minus_cosine = quarter % 2 == 1, quarter >= 2, (quarter == 1) | (quarter == 2)
        sine, cosine = torch.where(is_odd, cosine, sine), torch.where(is_odd, sine, cosine)
        sine, cosine = torch.where(is_minus_sine, -sine, sine), torch.where(is_minus_cosine, -cosine, cosine)
        ctx.save_for_backward(sine, cosine)
        return sine, cosine

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        sine, cosine = ctx.saved_tensors
        total: Tensor = grads[0] * cosine - grads[1] * sine
        return total * (2 * math.pi)


def _sine_and_cosine(turns: Tensor) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], _SineAndCosine.apply(turns))  # type: ignore[no-untyped-call]


def _taylor(angle: Tensor, degree: int) -> Tensor:
    """The terms of the sine (odd degree) or of the cosine (even degree) up to a degree."""
    square = -angle * angle
    total = torch.full_like(angle, 1 / math.factorial(degree))
    for power in range(degree - 2, -1, -2):
        total = total * square + 1 / math.factorial(power)
    return angle * total if degree % 2 else total


class _RowProduct(torch.autograd.Function):
    """Matrix product (T, K) x (K, H), rows alike however many there are; those of a library differ in the last bit."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        product = rows.new_zeros(rows.shape[0], weights.shape[1])
        for k in range(rows.shape[1]):
            product += rows[:, k, None] * weights[k]
        return product

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        rows, weights = ctx.saved_tensors
        return grads[0] @ weights.T, rows.T @ grads[0]
