"""A small model of random weights, and noise with bursts to walk over: no training, no pretrained model."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from featurizers import array_blocks
from pipelines.keywords import Decision
from pipelines.model import Model, build_line
from pipelines.recipe import load_recipe
from surnn import EventGate

torch.set_num_threads(1)

RATE_HZ = 16_000
LABELS = ("yes", "no", "seven")
# No corpus is read here: any class will do for one.
RECIPE = """
task: pipelines.tasks.KeywordSpotting
corpus: pipelines.tasks.KeywordSpotting
grid: {hop_seconds: 0.08}
glance: {class_path: featurizers.LogMel, init_args: {num_mels: 8}}
switch: {class_path: surnn.EventGate, init_args: {channels: 8, dilations: [1, 2]}}
featurizer: featurizers.GlanceFrames
encoder: {hidden: 8, projection: 6}
head: pipelines.heads.LevelDecay
"""


@pytest.fixture
def noise() -> Tensor:
    """9.3 s of faint noise with a loud burst in every second, (samples,) at 16 kHz, in steps of 16 bits."""
    random = torch.Generator().manual_seed(0)
    samples = torch.randn(round(9.3 * RATE_HZ), generator=random).clamp(-4, 4)
    time = torch.arange(len(samples)) / RATE_HZ
    loudness = torch.where((time % 1 > 0.55) & (time % 1 < 0.85), 0.2, 0.002)
    return (samples * loudness * 32768).round() / 32768


@pytest.fixture
def model(tmp_path: Path, noise: Tensor) -> Model:
    """About a third of the noise's frames open."""
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    recipe = load_recipe(path)
    torch.manual_seed(3)
    line = build_line(recipe, len(LABELS))
    assert isinstance(line.gate, EventGate)
    with torch.inference_mode():
        glance, features = line.all_frames(array_blocks(noise, RATE_HZ, RATE_HZ))
        line.gate.set_statistics(glance.mean(0), glance.std(0).clamp_min(1e-3))
        line.encoder.set_statistics(features.mean(0), features.std(0))
        logits = line.gate.switch(glance[None]).logits
    assert logits is not None
    line.gate.threshold_shift = float(logits.double().quantile(2 / 3))
    decisions = {label: Decision(0.015, 0.4, 0.1) for label in LABELS}
    return Model(recipe, line.eval(), LABELS, decisions)
