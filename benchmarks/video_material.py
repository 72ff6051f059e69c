"""Videos to measure on, rendered: still cameras, sparse recordings of any size and distance of key frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.corpora import StagedActions
from pipelines.corpora.staged_actors import Actor, Cast, Script, Span
from pipelines.corpora.staged_files import figure, place
from pipelines.corpora.staged_moves import ACTIONS
from pipelines.corpora.staged_scenes import make_camera, make_light
from pipelines.corpora.staged_video import Format, encode, make_sensor, render

KEY_DISTANCES = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds
STILL_CAMERAS = {  # pictures per second, deviation of the luma's noise in steps of 256
    "still camera, noise that the encoder drops": (25.0, 1.0),
    "still camera, noise that the encoder keeps": (12.5, 2.5),
}


def sparse_recordings(
    folder: Path,
    minutes: float,
    *,
    width: int = 640,
    height: int = 480,
    key_seconds: float = 2.0,
    recording_seconds: float = 120.0,
) -> list[Path]:
    """Staged recordings with actions in at most 8 % of the time."""
    corpus = StagedActions(
        train_minutes={},
        validation_minutes={},
        test_minutes={"sparse": minutes},
        num_clips={},
        width=width,
        height=height,
        key_seconds=key_seconds,
        recording_seconds=recording_seconds,
    )
    return [recording.source for recording in corpus.prepare(folder, seed=1)]


def still_camera(
    path: Path, *, seconds: float = 600.0, noise: float = 1.0, rate_hz: float = 25.0, form: Sequence[int] = (640, 480)
) -> Span:
    """A camera on a tripod; halfway somebody jumps once, and else there are noise and slowly changing light.

    Args:
        noise: standard deviation of the luma, in steps of 256.
    """
    generator = np.random.default_rng(3)
    num_pictures, format_ = round(seconds * rate_hz), Format(form[0], form[1], rate_hz, 2.0)
    light = make_light(generator)
    camera = make_camera(generator, *format_[:2], share=(0.35, 0.55), target=np.zeros(3))
    actor = Actor(generator, Cast("figure", figure("test", 0, 3)), camera, 0.0, 0.0, num_pictures)
    length, onset = round(float(np.mean(ACTIONS["jump"].seconds)) * rate_hz), num_pictures // 2
    actor.do(generator, ACTIONS["jump"], onset, length, rate_hz)
    event = Span(onset, onset + length, "jump", "figure")
    sensor = make_sensor(generator, num_pictures, rate_hz, is_steady=True)._replace(noise=noise)
    script = Script([actor.track()], [], [event], [])
    encode(path, render(generator, script, place("test", 0, 3), camera, light, sensor), format_)
    return event


def material(name: str, folder: Path, minutes: float) -> dict[str, list[Path]]:
    """The files of a section of the table, by row: "sparse", "still", "lines" (1080 of them) or "keys"."""
    if name == "still":
        found = {}
        for row, (rate_hz, noise) in STILL_CAMERAS.items():
            found[row] = [folder / f"still-{rate_hz:g}-{noise:g}.mp4"]
            if not found[row][0].exists():
                still_camera(found[row][0], seconds=600.0, noise=noise, rate_hz=rate_hz)
        return found
    if name == "lines":
        return {"1080 lines": sparse_recordings(folder, 1.0, width=1920, height=1080, recording_seconds=60.0)}
    if name == "keys":
        distances = [(each, sparse_recordings(folder, minutes, key_seconds=each)) for each in KEY_DISTANCES]
        return {f"a key frame every {seconds:g} s": files for seconds, files in distances}
    return {"sparse": sparse_recordings(folder, minutes)}
