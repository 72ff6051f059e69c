"""The recurrent layers of a model: normalised features of open frames in, hidden numbers out, block by block."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from surnn import Packed, Restart, SuGRU, SuLSTM, SuRNN, segment_starts
from surnn.layer import SuLayer

CELLS: dict[str, type[SuLayer]] = {"gru": SuGRU, "lstm": SuLSTM, "rnn": SuRNN}


class Carry(NamedTuple):
    """What the encoder remembers of one recording from block to block.

    Args:
        state: of the layers after the last frame that was answered; None at the start.
        features: (P, F) of open frames that wait for the end of their segment; none for a forward encoder.
        index: (P,) int64, these frames.
    """

    state: Any
    features: Tensor
    index: Tensor  # type: ignore[assignment]  # shadows tuple.index, which nobody needs here


class Answer(NamedTuple):
    """Hidden numbers of the frames that a block settled.

    Args:
        hidden: (M, size).
        index: (M,) int64, the frames.
        carry: for the next block.
    """

    hidden: Tensor
    index: Tensor  # type: ignore[assignment]
    carry: Carry


class Encoder(nn.Module):
    """Recurrent layers over features normalised by fixed statistics of the training split, and perhaps projected.

    Args:
        input_size: F, numbers per frame.
        hidden: neurons per layer and direction.
        num_layers: layers; all share the frame switch.
        projection: numbers per frame after a linear layer and a ReLU before the first layer; 0: none.
        cell: "gru", "lstm" or "rnn".
        bidirectional: a second direction hears what follows, up to the end of the segment that `restart` says.
        restart: of the second direction; needed for it, so that memory and delay are bounded.

    Attributes:
        size: numbers per frame that come out.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        input_size: int,
        hidden: int,
        num_layers: int = 1,
        projection: int = 0,
        *,
        cell: str = "gru",
        bidirectional: bool = False,
        restart: Restart | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(input_size))
        self.register_buffer("scale", torch.ones(input_size))
        self.project = nn.Sequential(nn.Linear(input_size, projection), nn.ReLU()) if projection else nn.Identity()
        self.restart = restart if bidirectional else None
        self.rnn = CELLS[cell](
            projection or input_size,
            hidden,
            num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            restart=self.restart,
        )
        self.size = hidden * self.rnn.num_directions

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Normalise by these (F,) statistics from now on; a feature that never varies is only centred."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-4, 1 / std.clamp_min(1e-4), torch.ones_like(std)))

    def normalise(self, features: Tensor) -> Tensor:
        """Features (..., F) with the training split's mean removed and its deviation divided out."""
        return (features - self.mean) * self.scale

    def begin(self) -> Carry:
        """At the start of a recording."""
        return Carry(None, self.mean.new_zeros(0, len(self.mean)), torch.zeros(0, dtype=torch.int64))

    def advance(self, features: Tensor, index: Tensor, carry: Carry, num_decided: int | None) -> Answer:
        """Run over the open frames of one block of a recording.

        A forward encoder answers each of them at once. A bidirectional one answers whole segments: the frames of the
        last one wait until it has ended, by the rule that training used.

        Args:
            features: (N, F) of the block's open frames.
            index: (N,) int64, which frames of the recording they are.
            carry: from the block before.
            num_decided: frames of the recording whose switch is known; None: nothing more will be open.
        """
        features, index = torch.cat([carry.features, features]), torch.cat([carry.index, index])
        num_settled = len(index) if num_decided is None else self._num_settled(index, num_decided)
        waiting = features[num_settled:], index[num_settled:]
        features, index = features[:num_settled], index[:num_settled]
        if not num_settled:
            return Answer(self.mean.new_zeros(0, self.size), index, Carry(carry.state, *waiting))
        rows = Packed(self.project(self.normalise(features)), index, torch.tensor([num_settled]))
        hidden, state = self.rnn(rows, carry.state)
        return Answer(hidden, index, Carry(self.forward_half(state), *waiting))

    def forward_half(self, state: Any) -> Any:
        """The state with which what follows begins: the backward direction knows nothing of what was before."""
        if self.restart is None:
            return state
        if isinstance(state, tuple):
            return tuple(self.forward_half(part) for part in state)
        is_forward = torch.arange(len(state), device=state.device) % 2 == 0
        return torch.where(is_forward[:, None, None], state, state.new_zeros(()))

    def _num_settled(self, index: Tensor, num_decided: int) -> int:
        """How many of the frames lie in segments that have ended."""
        if self.restart is None or not len(index):
            return len(index)
        starts = segment_starts(index, torch.tensor([len(index)]), self.restart).nonzero()[:, 0]
        last_start = int(starts[-1])
        is_full = len(index) - last_start == self.restart.after_open
        num_closed = num_decided - 1 - int(index[-1])
        is_far = self.restart.after_closed is not None and num_closed >= self.restart.after_closed
        return len(index) if is_full or is_far else last_start
