"""Training and testing a sequence model; an interrupted training goes on from its last epoch, to the same weights."""

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..console import Progress
from ..runfolder import write_atomic
from .contract import Problem, Split, seeded
from .model import SequenceModel, help_loss, task_loss
from .recipe import ResearchTrainOptions

CHECKPOINT = "checkpoint.pt"


class Figures(NamedTuple):
    """How well a model answers a split.

    Args:
        loss: cross-entropy in nats, or mean squared error.
        accuracy: share of classes that are right; NaN where numbers are asked for.
        frames_open: share of frames at which the model stepped.
        updates: share of neurons and frames that were updated.
        num_answers: counted.
    """

    loss: float
    accuracy: float
    frames_open: float
    updates: float
    num_answers: int


def train_model(
    model: SequenceModel,
    problem: Problem,
    options: ResearchTrainOptions,
    *,
    folder: Path,
    seed: int,
    device: str,
    progress: Progress,
) -> list[dict[str, float]]:
    """Train, keep the best epoch's weights in `model`, return one row of figures per epoch.

    Args:
        model: its weights are the start, unless the folder holds a checkpoint.
        problem: what is trained on, and validated.
        options: how.
        folder: exists; gets checkpoint.pt after every epoch.
        seed: of batches and of whatever else is random; epoch for epoch, so that an interruption changes nothing.
        device: "cpu" or "cuda:N".
        progress: a bar over steps.
    """
    model.to(device)
    optimizer = torch.optim.AdamW(_groups(model, options), lr=options.learning_rate)
    total = options.max_epochs * options.steps_per_epoch
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, total))
    history: list[dict[str, float]] = []
    best = _copied(model)
    if (folder / CHECKPOINT).exists():
        kept = torch.load(folder / CHECKPOINT, map_location=device, weights_only=True)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        scheduler.load_state_dict(kept["scheduler"])
        history, best = kept["history"], kept["best"]
    with progress.step("training", options.max_epochs * options.steps_per_epoch, "steps") as step:
        step.advance(len(history) * options.steps_per_epoch)
        for epoch in range(len(history), options.max_epochs):
            row = _epoch(model, problem, options, optimizer, scheduler, epoch, seed, device, step)
            figures = test_model(model, problem, "validation", options.batch_size, device)
            row |= {"validation_loss": figures.loss, "accuracy": figures.accuracy, "frames_open": figures.frames_open}
            if not history or is_better(row, min(history, key=_rank)):
                best = _copied(model)
            history.append(row)
            _save(folder, model, optimizer, scheduler, history, best)
            step.advance(0, f"validation loss {figures.loss:.4f}")
    model.load_state_dict(best)
    return history


def test_model(model: SequenceModel, problem: Problem, split: Split, batch_size: int, device: str) -> Figures:
    """Answer a whole split."""
    model.eval()
    loss = right = opened = updates = 0.0
    num_frames = num_answers = 0
    is_classes = True
    with torch.no_grad():
        for batch in problem.batches(split, batch_size):
            answers = model(batch.to(device))
            number = len(answers.targets)
            loss += float(task_loss(answers)) * number
            num_answers += number
            is_classes = not answers.targets.is_floating_point()
            right += float((answers.scores.argmax(-1) == answers.targets).sum())
            frames = batch.frames.shape[0] * batch.frames.shape[1]
            frames = frames if batch.lengths is None else int(batch.lengths.sum())
            encoded = answers.encoded
            opened += frames if encoded.opened is None else float(encoded.opened.sum())
            updates += frames * (1.0 if encoded.update_share is None else float(encoded.update_share))
            num_frames += frames
    accuracy = right / num_answers if is_classes else math.nan
    return Figures(loss / num_answers, accuracy, opened / num_frames, updates / num_frames, num_answers)


def rate_at(step: int, total: int) -> float:
    """Share of the highest learning rate: warm-up over a tenth of all steps, then half a cosine down to a tenth."""
    warm = max(1, total // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.9 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm)))) / 2


def is_better(row: Mapping[str, float], than: Mapping[str, float]) -> bool:
    """Whether an epoch is kept: more answers right, or, among equals and where numbers are asked for, less loss."""
    return _rank(row) < _rank(than)


def _rank(row: Mapping[str, float]) -> tuple[float, float]:
    accuracy = row["accuracy"]
    return (0.0 if math.isnan(accuracy) else -accuracy, row["validation_loss"])


def _epoch(
    model: SequenceModel,
    problem: Problem,
    options: ResearchTrainOptions,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    epoch: int,
    seed: int,
    device: str,
    step: Any,
) -> dict[str, float]:
    generator = seeded(seed, epoch)
    torch.manual_seed(seed * 1_000_003 + epoch)  # for dropout and noise
    model.train()
    sums = {"task": 0.0, "budget": 0.0}
    for index in range(options.steps_per_epoch):
        batch = problem.draw(options.batch_size, generator).to(device)
        answers = model(batch)
        task = task_loss(answers)
        loss = task
        cost = answers.encoded.cost
        if cost is not None and options.budget_weight:
            done = (epoch * options.steps_per_epoch + index) / (options.max_epochs * options.steps_per_epoch)
            ramp = min(1.0, done / options.budget_ramp) if options.budget_ramp else 1.0
            loss = loss + options.budget_weight * ramp * cost
            sums["budget"] += float(cost.detach())
        if options.help_weight and batch.events is not None and answers.encoded.logits is not None:
            loss = loss + options.help_weight * help_loss(answers.encoded, batch.events)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), options.gradient_clip)
        optimizer.step()
        scheduler.step()
        sums["task"] += float(task.detach())
        step.advance()
    return {name: value / options.steps_per_epoch for name, value in sums.items() if value}


def _groups(model: SequenceModel, options: ResearchTrainOptions) -> list[dict[str, Any]]:
    """Weights apart from those of a gate (and of Skip RNN's decision), which learn at a rate of their own."""

    def named(is_gate: bool) -> Iterator[Tensor]:
        for name, parameter in model.named_parameters():
            if (".gate." in name or ".decision." in name) == is_gate:
                yield parameter

    rates = {False: 1.0, True: options.gate_rate_factor}
    groups = [
        {"params": list(named(is_gate)), "lr": options.learning_rate * rate, "weight_decay": options.weight_decay}
        for is_gate, rate in rates.items()
    ]
    return [group for group in groups if group["params"]]


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _save(folder: Path, model: nn.Module, optimizer: Any, scheduler: Any, history: Any, best: Any) -> None:
    buffer = io.BytesIO()
    parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save({**parts, "history": history, "best": best}, buffer)
    write_atomic(folder / CHECKPOINT, buffer.getvalue())
