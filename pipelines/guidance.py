"""The switch, guided by the trained line: it learns which of the wanted frames are worth opening.

Labels say where events are, not which of them will be found. A frame budget is too small for all of them, and an event
that even the open line misses is not worth its frames. So, when the line is trained, the switch learns once more, every
wanted frame weighted by how surely the open line, disturbed by noise, finds what is there.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout, max_pool1d

from surnn import EventGate

from .console import Progress
from .lessons import Frames, crops
from .line import Line
from .one_cycle import one_cycle
from .recipe import TrainOptions

NOISE, DROPOUT = 1.0, 0.3  # the line knows its training events by heart; this much shows which ones it knows hardly
NUM_DRAWS = 3
REACH_SECONDS = 0.5  # a score may peak after the event, the wanted frames lie within it
LARGEST_WEIGHT = 12.0


@torch.inference_mode()
def worth_of_frames(line: Line, frames: Frames) -> Tensor:
    """How surely the open line finds, in spite of noise, a label that is there: (N,) in [0, 1]; 0 where there is none.

    Args:
        line: trained.
        frames: of the training split.
    """
    encoder, reach, found = line.encoder, round(REACH_SECONDS / line.grid.hop_seconds), [torch.zeros(0)]
    ends = frames.lengths.cumsum(0).tolist()
    for begin, end in itertools.pairwise([0, *ends]):
        features = frames.features[begin:end]
        if line.trains_featurizer:
            reads_glance = line.featurizer.needs.reads == "glance"
            features = line.features_of(frames.glance[begin:end].float() if reads_glance else features)
        normalised, total = encoder.normalise(features.float()[None]), torch.zeros(())
        for _ in range(NUM_DRAWS):
            rows = encoder.project(normalised + NOISE * torch.randn_like(normalised))
            hidden = dropout(encoder.rnn(dropout(rows, DROPOUT)).output, DROPOUT)
            total = total + line.head(hidden)[0][0].sigmoid()
        found.append((total / NUM_DRAWS * frames.labels[begin:end]).amax(dim=-1))
        found[-1] = max_pool1d(found[-1][None, None], 2 * reach + 1, stride=1, padding=reach)[0, 0]
    return torch.cat(found)


def guide_switch(line: Line, frames: Frames, options: TrainOptions, *, seed: int, progress: Progress) -> None:
    """Train the switch alone, for `guide_steps` steps, on the frames that are worth opening.

    Args:
        line: trained; its gate is changed.
        frames: of the training split.
        options: the recipe's `train`.
        seed: of noise and crops.
    """
    gate = line.gate
    assert isinstance(gate, EventGate)
    torch.manual_seed(seed)
    with progress.step("weighing events"):
        worth = worth_of_frames(line, frames)
    crop_frames = round(options.crop_seconds / line.grid.hop_seconds)
    optimizer = torch.optim.AdamW(gate.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = one_cycle(optimizer, options.learning_rate, options.guide_steps)
    batches = crops(
        frames,
        crop_frames=crop_frames,
        batch_size=options.batch_size,
        num_batches=options.guide_steps,
        seed=seed,
    )
    with progress.step("guiding the switch", options.guide_steps, "steps") as step:
        for crop in batches:
            rows = torch.minimum(crop.starts[:, None] + torch.arange(crop_frames), crop.recordings[:, 1:] - 1)
            weights = torch.where(crop.switch > 0, LARGEST_WEIGHT * worth[rows] ** 2, 1.0) * crop.is_inside
            if crop.clips is not None:  # nobody can tell where in them the switch should be open
                weights = weights * (crop.clips < 0).all(dim=1, keepdim=True)
            logits = gate.switch(crop.glance).logits
            assert logits is not None
            loss = binary_cross_entropy_with_logits(logits, crop.switch, weights, reduction="sum")
            loss = loss / crop.is_inside.sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(gate.parameters(), options.gradient_clip)
            optimizer.step()
            schedule.step()
            step.advance(note=f"loss {float(loss.detach()):.3f}")
