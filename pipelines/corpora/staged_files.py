"""The files of a corpus of staged video: rendered one by one in worker processes, with tables of what is in them."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.corpora.staged_actors import Cast, Script, Span
from pipelines.corpora.staged_figures import Body, make_body
from pipelines.corpora.staged_scenes import Place, make_camera, make_light, make_place
from pipelines.corpora.staged_scripts import KINDS, clip_script, is_moving, recording_script
from pipelines.corpora.staged_video import Format, encode, make_sensor, render
from pipelines.corpora.staging import is_complete
from pipelines.corpora.workers import Workers
from pipelines.events import Event, Recording
from pipelines.runfolder import write_atomic

SPLITS = ("train", "validation", "test")
NUM_FIGURES = {"train": 40, "validation": 12, "test": 16}
NUM_PLACES = {"train": 40, "validation": 12, "test": 16}
CLIPS, CLASSLESS_CLIPS = "clips", "classless"
CLIP_SECONDS = (2.6, 4.0)  # drawn alike for every label: the length tells nothing
COLUMNS = {
    "recordings": ("file", "split", "kind", "group", "clip_labels", "seconds", "place", "figures", "action_share",
                   "distraction_share", "still_share"),
    "events": ("file", "onset", "offset", "label", "figure"),
    "distractions": ("file", "onset", "offset", "what", "figure"),
}  # fmt: skip
Progress = Callable[[str, int, int], None]


class Job(NamedTuple):
    """One video to be rendered; label: of a clip, "" for a movement of no class."""

    split: str
    kind: str
    number: int
    label: str = ""

    @property
    def name(self) -> str:
        """Its file, without suffix."""
        return f"{self.split}-{self.kind}-{self.number:04d}"


class Plan(NamedTuple):
    """What worker processes need to know of the corpus."""

    folder: Path
    labels: tuple[str, ...]
    form: Format
    recording_seconds: float
    seed: int


def jobs_of(
    minutes: dict[str, dict[str, float]],
    num_clips: dict[str, int],
    num_classless: dict[str, int],
    labels: Sequence[str],
    recording_seconds: float,
) -> list[Job]:
    """Every video of a corpus: minutes rounded to whole recordings, at least one where there are any."""
    jobs = []
    for split in SPLITS:
        for kind, kind_minutes in minutes.get(split, {}).items():
            number = max(1, round(kind_minutes * 60.0 / recording_seconds)) if kind_minutes > 0 else 0
            jobs += [Job(split, kind, place) for place in range(number)]
        jobs += [Job(split, CLIPS, n, labels[n % len(labels)]) for n in range(num_clips.get(split, 0))]
        jobs += [Job(split, CLASSLESS_CLIPS, n) for n in range(num_classless.get(split, 0))]
    return jobs


def stage(plan: Plan, jobs: list[Job], num_workers: int, progress: Progress) -> None:
    """Render and encode all videos; what an interrupted run has left in the folder is kept and continued."""
    parts = plan.folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for leftover in plan.folder.glob(".*.part"):  # of a process that was killed while it wrote
        leftover.unlink()
    left = [job for job in jobs if not (parts / f"{job.name}.json").exists()]
    with Workers(num_workers, _begin, plan) as workers:
        workers.run(_render, left, lambda done: progress("rendering", len(jobs) - len(left) + done, len(jobs)))
    facts = [json.loads((parts / f"{job.name}.json").read_text()) for job in jobs]
    for table, columns in COLUMNS.items():
        write_atomic(plan.folder / f"{table}.csv", _table(columns, [row for fact in facts for row in fact[table]]))
    write_atomic(plan.folder / "corpus.json", json.dumps({"labels": plan.labels, "seed": plan.seed}, indent=1))
    shutil.rmtree(parts)


def read_recordings(folder: Path) -> list[Recording]:
    """The recordings that `stage` left in a folder, with their events."""
    assert is_complete(folder)
    events: dict[str, list[Event]] = {}
    for row in _rows(folder / "events.csv"):
        event = Event(float(row["onset"]), float(row["offset"]), row["label"])
        events.setdefault(row["file"], []).append(event)
    return [
        Recording(
            folder / row["file"],
            tuple(sorted(events.get(row["file"], ()))),
            clip_labels=_clip_labels(row),
            split=row["split"],
            group=row["group"],
            kind=row["kind"],
        )
        for row in _rows(folder / "recordings.csv")
    ]


def figure(split: str, number: int, seed: int) -> Body:
    """A figure of a split; no other split has it."""
    return make_body(np.random.default_rng([seed, SPLITS.index(split), 0, number]))


def place(split: str, number: int, seed: int) -> Place:
    """A place of a split; no other split has it."""
    return make_place(np.random.default_rng([seed, SPLITS.index(split), 1, number]))


def _clip_labels(row: dict[str, str]) -> tuple[str, ...] | None:
    if row["kind"] not in (CLIPS, CLASSLESS_CLIPS):
        return None
    return (row["clip_labels"],) if row["clip_labels"] else ()


class _Shared:
    """What a worker process holds between jobs."""

    plan: Plan


def _begin(plan: Plan) -> None:
    _Shared.plan = plan


def _render(job: Job) -> None:
    plan, form = _Shared.plan, _Shared.plan.form
    is_clip = job.kind not in KINDS
    number_of_kind = (*KINDS, CLIPS, CLASSLESS_CLIPS).index(job.kind)
    generator = np.random.default_rng([plan.seed, SPLITS.index(job.split), 2, number_of_kind, job.number])
    seconds = generator.uniform(*CLIP_SECONDS) if is_clip else plan.recording_seconds
    num_pictures = round(seconds * form.rate_hz)
    num_figures = (2 if generator.random() < 0.3 else 1) if is_clip else int(generator.integers(2, 5))
    numbers = generator.choice(NUM_FIGURES[job.split], num_figures, replace=False)
    cast = [Cast(f"{job.split} figure {number}", figure(job.split, int(number), plan.seed)) for number in numbers]
    place_number = int(generator.integers(NUM_PLACES[job.split]))
    where = place(job.split, place_number, plan.seed)
    light = make_light(generator)
    share = (0.45, 0.75) if is_clip else (0.35, 0.55)
    camera = make_camera(generator, form.width, form.height, share=share, target=np.zeros(3))
    if is_clip:
        script = clip_script(generator, job.label or None, cast, camera, light, num_pictures, form.rate_hz)
    else:
        script = recording_script(
            generator, KINDS[job.kind], plan.labels, cast, camera, light, num_pictures, form.rate_hz
        )
    sensor = make_sensor(generator, num_pictures, form.rate_hz, is_steady=job.kind == "sparse")
    pictures = render(generator, script, where, camera, light, sensor)
    encode(plan.folder / f"{job.name}.mp4", pictures, form)
    facts = _facts(job, script, cast, f"{job.split} place {place_number}", num_pictures, form)
    write_atomic(plan.folder / "parts" / f"{job.name}.json", json.dumps(facts))


def _facts(
    job: Job, script: Script, cast: Sequence[Cast], where: str, num_pictures: int, form: Format
) -> dict[str, list[Any]]:
    """The rows of a video in every table."""
    name = f"{job.name}.mp4"
    still = 1.0 - float(np.mean(is_moving(script, num_pictures)))
    shares = [_share(spans, num_pictures) for spans in (script.actions, script.distractions)]
    figures = ", ".join(sorted(one.name for one in cast))
    # A long recording has several figures, each of which is in others too: they all are one group.
    group = cast[0].name if job.kind not in KINDS else f"{job.split} figures"
    row = (name, job.split, job.kind, group, job.label, num_pictures / form.rate_hz, where, figures)

    def rows(spans: Sequence[Span]) -> list[tuple[Any, ...]]:
        ordered = sorted(spans)
        return [(name, s.onset / form.rate_hz, s.offset / form.rate_hz, s.what, s.who) for s in ordered]

    return {
        "recordings": [(*row, *(round(share, 5) for share in (*shares, still)))],
        "events": rows(script.actions),
        "distractions": rows(script.distractions),
    }


def _share(spans: Sequence[Span], num_pictures: int) -> float:
    """Of the time, that is covered by spans."""
    covered = np.zeros(num_pictures, dtype=np.bool_)
    for span in spans:
        covered[span.onset : span.offset] = True
    return float(np.mean(covered))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
