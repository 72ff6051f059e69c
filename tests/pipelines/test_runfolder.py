"""Run folders: nobody's files are lost, nothing is half written, and each refusal names the way out."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import runfolder
from pipelines.errors import UsageError, UserError
from pipelines.runfolder import (
    disk_trouble,
    held_alone,
    is_run_folder,
    new_folder,
    open_folder,
    write_atomic,
    write_state,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder that a run wrote."""
    folder = tmp_path / "run"
    with open_folder(folder):
        write_state(folder, {"seed": 3})
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("w")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kilobytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a file system needs the rights of root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_new_folders_are_numbered_and_never_one_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "runs" / "kws-3").mkdir(parents=True)
    made = [new_folder(tmp_path / "runs", "kws").name for _ in range(3)]
    assert made == ["kws", "kws-2", "kws-4"]


def test_a_folder_that_is_new_or_empty_is_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new/deep", "empty"):
        with open_folder(tmp_path / name) as folder:
            assert folder.is_dir()


def test_a_run_needs_resume_or_overwrite(run: Path) -> None:
    with (
        pytest.raises(UsageError, match="--resume continues it, --overwrite deletes it"),
        open_folder(run),
    ):
        pass
    with open_folder(run, resume=True):
        assert (run / "model" / "weights").read_text() == "w"
    with open_folder(run, overwrite=True):
        assert [entry.name for entry in run.iterdir()] == [runfolder.LOCK_FILE]


@pytest.mark.parametrize("state", [None, "{}", "not json", '{"made_by": "another program"}', "[1]"])
@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_a_strangers_folder_is_never_touched(tmp_path: Path, flag: str, state: str | None) -> None:
    (tmp_path / "photo.jpg").write_text("dear")
    if state is not None:
        (tmp_path / runfolder.STATE_FILE).write_text(state)
    with (
        pytest.raises(UsageError, match=r"holds files that no run wrote, such as photo.jpg; choose another --output"),
        open_folder(tmp_path, resume=flag == "resume", overwrite=flag == "overwrite"),
    ):
        pass
    assert (tmp_path / "photo.jpg").read_text() == "dear"


def test_overwriting_does_not_follow_links(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "dear").touch()
    (run / "link").symlink_to(tmp_path / "elsewhere")
    with open_folder(run, overwrite=True):
        pass
    assert (tmp_path / "elsewhere" / "dear").exists()


def test_an_interrupted_overwrite_can_be_repeated(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt), open_folder(run, overwrite=True):
            pass
    assert is_run_folder(run)
    with open_folder(run, overwrite=True):
        assert not (run / "model").exists()


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="nothing to resume"), open_folder(folder, resume=True):
            pass
    assert not (tmp_path / "none").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    with pytest.raises(UsageError, match="file: is a file; --output takes a folder"), open_folder(tmp_path / "file"):
        pass
    with (
        pytest.raises(UsageError, match="a file stands where a folder"),
        open_folder(tmp_path / "file" / "run"),
    ):
        pass
    with pytest.raises(UsageError, match="a file stands where a folder"):
        new_folder(tmp_path / "file", "kws")
    assert (tmp_path / "file").read_text() == "dear"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UsageError, match=r"cannot be used \(Read-only file system\)"), open_folder(tmp_path / "run"):
        pass


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.runfolder import open_folder\n"
        "with open_folder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    folder = tmp_path / "run"
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another run is working in it"), open_folder(folder):
            pass
        other.kill()
    with open_folder(folder):  # a killed run leaves no lock behind
        pass


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UserError, match=r"metrics\.json: the disk is full"):
            write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomic(path, b"new")
    assert path.read_text() == "new"


def test_a_real_full_disk_gets_one_message(small_disk: Path) -> None:
    write_atomic(small_disk / "one", b"x" * 10_000)
    with pytest.raises(UserError, match=r"small/two: the disk is full; free some space"):
        write_atomic(small_disk / "two", b"x" * 100_000)
    assert [entry.name for entry in small_disk.iterdir()] == ["one"]


def test_a_disk_is_blamed_only_when_it_is_to_blame(tmp_path: Path) -> None:
    assert disk_trouble(ValueError("a fault"), [tmp_path]) is None
    assert disk_trouble(FileNotFoundError(errno.ENOENT, "none", "x"), [tmp_path]) is None
    assert "disk is full" in (disk_trouble(OSError(errno.ENOSPC, "full", "/x/y"), [tmp_path]) or "")
    assert "/x/y" in (disk_trouble(OSError(errno.ENOSPC, "full", "/x/y"), [tmp_path]) or "")
    assert str(tmp_path) in (disk_trouble(RuntimeError("write: No space left on device"), [tmp_path]) or "")


def test_a_folder_held_alone_is_refused_to_others_and_free_again_afterwards(tmp_path: Path) -> None:
    busy = "another run is working in it; wait for it, or choose another --cache"
    with held_alone(tmp_path, "--cache"), pytest.raises(UsageError, match=busy), held_alone(tmp_path, "--cache"):
        pass
    with held_alone(tmp_path, "--cache"):
        pass
