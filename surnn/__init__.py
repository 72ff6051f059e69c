"""Selective-update recurrent networks: layers that step only where a switch is open. Tensors in, tensors out."""

from surnn.budgets import BudgetLosses, frame_and_neuron_losses, ratio_loss
from surnn.cells import GRU, LSTM, RNN_RELU, RNN_TANH, Cell, Weights, candidate
from surnn.gates import (
    Clockwork,
    EventGate,
    Heartbeat,
    Open,
    RandomGate,
    RhythmGate,
    SoftGate,
    Stride,
    hard_step,
)
from surnn.layer import SuLayer
from surnn.layers import SuGRU, SuLSTM, SuRNN
from surnn.layout import Restart, segment_starts
from surnn.packing import frames_within, hold, pack
from surnn.rates import SwitchRates, switch_rates
from surnn.results import ScanResult
from surnn.sampling import sample_closed
from surnn.types import Gate, Packed, Sampled, Switch

__all__ = [
    "GRU",
    "LSTM",
    "RNN_RELU",
    "RNN_TANH",
    "BudgetLosses",
    "Cell",
    "Clockwork",
    "EventGate",
    "Gate",
    "Heartbeat",
    "Open",
    "Packed",
    "RandomGate",
    "Restart",
    "RhythmGate",
    "Sampled",
    "ScanResult",
    "SoftGate",
    "Stride",
    "SuGRU",
    "SuLSTM",
    "SuLayer",
    "SuRNN",
    "Switch",
    "SwitchRates",
    "Weights",
    "candidate",
    "frame_and_neuron_losses",
    "frames_within",
    "hard_step",
    "hold",
    "pack",
    "ratio_loss",
    "sample_closed",
    "segment_starts",
    "switch_rates",
]
