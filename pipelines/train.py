"""Training of switch, encoder and head over cached frames (Lightning), in crops.

The frame switch first learns from labels (the helping loss) where events are; encoder and head learn from the first
step on packed open frames, a share of crops run open so that the same weights also serve the dense twin. In the last
epochs the task's own gradient reaches the switch, straight through, beside its two-sided budget. When all is trained,
the switch may learn once more, guided by what the line finds (pipelines.guidance).
"""

import contextlib
import logging
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from featurizers import evaluate_crops
from surnn import EventGate, Switch, ratio_loss

from .console import Progress, Step
from .errors import UserError
from .frame_loss import frame_loss
from .guidance import guide_switch
from .hard_moments import hard_moments
from .heads import held_logits, held_logits_stepwise
from .lessons import Crop, Frames, crops
from .line import Line
from .one_cycle import one_cycle
from .recipe import TrainOptions
from .weak_labels import asked_of_switch, clip_loss, refuse_long_clips


class Crops(IterableDataset[Crop]):
    """Batches of random crops; every epoch draws others, the same ones for the same seed."""

    def __init__(self, frames: Frames, *, crop_frames: int, batch_size: int, batches_per_epoch: int, seed: int) -> None:
        self.frames, self.crop_frames, self.batch_size = frames, crop_frames, batch_size
        self.batches_per_epoch, self.seed, self.epoch = batches_per_epoch, seed, 0
        self.moments: Tensor | None = None  # of which every second crop holds one

    def __iter__(self) -> Iterator[Crop]:
        seed = self.seed * 100_003 + self.epoch
        return crops(
            self.frames,
            crop_frames=self.crop_frames,
            batch_size=self.batch_size,
            num_batches=self.batches_per_epoch,
            seed=seed,
            moments=self.moments,
        )


