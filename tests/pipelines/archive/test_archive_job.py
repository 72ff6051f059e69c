"""A job tags what is new, says what has changed, and refuses to mix results or folders."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake_tagger import Loader, write_files

import pipelines
from pipelines.archive.inputs import Shard
from pipelines.archive.job import JobProgress, Summary, tag_archive
from pipelines.archive.merge import merge_shards
from pipelines.errors import UsageError, UserError


@pytest.fixture
def media(tmp_path: Path) -> Path:
    write_files(tmp_path / "media", 12)
    return tmp_path / "media"


@pytest.fixture
def tag(media: Path, tmp_path: Path) -> Callable[..., Summary]:
    """The job, of one worker, that tests change in one respect."""

    def call(*, loader: Any = Loader(), files: Any = media, output: Path = tmp_path / "out", **given: Any) -> Summary:  # noqa: B008 (immutable)
        return tag_archive(loader, files, output, **given)

    return call


def files_of(output: Path) -> dict[str, dict[str, Any]]:
    return {Path(row["file"]).stem: row for row in pq.read_table(output / "files.parquet").to_pylist()}


def events_of(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(output / "events.parquet").to_pylist()
    return rows


def test_tables_hold_every_input_and_every_event_in_order(tag: Callable[..., Summary], tmp_path: Path) -> None:
    summary = tag()
    files = pq.read_table(tmp_path / "out" / "files.parquet").to_pylist()
    assert [row["file"] for row in files] == sorted(str(path) for path in (tmp_path / "media").rglob("*.wav"))
    assert {row["status"] for row in files} == {"done"}
    assert [row["seconds"] for row in files] == [10.0 + seed for seed in range(12)]
    expected = [(seed, round(0.37 * number, 3)) for seed in range(12) for number in range(seed % 4)]
    found = events_of(tmp_path / "out")
    assert [(int(Path(row["file"]).stem), row["onset_seconds"]) for row in found] == expected
    assert {(row["channel"], row["model_fingerprint"]) for row in found} == {(0, "fake")}
    assert summary[:5] == (12, 0, 0, len(expected), sum(10.0 + seed for seed in range(12)))


def test_only_what_is_new_or_has_changed_is_tagged_again(
    tag: Callable[..., Summary], media: Path, tmp_path: Path
) -> None:
    tag()
    before = files_of(tmp_path / "out")
    (media / "000" / "0003.wav").write_text("events 7")
    os.utime(media / "000" / "0003.wav", ns=(1, 1))
    (media / "000" / "0005.wav").unlink()
    write_files(media / "more", 1)
    said: list[JobProgress] = []
    tag(progress=said.append)
    after = files_of(tmp_path / "out")
    assert {name for name in after if after[name] != before.get(name)} == {"0003", "0000"}  # more/000/0000.wav is new
    assert after["0005"] == before["0005"]  # gone, its results stay
    assert [now.note for now in said if now.note] == [
        f"{media}/000/0003.wav: has changed since it was tagged; it is tagged again"
    ]
    labels = [row["label"] for row in events_of(tmp_path / "out") if row["file"].endswith("0003.wav")]
    assert labels == ["no"] * 3


def test_failed_files_are_tried_again_if_they_changed_were_out_of_reach_or_it_is_asked_for(
    tag: Callable[..., Summary], media: Path, tmp_path: Path
) -> None:
    (media / "broken.wav").write_text("nonsense 1")
    (media / "fixed.wav").write_text("nonsense 2")
    gone = tmp_path / "gone.wav"
    names = [media, gone]
    assert tag(files=names)[:2] == (12, 3)
    assert files_of(tmp_path / "out")["gone"]["reason"] == "No such file or directory"
    assert "says 'nonsense'" in files_of(tmp_path / "out")["broken"]["reason"]
    broken = files_of(tmp_path / "out")["broken"]
    gone.write_text("events 1")
    (media / "fixed.wav").write_text("events 22")
    assert tag(files=names)[:2] == (14, 1)
    assert files_of(tmp_path / "out")["broken"] == broken
    assert tag(files=names, retry_failed=True)[:2] == (14, 1)
    assert files_of(tmp_path / "out")["broken"] != broken  # another time of work: it was tried


def test_it_can_stop_at_the_first_failure_and_then_tries_that_file_again(
    tag: Callable[..., Summary], media: Path
) -> None:
    (media / "000" / "0002.wav").write_text("nonsense 1")
    with pytest.raises(UserError, match=r"0002.wav: says 'nonsense'.*--on-error skip goes on without it"):
        tag(on_error="fail")
    (media / "000" / "0002.wav").write_text("events 2")
    assert tag(on_error="fail")[:2] == (12, 0)
    with pytest.raises(UserError, match=r"absent/\* matches no file; without it"):
        tag(files=[media, "absent/*"], on_error="fail")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"min_score": 0.9}, "min score was not set, now 0.9"),
        ({"loader": Loader("other")}, "model was fake, now other"),
        (
            {"gate": "open", "merge_gap_seconds": 1.0},
            "gate was learned, now open; merge gap seconds was not set, now 1.0",
        ),
    ],
)
def test_results_of_two_kinds_are_never_mixed(
    tag: Callable[..., Summary], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    tag()
    before = (tmp_path / "out" / "events.parquet").read_bytes()
    with pytest.raises(UsageError, match=f"{said}.*choose another --output, or --overwrite"):
        tag(**change)
    assert (tmp_path / "out" / "events.parquet").read_bytes() == before
    tag(**change, overwrite=True)


def test_overwrite_deletes_what_a_job_wrote_and_nothing_else(tag: Callable[..., Summary], tmp_path: Path) -> None:
    tag(exports=["csv", "audacity"])
    (tmp_path / "out" / "mine.txt").touch()
    tag(overwrite=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("mine.txt", "journal.sqlite", "files.parquet", "events.parquet", ".lock")
    }


def test_a_model_that_cannot_be_loaded_deletes_nothing(tag: Callable[..., Summary], tmp_path: Path) -> None:
    tag()
    with pytest.raises(UserError, match="the model cannot be loaded: RuntimeError: no weights"):
        tag(loader=Loader(trouble="no weights"), overwrite=True)
    assert len(files_of(tmp_path / "out")) == 12


def test_workers_that_die_while_they_load_the_model_end_the_job(tag: Callable[..., Summary]) -> None:
    with pytest.raises(UserError, match=r"signal 9 \(SIGKILL\) while it loaded the model, 4 times.*is there memory"):
        tag(loader=Loader(trouble="die"))


def test_exports_are_kept_up_to_date(tag: Callable[..., Summary], media: Path, tmp_path: Path) -> None:
    tag(exports=["csv"])
    write_files(media / "more", 3)
    tag()
    assert len((tmp_path / "out" / "events.csv").read_text().splitlines()) == 1 + len(events_of(tmp_path / "out"))


def test_folders_of_others_are_refused(tag: Callable[..., Summary], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").touch()
    with pytest.raises(UsageError, match=r"holds files that no tagging job wrote, such as thesis.doc"):
        tag(overwrite=True)
    with pytest.raises(UsageError, match=r"for a table write --output events --export csv"):
        tag(output=Path("events.csv"))
    assert not Path("events.csv").exists()


def test_a_file_that_is_no_journal_and_a_damaged_journal_are_told(tag: Callable[..., Summary], tmp_path: Path) -> None:
    tag()
    journal = tmp_path / "out" / "journal.sqlite"
    journal.write_bytes(b"no database, but long enough to be taken for one" * 100)
    with pytest.raises(UsageError, match=r"journal.sqlite: is damaged.*--overwrite"):
        tag()
    journal.unlink()
    base = sqlite3.connect(journal)
    base.execute("CREATE TABLE recipes (name TEXT)")
    base.close()
    with pytest.raises(UsageError, match="is no journal of a tagging job"):
        tag()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": 0}, "workers 0 must be at least 1"),
        ({"time_limit_seconds": 0.0}, "time-limit 0 must be above 0"),
        ({"exports": ["xls"]}, "export 'xls' is unknown; there are csv"),
        ({"min_score": 1.5}, r"min-score 1.5 must lie in \[0, 1\]"),
        ({"channel": -1}, "channel -1 must be 0 or more"),
        ({"gate": "shut"}, "gate 'shut' must be 'learned'"),
        ({"merge_gap_seconds": -1.0}, "merge-gap -1 must be 0"),
        ({"audit_share": 2.0}, "audit 2 must lie in"),
        ({"on_error": "cry"}, "on-error 'cry' must be skip or fail"),
        ({"shard": "5/4"}, "shard '5/4' must be i/n"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_done(
    tag: Callable[..., Summary], tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        tag(**wrong)
    assert not (tmp_path / "out").exists()


def test_shards_part_the_inputs_and_merged_they_equal_the_whole(
    tag: Callable[..., Summary], media: Path, tmp_path: Path
) -> None:
    (media / "broken.wav").write_text("nonsense 1")
    names = [media, "absent/*"]
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    done = [tag(files=names, output=part, shard=f"{number}/3") for number, part in enumerate(parts, 1)]
    assert sum(summary.num_done + summary.num_failed for summary in done) == 14
    whole = tag(files=names, exports=["csv"])
    merged = merge_shards(parts, tmp_path / "merged", exports=["csv"])
    assert merged[:5] == whole[:5]
    for name in ("events.parquet", "events.csv"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    tables = [pq.read_table(tmp_path / folder / "files.parquet") for folder in ("merged", "out")]
    assert tables[0].drop_columns(["work_seconds"]) == tables[1].drop_columns(["work_seconds"])
    assert tag(files=names, output=tmp_path / "merged")[:5] == whole[:5]  # it is a job like any other


def test_a_shard_to_which_no_file_falls_is_done_and_can_be_merged(tag: Callable[..., Summary], media: Path) -> None:
    paths = sorted(path for path in media.rglob("*") if path.is_file())
    taken = {number for number in range(1, 51) for path in paths if Shard(number, 50).holds(str(path))}
    empty, full = min({*range(1, 51)} - taken), min(taken)
    parts = [media.parent / f"part{number}" for number in (empty, full)]
    summaries = [tag(output=part, shard=f"{number}/50") for part, number in zip(parts, (empty, full), strict=True)]
    assert summaries[0].num_done == summaries[0].num_failed == 0 < summaries[1].num_done
    assert pq.read_table(parts[0] / "files.parquet").num_rows == 0
    assert merge_shards(parts, media.parent / "merged").num_done == summaries[1].num_done


def test_shards_are_chosen_by_a_hash_that_is_written_down() -> None:
    # BLAKE2b of 8 bytes, by another implementation: printf %s a.wav | b2sum -l 64 -> 7173cc6a3aa7a146
    number = int("7173cc6a3aa7a146", 16) % 5 + 1
    assert [Shard(each, 5).holds("a.wav") for each in range(1, 6)] == [each == number for each in range(1, 6)]
    assert Shard.parse("2/8") == (2, 8)


def test_parts_that_do_not_belong_together_are_not_merged(tag: Callable[..., Summary], tmp_path: Path) -> None:
    one, other, merged = tmp_path / "one", tmp_path / "other", tmp_path / "merged"
    tag(output=one)
    tag(output=other, gate="open")
    with pytest.raises(UsageError, match="gate was learned, now open"):
        merge_shards([one, other], merged)
    with pytest.raises(UsageError, match="absent: holds no tagging job"):
        merge_shards([one, tmp_path / "absent"], merged)
    with pytest.raises(UsageError, match="one: holds a job already"):
        merge_shards([other], one)
    base = sqlite3.connect(one / "journal.sqlite")
    base.execute("UPDATE files SET status = 'waiting' WHERE id = 1")
    base.commit()
    base.close()
    with pytest.raises(UsageError, match="one: 1 files are not tagged yet; give its command again"):
        merge_shards([one], tmp_path / "merged2")


def test_progress_counts_files_media_and_time(media: Path) -> None:
    (media / "broken.wav").write_text("nonsense 1")
    (media / "notes.md").mkdir()
    said: list[JobProgress] = []
    pipelines.tag_archive(Loader(), media, media.parent / "out", progress=said.append)
    last = said[-1]
    assert (last.num_files, last.num_done, last.num_failed) == (13, 12, 1)
    assert last.media_seconds == sum(10.0 + seed for seed in range(12))
    assert [now.num_done + now.num_failed for now in said if now.file] == [*range(1, 14)]
    assert {Path(now.file.file).stem for now in said if now.file} == {f"{seed:04d}" for seed in range(12)} | {"broken"}
    assert last.left_seconds == 0


def test_the_folder_of_results_is_no_input(tag: Callable[..., Summary], media: Path) -> None:
    tag(output=media / "out", exports=["audacity"])
    assert tag(output=media / "out")[:3] == (12, 0, 0)


@pytest.mark.parametrize(
    "name",
    [
        b"two words.wav",
        b"two\nlines.wav",
        "\U0001f426.wav".encode(),
        b"-dash.wav",
        b"%s.wav",
        b"no\xff.wav",
        b"a'b\".wav",
    ],
)
def test_strange_names_keep_their_bytes(tmp_path: Path, name: bytes) -> None:
    folder = os.fsencode(tmp_path) + b"/media"
    os.mkdir(folder)
    with open(folder + b"/" + name, "w") as file:
        file.write("events 3")
    for _ in range(2):
        assert tag_archive(Loader(), tmp_path / "media", tmp_path / "out", exports=["csv", "raven"])[:2] == (1, 0)
    shown = (folder + b"/" + name).decode("utf-8", "backslashreplace")
    assert [row["file"] for row in events_of(tmp_path / "out")] == [shown] * 3
    base = sqlite3.connect(tmp_path / "out" / "journal.sqlite")
    assert base.execute("SELECT path FROM files").fetchall() == [(folder + b"/" + name,)]
    base.close()
