"""Every channel of a file by itself, its own sample rate in the table, and a note where that keeps from the model."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from small_line import noise

from featurizers import write_audio
from pipelines.archive.options import check_options, parse_options
from pipelines.archive.outcomes import Task
from pipelines.archive.tagging import Failure, Settings, gains_by_groups, outcome_of, outcomes_of, tag_file
from pipelines.audit import Audit
from pipelines.errors import UsageError
from pipelines.model import Model
from pipelines.tag import main

RATE_HZ = 16_000


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    path = tmp_path / "two.flac"
    write_audio(path, torch.stack([noise(6.0, seed=1), noise(6.0, seed=2)]), RATE_HZ)
    return path


def silent(_seconds: float) -> None:
    """Nobody listens to progress."""


def test_each_channel_is_tagged_as_if_it_were_alone(model: Model, stereo: Path) -> None:
    heard: list[float] = []
    both = tag_file(model, Settings(channel="each", min_score=0.012), str(stereo), True, heard.append)
    alone = [model.tag(stereo, channel=channel, min_score=0.012) for channel in (0, 1)]
    assert not isinstance(both, Failure)
    for channel in (0, 1):
        assert [event[:4] for event in both if event.channel == channel] == [event[:4] for event in alone[channel]]
    assert {event.channel for event in both} == {0, 1}
    assert [event.onset_seconds for event in both] == sorted(event.onset_seconds for event in both)
    assert both.seconds == 6.0
    assert both.frames_open == sum(one.frames_open for one in alone) / 2
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(6.0)


def test_events_of_two_channels_are_never_merged_into_one(model: Model, stereo: Path) -> None:
    both = tag_file(model, Settings(channel="each", min_score=0.012, merge_gap_seconds=100), str(stereo), True, silent)
    assert not isinstance(both, Failure)
    found = [(event.label, event.channel) for event in both]
    assert len(found) == len(set(found)) > 2


def test_a_file_with_one_channel_is_tagged_as_ever(model: Model, tmp_path: Path) -> None:
    write_audio(tmp_path / "one.flac", noise(6.0, seed=1), RATE_HZ)
    task = Task(1, str(tmp_path / "one.flac"), True)
    each, mix = (outcome_of(model, Settings(channel=c, audit_share=0.5), task, silent) for c in ("each", None))
    assert each._replace(work_seconds=0) == mix._replace(work_seconds=0)
    assert len(each.events) > 0


def test_an_audit_of_each_channel_counts_both(model: Model, stereo: Path) -> None:
    whole = outcome_of(model, Settings(channel="each", audit_share=1.0), Task(1, str(stereo), True), silent)
    alone = [model.tag(stereo, channel=channel, audit_share=1.0).audit for channel in (0, 1)]
    assert whole.audit is not None
    both, parts = Audit.from_json(whole.audit), [audit for audit in alone if audit is not None]
    for name in ("num_found", "num_found_squared", "closed_seconds", "heard_seconds", "opened_seconds"):
        assert getattr(both, name) == pytest.approx(sum(getattr(part, name) for part in parts))
    assert [one.event for one in both.missed] == [one.event for part in parts for one in part.missed]
    windows = [len({one.window for one in audit.missed}) for audit in (both, *parts)]
    assert windows[0] == windows[1] + windows[2]  # events of two channels were not heard in one draw


def test_no_group_of_short_files_passes_over_a_channel(model: Model) -> None:
    assert gains_by_groups(model, Settings(channel=1))
    assert not gains_by_groups(model, Settings(channel="each"))


def test_channels_that_cannot_be_counted_are_named(tmp_path: Path) -> None:
    class Bare:
        fingerprint = "bare"

        def tag(self, *_: object, **__: object) -> None:
            raise AssertionError("there is nothing to walk")

    (tmp_path / "a.wav").write_bytes(b"something")
    failure = tag_file(Bare(), Settings(channel="each"), str(tmp_path / "a.wav"), True, silent)  # type: ignore[arg-type]
    assert failure == Failure("its channels cannot be counted; hear the mean of all, or one by its number")


@pytest.mark.parametrize(("words", "channel"), [("mix", None), ("each", "each"), ("0", 0), ("3", 3)])
def test_the_option_says_mix_each_or_a_number(words: str, channel: object) -> None:
    options = parse_options(["model", "a.wav", "--channel", words])
    check_options(options)
    assert options.channel == channel


@pytest.mark.parametrize("words", ["all", "1.5", "", "-1"])
def test_any_other_channel_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match=r"must be mix, each, or a channel's number|must be 0 or more"):
        check_options(parse_options(["model", "a.wav", f"--channel={words}"]))
    with pytest.raises(UsageError, match="channel 'all' must be 'each', or a number"):
        Settings(channel="all").check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rate_hz", "missing"),
    [
        (16_000, ""),
        (48_000, ""),
        (7_600, ""),
        (6_000, "at 6000 Hz it holds nothing above 3000 Hz, and the model hears up to 3800 Hz: 21% of its band"),
    ],
)
def test_a_rate_below_what_the_model_hears_is_said_and_is_no_failure(
    model: Model, tmp_path: Path, rate_hz: int, missing: str
) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, 0.1 * torch.randn(2 * rate_hz, generator=torch.Generator().manual_seed(0)), rate_hz)
    outcome = outcome_of(model, Settings(), Task(1, str(path), True), silent)
    assert (outcome.status, outcome.sample_rate_hz, outcome.seconds) == ("done", rate_hz, 2.0)
    assert outcome.reason.startswith(missing)
    assert bool(outcome.reason) == bool(missing)


def test_a_short_file_that_stays_closed_in_a_group_has_its_rate_as_well(model: Model, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.flac" for number in range(3)]
    for path in paths:
        write_audio(path, torch.zeros(6_000), 6_000)
    tasks = [Task(number, str(path), True) for number, path in enumerate(paths)]
    outcomes = list(outcomes_of(model, Settings(), tasks, at=lambda _: None, heard=silent))
    assert [(one.status, one.sample_rate_hz) for one in outcomes] == [("done", 6_000)] * 3
    assert all("holds nothing above 3000 Hz" in one.reason for one in outcomes)


def test_the_command_tags_each_channel_and_names_files_of_low_rates(
    model_folder: Path, stereo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "telephone.flac", noise(3.0)[::2], 6_000)
    out = tmp_path / "out"
    words = [str(stereo), str(tmp_path / "telephone.flac"), "--channel", "each", "--min-score", "0.012"]
    assert main([str(model_folder), *words, "--output", str(out)]) == 0
    files = {Path(row["file"]).name: row for row in pq.read_table(out / "files.parquet").to_pylist()}
    assert {name: row["sample_rate_hz"] for name, row in files.items()} == {
        "two.flac": 16_000, "telephone.flac": 6_000,
    }  # fmt: skip
    rows = [row for row in pq.read_table(out / "events.parquet").to_pylist() if row["file"] == str(stereo)]
    assert {row["channel"] for row in rows} == {0, 1}
    said = capsys.readouterr().err
    assert f"{tmp_path}/telephone.flac: at 6000 Hz it holds nothing above 3000 Hz" in said
    assert "two.flac: " not in said
    words[3] = "mix"
    assert main([str(model_folder), *words, "--output", str(out)]) == 2
    assert "channel was each, now not set" in capsys.readouterr().err
