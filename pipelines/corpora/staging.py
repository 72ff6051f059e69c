"""The files of a corpus of spoken words: streams mixed one by one in worker processes, tables of what is in them."""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featurizers.media import write_audio
from pipelines.corpora.acoustics import RATE_HZ, Samples, room_response
from pipelines.corpora.streams import KINDS, Placed, Stream, Takes, compose
from pipelines.corpora.texts import Lexicon
from pipelines.corpora.utterances import SPLITS, Stock, num_chunks, speak_chunk
from pipelines.corpora.workers import Workers
from pipelines.events import Event, Recording

NUM_ROOMS = 64
COLUMNS = {
    "recordings": ("file", "split", "kind", "seconds", "keyword_share", "speech_share", "unsteady_noise_share"),
    "events": ("file", "onset_seconds", "offset_seconds", "label", "voice", "snr_db", "text"),
    "speech": ("file", "onset_seconds", "offset_seconds", "voice", "snr_db", "text"),
}


class Job(NamedTuple):
    """One stream to be mixed."""

    split: str
    kind: str
    number: int

    @property
    def name(self) -> str:
        """Its file, without suffix."""
        return f"{self.split}-{self.kind}-{self.number:04d}"


class Plan(NamedTuple):
    """What worker processes need to know of the corpus.

    Args:
        folder: where it is staged.
        chunks: how many chunks of things said each split draws from.
        open_stock: folder of the chunks, split and number of chunks -> what is mixed.
    """

    folder: Path
    words: tuple[str, ...]
    lexicon: Lexicon
    chunks: dict[str, int]
    stream_samples: int
    seed: int
    open_stock: Callable[[Path, str, int], Takes] = Stock


def stage(
    folder: Path,
    words: tuple[str, ...],
    lexicon: Lexicon,
    hours: dict[str, dict[str, float]],
    *,
    stream_seconds: float,
    seed: int,
    num_workers: int,
    progress: Callable[[str, int, int], None],
    open_stock: Callable[[Path, str, int], Takes] = Stock,
) -> None:
    """Speak, mix and write a corpus; what an interrupted run has left in the folder is kept and continued."""
    stock, parts = folder / "stock", folder / "parts"
    for needed in (stock, parts):
        needed.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.part"):  # of a process that was killed while it wrote
        leftover.unlink()
    chunks = {split: num_chunks(sum(of_kind.values())) for split, of_kind in hours.items() if sum(of_kind.values()) > 0}
    to_say = [(split, chunk) for split, number in chunks.items() for chunk in range(number)]
    jobs = _jobs(hours, stream_seconds)
    plan = Plan(folder, words, lexicon, chunks, round(stream_seconds * RATE_HZ), seed, open_stock)
    unsaid = [(split, chunk) for split, chunk in to_say if not (stock / f"{split}-{chunk:03d}.json").exists()]
    unmixed = [job for job in jobs if not (parts / f"{job.name}.json").exists()]
    with Workers(num_workers, _begin, plan) as workers:
        workers.run(_speak, unsaid, lambda done: progress("speaking", len(to_say) - len(unsaid) + done, len(to_say)))
        workers.run(_mix, unmixed, lambda done: progress("mixing", len(jobs) - len(unmixed) + done, len(jobs)))
    _write_tables(folder, [json.loads((parts / f"{job.name}.json").read_text()) for job in jobs])
    facts = {"words": words, "hours": hours, "stream_seconds": stream_seconds, "seed": seed}
    _write_whole(folder / "corpus.json", json.dumps(facts, indent=1))
    shutil.rmtree(stock)
    shutil.rmtree(parts)


def is_complete(folder: Path) -> bool:
    """Whether `stage` has finished in this folder."""
    return (folder / "corpus.json").exists()


def read_recordings(folder: Path) -> list[Recording]:
    """The recordings that `stage` left in a folder, with their events."""
    events: dict[str, list[Event]] = {}
    for row in _rows(folder, "events"):
        event = Event(float(row["onset_seconds"]), float(row["offset_seconds"]), row["label"])
        events.setdefault(row["file"], []).append(event)
    return [
        Recording(
            folder / row["file"],
            tuple(events.get(row["file"], ())),
            split=row["split"],
            group=f"{row['split']} voices",
            kind=row["kind"],
        )
        for row in _rows(folder, "recordings")
    ]


