"""Names stand for files: each once, none in silence, whatever bytes it is made of."""

import io
import itertools
import os
import sys
from pathlib import Path

import pytest

from pipelines.archive.inputs import Found, Shard, Unusable, as_utf8, find_files, walk_inputs
from pipelines.errors import UsageError


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.flac", "deep/b.flac"):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    return folder


def test_names_stand_for_files_once_each(media: Path) -> None:
    (media / "deep" / "again").symlink_to("..")  # a loop
    (media / "x[1].flac").touch()
    (media / ".hidden.flac").touch()
    below = [Found("./" + name, False) for name in (".hidden.flac", "a.flac", "x[1].flac", "deep/b.flac")]
    assert find_files(["."]) == (below, [])
    assert find_files(["a.flac", "a.flac"]) == ([Found("a.flac", True)], [])
    assert find_files(["x[1].flac"]) == ([Found("x[1].flac", True)], [])
    assert find_files(["[a-c]*.flac"]) == ([Found("a.flac", True)], [])
    assert find_files(["d*"])[0][0] == Found("deep/b.flac", False)
    assert find_files(["*.mp3", "b.flac"]) == ([Found("b.flac", True)], ["*.mp3 matches no file"])
    # a file found in a folder and named as well was asked for
    assert Found("./a.flac", True) in find_files([".", "./a.flac"])[0]
    assert find_files(["."], leave_out={os.path.realpath("deep")})[0] == below[:3]


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (b"a.wav\nb c.wav\n\nd.wav", [b"a.wav", b"b c.wav", b"d.wav"]),
        (b"a.wav\r\nb.wav\r\n", [b"a.wav", b"b.wav"]),
        (b"a\nb.wav\0c.wav\r\0", [b"a\nb.wav", b"c.wav\r"]),
        (b"no\xff.wav\n", [b"no\xff.wav"]),
        (b"", []),
        (b"x" * 70_000 + b"\0" + b"y" * 70_000 + b"\0z", [b"x" * 70_000 + b"\0" + b"y" * 70_000 + b"\0z"]),
        (b"\n".join(b"%06d.wav" % number for number in range(20_000)), [b"%06d.wav" % n for n in range(20_000)]),
        (b"\0".join(b"%06d.wav" % number for number in range(20_000)), [b"%06d.wav" % n for n in range(20_000)]),
    ],
)
@pytest.mark.usefixtures("media")
def test_lists_hold_a_path_per_line_or_per_nul(
    content: bytes, paths: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").write_bytes(content)
    expected = [Found(os.fsdecode(path), True) for path in paths]
    assert list(walk_inputs([], lists=[str(tmp_path / "list")])) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert list(walk_inputs(["-"])) == expected


@pytest.mark.usefixtures("media")
def test_listed_folders_are_walked_and_patterns_are_names(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("deep\n*.flac\n")
    assert list(walk_inputs([], lists=[str(tmp_path / "list")])) == [Found("deep/b.flac", False), Found("*.flac", True)]


def test_a_list_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--list absent.txt: No such file or directory; name a file with one path"):
        list(walk_inputs([], lists=["absent.txt"]))


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_walked(media: Path) -> None:
    (media / "deep").chmod(0o000)
    is_root = os.geteuid() == 0
    folder = media
    while is_root and folder != folder.parent:  # the unprivileged user must get here at all
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
        if folder.stat().st_mode & 0o005 == 0o005:
            break
    try:
        if is_root:  # nothing is forbidden to root
            os.seteuid(65_534)
        found = list(walk_inputs(["."]))
    finally:
        if is_root:
            os.seteuid(0)
        (media / "deep").chmod(0o755)
    assert found == [Found("./a.flac", False), Unusable("./deep", "cannot be read: Permission denied")]


def test_shards_part_any_names_without_rest() -> None:
    names = [f"archive/{number}.wav" for number in range(2000)] + ["no\udcff.wav"]
    held = [[name for name in names if Shard(number, 7).holds(name)] for number in range(1, 8)]
    assert sorted(itertools.chain(*held)) == sorted(names)
    assert min(map(len, held)) > 200  # of 286 on average


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/", "-1/4", "1/0", "\u00b2/4"])
def test_shards_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be i/n with i from 1 to n"):
        Shard.parse(text)


def test_names_that_are_no_utf8_are_shown_as_escapes() -> None:
    assert as_utf8("no\udcff.wav") == "no\\xff.wav"
