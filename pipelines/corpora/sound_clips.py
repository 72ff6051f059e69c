"""Recorded or spoken clips as sources of events and backgrounds: found, dealt to splits, read, stretched, shifted."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr  # type: ignore[import-untyped]

from featurizers.media import MediaError, open_audio
from pipelines.corpora.acoustics import RATE_HZ, Samples, sound_limits
from pipelines.corpora.audio_folder import NO_MEDIA
from pipelines.errors import UserError

SPLIT_SHARES = {"validation": 0.15, "test": 0.25}  # the rest is for training
SILENCE_DB = 40.0
VOCODER_SAMPLES, VOCODER_HOP = 1024, 256


class Group(NamedTuple):
    """Clips of one individual, which stay in one split: a file, or all files of a folder below the label's.

    Args:
        name: path from the folder of clips.
    """

    label: str
    name: str
    paths: tuple[Path, ...]


class Variation(NamedTuple):
    """How a clip is changed from take to take: factors of its length, semitones of its pitch, lowest and highest."""

    stretch: tuple[float, float] = (1.0, 1.0)
    semitones: tuple[float, float] = (0.0, 0.0)


class Clips:
    """One individual of which there are clips.

    Args:
        paths: .npy files of int16 samples at 16 kHz.
    """

    def __init__(self, paths: list[Path], variation: Variation) -> None:
        lengths = [len(np.load(path, mmap_mode="r")) / RATE_HZ for path in paths]
        shortest = min(lengths) * variation.stretch[0]
        self.seconds = (shortest, shortest)
        self._paths, self._variation = paths, variation

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:  # noqa: ARG002
        """One of its clips, as long as it is, stretched and shifted at random."""
        clip = np.load(self._paths[int(generator.integers(len(self._paths)))]).astype(np.float32) / np.float32(32768.0)
        factor = float(generator.uniform(*self._variation.stretch))
        return stretched(clip, factor, float(generator.uniform(*self._variation.semitones)))


def find_groups(folder: str, argument: str) -> list[Group]:
    """All individuals in FOLDER/LABEL/CLIP and FOLDER/LABEL/INDIVIDUAL/CLIP.

    Raises:
        UserError: if there is no such folder, or a label has no clips.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{argument}={folder!r} is no folder; it must hold a folder of clips for each label")
    groups: list[Group] = []
    labels = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not labels:
        raise UserError(f"{argument}={folder!r} holds no folders; put clips into {argument}/LABEL/, one folder a label")
    for label in labels:
        found = [
            Group(label.name, path.relative_to(root).as_posix(), tuple(_media_below(path)))
            for path in sorted(label.iterdir())
        ]
        found = [group for group in found if group.paths]
        if not found:
            raise UserError(
                f"{argument}: the label {label.name!r} has no clips in {label}; put some there, or remove it"
            )
        groups += found
    return groups


def _media_below(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(below for below in path.rglob("*") if below.is_file())
    return [file for file in files if file.suffix.lower() not in NO_MEDIA and not file.name.startswith(".")]


def deal(groups: list[Group], splits: list[str], seed: int, argument: str) -> dict[str, list[Group]]:
    """Groups to splits at random, whole, each label by itself: 60 % train, 15 % validation, 25 % test, at least one.

    Raises:
        UserError: if a label has fewer individuals than there are splits.
    """
    dealt: dict[str, list[Group]] = {split: [] for split in splits}
    for label in sorted({group.label for group in groups}):
        members = [group for group in groups if group.label == label]
        if len(members) < len(splits):
            raise UserError(
                f"{argument}: the label {label!r} has {len(members)} clips or folders of clips of its own, but needs "
                f"at least one for each of {', '.join(splits)}; add clips, or leave a split without hours"
            )
        order = np.random.default_rng([seed, 4, zlib.crc32(label.encode())]).permutation(len(members))
        spare = len(members) - len(splits)
        for split in reversed(splits):
            share = SPLIT_SHARES.get(split, 1.0)
            number = len(order) if split == splits[0] else 1 + min(spare, max(0, round(share * len(members)) - 1))
            spare -= number - 1
            dealt[split] += [members[place] for place in sorted(order[:number])]
            order = order[number:]
    return dealt


def read_clip(source: Path, target: Path) -> None:
    """A clip as int16 mono at 16 kHz, without silence at its ends, in a .npy file.

    Raises:
        UserError: if it cannot be read, or is silent.
    """
    try:
        with open_audio(source, RATE_HZ) as stream:
            blocks = [np.asarray(block).reshape(-1) for block in stream.blocks(RATE_HZ * 10)]
    except MediaError as error:
        raise UserError(f"{source} cannot be read: {error}; repair it, or take it out of the folder") from error
    samples = np.concatenate([*blocks, np.zeros(0, dtype=np.float32)])
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < 1e-4:
        raise UserError(f"{source} is silent (peak {peak:g}); a clip must be heard: take it out of the folder")
    limits = sound_limits(samples, SILENCE_DB)
    partial = target.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, np.round(samples[limits.onset : limits.offset] * (32000.0 / peak)).astype(np.int16))
    partial.replace(target)


def stretched(clip: Samples, factor: float, semitones: float) -> Samples:
    """A clip `factor` times as long, its pitch `semitones` higher: a phase vocoder, then resampling.

    Source: M. Puckette, Phase-locked vocoder (1995).
    """
    ratio = 2.0 ** (semitones / 12.0)
    longer = _longer(clip, factor * ratio) if abs(factor * ratio - 1.0) > 1e-6 else clip
    if abs(ratio - 1.0) <= 1e-6:
        return longer
    return np.asarray(soxr.resample(longer, RATE_HZ * ratio, RATE_HZ, quality="MQ"), dtype=np.float32)


def _longer(clip: Samples, factor: float) -> Samples:
    window = np.hanning(VOCODER_SAMPLES + 1)[:-1]
    padded = np.pad(clip, (VOCODER_SAMPLES // 2, 2 * VOCODER_SAMPLES))
    rows = np.lib.stride_tricks.sliding_window_view(padded, VOCODER_SAMPLES)[::VOCODER_HOP]
    spectra = np.fft.rfft(rows * window)
    places = np.arange(0.0, len(spectra) - 1.0, 1.0 / factor)
    before = places.astype(np.int64)
    between = (places - before)[:, None]
    loudness = (1.0 - between) * np.abs(spectra[before]) + between * np.abs(spectra[before + 1])
    steady = 2.0 * np.pi * VOCODER_HOP * np.arange(spectra.shape[1]) / VOCODER_SAMPLES
    turn = np.angle(spectra[before + 1]) - np.angle(spectra[before]) - steady
    turn += steady - 2.0 * np.pi * np.round(turn / (2.0 * np.pi))
    sound = np.zeros((len(places) - 1) * VOCODER_HOP + VOCODER_SAMPLES)
    phase = np.angle(spectra[0])
    for number in range(len(places)):
        row = loudness[number] * np.exp(1j * phase)
        locked = row.copy()  # neighbours of a peak belong to it: under this window they alternate in sign
        locked[1:] -= row[:-1]
        locked[:-1] -= row[1:]
        phase = np.angle(locked)
        piece = np.fft.irfft(loudness[number] * np.exp(1j * phase), VOCODER_SAMPLES) * window
        sound[number * VOCODER_HOP : number * VOCODER_HOP + VOCODER_SAMPLES] += piece
        phase += turn[number]
    first = VOCODER_SAMPLES // 2
    return np.asarray(sound[first : first + round(len(clip) * factor)] / 1.5, dtype=np.float32)  # 1.5: windows' sum
