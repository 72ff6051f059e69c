"""Files and folders that appear when they are whole, and replace nothing but their own kind."""

from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.exports.whole import whole_file, whole_folder


def test_a_file_bears_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "table"
    with whole_file(path) as unfinished:
        unfinished.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_job_left_is_cleared_away(tmp_path: Path) -> None:
    for leftover in (".raven.unfinished", ".raven.old"):
        (tmp_path / leftover / "sub").mkdir(parents=True)
        (tmp_path / leftover / "sub" / "a.txt").write_text("left over")
    with whole_folder(tmp_path / "raven", "map") as unfinished:
        (unfinished / "map").write_text("")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["raven", "raven/map"]


def test_what_was_there_before_a_kill_between_two_renames_is_kept_until_the_new_is_whole(tmp_path: Path) -> None:
    (tmp_path / ".raven.old").mkdir()
    (tmp_path / ".raven.old" / "map").write_text("old")
    with pytest.raises(RuntimeError, match="killed again"), whole_folder(tmp_path / "raven", "map"):
        raise RuntimeError("killed again")
    assert (tmp_path / "raven" / "map").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["raven"]


def test_an_empty_folder_and_a_folder_of_ours_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "raven").mkdir()
    for content in ("first", "second"):
        with whole_folder(tmp_path / "raven", "map") as unfinished:
            (unfinished / "map").write_text(content)
            (unfinished / content).write_text("")
    assert {path.name for path in (tmp_path / "raven").iterdir()} == {"map", "second"}


def test_through_a_link_the_folder_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "clips").symlink_to(tmp_path / "disk")
    with whole_folder(tmp_path / "clips", "map") as unfinished:
        (unfinished / "map").write_text("")
    assert (tmp_path / "clips").is_symlink()
    assert (tmp_path / "disk" / "map").exists()


def test_somebody_elses_folder_or_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("")
    with (
        pytest.raises(UsageError, match=r"photos holds other files \(no map is there\), and would be replaced"),
        whole_folder(tmp_path / "photos", "map"),
    ):
        pass
    with (
        pytest.raises(UsageError, match=r"me\.jpg exists and is no folder"),
        whole_folder(tmp_path / "photos/me.jpg", "map"),
    ):
        pass
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["me.jpg"]


def test_a_disk_of_its_own_is_never_replaced() -> None:
    with pytest.raises(UsageError, match="is a disk of its own"), whole_folder(Path("/"), "map"):
        pass


def test_where_the_new_folder_cannot_take_its_place_the_old_one_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "raven"
    with whole_folder(folder, "map") as unfinished:
        (unfinished / "map").write_text("old")
    rename = Path.rename

    def broken_rename(path: Path, target: Path) -> Path:
        if path.name == ".raven.unfinished":
            raise OSError("busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", broken_rename)
    with pytest.raises(OSError, match="busy"), whole_folder(folder, "map") as unfinished:
        (unfinished / "map").write_text("new")
    assert (folder / "map").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]
