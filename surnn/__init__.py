"""Selective-update recurrent networks: layers that step only where a switch is open. Tensors in, tensors out."""

from surnn.budgets import BudgetLosses, frame_and_neuron_losses, ratio_loss
from surnn.cells import GRUWeights, gru_step
from surnn.gates import EventGate, Open, RandomGate, Stride, hard_step
from surnn.layers import SuGRU
from surnn.packing import frames_within, hold, pack
from surnn.types import Gate, Packed, ScanResult, Switch

__all__ = [
    "BudgetLosses",
    "EventGate",
    "GRUWeights",
    "Gate",
    "Open",
    "Packed",
    "RandomGate",
    "ScanResult",
    "Stride",
    "SuGRU",
    "Switch",
    "frame_and_neuron_losses",
    "frames_within",
    "gru_step",
    "hard_step",
    "hold",
    "pack",
    "ratio_loss",
]
