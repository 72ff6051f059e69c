"""Raw media to timed frames. Knows nothing of encoders, recipes or training.

grid.py        the frame grid, and what a featurizer promises
media.py       audio of any container as mono blocks on the container's clock
audio.py       log-mel frames
convolution.py a trained stack of convolutions over the log-mel
pretrained.py  frozen ONNX models, a speech embedding
runs.py        open frames to runs, runs to features
testing.py     check_featurizer: the promises, tested
"""

from featurizers.audio import GlanceFrames, LogMel
from featurizers.convolution import ConvFeaturizer
from featurizers.grid import Featurizer, Grid, Needs, Stretch
from featurizers.media import AudioStream, MediaError, array_blocks, open_audio, write_audio
from featurizers.pretrained import OnnxFeaturizer, SpeechEmbedding
from featurizers.runs import (
    AudioSource,
    GlanceSource,
    Run,
    RunFeatures,
    context_frames,
    crop_stretch,
    cut_stretch,
    evaluate_crops,
    evaluate_runs,
    plan_runs,
    silence_frame,
)
from featurizers.testing import FeaturizerError, check_featurizer

__all__ = [
    "AudioSource",
    "AudioStream",
    "ConvFeaturizer",
    "Featurizer",
    "FeaturizerError",
    "GlanceFrames",
    "GlanceSource",
    "Grid",
    "LogMel",
    "MediaError",
    "Needs",
    "OnnxFeaturizer",
    "Run",
    "RunFeatures",
    "SpeechEmbedding",
    "Stretch",
    "array_blocks",
    "check_featurizer",
    "context_frames",
    "crop_stretch",
    "cut_stretch",
    "evaluate_crops",
    "evaluate_runs",
    "open_audio",
    "plan_runs",
    "silence_frame",
    "write_audio",
]
