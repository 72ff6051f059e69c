"""The files of a corpus of soundscapes: mixed one by one in worker processes, with tables of what is in them."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featurizers.media import write_audio
from pipelines.corpora.acoustics import RATE_HZ, room_response
from pipelines.corpora.sound_clips import Clips, Group, Variation, read_clip
from pipelines.corpora.sound_mixing import Cast, Role, SoundKind, Soundscape, compose
from pipelines.corpora.sound_sources import NUM_INDIVIDUALS, SOURCES, SPLITS, individual
from pipelines.corpora.sound_speech import SPEECH, speak, spoken
from pipelines.corpora.staging import is_complete
from pipelines.corpora.workers import Workers
from pipelines.events import Event, Recording
from pipelines.runfolder import write_atomic

NUM_ROOMS = 48
COLUMNS = {
    "recordings": ("filename", "split", "kind", "seconds", "event_share", "overlap_share", "unsteady_noise_share"),
    "events": ("filename", "onset", "offset", "event_label", "snr_db", "source", "seed"),
    "noises": ("filename", "onset", "offset", "noise", "level_db"),
}
Progress = Callable[[str, int, int], None]


class Job(NamedTuple):
    """One soundscape to be mixed."""

    split: str
    kind: str
    number: int
    num_samples: int

    @property
    def name(self) -> str:
        """Its file, without suffix."""
        return f"{self.split}-{self.kind}-{self.number:04d}"


class Plan(NamedTuple):
    """What worker processes need to know of the corpus.

    Args:
        folder: where it is staged.
        kinds: kind -> what it is made of.
        foreground, background: split -> clips of the user's own; empty: computed.
        noises: names of computed noises.
    """

    folder: Path
    labels: tuple[str, ...]
    kinds: dict[str, SoundKind]
    foreground: dict[str, list[Group]]
    background: dict[str, list[Group]]
    variation: Variation
    noises: tuple[str, ...]
    snr_db: tuple[float, float]
    seed: int


def jobs_of(hours: dict[str, dict[str, float]], kinds: dict[str, SoundKind], stream_seconds: float) -> list[Job]:
    """Every soundscape of a corpus: hours rounded to whole streams, at least one where there are any."""
    jobs = []
    for split, of_kind in hours.items():
        for kind, kind_hours in of_kind.items():
            seconds = min(stream_seconds, kinds[kind].most_seconds)
            number = max(1, round(kind_hours * 3600.0 / seconds)) if kind_hours > 0 else 0
            jobs += [Job(split, kind, place, round(seconds * RATE_HZ)) for place in range(number)]
    return jobs


def stage(plan: Plan, jobs: list[Job], num_workers: int, progress: Progress) -> None:
    """Read or speak clips, mix and write; what an interrupted run has left in the folder is kept and continued."""
    folder = plan.folder
    stock, parts = folder / "stock", folder / "parts"
    for needed in (stock, parts):
        needed.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.part"):  # of a process that was killed while it wrote
        leftover.unlink()
    clips = [
        path
        for split in (plan.foreground, plan.background)
        for groups in split.values()
        for group in groups
        for path in group.paths
    ]
    files = _stock_files(plan)
    unread = [(path, files[path]) for path in clips if not files[path].exists()]
    is_spoken = SPEECH in plan.labels and not plan.foreground
    splits = [split for split in SPLITS if any(job.split == split for job in jobs)] if is_spoken else []
    hours = {split: sum(j.num_samples for j in jobs if j.split == split) / RATE_HZ / 3600.0 for split in splits}
    unsaid = [(split, hours[split]) for split in splits if not (stock / f"speech-{split}.json").exists()]
    unmixed = [job for job in jobs if not (parts / f"{job.name}.json").exists()]
    with Workers(num_workers, _begin, plan) as workers:
        workers.run(_read, unread, lambda done: progress("reading clips", len(clips) - len(unread) + done, len(clips)))
        workers.run(_speak, unsaid, lambda done: progress("speaking", len(splits) - len(unsaid) + done, len(splits)))
        workers.run(_mix, unmixed, lambda done: progress("mixing", len(jobs) - len(unmixed) + done, len(jobs)))
    facts = [json.loads((parts / f"{job.name}.json").read_text()) for job in jobs]
    for table, columns in COLUMNS.items():
        write_atomic(folder / f"{table}.tsv", _table(columns, [row for fact in facts for row in fact[table]]))
    write_atomic(folder / "corpus.json", json.dumps({"labels": plan.labels, "seed": plan.seed}, indent=1))
    shutil.rmtree(stock)
    shutil.rmtree(parts)


def read_recordings(folder: Path) -> list[Recording]:
    """The recordings that `stage` left in a folder, with their events."""
    assert is_complete(folder)
    events: dict[str, list[Event]] = {}
    for row in _rows(folder / "events.tsv"):
        event = Event(float(row["onset"]), float(row["offset"]), row["event_label"])
        events.setdefault(row["filename"], []).append(event)
    return [
        Recording(
            folder / row["filename"], tuple(events.get(row["filename"], ())), split=row["split"], kind=row["kind"]
        )
        for row in _rows(folder / "recordings.tsv")
    ]


class _Shared:
    """What a worker process holds between jobs: the plan, and per split what its soundscapes draw from."""

    plan: Plan
    casts: dict[str, Cast]


def _begin(plan: Plan) -> None:
    _Shared.plan, _Shared.casts = plan, {}


def _read(source_and_target: tuple[Path, Path]) -> None:
    read_clip(*source_and_target)


def _speak(split_and_hours: tuple[str, float]) -> None:
    speak(_Shared.plan.folder / "stock", *split_and_hours, _Shared.plan.seed)


def _mix(job: Job) -> None:
    plan, split = _Shared.plan, SPLITS.index(job.split)
    if job.split not in _Shared.casts:
        _Shared.casts[job.split] = _cast(plan, job.split)
    generator = np.random.default_rng([plan.seed, split, 2, sorted(plan.kinds).index(job.kind), job.number])
    scene = compose(generator, plan.kinds[job.kind], _Shared.casts[job.split], job.num_samples, plan.snr_db)
    write_audio(plan.folder / f"{job.name}.flac", scene.events + scene.noise, RATE_HZ)
    write_atomic(plan.folder / "parts" / f"{job.name}.json", json.dumps(_facts(job, scene)))


def _cast(plan: Plan, split: str) -> Cast:
    """Individuals, rooms and noises of a split; no two splits share an individual or a room."""
    stock = plan.folder / "stock"
    files = _stock_files(plan)
    roles: dict[str, list[Role]] = {label: [] for label in plan.labels}
    for group in plan.foreground.get(split, ()):
        clips = Clips([files[path] for path in group.paths], plan.variation)
        roles[group.label].append(Role(group.name, clips, has_room=True))
    if not plan.foreground:
        for label in plan.labels:
            numbers = range(NUM_INDIVIDUALS[split]) if label in SOURCES else ()
            roles[label] += [
                Role(f"{label} {split} {number}", individual(label, split, number, plan.seed), has_room=False)
                for number in numbers
            ]
        voices = spoken(stock, split) if SPEECH in plan.labels else {}
        if voices:
            roles[SPEECH] = [
                Role(f"voice {name}", Clips(said, Variation()), has_room=False) for name, said in voices.items()
            ]
    generator = np.random.default_rng([plan.seed, SPLITS.index(split), 1])
    rooms = [room_response(generator) for _ in range(NUM_ROOMS)]
    backgrounds = [
        (path.name, np.load(files[path], mmap_mode="r"))
        for group in plan.background.get(split, ())
        for path in group.paths
    ]
    return Cast(roles, rooms, plan.noises, backgrounds)


def _stock_files(plan: Plan) -> dict[Path, Path]:
    """Where the samples of every clip are kept while the corpus is staged."""
    groups = [group for dealt in (plan.foreground, plan.background) for groups in dealt.values() for group in groups]
    paths = sorted({path for group in groups for path in group.paths})
    return {path: plan.folder / "stock" / f"clip-{number:06d}.npy" for number, path in enumerate(paths)}


def _facts(job: Job, scene: Soundscape) -> dict[str, list[Any]]:
    """The rows of a soundscape in every table."""
    name = f"{job.name}.flac"
    num_samples = len(scene.noise)
    at_once = np.zeros(num_samples, dtype=np.int8)
    for event in scene.placed:
        at_once[event.onset : event.offset] += 1
    shares = (float(np.mean(at_once > 0)), float(np.mean(at_once > 1)), scene.noise_share)
    recording = (name, job.split, job.kind, num_samples / RATE_HZ, *(round(share, 5) for share in shares))
    events = [
        (name, e.onset / RATE_HZ, e.offset / RATE_HZ, e.label, round(e.snr_db, 2), e.source, e.seed)
        for e in scene.placed
    ]
    noises = [(name, n.onset / RATE_HZ, n.offset / RATE_HZ, n.name, round(n.level_db, 2)) for n in scene.noises]
    return {"recordings": [recording], "events": events, "noises": noises}


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))
