"""How well a model does on recordings of real people: python -m benchmarks.real_voices MODEL --data DIR --output DIR"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.mistakes import write_mistakes
from benchmarks.report import machine_line, write_results
from benchmarks.streams import (
    logit_thresholds,
    real_recordings,
    results_on,
    stream_figures,
    stream_lines,
    tracks_of,
)
from benchmarks.words import judge_words
from pipelines.console import Progress
from pipelines.errors import UsageError, UserError
from pipelines.model import Model, load


def judge_streams(model: Model, data: Path, output: Path, report: Progress) -> tuple[dict[str, Any], list[str]]:
    """Figures and lines of words in long recordings, with the switch and with everything open; writes report.html."""
    annotated = real_recordings(data, model.labels)
    thresholds = logit_thresholds(model.decisions)
    figures: dict[str, Any] = {}
    lines: list[str] = []
    for gate in ("learned", "open"):
        with report.step(f"streams, switch {gate}"):
            tracks = tracks_of(model, annotated, gate)
        results = results_on(model, annotated, tracks)
        figures[gate] = stream_figures(results, tracks, model.labels, thresholds)
        lines.append("streams with the switch:" if gate == "learned" else "streams with everything open:")
        lines += stream_lines(figures[gate], annotated, len(model.labels))
        if gate == "learned":
            with report.step("page of mistakes"):
                page = write_mistakes(output, model, annotated, tracks, results, thresholds, figures[gate])
            lines.append(f"  the worst mistakes: {page}")
    return figures, lines


def judge(model_folder: Path, data: Path, output: Path, report: Progress, only: str | None = None) -> dict[str, Any]:
    """Do it all, print it, and write results.json (and report.html) to the output folder."""
    if not (data / "fsdd" / "index.csv").is_file():
        raise UsageError(f"--data {data}: there is no fsdd/index.csv; give the folder that holds fsdd, keyword-streams")
    torch.set_num_threads(1)
    model = load(model_folder)
    results: dict[str, Any] = {"model": model_folder, "fingerprint": model.fingerprint, "labels": model.labels}
    print(f"{model_folder} ({model.fingerprint}) on {machine_line()}")
    if only != "streams":
        results["words"], lines = judge_words(model, data, report)
        print("\n".join(lines))
    if only != "words":
        results["streams"], lines = judge_streams(model, data, output, report)
        print("\n".join(lines))
    print(f"written: {write_results(output, results)}")
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder of a run")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of fsdd, keyword-streams, ...")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets results.json and report.html")
    parser.add_argument("--only", choices=("words", "streams"), help="one half of it")
    options = parser.parse_args(argv)
    try:
        judge(options.model, options.data, options.output, Progress(), options.only)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
