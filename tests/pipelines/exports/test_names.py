"""Names that mirror recordings' names, on any file system."""

import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import texts

from pipelines.exports.names import Names

parts = st.one_of(
    texts,
    st.sampled_from(["..", ".", "", "con", "CON.wav", "a.vtt", "A.VTT", "a", "A", "\u00e9", "e\u0301", "n" * 300]),
)
files = st.lists(parts, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.wav", "a.wav.vtt"),
        ("site 1/night.2/a.mp3", "site 1/night.2/a.mp3.vtt"),
        ("./a.wav", "a.wav.vtt"),
        ("/data/a.wav", "data/a.wav.vtt"),
        ("../a.wav", "__/a.wav.vtt"),
        ("../../a.wav", "__/__/a.wav.vtt"),
        ("a\nb\t\N{SNOWMAN} \N{PARTY POPPER}.wav", "a_b_\N{SNOWMAN} \N{PARTY POPPER}.wav.vtt"),
        (r"caf\xe9.wav", "caf_xe9.wav.vtt"),
        ('a:b*?"<>|.wav', "a_b______.wav.vtt"),
        ("nul", "_nul.vtt"),
        ("dir. /a. ", "dir__/a__.vtt"),
        ("x.vtt/a.wav", "x.vtt_/a.wav.vtt"),
    ],
)
def test_names_stay_as_near_to_the_recordings_as_file_systems_allow(file: str, name: str) -> None:
    assert Names(".vtt").of(file).as_posix() == name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.wav", "A.WAV"),
        ("a/b.wav", "A/b.wav"),
        ("\u00e9.wav", "e\u0301.wav"),
        ("a.wav", "./a.wav"),
        ("/a.wav", "a.wav"),
        ("a:.wav", "a?.wav"),
        ("../a.wav", "__/a.wav"),
        ("n" * 200 + "1.wav", "n" * 200 + "2.wav"),
    ],
)
def test_recordings_that_would_meet_in_one_name_are_told_apart(first: str, second: str) -> None:
    names = Names(".vtt")
    one, other = names.of(first).as_posix(), names.of(second).as_posix()
    assert one.casefold() != other.casefold()
    assert re.search(r"~[0-9a-f]{8}\.vtt$", other)


@settings(max_examples=60, deadline=None)
@given(st.lists(files, max_size=12, unique=True))
def test_names_differ_on_every_file_system_and_stay_below_the_folder(recordings: list[str]) -> None:
    names = Names(".vtt", taken=("files.csv",))
    given_names = [names.of(file) for file in recordings]
    folded = {unicodedata.normalize("NFD", name.as_posix()).casefold() for name in given_names} - {"files.csv"}
    assert len(folded) == len(recordings)
    above = {unicodedata.normalize("NFD", p.as_posix()).casefold() for name in given_names for p in name.parents}
    assert not folded & above, "a file stands where a folder must be"
    for name in given_names:
        assert not PurePosixPath(name).is_absolute()
        assert PureWindowsPath(name).as_posix() == name.as_posix(), "Windows reads another path"
        for part in name.parts:
            assert part not in ("", ".", "..")
            assert len(part.encode()) <= 143
            assert not re.search(r'[\x00-\x1f<>:"/\\|?*]|[. ]$', part)
            assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", part, re.IGNORECASE)


@settings(max_examples=60, deadline=None)
@given(st.lists(files, max_size=8, unique=True))
def test_this_file_system_takes_the_names(tmp_path_factory: pytest.TempPathFactory, recordings: list[str]) -> None:
    folder, names = tmp_path_factory.mktemp("names"), Names(".vtt")
    for file in recordings:
        path = folder / names.of(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as new:
            new.write(file)
    assert sum(path.is_file() for path in folder.rglob("*")) == len(recordings)


def test_a_path_near_the_system_limit_is_shortened() -> None:
    deep = "/".join(["d" * 100] * 40) + "/a.wav"
    names = Names(".vtt")
    assert len(str(names.of(deep))) < 200
    assert names.of(deep + "x") != names.of(deep)


def test_the_same_recordings_get_the_same_names_again() -> None:
    recordings = ["a.wav", "A.wav", "../a.wav", "n" * 300]
    first, again = Names(".vtt"), Names(".vtt")
    assert [first.of(file) for file in recordings] == [again.of(file) for file in recordings]
    assert isinstance(first.of("b.wav"), Path)
