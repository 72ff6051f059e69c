"""Learning from clips of which only the labels are known, not their times: they count as wholes.

scores of a label    _ / \\ _ _    pooled, weighted by themselves     --> is the label in the clip?
switch               # # # # # #    open: nobody can tell it where it should be
its own lesson           #          to open where a label that is there is heard
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .errors import UserError
from .lessons import Crop, Frames


def clips_of(clips: Sequence[Tensor | None]) -> Tensor | None:
    """`Frames.clips` from the labels (C,) in {0, 1} of each recording known as a whole; None: any other recording."""
    known = next((clip for clip in clips if clip is not None), None)
    if known is None:
        return None
    return torch.stack([torch.full_like(known, -1) if clip is None else clip for clip in clips]).to(torch.int8)


def clip_loss(scores: Tensor, clips: Tensor) -> Tensor:
    """Cross-entropy of pooled scores against the labels of clips known as wholes, per label that is there.

    A clip's score is the mean of its frames' scores weighted by themselves (linear softmax): where the label is there,
    frames that score high are raised, and those that score low are lowered.

    Args:
        scores: (B, T, C) probabilities, 0 outside the recording.
        clips: (B, C) in {0, 1}; -1 where nothing is known of the whole.
    Source: Wang, Li, Metze, A Comparison of Five Multiple Instance Learning Pooling Functions for Sound Event Detection
        with Weak Labeling, ICASSP 2019.
    """
    pooled = scores.square().sum(dim=1) / scores.sum(dim=1).clamp_min(1e-6)
    is_known, wanted = (clips >= 0).to(pooled.dtype), clips.clamp_min(0)
    loss = nn.functional.binary_cross_entropy(pooled.clamp(1e-6, 1 - 1e-6), wanted, is_known, reduction="sum")
    return loss / wanted.sum().clamp_min(1)


def asked_of_switch(crop: Crop, logits: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What the helping loss wants open (B, T), of which frames it may ask, and which are inside a recording.

    Nothing is asked where nobody labelled. In a clip known as a whole, the model's own scores (B, T, C), if there are
    any yet, say where a label that is there is heard; where no label is there, the switch should be closed.
    """
    is_asked = crop.is_inside & ((crop.weights > 0).any(dim=2) | (crop.switch > 0))
    if crop.clips is None:
        return crop.switch, is_asked, crop.is_inside
    is_clip, is_there = (crop.clips >= 0).any(dim=1, keepdim=True), crop.clips > 0
    is_heard = torch.zeros_like(crop.is_inside) if logits is None else ((logits > 0) & is_there[:, None]).any(dim=2)
    wanted = torch.where(is_clip, is_heard.to(crop.switch.dtype), crop.switch)
    is_told = crop.is_inside & (is_heard | ~is_there.any(dim=1, keepdim=True))
    return wanted, torch.where(is_clip, is_told, is_asked), crop.is_inside


def refuse_long_clips(frames: Frames, crop_frames: int, hop_seconds: float) -> None:
    """A label that a clip has as a whole need not be in a part of it.

    Raises:
        UserError: if such a clip is longer than a crop.
    """
    if frames.clips is None:
        return
    longest = int(torch.where((frames.clips > 0).any(dim=1), frames.lengths, 0).max())
    if longest > crop_frames:
        raise UserError(
            f"a clip of which only the labels are known lasts {longest * hop_seconds:.1f} s, but a crop "
            f"{crop_frames * hop_seconds:g} s, which may miss what is labelled; raise train.crop_seconds"
        )
