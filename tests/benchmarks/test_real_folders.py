"""Own clips judged: which recordings are trained on, what counts as found, and the table."""

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from torch import Tensor

from benchmarks import real_folders
from benchmarks.real_folders import Spotted, found, main, parts_of, row_of, share_draws, spotted, wake_files
from pipelines.model import Model
from pipelines.recipe import load_recipe


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folders that are asked for, with twelve recordings of each wake word."""
    folder = tmp_path / "data"
    for name in ("fsdd", "arabic-speech-commands", "wakeword-picovoice", "running-speech", "meeting-speech"):
        (folder / name).mkdir(parents=True)
        (folder / name / "index.csv").write_text("file,label,split\n")
    rows = [
        f"{word}/{number:02d}.flac,{word},{'val' if number % 4 == 0 else 'train'}"
        for word in ("alexa", "jarvis")
        for number in range(12)
    ]
    (folder / "wakeword-picovoice" / "index.csv").write_text("file,label,split\n" + "\n".join(rows) + "\n")
    return folder


def test_ten_recordings_of_the_training_split_are_a_users_own_and_the_others_judge(data: Path, tmp_path: Path) -> None:
    files = wake_files(data, "alexa")
    assert files[:9] == [f"alexa/{number:02d}.flac" for number in range(12) if number % 4]
    assert files[9:] == ["alexa/00.flac", "alexa/04.flac", "alexa/08.flac"]
    parts_of(data, tmp_path)
    listed = (tmp_path / "alexa.csv").read_text().splitlines()
    assert listed == ["file,label", *(f"{file},alexa" for file in files[:10])]


def test_every_part_is_a_recipe_that_can_be_read(data: Path, tmp_path: Path) -> None:
    for part in parts_of(data, tmp_path).values():
        overrides = list(zip((key[2:] for key in part.arguments[::2]), part.arguments[1::2], strict=True))
        recipe = load_recipe(f"recipes/{part.recipe}", overrides)
        assert recipe.corpus.build().clips.audio.is_relative_to(data)


def test_a_word_is_found_above_the_threshold_that_lets_so_many_false_alarms_pass() -> None:
    spotter = Spotted(np.array([5.0, 3.0, 1.0, -np.inf]), np.array([4.0, 2.0]), ("a", "b", "c", "d"), 0.2)
    assert found(spotter, 0).tolist() == [1, 0, 0, 0]
    assert found(spotter, 1).tolist() == [1, 1, 0, 0]
    assert found(spotter, 2).tolist() == [1, 1, 1, 0]  # nothing was looked at in the last one
    assert share_draws(found(spotter, 1), spotter.units).value == 0.5


def test_the_table_has_the_mean_over_seeds_and_the_paired_change() -> None:
    units = [str(number) for number in range(100)]
    half, most = np.arange(100) % 2 * 1.0, (np.arange(100) % 10 > 0) * 1.0
    systems = {
        "switch": [share_draws(half, units), share_draws(most, units)],
        "open": [share_draws(most, units), share_draws(most, units)],
    }
    first, second = row_of("digits", systems, 0.8)
    assert first[:2] == ["digits", "switch"]
    assert first[2].startswith("70.0% (")
    assert first[3] == "50.0% 90.0%"
    assert first[4].startswith("-22.2% (-2")  # 0.7 / 0.9 - 1
    assert first[5] == "missed (80%)"
    assert second[4] == ""
    assert second[5] == "met (80%)"


def test_recordings_without_the_word_give_false_alarms_and_hours(
    model: Model, data: Path, noise: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_folders, "NUM_OWN", 11)
    names = [data / "wakeword-picovoice" / wake_files(data, "alexa")[11], data / "running-speech" / "a.flac"]
    for path in names:
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise.numpy(), 16_000)
    for gate in ("learned", "open"):
        spotter = spotted(model, data, "alexa", gate)
        assert spotter.units == (wake_files(data, "alexa")[11],)
        assert spotter.hours == pytest.approx(9.3 / 3600, rel=0.01)
        assert np.isfinite(spotter.clips).all()
        assert (np.diff(spotter.false) <= 0).all()


def test_a_folder_without_the_data_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path), "--output", str(tmp_path / "o"), "--cache", str(tmp_path / "c")]) == 2
    assert "there is no fsdd/index.csv" in capsys.readouterr().err
