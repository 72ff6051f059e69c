"""Sequence problems and rival sequence models, to be combined by a recipe: where the method is proven."""

from .budgets import Altered
from .contract import Batch, Encoded, Encoder, Problem
from .images import SequentialDigits, TorchvisionImages
from .listops import ListOps
from .min_gru import MinGRU
from .pathfinder import Pathfinder
from .recurrent import DenseRecurrent, SelectiveUpdate
from .skip_rnn import SkipRNN
from .synthetic import Adding, MackeyGlass, SelectiveCopy
from .texts import LabelledTexts, Language
from .transformer import Transformer

__all__ = [
    "Adding",
    "Altered",
    "Batch",
    "DenseRecurrent",
    "Encoded",
    "Encoder",
    "LabelledTexts",
    "Language",
    "ListOps",
    "MackeyGlass",
    "MinGRU",
    "Pathfinder",
    "Problem",
    "SelectiveCopy",
    "SelectiveUpdate",
    "SequentialDigits",
    "SkipRNN",
    "TorchvisionImages",
    "Transformer",
]
