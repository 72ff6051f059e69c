"""Own clips of people: python -m benchmarks.real_folders --data DIR --output DIR --cache DIR

| part | recipe | trained on | judged on |
|---|---|---|---|
| arabic | kws_folder | 16 speakers of ten Arabic commands, 2 more for thresholds | clips of the 6 validation speakers |
| fsdd | kws_folder | digits by george, jackson and theo | clips by nicolas |
| fsdd_embedding | kws_few, no word synthesised for training | the same | the same |
| alexa, jarvis | kws_few | ten recordings, and a synthesiser | all others; running speech and meetings |

Every seed is a training of its own; a model that is there is judged as it is. Beside the switch stands the same model
with everything open, on the same recordings; with --twin also a model that was trained with everything open.
Options that are not listed go to pipelines.run.
"""

import argparse
import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.intervals import Share, poisson_rate
from benchmarks.paired import Draws, draws_of, pooled_change, pooled_interval
from benchmarks.report import machine_line, table, write_results
from benchmarks.words import DIGITS, padded
from featurizers import open_audio
from pipelines import run
from pipelines.console import Progress
from pipelines.errors import UsageError, UserError
from pipelines.keywords import candidates
from pipelines.line import Track
from pipelines.metrics.clips import ClipSheet, clip_sheet, top_accuracy
from pipelines.metrics.matching import Floats
from pipelines.model import Model, load
from pipelines.recipe import load_recipe
from pipelines.tasks.keywords import clip_scores

ARABIC_VALIDATION = ("00000001", "00000005")
ARABIC_TEST = ("00000002", "00000007", "00000008", "00000012", "00000021", "00000025")
BARS = {"arabic": 0.96, "fsdd": 0.80, "fsdd_embedding": 0.95}
WAKE_WORDS = ("alexa", "jarvis")
NUM_OWN = 10
PAD_SECONDS = 0.7
NEGATIVES = ("running-speech", "meeting-speech")
GATES = ("learned", "open")


class Part(NamedTuple):
    """What is trained.

    Args:
        recipe: of recipes/.
        arguments: of pipelines.run.
    """

    recipe: str
    arguments: tuple[str, ...]


class Spotted(NamedTuple):
    """What a spotter says of clips of its word, and of recordings without it.

    Args:
        clips: (U,) highest level, in logits, of each clip; minus infinity if nothing was open.
        false: levels of all events found where the word is not, highest first.
        units: names of the clips.
        hours: without the word.
    """

    clips: Floats
    false: Floats
    units: tuple[str, ...]
    hours: float

    @property
    def num_events(self) -> Floats:
        """(U,) one word to a clip."""
        return np.ones(len(self.units))


def parts_of(data: Path, output: Path) -> dict[str, Part]:
    """All parts; the ten own recordings of a wake word are listed in a table of the output folder."""

    def corpus(folder: str, table: Path, **others: str) -> tuple[str, ...]:
        given = {"audio": str(data / folder), "table": str(table), **others}
        return tuple(part for key, value in given.items() for part in (f"--corpus.init_args.{key}", value))

    speakers = {"validation": ARABIC_VALIDATION, "test": ARABIC_TEST}
    quoted = ", ".join(f"{split}: [{', '.join(map(repr, names))}]" for split, names in speakers.items())
    arabic = corpus("arabic-speech-commands", data / "arabic-speech-commands" / "index.csv", splits=f"{{{quoted}}}")
    said_as = ", ".join(f"'{number}': {word}" for number, word in enumerate(DIGITS))
    telephone = ("--glance.init_args.max_hz", "3800.0")  # the digits are sampled at 8 kHz
    digits = corpus("fsdd", data / "fsdd" / "index.csv", splits="{test: [nicolas]}", said_as=f"{{{said_as}}}")
    parts = {
        "arabic": Part("kws_folder.yaml", arabic),
        "fsdd": Part("kws_folder.yaml", digits + telephone),
        "fsdd_embedding": Part("kws_few.yaml", (*digits, "--corpus.init_args.synthesised", "0.0")),
    }
    for word in WAKE_WORDS:
        own = output / f"{word}.csv"
        own.write_text("file,label\n" + "".join(f"{file},{word}\n" for file in wake_files(data, word)[:NUM_OWN]))
        parts[word] = Part("kws_few.yaml", corpus("wakeword-picovoice", own))
    return parts


