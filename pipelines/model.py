"""A trained model: a folder on disk, and an object that tags recordings.

    model/recipe.yaml            the resolved recipe
          weights.safetensors    switch, encoder, head (and a trained featurizer)
          labels.json            the C labels, in the order of the scores
          thresholds.json        per label: threshold, onset and offset delay; one threshold shift of the switch
          metrics.json           what was measured when it was made
          card.md                what it is for, what data and licences it came from

Loading runs no code outside surnn, featurizers and pipelines unless the class is trusted by name, and never unpickles.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch

from featurizers import AudioStream, Grid
from surnn import Gate, Open, Restart

from .audit import Auditor, Decode, seed_of
from .band import missing_band
from .encoder import Encoder
from .errors import RecipeError, UsageError, UserError
from .events import Event
from .exports.recording_start import recording_start
from .heads import Held, scores_at
from .line import Line, Progress, Source, Track, Watcher
from .live import LiveStream, LookAhead, look_ahead_of, require_sound
from .live_decoding import LiveDecoder, decoder_of
from .recipe import Recipe, load_recipe, save_recipe
from .results import Events, Scores
from .runfolder import write_atomic
from .short_files import closed_files
from .tasks import Task

Parsed = TypeVar("Parsed")


class ModelError(UsageError):
    """A model folder that cannot be used: what is missing or broken in it."""


def build_line(recipe: Recipe, num_labels: int) -> Line:
    """An untrained line as the recipe describes it."""
    grid = Grid(recipe.grid.hop_seconds)
    glance = recipe.glance.build(grid)
    featurizer = recipe.featurizer.build(grid, glance_size=glance.size)
    encoder = build_encoder(recipe, featurizer.size, grid)
    return Line(
        grid=grid,
        glance=glance,
        gate=recipe.switch.build(glance.size),
        featurizer=featurizer,
        encoder=encoder,
        head=recipe.head.build(encoder.size, num_labels),
    )


def build_encoder(recipe: Recipe, input_size: int, grid: Grid) -> Encoder:
    """An untrained encoder as the recipe describes it."""
    options = recipe.encoder
    restart = None
    if options.bidirectional:
        closed, opened = options.restart_after_closed_seconds, options.restart_after_open_seconds
        restart = Restart(*(max(1, round(seconds / grid.hop_seconds)) for seconds in (closed, opened)))
    return Encoder(
        input_size,
        options.hidden,
        options.num_layers,
        options.projection,
        cell=options.cell,
        bidirectional=options.bidirectional,
        restart=restart,
    )


@dataclass
class Model:
    """A line with its labels and decisions.

    Args:
        recipe: what it was built from.
        line: the modules.
        labels: C names.
        decisions: per label, a NamedTuple of the task's (Task.decision).
        metrics: what was measured when it was made.
        card: text of card.md.
        fingerprint: of recipe, weights and decisions; "" until saved or loaded.

    Attributes:
        task: as the recipe says.
    """

    recipe: Recipe
    line: Line
    labels: tuple[str, ...]
    decisions: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    fingerprint: str = ""

    task: Task = field(init=False)

    def __post_init__(self) -> None:
        self.task = self.recipe.task.build()

    def decode(self, track: Track) -> list[Event]:
        """The events of a walk."""
        return self.task.decode(track.held, track.grid, track.seconds, self.labels, self.decisions)

    def track(
        self,
        source: Source,
        *,
        rate_hz: int | None = None,
        channel: int | None = None,
        gate: Gate | None = None,
        progress: Progress | None = None,
    ) -> Track:
        """Walk the line over a file, or an array of sound: (samples,) or (channels, samples), `rate_hz` given.

        Raises:
            featurizers.MediaError: if the source cannot be read as what the model reads, sound or pictures.
        """
        with self.line.open(source, rate_hz=rate_hz, channel=channel) as stream:
            return self.line.follow(stream, gate=gate, progress=progress)

    def tag(
        self,
        source: Source,
        *,
        rate_hz: int | None = None,
        channel: int | None = None,
        min_score: float | None = None,
        gate: str = "learned",
        audit_share: float = 0.0,
        progress: Progress | None = None,
    ) -> Events:
        """The events of one recording.

        Args:
            source: path of any media file with what the model reads, sound or pictures; or samples in [-1, 1] (int16
                is scaled).
            rate_hz: of an array.
            channel: read this one; None: the mean of all.
            min_score: one threshold in [0, 1] instead of the model's own, per label.
            gate: "learned", or "open" to featurize and encode every frame.
            audit_share: share of the time, in [0, 1], that is drawn at random and opened beside the walk, so that the
                answer's `audit` can tell how many events the switch made the model miss (pipelines.audit). The events
                are the same to the last bit. 0: no audit, no cost.
            progress: called now and then with the seconds heard or seen so far.

        Raises:
            featurizers.MediaError: if the source cannot be read as what the model reads.
            UserError: if an argument is not what is said here.
        """
        if not 0 <= audit_share <= 1:
            raise UserError(f"audit_share={audit_share} must lie in [0, 1]; it is the share of the time to be opened")
        chosen, decode, auditor = self.gate_named(gate), self._decoder(_checked(min_score)), None
        started = time.perf_counter()
        with self.line.open(source, rate_hz=rate_hz, channel=channel) as stream:
            if audit_share:
                grid = self.line.grid._replace(origin_seconds=stream.start_seconds)
                # Tasks whose events end before the frame that gives them away say by how much.
                delays = [getattr(decision, "offset_delay_seconds", 0.0) for decision in self.decisions.values()]
                auditor = Auditor(
                    self.line,
                    grid,
                    decode,
                    share=audit_share,
                    seed=seed_of(source, channel),
                    peak_delays_seconds=delays,
                )
            track = self.line.follow(stream, gate=chosen, watcher=auditor, progress=progress)
        events = tuple(decode(track.held, track.grid, track.seconds))
        name = str(source) if isinstance(source, str | Path) else "array"
        share = float(track.is_open.float().mean()) if track.is_open.numel() else 0.0
        audit = auditor.audit(events) if auditor else None
        tags, own_rate_hz = (stream.metadata, stream.source_rate_hz) if isinstance(stream, AudioStream) else ({}, 0)
        return Events(
            events,
            name,
            track.seconds,
            share,
            time.perf_counter() - started,
            audit,
            recording_start(name, tags),
            track.damage,
            own_rate_hz,
            missing_band(self, own_rate_hz) if own_rate_hz else "",
        )

    def stream(
        self,
        rate_hz: int,
        *,
        channel: int | None = None,
        min_score: float | None = None,
        gate: str = "learned",
        start_seconds: float = 0.0,
        watcher: Watcher | None = None,
    ) -> LiveStream:
        """Sound that goes on, to be pushed in as it comes: its events are those of `tag` on the whole recording.

        Args:
            rate_hz: of the samples that will be pushed.
            channel, min_score, gate: as in `tag`.
            start_seconds: of the first sample, on the clock of the events.
            watcher: looks on, block by block, as in `Line.follow`.

        Raises:
            featurizers.MediaError: if that is no sample rate.
            UserError: if another argument is not what is said here, or the model reads video.
        """
        require_sound(self.line)
        chosen, decoder = self.gate_named(gate), self._live_decoder(_checked(min_score), start_seconds)
        return LiveStream(self.line, decoder, rate_hz, gate=chosen, channel=channel, watcher=watcher)

    @property
    def look_ahead(self) -> LookAhead:
        """How long `stream` listens on after the end of an event before it can name it, by cause.

        To that come at most 0.4 s, for blocks to be filled and for the resampler, and the time of the computation.

        Raises:
            UsageError: if the model reads video.
        """
        require_sound(self.line)
        return look_ahead_of(self.line, self._live_decoder(None, 0.0))

    @property
    def look_ahead_seconds(self) -> float:
        """The same in one number, if the switch stays closed behind the event; see LookAhead.seconds."""
        return self.look_ahead.seconds

    def _live_decoder(self, min_score: float | None, start_seconds: float) -> LiveDecoder:
        grid = self.line.grid._replace(origin_seconds=start_seconds)
        return decoder_of(self.task, grid, self.labels, self.decisions, min_score)

    def tag_closed(
        self,
        paths: Iterable[str],
        *,
        channel: int | None = None,
        min_score: float | None = None,
        at: Callable[[str], None],
    ) -> Iterator[Events]:
        """The events of those short files that the switch leaves closed from start to end; of the others nothing.

        What it gives is what `tag` gives, at a fraction of the cost; see pipelines.short_files.

        Args:
            paths: of files.
            channel, min_score: as in `tag`.
            at: told each path before it is opened, "" before all are computed.
        """
        decode, none = self._decoder(min_score), torch.zeros(0, len(self.labels))
        nothing = Held(none, none, torch.zeros(0, dtype=torch.int64))
        for each in closed_files(self.line, paths, channel=channel, at=at):
            events = decode(nothing, self.line.grid._replace(origin_seconds=each.start_seconds), each.seconds)
            yield Events(
                tuple(events),
                each.path,
                each.seconds,
                0.0,
                each.work_seconds,
                recording_start=each.recording_start,
                sample_rate_hz=each.sample_rate_hz,
                missing_band=missing_band(self, each.sample_rate_hz),
            )

    def _decoder(self, min_score: float | None) -> Decode:
        def decode(held: Held, grid: Grid, seconds: float) -> list[Event]:
            return self.task.decode(held, grid, seconds, self.labels, self.decisions, min_score)

        return decode

    def scores(
        self, source: Source, *, rate_hz: int | None = None, channel: int | None = None, gate: str = "learned"
    ) -> Scores:
        """Scores of every frame of one recording; arguments as in `tag`."""
        track = self.track(source, rate_hz=rate_hz, channel=channel, gate=self.gate_named(gate))
        frames = torch.arange(track.is_open.numel())
        logits = scores_at(track.held, self.line.grid, frames)
        times = track.grid.origin_seconds + frames.numpy() * track.grid.hop_seconds
        return Scores(times, self.labels, logits.sigmoid().numpy(), track.is_open.numpy())

    def gate_named(self, name: str) -> Gate | None:
        """None for "learned", the model's own; a gate that opens every frame for "open"."""
        if name not in ("learned", "open"):
            raise UserError(
                f"gate={name!r} is unknown; it is 'learned' (the model's own switch) or 'open' (no skipping)"
            )
        return Open(self.line.glance.size) if name == "open" else None

    def save(self, folder: Path) -> None:
        """Write the folder described above; each file by temporary name and rename."""
        folder.mkdir(parents=True, exist_ok=True)
        save_recipe(self.recipe, folder / "recipe.yaml")
        state = {name: value.contiguous() for name, value in self.line.state_dict().items()}
        write_atomic(folder / "weights.safetensors", safetensors.torch.save(state))
        write_atomic(folder / "labels.json", json.dumps(list(self.labels), indent=1) + "\n")
        decisions = {label: decision._asdict() for label, decision in self.decisions.items()}
        shift = float(getattr(self.line.gate, "threshold_shift", 0.0))
        write_atomic(
            folder / "thresholds.json",
            json.dumps({"switch_threshold_shift": shift, "labels": decisions}, indent=1) + "\n",
        )
        write_atomic(folder / "metrics.json", metrics_text(self.metrics))
        write_atomic(folder / "card.md", self.card)
        self.fingerprint = fingerprint(folder)


