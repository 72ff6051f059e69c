"""Frames of a corpus are computed once, whole or not at all, and what they are asked for is what the line says."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import safetensors.torch
import torch
from small_line import RECIPE, noise

from featurizers import Grid, open_audio, write_audio
from pipelines.errors import RecipeError, UserError
from pipelines.events import Event, Recording
from pipelines.features import ensure_frames, frames_path, load_frames
from pipelines.model import build_line
from pipelines.recipe import Recipe, load_recipe
from pipelines.tasks import KeywordSpotting

RATE_HZ = 16_000
LABELS = ("yes", "no")


class Told:
    """What progress was reported."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        self.calls.append((what, done, total))


class Computed(NamedTuple):
    """Three recordings, their frames, and what was told while two workers computed them."""

    recordings: list[Recording]
    recipe: Recipe
    cache: Path
    told: Told


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Computed:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "small.yaml").write_text(RECIPE)
    recipe = load_recipe(folder / "small.yaml")
    recordings = make_recordings(folder)
    _, told = ensure(recordings, recipe, folder / "cache", workers=2)
    return Computed(recordings, recipe, folder / "cache", told)


@pytest.fixture
def computed(first: Computed, tmp_path: Path) -> Computed:
    """The same, with a cache of one's own to change."""
    shutil.copytree(first.cache, tmp_path / "cache")
    return first._replace(cache=tmp_path / "cache")


def make_recordings(folder: Path) -> list[Recording]:
    found = []
    for number, seconds in enumerate((3.0, 2.0, 4.04)):
        path = folder / f"{number}.flac"
        write_audio(path, noise(seconds, seed=number), RATE_HZ)
        found.append(Recording(path, (Event(0.5, 1.0, LABELS[number % 2]),), kind=f"kind {number}"))
    return found


def ensure(recordings: list[Recording], recipe: Recipe, cache: Path, workers: int = 1) -> tuple[list[Path], Told]:
    told = Told()
    return ensure_frames(recordings, recipe, cache, workers=workers, report=told), told


def paths_of(computed: Computed) -> list[Path]:
    return [frames_path(recording, computed.recipe, computed.cache) for recording in computed.recordings]


def test_frames_computed_by_workers_are_the_line_s(first: Computed) -> None:
    assert first.told.calls[0] == ("features", 0, 3)
    assert first.told.calls[-1] == ("features", 3, 3)
    line = build_line(first.recipe, 1)
    for recording, path in zip(first.recordings, paths_of(first), strict=True):
        stored = safetensors.torch.load_file(path)
        with open_audio(recording.source, RATE_HZ) as stream:
            glance, features = line.all_frames(stream)
        # stored in half precision: 11 bits
        torch.testing.assert_close(stored["glance"].float(), glance, rtol=2**-10, atol=1e-3)
        torch.testing.assert_close(stored["features"].float(), features, rtol=2**-10, atol=1e-3)
        assert stored["start_seconds"].tolist() == [0.0]


def test_frames_are_reused_and_only_missing_ones_computed(computed: Computed) -> None:
    recordings, recipe, cache, _ = computed
    paths = paths_of(computed)
    before = [path.stat().st_mtime_ns for path in paths]
    again, told = ensure(recordings, recipe, cache)
    assert again == paths
    assert told.calls == []
    assert [path.stat().st_mtime_ns for path in paths] == before
    paths[1].unlink()
    again, told = ensure(recordings, recipe, cache)
    assert again == paths
    assert told.calls[-1] == ("features", 1, 1)
    assert paths[1].exists()
    assert [paths[place].stat().st_mtime_ns for place in (0, 2)] == [before[0], before[2]]


def test_frames_belong_to_the_recording_and_to_what_computed_them(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = make_recordings(tmp_path)

    def paths_by(*overrides: tuple[str, str]) -> Path:
        return frames_path(recordings[0], load_recipe(tmp_path / "small.yaml", overrides), tmp_path)

    plain = paths_by()
    assert plain == frames_path(recordings[0], recipe, tmp_path)
    assert paths_by(("train.max_epochs", "3"), ("encoder.hidden", "9"), ("switch", "surnn.Open")) == plain
    others = {
        paths_by(("glance.init_args.num_mels", "9")),
        paths_by(("grid.hop_seconds", "0.04")),
        paths_by(("featurizer", "featurizers.SpeechEmbedding")),
        frames_path(recordings[1], recipe, tmp_path),
    }
    write_audio(recordings[0].source, noise(3.0, seed=9), RATE_HZ)
    others.add(paths_by())
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9.9")
    others.add(paths_by())
    assert len(others | {plain}) == 7


def test_an_interruption_leaves_whole_files_only_and_the_rest_is_done_later(first: Computed, tmp_path: Path) -> None:
    recordings, recipe, cache = first.recordings, first.recipe, tmp_path / "cache"

    def interrupt(_what: str, done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_frames(recordings, recipe, cache, workers=1, report=interrupt)
    left = [path for path in cache.rglob("*") if path.is_file()]
    expected = {frames_path(recording, recipe, cache) for recording in recordings}
    assert 1 <= len(left) <= 3
    assert set(left) <= expected  # and no file half written under another name
    for path in left:
        assert safetensors.torch.load_file(path).keys() == {"glance", "features", "start_seconds"}
    paths, _ = ensure(recordings, recipe, cache)
    assert set(paths) == expected
    assert all(path.exists() for path in paths)


def test_a_broken_recording_is_named(recipe: Recipe, tmp_path: Path) -> None:
    recordings = make_recordings(tmp_path)
    source = recordings[1].source
    source.write_bytes(source.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"1\.flac .*; the corpus lists it: repair it, or take it out"):
        ensure(recordings, recipe, tmp_path / "cache")


def test_a_recipe_that_cannot_be_built_is_told_before_any_worker_starts(first: Computed, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(RECIPE.replace("featurizers.GlanceFrames", "featurizers.SpeechEmbedding"))
    with pytest.raises(RecipeError, match="glance_size=64: SpeechEmbedding reads 8 rows of 32 mel bands"):
        ensure(first.recordings, load_recipe(path), tmp_path / "cache")


def test_frames_and_targets_of_a_split_lie_one_after_the_other(first: Computed) -> None:
    recordings, recipe, paths = first.recordings, first.recipe, paths_of(first)
    task = KeywordSpotting()
    frames = load_frames(recordings, paths, recipe, task, LABELS)
    assert frames.lengths.tolist() == [38, 25, 51]  # 3 / 0.08 = 37.5, 2 / 0.08 = 25, 4.04 / 0.08 = 50.5
    assert frames.starts_seconds == (0.0, 0.0, 0.0)
    assert frames.glance.shape == frames.features.shape == (38 + 25 + 51, 64)
    second = slice(38, 38 + 25)
    stored = safetensors.torch.load_file(paths[1])
    assert torch.equal(frames.glance[second], stored["glance"])
    targets = task.targets(recordings[1], LABELS, Grid(0.08), 25)
    assert torch.equal(frames.labels[second], targets.labels.bool())
    assert torch.equal(frames.weights[second], targets.weights.bool())
    assert torch.equal(frames.switch[second], targets.switch.bool())
    assert frames.labels[second, 1].any()


def test_damaged_frames_are_named_with_the_way_out(computed: Computed) -> None:
    paths = paths_of(computed)
    paths[0].write_bytes(paths[0].read_bytes()[:-10])
    with pytest.raises(UserError, match=r"is damaged .*; delete it, and it is computed again"):
        load_frames(computed.recordings, paths, computed.recipe, KeywordSpotting(), LABELS)