def wake_files(data: Path, word: str) -> list[str]:
    """Recordings of a wake word, those of the training split first; the same order every time."""
    with (data / "wakeword-picovoice" / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == word]
    return [row["file"] for row in sorted(rows, key=lambda row: (row["split"], row["file"]))]


def trained(part: Part, folder: Path, cache: Path, seed: int, others: Sequence[str]) -> Model:
    """The part's model with this seed, from its run folder if it is finished there.

    Raises:
        UserError: if the run fails; it has said why.
    """
    if not (folder / "model" / "card.md").is_file():
        arguments = [f"recipes/{part.recipe}", *part.arguments, "--seed", str(seed), *others]
        if run.main([*arguments, "--output", str(folder), "--cache", str(cache), "--overwrite"]):
            raise UserError(f"the run in {folder} failed")
    return load(folder / "model")


def judged_clips(model: Model, part: Part, cache: Path, gate: str) -> ClipSheet:
    """What the model takes each test clip for, as its recipe stages them: the whole clip, silence around it."""
    overrides = list(zip((key[2:] for key in part.arguments[::2]), part.arguments[1::2], strict=True))
    corpus = load_recipe(f"recipes/{part.recipe}", overrides).corpus.build()
    clips = [recording for recording in corpus.prepare(cache / "corpora") if recording.kind == "clip"]
    tracks = [model.track(recording.source, gate=model.gate_named(gate)) for recording in clips]
    return clip_sheet(
        [clip_scores(track, len(model.labels)) for track in tracks],
        [recording.events[0].label for recording in clips],
        model.labels,
        [recording.source.name for recording in clips],
        [track.seconds for track in tracks],
    )


def spotted(model: Model, data: Path, word: str, gate: str) -> Spotted:
    """The word's recordings that were not trained on, silence around them, and everybody's other speech."""
    units = tuple(wake_files(data, word)[NUM_OWN:])
    tracks = [_padded_track(model, data / "wakeword-picovoice" / name, gate) for name in units]
    clips = [float(t.held.level.max()) if len(t.held.level) else -math.inf for t in tracks]
    negatives = [
        model.track(path, gate=model.gate_named(gate))
        for folder in NEGATIVES
        for path in sorted((data / folder).glob("*.flac"))
    ]
    false = [event.score for track in negatives for event in candidates(track, model.labels)]
    hours = sum(track.seconds for track in negatives) / 3600
    return Spotted(np.array(clips), np.sort(np.array(false))[::-1], units, hours)


def _padded_track(model: Model, path: Path, gate: str) -> Track:
    rate_hz = model.line.rate_hz
    with open_audio(path, rate_hz) as stream:
        samples = torch.cat([torch.zeros(0), *stream.blocks(rate_hz)])
    return model.track(padded(samples, rate_hz, PAD_SECONDS), rate_hz=rate_hz, gate=model.gate_named(gate))


def found(spotter: Spotted, most_false: int) -> Floats:
    """(U,) whether each clip's word is found by the lowest threshold that lets so many false alarms pass."""
    threshold = spotter.false[most_false] if most_false < len(spotter.false) else -math.inf
    return (spotter.clips > threshold).astype(np.float64)


def share_draws(answers: Floats, units: Sequence[str]) -> Draws:
    """The share of right answers, on all clips and on resamples of them."""

    class Answers(NamedTuple):
        units: Sequence[str]
        hours: Floats
        num_events: Floats

    ones = np.ones(len(units))
    return draws_of(Answers(units, ones, ones), lambda _, weights: float(weights @ answers / weights.sum()))


