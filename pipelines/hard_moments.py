"""The moments of a training split at which a model is most wrong in hearing something: what a last round dwells on."""

import torch
from torch import Tensor

from .evaluate import tracks_of_frames
from .heads import scores_at
from .lessons import Frames
from .line import Line

SECONDS_PER_MOMENT = 20.0  # as many moments as if they lay so far apart
APART_SECONDS = 1.0
LEAST_LEVEL = -2.0  # logits: a score of 0.12


@torch.inference_mode()
def hard_moments(line: Line, frames: Frames) -> Tensor:
    """(M,) int64 rows of the frames whose scores are highest where they should be 0, the worst first.

    Of several within a second only the highest is one. At most one for every 20 s of the split, and none that is scored
    below 0.12: what nobody would take for an event is not hard.

    Args:
        line: on the CPU, as trained so far; its switch decides what it hears.
    """
    was_training = line.training
    line.eval()
    worst = torch.cat([
        scores_at(track.held, track.grid, torch.arange(track.is_open.numel()))
        for track in tracks_of_frames(line, frames, line.grid, line.gate)
    ])  # fmt: skip
    line.train(was_training)
    is_wrong = frames.weights.bool() & ~frames.labels.bool()
    worst = worst.masked_fill(~is_wrong, -torch.inf).amax(dim=1)
    apart = max(1, round(APART_SECONDS / line.grid.hop_seconds))
    highest = torch.nn.functional.max_pool1d(worst[None, None], 2 * apart + 1, 1, apart)[0, 0]
    rows = ((worst == highest) & (worst > LEAST_LEVEL)).nonzero()[:, 0]
    most = max(1, round(len(worst) * line.grid.hop_seconds / SECONDS_PER_MOMENT))
    return rows[worst[rows].argsort(descending=True)][:most]
