"""A small line of random weights over noise with bursts: no synthesiser, no training, no pretrained model."""

import torch
from torch import Tensor

from featurizers import array_blocks
from pipelines.line import Line
from surnn import EventGate

torch.set_num_threads(1)  # tensors here are tiny: more threads only wait for each other

RATE_HZ = 16_000
LABELS = ("yes", "no")
# No corpus is read here: any class will do for one, and this one is imported anyway.
RECIPE = """
task: pipelines.tasks.KeywordSpotting
corpus: pipelines.tasks.KeywordSpotting
grid: {hop_seconds: 0.08}
glance: {class_path: featurizers.LogMel, init_args: {num_mels: 8}}
switch: {class_path: surnn.EventGate, init_args: {channels: 8, dilations: [1, 2]}}
featurizer: featurizers.GlanceFrames
encoder: {hidden: 8}
head: pipelines.heads.LevelDecay
"""


def noise(seconds: float, seed: int = 0) -> Tensor:
    """Faint noise with a loud burst in every second, (samples,) at 16 kHz, whole 16-bit steps."""
    random = torch.Generator().manual_seed(seed)
    samples = torch.randn(round(seconds * RATE_HZ), generator=random).clamp(-4, 4)
    time = torch.arange(len(samples)) / RATE_HZ
    loudness = torch.where((time % 1 > 0.55) & (time % 1 < 0.85), 0.2, 0.002)
    return (samples * loudness * 32768).round() / 32768


def set_switch(line: Line, samples: Tensor, share_open: float = 0.3) -> None:
    """Fix the statistics, and put the switch's threshold where about this share is open and no logit is near it."""
    assert isinstance(line.gate, EventGate)
    with torch.inference_mode():
        glance, features = line.all_frames(array_blocks(samples, RATE_HZ, RATE_HZ))
        line.gate.set_statistics(glance.mean(0), glance.std(0).clamp_min(1e-3))
        line.encoder.set_statistics(features.mean(0), features.std(0))
        logits = line.gate.switch(glance[None]).logits
    assert logits is not None
    ordered = logits.flatten().sort(descending=True).values
    near = ordered[int(0.7 * share_open * len(ordered)) : int(1.4 * share_open * len(ordered))]
    widest = (near[:-1] - near[1:]).argmax()
    assert near[widest] - near[widest + 1] > 1e-3 * logits.std()  # rounding is 1e-6 of it
    line.gate.threshold_shift = float((near[widest] + near[widest + 1]) / 2)