def row_of(name: str, systems: Mapping[str, Sequence[Draws]], bar: float | None) -> list[list[str]]:
    """A line per system: the mean over seeds with its interval, each seed, the change against everything open."""
    rows = []
    for system, draws in systems.items():
        share, low, high = pooled_interval(draws)
        change = ""
        if system != "open":
            relative = pooled_change(draws, systems["open"])
            change = f"{relative.estimate:+.1%} ({relative.low:+.1%} to {relative.high:+.1%})"
        verdict = "" if bar is None else ("met" if share >= bar else "missed") + f" ({bar:.0%})"
        seeds = " ".join(f"{each.value:.1%}" for each in draws)
        rows.append([name, system, f"{share:.1%} ({low:.1%} to {high:.1%})", seeds, change, verdict])
    return rows


def judge_part(
    name: str, part: Part, models: Mapping[str, Sequence[Model]], data: Path, cache: Path, report: Progress
) -> tuple[list[list[str]], dict[str, Any], list[str]]:
    """Rows of the table, figures, and what else is to be said."""
    systems: dict[str, list[Draws]] = {}
    once: dict[str, list[Draws]] = {}
    lines: list[str] = []
    for system, gate, of_seeds in (
        ("switch", "learned", models["switch"]),
        ("open", "open", models["switch"]),
        ("twin", "open", models.get("twin", ())),
    ):
        for model in of_seeds:
            with report.step(f"{name}, {system}"):
                if name not in WAKE_WORDS:
                    systems.setdefault(system, []).append(
                        draws_of(judged_clips(model, part, cache, gate), top_accuracy(1))
                    )
                    continue
                spotter = spotted(model, data, name, gate)
            allowed = math.floor(spotter.hours)  # at 1 an hour; of shorter material: none
            systems.setdefault(system, []).append(share_draws(found(spotter, allowed), spotter.units))
            once.setdefault(system, []).append(share_draws(found(spotter, allowed + 1), spotter.units))
            if system == "switch" and not lines:
                rate = poisson_rate(allowed, spotter.hours)
                hits = Share(int(found(spotter, allowed).sum()), len(spotter.units))
                lines.append(
                    f"{name}: {spotter.hours * 60:.0f} min of speech without the word, so at most {allowed} false "
                    f"alarms (0 to {rate.high:.0f} per hour are possible); first seed: {hits} by Wilson"
                )
    rows = row_of(name if not once else f"{name}, at most 1 false alarm per hour", systems, BARS.get(name))
    if once:
        rows += row_of(f"{name}, one false alarm in all", once, None)
    figures = {
        system: {"share": pooled_interval(draws)._asdict(), "seeds": [each.value for each in draws]}
        for system, draws in systems.items()
    }
    return rows, figures, lines


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not there, judge all, print the table; returns the exit code of what failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (*BARS, *WAKE_WORDS)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of fsdd, running-speech, ...")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets runs and results.json")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="as in pipelines.run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training; default: 0 1 2")
    parser.add_argument("--parts", nargs="+", choices=names, default=list(names), help="default: all")
    parser.add_argument("--twin", action="store_true", help="train a twin with everything open as well")
    options, others = parser.parse_known_args(argv)
    torch.set_num_threads(1)
    report = Progress()
    rows: list[list[str]] = []
    results: dict[str, Any] = {"seeds": options.seeds}
    notes: list[str] = []
    try:
        for folder in ("fsdd", "arabic-speech-commands", "wakeword-picovoice", *NEGATIVES):
            if not (options.data / folder / "index.csv").is_file():
                raise UsageError(f"--data {options.data}: there is no {folder}/index.csv")
        options.output.mkdir(parents=True, exist_ok=True)
        parts = parts_of(options.data, options.output)
        for name in options.parts:
            variants: dict[str, list[str]] = {"switch": []} | (
                {"twin": ["--switch", "surnn.Open"]} if options.twin else {}
            )
            models = {
                system: [
                    trained(
                        parts[name], options.output / f"{name}-{system}-{seed}", options.cache, seed, [*more, *others]
                    )
                    for seed in options.seeds
                ]
                for system, more in variants.items()
            }
            of_part, results[name], lines = judge_part(name, parts[name], models, options.data, options.cache, report)
            rows, notes = rows + of_part, notes + lines
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Clips named right, or found; means over seeds {options.seeds}, on {machine_line()}")
    print(table(["part", "system", "share", "seeds", "change against open", "bar"], rows))
    print("\n".join(notes))
    print(f"written: {write_results(options.output, results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
