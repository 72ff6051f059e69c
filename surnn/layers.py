"""SuRNN, SuGRU, SuLSTM: used like torch.nn.RNN, GRU and LSTM, with a switch."""

from typing import Any, Literal

from surnn.cells import GRU, LSTM, RNN_RELU, RNN_TANH
from surnn.layer import SuLayer


class SuRNN(SuLayer):
    """An Elman RNN that steps only where the switch is open, and holds its state to the last bit elsewhere.

    Args:
        input_size, hidden_size, num_layers: as in SuLayer, which explains the other arguments, too.
        nonlinearity: "tanh" or "relu".

    Raises:
        ValueError: as SuLayer, or if there is no such nonlinearity.
    """

    modes = ("rnn_tanh", "rnn_relu")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *args: Any,
        **options: Any,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'nonlinearity="{nonlinearity}" must be "tanh" or "relu"')
        self.cell = RNN_TANH if nonlinearity == "tanh" else RNN_RELU
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, *args, **options)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, nonlinearity={self.nonlinearity}"


class SuGRU(SuLayer):
    """A GRU that steps only where the switch is open, and holds its state to the last bit elsewhere; see SuLayer."""

    cell = GRU
    modes = ("gru",)


class SuLSTM(SuLayer):
    """An LSTM that steps only where the switch is open, and holds both its states elsewhere; see SuLayer."""

    cell = LSTM
    modes = ("lstm",)
