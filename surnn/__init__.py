"""Selective-update recurrent networks: layers that step only where a switch is open. Tensors in, tensors out."""

from surnn.budgets import BudgetLosses, frame_and_neuron_losses, ratio_loss
from surnn.estimates import sample_closed
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
from surnn.layers import SuGRU, SuLSTM, SuRNN
from surnn.layout import Restart, segment_starts
from surnn.onnx_export import export_onnx
from surnn.packing import frames_within, hold, pack
from surnn.rates import SwitchRates, switch_rates
from surnn.results import ScanResult
from surnn.types import Gate, Packed, Sampled, Switch

__all__ = [
    "BudgetLosses",
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
    "SuRNN",
    "Switch",
    "SwitchRates",
    "export_onnx",
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
