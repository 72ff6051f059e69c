"""What the scores of frames are blamed for: `frame_loss`, plain or focal."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def frame_loss(logits: Tensor, labels: Tensor, weights: Tensor, focal: float = 0.0) -> Tensor:
    """Cross entropy summed over frames and labels; with `focal`, what is nearly right already counts for less.

    A frame whose right answer has probability p counts (1 - p) ** focal times. Where events are rare, or one label is
    much rarer than another, the many easy frames then do not drown the few hard ones.

    Args:
        logits, labels, weights: of one shape.
        focal: 0: every frame counts alike; 2 is usual.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    if focal == 0:
        return binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum")
    losses = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    wrong = torch.where(labels > 0, -logits, logits).sigmoid()  # 1 - p
    return (weights * wrong**focal * losses).sum()
