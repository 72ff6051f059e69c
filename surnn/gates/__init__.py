"""Gates: which frames, and which neurons, are open.

A gate takes `glance_size` first (a wrapper takes a gate first); the rest are options by name. None of them looks at the
recurrent state, so all decisions of a stretch are known before the recurrence runs.

fixed       functions of time that learn nothing: everything open, drawn at random, every n-th frame, clockwork
event       learned, from the glance: the main one
rhythm      learned, a function of time alone: the paper's
heartbeat   wrapper: opens every n-th frame besides
soft        wrapper, for ablations: values between 0 and 1, which skip nothing
step        the hard step with its straight-through gradient
"""

from surnn.gates.event import EventGate
from surnn.gates.fixed import Clockwork, Open, RandomGate, Stride
from surnn.gates.heartbeat import Heartbeat
from surnn.gates.rhythm import RhythmGate
from surnn.gates.soft import SoftGate
from surnn.gates.step import close_outside, hard_step, no_padding

__all__ = [
    "Clockwork",
    "EventGate",
    "Heartbeat",
    "Open",
    "RandomGate",
    "RhythmGate",
    "SoftGate",
    "Stride",
    "close_outside",
    "hard_step",
    "no_padding",
]
