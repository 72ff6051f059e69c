"""Every channel of a file by itself, its own sample rate in the table, and a note where that keeps from the model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_line import noise

import pipelines.line
from featurizers import open_audio, write_audio
from pipelines.archive.options import check_options, parse_options
from pipelines.archive.outcomes import Task
from pipelines.archive.tagging import Failure, Settings, gains_by_groups, outcome_of, outcomes_of, tag_file
from pipelines.audit import Audit
from pipelines.errors import UsageError
from pipelines.model import Model
from pipelines.tag import main
from surnn import EventGate

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


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that a line opens, one for each time."""
    names: list[str] = []

    def open_and_note(path: str | Path, *rest: Any, **options: Any) -> Any:
        names.append(Path(path).name)
        return open_audio(path, *rest, **options)

    monkeypatch.setattr(pipelines.line, "open_audio", open_and_note)
    return names


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
    model: Model, tmp_path: Path, rate_hz: int, missing: str, opened: list[str]
) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, 0.1 * torch.randn(2 * rate_hz, generator=torch.Generator().manual_seed(0)), rate_hz)
    outcome = outcome_of(model, Settings(), Task(1, str(path), True), silent)
    assert (outcome.status, outcome.sample_rate_hz, outcome.seconds) == ("done", rate_hz, 2.0)
    assert outcome.reason.startswith(missing)
    assert bool(outcome.reason) == bool(missing)
    assert opened == ["a.flac"]  # to be heard, and not once more for its rate


def test_a_short_file_that_stays_closed_in_a_group_has_its_rate_as_well(
    model: Model, tmp_path: Path, opened: list[str]
) -> None:
    assert isinstance(model.line.gate, EventGate)
    model.line.gate.threshold_shift += 100  # surely closed, so that none gets a walk
    paths = [tmp_path / f"{number}.flac" for number in range(3)]
    for path in paths:
        write_audio(path, torch.zeros(6_000), 6_000)
    tasks = [Task(number, str(path), True) for number, path in enumerate(paths)]
    outcomes = list(outcomes_of(model, Settings(), tasks, at=lambda _: None, heard=silent))
    assert [(one.status, one.sample_rate_hz) for one in outcomes] == [("done", 6_000)] * 3
    assert all("holds nothing above 3000 Hz" in one.reason for one in outcomes)
    assert opened == ["0.flac", "1.flac", "2.flac"]


def test_each_channel_of_a_low_rate_misses_the_same_which_is_said_once(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "two.flac"
    write_audio(path, torch.stack([noise(3.0)[::2], noise(3.0, seed=1)[::2]]), 6_000)
    outcome = outcome_of(model, Settings(channel="each"), Task(1, str(path), True), silent)
    assert (outcome.status, outcome.sample_rate_hz) == ("done", 6_000)
    assert outcome.reason.count("holds nothing above 3000 Hz") == 1


def test_the_command_prints_what_a_low_rate_misses_below_the_events(
    model: Model, model_folder: Path, stereo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = tmp_path / "telephone.flac"
    write_audio(low, noise(3.0)[::2], 6_000)
    assert main([str(model_folder), str(stereo), str(low), "--channel", "each", "--min-score", "0.012"]) == 0
    shown = capsys.readouterr().out.splitlines()
    (place,) = (number for number, line in enumerate(shown) if f"in {low} " in line)
    assert [number for number, line in enumerate(shown) if "holds nothing" in line] == [len(shown) - 1]
    assert shown[-1].startswith("  at 6000 Hz it holds nothing above 3000 Hz")
    assert place == 1 + sum(len(model.tag(stereo, channel=channel, min_score=0.012)) for channel in (0, 1))


@pytest.mark.parametrize("channel", [None, "each"])
def test_a_file_that_cannot_be_read_fails_for_its_own_reason(model: Model, tmp_path: Path, channel: Any) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound at all" * 9)
    outcome = outcome_of(model, Settings(channel=channel), Task(1, str(tmp_path / "a.wav"), True), silent)
    assert (outcome.status, outcome.sample_rate_hz) == ("failed", 0)
    assert outcome.reason.startswith("is not a media file")
