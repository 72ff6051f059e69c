"""Raw media to timed frames. Knows nothing of encoders, recipes or training.

grid.py        the frame grid, and what a featurizer promises
media.py       audio of any container as mono blocks on the container's clock
audio.py       log-mel frames
convolution.py a trained stack of convolutions over the log-mel
pretrained.py  frozen ONNX models, a speech embedding
video.py       packets and pictures of a video on the container's clock (video_*.py, decode_plan.py: its parts)
packets.py     a glance at packets alone, nothing decoded
pictures.py    thumbnails: a glance, frozen features, a small network that is trained
backbones.py   frozen torchvision networks
runs.py        open frames to runs, runs to features
crops.py       cached glance frames or pictures to features, differentiable
testing.py     check_featurizer: the promises, tested
"""

from featurizers.audio import GlanceFrames, LogMel
from featurizers.backbones import TorchvisionClip, TorchvisionImage
from featurizers.bundles import TorchaudioBundle
from featurizers.cepstral import Mfcc, Pcen
from featurizers.convolution import ConvFeaturizer
from featurizers.crops import crop_stretch, evaluate_crops
from featurizers.deltas import Deltas
from featurizers.grid import Featurizer, Grid, Needs, PictureFormat, Stretch
from featurizers.media import AudioStream, MediaError, array_blocks, open_audio, write_audio
from featurizers.packets import PacketGlance
from featurizers.pictures import PictureChange, PictureConv, Thumbnails
from featurizers.pretrained import OnnxFeaturizer, SpeechEmbedding
from featurizers.runs import (
    AudioSource,
    GlanceSource,
    PacketSource,
    PictureSource,
    Run,
    RunFeatures,
    context_frames,
    cut_stretch,
    evaluate_runs,
    plan_runs,
    silence_frame,
)
from featurizers.testing import FeaturizerError, check_featurizer
from featurizers.video import VideoStream, open_video
from featurizers.video_clock import Damage
from featurizers.video_moving import MovingPart
from featurizers.video_types import Packets, Pictures

__all__ = [
    "AudioSource",
    "AudioStream",
    "ConvFeaturizer",
    "Damage",
    "Deltas",
    "Featurizer",
    "FeaturizerError",
    "GlanceFrames",
    "GlanceSource",
    "Grid",
    "LogMel",
    "MediaError",
    "Mfcc",
    "MovingPart",
    "Needs",
    "OnnxFeaturizer",
    "PacketGlance",
    "PacketSource",
    "Packets",
    "Pcen",
    "PictureChange",
    "PictureConv",
    "PictureFormat",
    "PictureSource",
    "Pictures",
    "Run",
    "RunFeatures",
    "SpeechEmbedding",
    "Stretch",
    "Thumbnails",
    "TorchaudioBundle",
    "TorchvisionClip",
    "TorchvisionImage",
    "VideoStream",
    "array_blocks",
    "check_featurizer",
    "context_frames",
    "crop_stretch",
    "cut_stretch",
    "evaluate_crops",
    "evaluate_runs",
    "open_audio",
    "open_video",
    "plan_runs",
    "silence_frame",
    "write_audio",
]