class Lesson(lightning.LightningModule):
    """One training step for Lightning; the learned parts belong to the line that it was given.

    Args:
        line: the glance is not called (its frames are cached), nor is a featurizer that is frozen; gate, encoder, head,
            and a featurizer with weights to train are trained.
        frames: of the training split.
        options: the recipe's `train`.
        total_steps: optimizer steps in the whole run.
    """

    def __init__(self, line: Line, frames: Frames, options: TrainOptions, total_steps: int) -> None:
        super().__init__()
        self.gate, self.encoder, self.head = line.gate, line.encoder, line.head
        self.featurizer = line.featurizer if line.trains_featurizer else None
        self.grid, self.silence, self.frames = line.grid, line.silence, frames
        self.hop_seconds = line.grid.hop_seconds
        self.options, self.total_steps = options, total_steps
        self.state: Any = None
        self.history: list[dict[str, float]] = []

    def forward_crop(self, crop: Crop) -> dict[str, Tensor]:
        """Losses and rates of one batch."""
        options = self.options
        shape = crop.switch.shape
        frames, switch = torch.ones(shape, device=crop.glance.device), None
        if isinstance(self.gate, EventGate):
            switch = self.gate.switch(crop.glance)
            is_forced = torch.rand(shape, device=frames.device) < options.random_open
            is_forced |= torch.rand(shape[0], 1, device=frames.device) < options.dense_share
            if crop.clips is not None:  # nobody can tell the switch where in them it should be open
                is_forced |= (crop.clips >= 0).any(dim=1, keepdim=True)
            frames = torch.where(
                is_forced, frames, switch.frames if self.is_straight_through else switch.frames.detach()
            )
        frames = frames * crop.is_inside
        features = self.encoder.normalise(self.features(crop))
        features = self.encoder.project(features + options.feature_noise * torch.randn_like(features))
        features = nn.functional.dropout(features, options.dropout, self.training)
        result = self.encoder.rnn(features, self.carry(shape[0]), switch=Switch(frames))
        self.state = self.encoder.forward_half(detached(result.state))
        hidden = nn.functional.dropout(result.output, options.dropout, self.training)
        if frames.requires_grad:
            logits = held_logits_stepwise(*self.head(hidden), frames=frames, hop_seconds=self.hop_seconds)
        else:
            logits = held_logits(*self.head(hidden), is_open=frames > 0, hop_seconds=self.hop_seconds)
        weights = crop.weights * crop.is_inside[..., None] * torch.where(crop.labels > 0, options.positive_weight, 1.0)
        task = frame_loss(logits, crop.labels, weights, options.focal)
        losses = {"task": task / (crop.labels * crop.is_inside[..., None]).sum().clamp_min(1)}
        if crop.clips is not None and options.clip_weight:
            losses["clip"] = clip_loss(logits.sigmoid() * crop.is_inside[..., None], crop.clips) * options.clip_weight
        if switch is not None:
            losses |= self.switch_losses(switch, *asked_of_switch(crop, logits.detach()))
        losses["frames_open"] = frames.detach()[crop.is_inside].mean()
        return losses

    def features(self, crop: Crop) -> Tensor:
        """(B, T, F): cached ones, or those of the featurizer that is trained."""
        if self.featurizer is None:
            return crop.features
        return evaluate_crops(
            self.featurizer,
            self.grid,
            self.frames.glance if self.featurizer.needs.reads == "glance" else self.frames.features,
            self.silence,
            starts=crop.starts,
            recordings=crop.recordings,
            num_frames=crop.glance.shape[1],
        )

    @property
    def is_straight_through(self) -> bool:
        """Whether the task's own gradient reaches the switch in this step: in the last epochs."""
        last = self.options.straight_through_epochs / self.options.max_epochs
        return self.global_step >= (1 - last) * self.total_steps

    def carry(self, batch_size: int) -> Any:
        """An initial state that some other stream ended in, or none: a stream seldom begins where a crop does."""
        if self.state is None:
            return None
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        if parts[0].shape[1] != batch_size:
            return None
        order = torch.randperm(batch_size, device=parts[0].device)
        kept = (torch.rand(batch_size, 1, device=parts[0].device) < 0.5).to(parts[0].dtype)
        carried = tuple(part[:, order] * kept for part in parts)
        return carried if len(carried) > 1 else carried[0]

    def switch_losses(self, switch: Switch, wanted: Tensor, is_asked: Tensor, is_inside: Tensor) -> dict[str, Tensor]:
        """The helping loss, over frames of which it is known, and the two-sided budget of the frame switch."""
        assert switch.logits is not None
        assert isinstance(self.gate, EventGate)
        weights = torch.where(wanted > 0, self.options.switch_positive_weight, 1.0) * is_asked
        help_loss = nn.functional.binary_cross_entropy_with_logits(switch.logits, wanted, weights, reduction="sum")
        help_loss = help_loss / is_asked.sum().clamp_min(1)
        probability, hard = switch.logits[is_inside].sigmoid(), switch.frames[is_inside]
        ramp = min(1.0, self.global_step / max(1.0, 0.3 * self.total_steps))
        budget = ratio_loss(hard, probability, self.gate.frame_budget) * self.options.budget_weight * ramp
        return {"help": help_loss * self.options.help_weight, "budget": budget, "switch_rate": hard.detach().mean()}

    def training_step(self, crop: Crop, _: int) -> Tensor:
        losses = self.forward_crop(crop)
        total = losses["task"] + losses.get("clip", 0.0) + losses.get("help", 0.0) + losses.get("budget", 0.0)
        self.history.append({"loss": float(total.detach()), **{k: float(v.detach()) for k, v in losses.items()}})
        return total

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.options.learning_rate, weight_decay=self.options.weight_decay
        )
        schedule = one_cycle(optimizer, self.options.learning_rate, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def detached(state: Any) -> Any:
    """The state without its history."""
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without advertisements and remarks on devices; warnings about its own inside are nothing a user could mend."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
        try:
            yield
        finally:
            log.setLevel(level)


class _Watch(lightning.Callback):
    """Counts steps for the progress bar, and tells the data which epoch to draw (a resumed run does not begin at 0).

    Before the last `hard_epochs` it looks for the moments that these dwell on.
    """

    def __init__(self, step: Step, crops: Crops, line: Line, options: TrainOptions) -> None:
        self.step, self.crops, self.line = step, crops, line
        self.hard_from = options.max_epochs - options.hard_epochs if options.hard_epochs else None

    def on_load_checkpoint(self, trainer: lightning.Trainer, lesson: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        self.crops.epoch = checkpoint["epoch"] + 1
        self.crops.moments = checkpoint.get("moments")
        self.step.advance(checkpoint["global_step"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, lesson: Any) -> None:
        self.crops.epoch = trainer.current_epoch + 1
        if self.crops.epoch == self.hard_from:
            device = lesson.device
            lesson.cpu()
            self.crops.moments = hard_moments(self.line, self.crops.frames)
            lesson.to(device)

    def on_save_checkpoint(self, trainer: lightning.Trainer, lesson: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        checkpoint["moments"] = self.crops.moments

    def on_train_batch_end(self, trainer: lightning.Trainer, lesson: Any, *_: Any) -> None:  # noqa: ARG002
        self.step.advance(note=f"loss {lesson.history[-1]['loss']:.3f}")


def teach_switch(lesson: Lesson, batches: Crops, progress: Progress) -> None:
    """The switch alone learns from the labels where events are, one step per batch."""
    assert isinstance(lesson.gate, EventGate)
    parameters, options = list(lesson.gate.parameters()), lesson.options
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = one_cycle(optimizer, options.learning_rate, batches.batches_per_epoch)
    with progress.step("training the switch", batches.batches_per_epoch, "steps") as step:
        for crop in batches:
            switch = lesson.gate.switch(crop.glance)
            loss = lesson.switch_losses(switch, *asked_of_switch(crop, None))["help"]
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, options.gradient_clip)
            optimizer.step()
            schedule.step()
            step.advance(note=f"loss {float(loss.detach()):.3f}")


def train_line(
    line: Line, frames: Frames, options: TrainOptions, *, folder: Path, seed: int, device: str, progress: Progress
) -> list[dict[str, float]]:
    """Train gate, encoder and head, and a featurizer that has weights; returns one row of losses and rates per step.

    Goes on from `folder`/last.ckpt if an interrupted run left one there.

    Raises:
        UserError: if hard_epochs leaves no epoch before it.
    """
    if options.hard_epochs and not 0 < options.hard_epochs < options.max_epochs:
        raise UserError(
            f"hard_epochs={options.hard_epochs} must be from 0 to below max_epochs={options.max_epochs}: what is hard "
            "is known after an epoch at the earliest"
        )
    lightning.seed_everything(seed, verbose=False)
    crop_frames = round(options.crop_seconds / line.grid.hop_seconds)
    batches = max(1, int(frames.lengths.sum()) // (crop_frames * options.batch_size))
    refuse_long_clips(frames, crop_frames, line.grid.hop_seconds)
    lesson = Lesson(line, frames, options, total_steps=options.max_epochs * batches)
    dataset = Crops(
        frames, crop_frames=crop_frames, batch_size=options.batch_size, batches_per_epoch=batches, seed=seed
    )
    last = folder / "last.ckpt"
    if options.switch_first_steps and isinstance(line.gate, EventGate) and not last.exists():
        first = Crops(
            frames,
            crop_frames=crop_frames,
            batch_size=options.batch_size,
            batches_per_epoch=options.switch_first_steps,
            seed=seed,
        )
        first.epoch = options.max_epochs  # crops that no epoch draws
        teach_switch(lesson, first, progress)
    with progress.step("training", options.max_epochs * batches, "steps") as step, _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="cpu" if device == "cpu" else "gpu",
            devices=[int(device.partition(":")[2] or 0)] if device.startswith("cuda") else 1,
            max_epochs=options.max_epochs,
            gradient_clip_val=options.gradient_clip,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[
                _Watch(step, dataset, line, options),
                ModelCheckpoint(folder, filename="last", save_top_k=1, enable_version_counter=False),
            ],
        )
        try:
            trainer.fit(lesson, DataLoader(dataset, batch_size=None), ckpt_path=last if last.exists() else None)
        except SystemExit as stopped:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from stopped
        except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            if trainer.global_step or not last.exists():
                raise
            raise UserError(f"{last} is damaged; delete it, and training begins again") from error
    line.cpu().eval()
    if options.guide_steps and isinstance(line.gate, EventGate):
        guide_switch(line, frames, options, seed=seed, progress=progress)
    return lesson.history