def speech_spans(folder: Path) -> dict[Path, tuple[tuple[float, float], ...]]:
    """When anybody speaks, keywords included, as (onset, offset) in seconds, for each file of a staged folder."""
    spans: dict[Path, list[tuple[float, float]]] = {folder / row["file"]: [] for row in _rows(folder, "recordings")}
    for row in _rows(folder, "speech"):
        spans[folder / row["file"]].append((float(row["onset_seconds"]), float(row["offset_seconds"])))
    return {path: tuple(_union(pairs)) for path, pairs in spans.items()}


def _jobs(hours: dict[str, dict[str, float]], stream_seconds: float) -> list[Job]:
    return [
        Job(split, kind, number)
        for split, of_kind in hours.items()
        for kind, kind_hours in of_kind.items()
        if kind_hours > 0
        for number in range(max(1, round(kind_hours * 3600.0 / stream_seconds)))
    ]


class _Shared:
    """What a worker process holds between jobs: the plan, and per split the things said and the rooms."""

    plan: Plan
    stocks: dict[str, Takes]
    rooms: dict[str, list[Samples]]


def _begin(plan: Plan) -> None:
    _Shared.plan, _Shared.stocks, _Shared.rooms = plan, {}, {}


def _speak(split_and_chunk: tuple[str, int]) -> None:
    plan = _Shared.plan
    speak_chunk(plan.folder / "stock", *split_and_chunk, plan.words, plan.lexicon, plan.seed)


def _mix(job: Job) -> None:
    plan, split = _Shared.plan, SPLITS.index(job.split)
    if job.split not in _Shared.stocks:
        _Shared.stocks[job.split] = plan.open_stock(plan.folder / "stock", job.split, plan.chunks[job.split])
        generator = np.random.default_rng([plan.seed, split, 1])
        _Shared.rooms[job.split] = [room_response(generator) for _ in range(NUM_ROOMS)]
    generator = np.random.default_rng([plan.seed, split, 2, list(KINDS).index(job.kind), job.number])
    stream = compose(
        generator, KINDS[job.kind], _Shared.stocks[job.split], _Shared.rooms[job.split], plan.stream_samples
    )
    write_audio(plan.folder / f"{job.name}.flac", stream.speech + stream.noise, RATE_HZ)
    _write_whole(plan.folder / "parts" / f"{job.name}.json", json.dumps(_facts(job, stream)))


def _facts(job: Job, stream: Stream) -> dict[str, list[Any]]:
    """The rows of a stream in every table."""
    name = f"{job.name}.flac"
    num_samples = len(stream.speech)
    spans = _union([(item.onset, item.offset) for item in stream.placed])
    keywords = [item for item in stream.placed if item.take.label]
    keyword_share = sum(item.label_offset - item.label_onset for item in keywords) / num_samples
    speech_share = sum(offset - onset for onset, offset in spans) / num_samples
    shares = [round(share, 5) for share in (keyword_share, speech_share, stream.noise_share)]
    events = [
        (
            name,
            item.label_onset / RATE_HZ,
            item.label_offset / RATE_HZ,
            item.take.label,
            *_who_said_what(item),
        )
        for item in keywords
    ]
    return {
        "recordings": [(name, job.split, job.kind, num_samples / RATE_HZ, *shares)],
        "events": sorted(events, key=lambda row: row[1]),
        "speech": [
            (name, item.onset / RATE_HZ, item.offset / RATE_HZ, *_who_said_what(item)) for item in stream.placed
        ],
    }


def _who_said_what(item: Placed) -> tuple[str, float, str]:
    return f"{item.take.accent}+{item.take.variant}", round(item.snr_db, 2), item.take.text


def _union(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, those that touch joined."""
    joined: list[tuple[float, float]] = []
    for onset, offset in sorted(spans):
        if joined and onset <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], offset))
        else:
            joined.append((onset, offset))
    return joined


def _write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text)
    partial.replace(path)


def _write_tables(folder: Path, facts: list[dict[str, list[Any]]]) -> None:
    for table, columns in COLUMNS.items():
        with (folder / f"{table}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(row for fact in facts for row in fact[table])


def _rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))