def _checked(min_score: float | None) -> float | None:
    if min_score is not None and not 0 <= min_score <= 1:
        raise UserError(f"min_score={min_score} must lie in [0, 1]; it is a probability")
    return min_score


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """metrics.json: one flat object, undefined figures (NaN) as null."""
    return json.dumps({key: None if math.isnan(value) else value for key, value in metrics.items()}, indent=1) + "\n"


def fingerprint(folder: Path) -> str:
    """First 16 hex digits of the SHA-256 over recipe, weights, labels and thresholds."""
    digest = hashlib.sha256()
    for name in ("recipe.yaml", "weights.safetensors", "labels.json", "thresholds.json"):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:16]


def load(folder: str | Path, *, trust: Collection[str] = ()) -> Model:
    """A trained model from its folder.

    Args:
        folder: the `model` folder of a run.
        trust: dotted names of classes outside surnn, featurizers and pipelines that the recipe may import and run.

    Raises:
        ModelError: if the folder is no model, is incomplete or corrupt, or names a class that is not trusted.
    """
    folder = Path(folder)
    needed = ("recipe.yaml", "weights.safetensors", "labels.json", "thresholds.json", "metrics.json", "card.md")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        inner = f"; did you mean {folder / 'model'}?" if (folder / "model" / "recipe.yaml").is_file() else ""
        raise ModelError(f"{folder} is no model folder: {missing[0]} is missing{inner}")
    try:
        recipe = load_recipe(folder / "recipe.yaml", trust=(trust,) if isinstance(trust, str) else trust)
        labels = _read(folder / "labels.json", _labels)
        decision: type[Any] = recipe.task.build().decision
        decisions, shift = _read(folder / "thresholds.json", lambda text: _decisions(text, labels, decision))
        metrics = _read(folder / "metrics.json", _metrics)
        card = _read(folder / "card.md", str)
        line = build_line(recipe, len(labels))
    except RecipeError as error:
        raise ModelError(str(error)) from error
    try:
        line.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    except (RuntimeError, OSError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise _damage(folder / "weights.safetensors", f"or does not fit recipe and labels: {reason}") from error
    if hasattr(line.gate, "threshold_shift"):
        line.gate.threshold_shift = shift
    line.eval()
    return Model(recipe, line, labels, decisions, metrics, card, fingerprint(folder))


def _damage(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} is damaged, {reason}; restore the model folder from a copy, or train again")


def _read(path: Path, parse: Callable[[str], Parsed]) -> Parsed:
    """What a text file of the model folder says; one that says something else is named."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise _damage(path, str(error)) from error


def _labels(text: str) -> tuple[str, ...]:
    labels = json.loads(text)
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ValueError("it must hold a list of names")
    if len(set(labels)) < len(labels):
        raise ValueError("it must hold each name once")
    return tuple(labels)


def _decisions(text: str, labels: tuple[str, ...], decision: type[Any]) -> tuple[dict[str, Any], float]:
    """The decisions in the order of the labels, and the switch's threshold shift."""
    stored = json.loads(text)
    if not isinstance(stored, dict) or stored.keys() != {"switch_threshold_shift", "labels"}:
        raise ValueError("it must hold switch_threshold_shift and labels")
    if not isinstance(stored["labels"], dict) or stored["labels"].keys() != set(labels):
        raise ValueError(f"its labels ({', '.join(stored['labels'])}) are not those of labels.json")
    decisions = {label: decision(**stored["labels"][label]) for label in labels}
    for number in (stored["switch_threshold_shift"], *(value for each in decisions.values() for value in each)):
        if not math.isfinite(number):
            raise ValueError(f"{number} is no finite number")
    return decisions, float(stored["switch_threshold_shift"])


def _metrics(text: str) -> dict[str, float]:
    stored = json.loads(text)
    if not isinstance(stored, dict) or not all(isinstance(value, int | float | None) for value in stored.values()):
        raise ValueError("it must hold names and numbers")
    return {key: math.nan if value is None else value for key, value in stored.items()}
