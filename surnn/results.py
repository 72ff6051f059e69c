"""What a recurrent layer answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from surnn.rates import SwitchRates, switch_rates
from surnn.types import Switch

StateT = TypeVar("StateT", Tensor, tuple[Tensor, Tensor])


@dataclass(frozen=True, slots=True)
class ScanResult(Generic[StateT]):
    """What a recurrent layer returns; like torch's pair: `output, state = layer(frames)`, `layer(frames)[0]`.

    D directions, H neurons each.

    Args:
        output: (B, T, D * H), held over closed frames, for dense input (laid out like the input); (N, D * H), one row
            per open frame, for Packed input.
        state: (num_layers * D, B, H) after the last frame; for an LSTM a pair, hidden and cell state.
        switch: the switch that was applied (None: everything open).
        lengths: (B,) frames per stream; None: no padding.
        backend: "event", "packed", "triton" or "reference"; what "auto" chose, where it was asked.
    """

    output: Tensor
    state: StateT
    switch: Switch | None
    lengths: Tensor | None
    backend: str

    def __iter__(self) -> Iterator[Tensor | StateT]:
        return iter((self.output, self.state))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> Tensor | StateT:
        return (self.output, self.state)[place]

    @property
    def rates(self) -> SwitchRates | None:
        """How much was open, ready to log; None where there was no switch."""
        return None if self.switch is None else switch_rates(self.switch, self.lengths)
