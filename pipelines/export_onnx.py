"""A model's switch, encoder and head as an ONNX file that skips closed frames: python -m pipelines.export_onnx M F."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from torch import nn

from surnn import EventGate
from surnn.onnx_export import Graph, add_index, add_layer, add_linear, add_switch, state_inputs, state_outputs

from .console import EXIT_OK, leave
from .errors import UsageError, UserError
from .heads import LevelDecay
from .line import Line
from .model import load

PROGRAM = "python -m pipelines.export_onnx"
EXAMPLES = f"""\
examples:
  {PROGRAM} runs/kws/model kws.onnx

inputs of the file, T frames of one recording or of one block of it:
  features    (T, F) float32, what the featurizer gives; rows of closed frames are not read
  glance      (C, G) float32, with pad_left and pad_right: what the switch looks at, see surnn.export_onnx
  hidden      the state before the block (an LSTM has cell, too); by default that of a recording's start
outputs, N frames open:
  is_open     (T,) bool
  logits      (T,) what was thresholded at 0
  index       (N,) int64, the open frames, counted from the block's first one
  level       (N, C) logits, and
  decay       (N, C) logits per second: the score of a frame is level - decay * (seconds since the last open frame)
  next_hidden the state after the block (an LSTM has next_cell, too)

exit codes: 0 done, 1 failed, 2 wrong usage
"""


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {PROGRAM} --help explains")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 failed, 2 usage)."""
    try:
        options = _parser().parse_args(argv)
        if options.help:
            print(f"{_parser().format_help()}\n{EXAMPLES}", end="")
            return EXIT_OK
        if options.model is None or options.out is None:
            raise UsageError(f"name a model folder and the file to write; {PROGRAM} --help explains")
        export_line(load(options.model, trust=tuple(options.trust)).line, Path(options.out))
        print(f"{options.out} holds switch, encoder and head of {options.model}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return EXIT_OK


def export_line(line: Line, path: str | Path) -> None:
    """Write switch, encoder and head as an ONNX file; its inputs and outputs are those that --help lists.

    Normalising, projection, recurrent layers and head run over open frames alone.

    Args:
        line: its glance and featurizer stay outside: they read media.
        path: of the file.

    Raises:
        UserError: if a part cannot be written as ONNX, the folder of the file is not there, or onnx is not installed.
    """
    if not isinstance(line.gate, EventGate):
        raise UserError(
            f"switch is a {type(line.gate).__name__}; the rule is a surnn.EventGate; train a model with one"
        )
    if not isinstance(line.head, LevelDecay):
        raise UserError(
            f"head is a {type(line.head).__name__}; the rule is a pipelines.heads.LevelDecay; export the encoder alone "
            f"with surnn.export_onnx"
        )
    try:
        graph = Graph("surnn")
        _add_line(graph, line, line.gate, line.head)
        graph.save(path)
    except (ImportError, ValueError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error


def _add_line(graph: Graph, line: Line, gate: EventGate, head: LevelDecay) -> None:
    encoder, layer = line.encoder, line.encoder.rnn
    features = graph.input("features", "FLOAT", ["T", len(encoder.mean)])
    index = add_index(graph, add_switch(graph, gate, features))
    graph.output("index", index, "INT64", ["N"])
    centred = graph.add("Sub", graph.add("Gather", features, index), graph.constant(encoder.mean))
    rows = graph.add("Mul", centred, graph.constant(encoder.scale))
    if isinstance(encoder.project, nn.Sequential):  # a linear layer and a ReLU
        rows = graph.add("Relu", add_linear(graph, encoder.project[0], rows))
    rows, after = add_layer(graph, layer, rows, state_inputs(graph, layer))
    graph.output("level", add_linear(graph, head.level, rows), "FLOAT", ["N", head.num_labels])
    decay = graph.add("Softplus", add_linear(graph, head.decay, rows))
    graph.output("decay", decay, "FLOAT", ["N", head.num_labels])
    state_outputs(graph, layer, after)


def _parser() -> argparse.ArgumentParser:
    parser = _Options(prog=PROGRAM, description=__doc__, allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help="show this and leave")
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the model folder of a run")
    parser.add_argument("out", nargs="?", metavar="OUT.onnx", help="the file to write; an older one is replaced")
    parser.add_argument("--trust", action="append", default=[], metavar="CLASS", help="a class that MODEL may import")
    return parser


if __name__ == "__main__":
    leave(main())
