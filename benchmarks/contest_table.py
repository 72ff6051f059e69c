"""The one table of a contest, and what it shows: each claim with its bound, judged by the bad end of its interval."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from benchmarks.contest import Contest, Entry, Score, is_staged, recipes_of, refuse_another
from benchmarks.paired import pooled_change, pooled_interval
from benchmarks.report import machine_line, table, write_results
from benchmarks.systems import DENSE, ENERGY, LEARNED, SMALLER, TRAINED, prepare
from benchmarks.yardsticks import Yardstick
from pipelines.console import Progress, choose_device
from pipelines.metrics import Interval


class Bars(NamedTuple):
    """What must be true of the learned switch.

    Args:
        largest_loss: of the first figure, relative to the dense twin.
        least_hours, least_events: of test recordings of the kind that systems are compared on.
        most_open: share of frames open there.
        least_saved_share: there.
        most_floors: time over that of reading and glance alone, on quiet recordings.
    """

    largest_loss: float
    least_hours: float
    least_events: int
    most_open: float = 1.0
    least_saved_share: float = 0.0
    most_floors: float = float("inf")


class Row(NamedTuple):
    """One system, all seeds together.

    Args:
        frames_open: mean over seeds, per kind.
        figures: mean over seeds of each figure of the yardstick.
        changes: of each figure, relative to the dense twin.
        of_seeds: the first figure, seed by seed.
        work: times and saved share, of the first seed.
    """

    frames_open: dict[str, float]
    figures: dict[str, Interval]
    changes: dict[str, Interval]
    of_seeds: list[float]
    work: dict[str, float]


Scores = Mapping[str, Sequence[Score]]  # by system, one for each seed


def row_of(name: str, scores: Scores, work: dict[str, float]) -> Row:
    """Pool the seeds of one system."""
    own, dense = scores[name], scores[DENSE]
    draws = {figure: [score.figures[figure] for score in own] for figure in own[0].figures}
    first = next(iter(draws))
    return Row(
        {kind: sum(score.frames_open[kind] for score in own) / len(own) for kind in own[0].frames_open},
        {figure: pooled_interval(of_seeds) for figure, of_seeds in draws.items()},
        {f: pooled_change(of_seeds, [score.figures[f] for score in dense]) for f, of_seeds in draws.items()},
        [of_seed.value for of_seed in draws[first]],
        work,
    )


def leads_of(scores: Scores) -> dict[str, Interval]:
    """Relative lead of the learned switch over each rival, by the first figure."""
    first = next(iter(scores[LEARNED][0].figures))
    draws = {name: [score.figures[first] for score in of_seeds] for name, of_seeds in scores.items()}
    rivals = [name for name in scores if name == SMALLER or name not in TRAINED]
    return {name: pooled_change(draws[LEARNED], draws[name]) for name in rivals}


def rows_table(rows: Mapping[str, Row], kinds: Sequence[str], titles: Mapping[str, str]) -> str:
    """The table; two numbers in a cell are of the kinds named in the head."""
    both = "/".join(kinds)
    head = ["", f"open {both}"]
    for title in titles.values():
        head += [title, "against dense"]
    head += [f"x real time {both}", f"saved share {both}"]
    lines = []
    for name, row in rows.items():
        cells = [name, "/".join(f"{row.frames_open[kind]:.1%}" for kind in kinds)]
        for figure in titles:
            value, change = row.figures[figure], row.changes[figure]
            cells.append(f"{value.estimate:.1%} ({value.low:.1%} to {value.high:.1%})")
            cells.append("-" if name == DENSE else f"{change.estimate:+.1%} ({change.low:+.1%} to {change.high:+.1%})")
        cells.append("/".join(f"{of_kind(row.work, kind, 'times_real_time'):.0f}" for kind in kinds))
        has_switch = name not in (DENSE, SMALLER)
        cells.append("/".join(f"{of_kind(row.work, kind, 'saved_share'):.2f}" if has_switch else "-" for kind in kinds))
        lines.append(cells)
    return table(head, lines)


def of_kind(work: Mapping[str, float], kind: str, key: str) -> float:
    """A key of docs/metrics.md on cost; kind "": over all recordings."""
    return work[f"{kind}_{key}" if kind else key]


def verdicts(
    rows: Mapping[str, Row],
    leads: Mapping[str, Interval],
    bars: Bars,
    *,
    kind: str,
    figure: str,
    hours: float,
    num_events: int,
) -> list[str]:
    """What the table shows.

    Args:
        rows: of the table.
        leads: relative lead of the learned switch over each rival.
        bars: what must be true.
        kind, figure: of recordings, and the figure, by which systems are compared.
        hours, num_events: of these recordings.
    """
    learned = rows[LEARNED]
    is_enough = hours > bars.least_hours - 1e-6 and num_events >= bars.least_events
    loss, is_open = -learned.changes[figure].low, learned.frames_open[kind]
    saved = of_kind(learned.work, kind, "saved_share")
    lines = [
        f"compared on {hours:.3g} {kind or 'test'} hours with {num_events} events (at least {bars.least_hours:g} and "
        f"{bars.least_events}): {'enough' if is_enough else 'TOO LITTLE for a claim'}",
        f"loss of {figure} against the dense twin: at most {loss:.1%} (bound {bars.largest_loss:.0%}): "
        f"{_met(loss <= bars.largest_loss)}",
        f"frames open: {is_open:.1%} (bound {bars.most_open:.0%}): {_met(is_open <= bars.most_open)}",
        f"saved share: {saved:.2f} (bound {bars.least_saved_share:g}): {_met(saved >= bars.least_saved_share)}",
    ]
    if "quiet_times_real_time" in learned.work:
        floors = learned.work["quiet_times_real_time_floor"] / learned.work["quiet_times_real_time"]
        bound = f"(bound {bars.most_floors:g}): {_met(floors <= bars.most_floors)}"
        lines.append(f"time on quiet recordings: {floors:.2f} of reading and glance alone {bound}")
    for name, lead in leads.items():
        lines.append(
            f"lead over {name.replace('...', ENERGY)}: {lead.estimate:+.1%} ({lead.low:+.1%} to {lead.high:+.1%}): "
            f"{'beaten' if lead.low > 0 else 'NOT beaten'}"
        )
    of_seeds = [f"{name} {' '.join(f'{value:.1%}' for value in row.of_seeds)}" for name, row in rows.items()]
    return [*lines, f"{figure} seed by seed: {', '.join(of_seeds).replace('...', ENERGY)}"]


def _met(is_met: bool) -> str:
    return "met" if is_met else "NOT met"


def hold(
    options: argparse.Namespace,
    given: Sequence[tuple[str, str]],
    yardstick: Yardstick,
    bars: Bars,
    report: Progress,
    *,
    has_smaller: bool,
) -> dict[str, Any]:
    """Train, test, time what is not there yet; print the table and write results.json.

    Args:
        options: of `contest.common_options`, and recipe, hours, quiet_hours.
        given: keys of the recipe that are overridden.
        yardstick, bars: what systems are compared by, and what must be true.
        report: lines and bars.
        has_smaller: whether a smaller dense model takes part.
    """
    device = choose_device(options.device)
    torch.set_num_threads(1)
    hours = {"quiet": options.quiet_hours, yardstick.kind: options.hours}
    recipes = recipes_of(options.recipe, given, hours)
    facts: dict[str, Any] = {"recipe": recipes[LEARNED].as_dict()}
    if is_staged(recipes[LEARNED]):
        facts |= {"hours": hours, "corpus_seed": options.corpus_seed}
    kinds = list(hours) if is_staged(recipes[LEARNED]) else [yardstick.kind]
    refuse_another(options.output, facts)
    options.cache.mkdir(parents=True, exist_ok=True)
    material = prepare(recipes[LEARNED], recipes["test"], options.cache, report, test_seed=options.corpus_seed)
    entry = Entry(options.recipe, given, recipes, material, yardstick, has_smaller, device)
    contest = Contest(entry, options.output, report)
    scores: dict[str, list[Score]] = {name: [] for name in entry.names}
    for seed in options.seeds:
        for name in entry.names:
            scores[name].append(contest.score(seed, name))
    work = contest.times(options.seeds[0], options.timed)
    rows = {name: row_of(name, scores, work[name]) for name in entry.names}
    leads = leads_of(scores)
    first, size = next(iter(yardstick.figures)), scores[DENSE][0]
    lines = verdicts(rows, leads, bars, kind=yardstick.kind, figure=first, hours=size.hours, num_events=size.num_events)
    print(f"seeds {options.seeds}; {machine_line()}; times are of seed {options.seeds[0]}, from file to events")
    print(rows_table(rows, kinds, yardstick.figures))
    print("\n".join(lines))
    results = {
        "seeds": options.seeds,
        **facts,
        "num_events": size.num_events,
        "systems": rows,
        "leads_of_the_learned_switch": leads,
        "gates": {name: [score.gate for score in of_seeds] for name, of_seeds in scores.items()},
        "verdicts": lines,
    }
    print(f"written: {write_results(options.output, results)}")
    return results
