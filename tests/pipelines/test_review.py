"""The page of a tagging job: it shows what the job found, plays what was recorded, and says what it leaves out."""

import base64
import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from reviewed_job import data_of, media_of, tag_into
from small_line import RATE_HZ, noise

from featurizers import write_audio
from pipelines.archive.rows import EventRow
from pipelines.corpora.table_formats import TableError
from pipelines.model import Model
from pipelines.review import main
from pipelines.reviews import choose_events, find_media, find_model, read_truth


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "media" / "deep").mkdir(parents=True)
    write_audio(tmp_path / "media" / "a.flac", noise(6.0, seed=1), RATE_HZ)
    write_audio(tmp_path / "media" / "deep" / "b.flac", noise(5.0, seed=2), RATE_HZ)
    return tmp_path / "media"


@pytest.fixture
def job(tmp_path: Path, model: Model, model_folder: Path, media: Path) -> Path:
    assert model_folder.is_dir()
    return tag_into(tmp_path / "results", model, [media / "a.flac", media / "deep" / "b.flac"])


def review(job: Path, *options: object) -> Path:
    """The page, made in the folder that the model lies in, where it is found by its fingerprint."""
    assert main([str(job), "--quiet", *map(str, options)]) == 0
    return job / "review.html"


def sound_of(address: str) -> np.ndarray:
    kind, _, text = address.partition(";base64,")
    assert kind == "data:audio/flac"
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(text)), dtype="int16")
    assert rate_hz == RATE_HZ
    return np.asarray(samples)


def test_events_come_with_the_sound_that_was_recorded_the_highest_score_first(
    job: Path, model: Model, media: Path
) -> None:
    page = review(job, "--pad", "0.25")
    data = data_of(page)
    files = [recording["file"] for recording in data["recordings"]]
    shown = [(files[e["file"]], e["onset"], e["offset"], e["label"], e["score"]) for e in data["events"]]
    found = [(str(path), *event[:4]) for path in sorted(media.rglob("*.flac")) for event in model.tag(path)]
    assert len(found) > 3
    assert sorted(shown) == sorted(found)
    assert [e[4] for e in shown] == sorted((e[4] for e in shown), reverse=True)
    for event in data["events"]:
        source, _ = soundfile.read(files[event["file"]], dtype="int16")
        begin, end = max(0.0, event["onset"] - 0.25), min(len(source) / RATE_HZ, event["offset"] + 0.25)
        assert (event["begin"], event["end"]) == (pytest.approx(begin), pytest.approx(end, abs=1 / RATE_HZ))
        played = sound_of(media_of(page, f"clip-{event['number']}"))
        np.testing.assert_array_equal(played, source[round(begin * RATE_HZ) : round(end * RATE_HZ)])
        picture = base64.b64decode(media_of(page, f"picture-{event['number']}").partition("base64,")[2])
        assert Image.open(io.BytesIO(picture)).height == 8  # mel bands


def test_switch_and_scores_are_those_of_the_model(job: Path, model: Model, media: Path) -> None:
    data = data_of(review(job))
    for recording in data["recordings"]:
        scores = model.scores(recording["file"])
        frames = recording["frames"]  # few enough that each has a column of its own
        assert frames["open"] == (100 * scores.is_open).tolist()
        for label, values in frames["scores"].items():
            np.testing.assert_allclose(values, 100 * scores.scores[:, scores.labels.index(label)], atol=0.5001)
    event = data["events"][0]
    scores = model.scores(data["recordings"][event["file"]]["file"])
    first = round((event["frames"]["begin"] - scores.times[0]) / 0.08)
    assert event["frames"]["begin"] <= event["begin"] < event["frames"]["begin"] + 0.08
    assert event["frames"]["open"] == (100 * scores.is_open[first : first + len(event["frames"]["open"])]).tolist()
    assert next(iter(event["frames"]["scores"])) == event["label"]
    assert media.is_dir()


def test_an_overview_of_a_long_recording_has_few_columns_that_keep_the_loudest_moment(
    tmp_path: Path, model: Model, model_folder: Path
) -> None:
    assert model_folder.is_dir()
    samples = noise(200.0)
    write_audio(tmp_path / "long.flac", samples, RATE_HZ)
    data = data_of(review(tag_into(tmp_path / "job", model, [tmp_path / "long.flac"]), "--events", "1"))
    (recording,) = data["recordings"]
    scores = model.scores(tmp_path / "long.flac")
    assert len(scores.times) == 2500
    each = 3  # the least number of frames to a column that gives at most 1,200 columns
    assert recording["frames"]["hop"] == pytest.approx(each * 0.08)
    column = scores.labels.index(next(iter(recording["frames"]["scores"])))
    expected = [100 * scores.scores[at : at + each, column].max() for at in range(0, 2500, each)]
    np.testing.assert_allclose(next(iter(recording["frames"]["scores"].values())), expected, atol=0.5001)
    shares = [100 * scores.is_open[at : at + each].mean() for at in range(0, 2500, each)]
    np.testing.assert_allclose(recording["frames"]["open"], shares, atol=0.5001)


def test_the_page_names_no_address_outside_itself_and_allows_no_script_but_its_own(job: Path) -> None:
    text = review(job).read_text()
    assert set(re.findall(r"\b\w{2,9}://[^\s\"'<>)]*", text)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert not re.search(r"<(?:link|iframe|object|embed)|\s(?:src|href|on\w+)=", text.partition("<script>")[0])
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:; ")
    for kind, tag in (("style", "style"), ("script", "script")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_names_cannot_break_out_of_the_page(tmp_path: Path, model: Model, model_folder: Path) -> None:
    assert model_folder.is_dir()
    source = tmp_path / "<script>alert(1)<" / "script>&.flac"
    source.parent.mkdir()
    write_audio(source, noise(3.0), RATE_HZ)
    page = review(tag_into(tmp_path / "<b>job", model, [source]))
    assert data_of(page)["recordings"][0]["file"] == str(source)
    assert "<script>alert" not in page.read_text()
    assert "<b>job" not in page.read_text()


def test_an_archive_that_moved_is_found_and_what_is_gone_is_said(
    job: Path, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "a.flac").unlink()
    assert main([str(job), "--media", str(tmp_path / "elsewhere")]) == 0
    assert "1 recordings are not there or cannot be read" in capsys.readouterr().err
    data = data_of(job / "review.html")
    notes = {Path(recording["file"]).name: recording["note"] for recording in data["recordings"]}
    assert "a.flac is not there any more" in notes["a.flac"]
    assert notes["b.flac"] == ""
    for event in data["events"]:
        is_gone = data["recordings"][event["file"]]["file"].endswith("a.flac")
        assert (media_of(job / "review.html", f"clip-{event['number']}") == "") == is_gone
    assert {Path(data["recordings"][event["file"]]["file"]).name for event in data["events"]} == {"a.flac", "b.flac"}


def test_a_recording_that_became_shorter_says_so(job: Path, media: Path) -> None:
    write_audio(media / "a.flac", noise(0.6), RATE_HZ)
    events = [e for e in data_of(review(job, "--pad", "0"))["events"] if e["onset"] > 0.7]
    assert {e["note"] for e in events} == {"", "The recording ends before this event: it has changed."}


def test_a_page_stays_below_its_size_and_says_which_clips_it_leaves_out(
    tmp_path: Path, model: Model, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model_folder.is_dir()
    generator = np.random.default_rng(0)
    loud = (generator.uniform(-0.9, 0.9, 60 * RATE_HZ) * (np.arange(60 * RATE_HZ) % RATE_HZ < 6000)).astype(np.float32)
    write_audio(tmp_path / "loud.flac", loud, RATE_HZ)
    job = tag_into(tmp_path / "job", model, [tmp_path / "loud.flac"])
    assert main([str(job), "--megabytes", "1"]) == 0
    page = job / "review.html"
    assert 500_000 < page.stat().st_size <= 1_000_000
    events = data_of(page)["events"]
    has_clip = [media_of(page, f"clip-{e['number']}") != "" for e in events]
    assert has_clip == sorted(has_clip, reverse=True)  # the first ones have theirs
    assert 0 < sum(has_clip) < len(events)
    assert ["did not fit" in e["note"] for e in events] == [not each for each in has_clip]
    assert f"{len(events) - sum(has_clip)} clips did not fit into --megabytes" in capsys.readouterr().err


def rows(*scores: float) -> list[EventRow]:
    return [EventRow(f"{n}.flac", 0.0, 1.0, "yes", score, 0, "", "", "") for n, score in enumerate(scores)]


def test_events_are_chosen_by_score_or_doubt_or_drawn_fairly() -> None:
    events = rows(0.5, 0.9, 0.7, 0.9, 0.6)
    assert [row.file for row in choose_events(events, 3, "score").events] == ["1.flac", "3.flac", "2.flac"]
    assert [row.score for row in choose_events(events, 2, "uncertain").events] == [0.5, 0.6]
    assert choose_events(events, 99, "score").num_found == 5
    many = rows(*np.linspace(0, 1, 2000))
    drawn = [row.score for row in choose_events(iter(many), 400, "random", seed=3).events]
    assert drawn == sorted(drawn, reverse=True)
    assert drawn == [row.score for row in choose_events(many, 400, "random", seed=3).events]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)  # standard error 0.013


def test_media_are_looked_for_by_the_longest_end_of_their_path(tmp_path: Path) -> None:
    for name in ("new/site/a.wav", "new/a.wav", "old/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_media("archive/site/a.wav", tmp_path / "new") == tmp_path / "new/site/a.wav"
    assert find_media(str(tmp_path / "old/a.wav"), None) == tmp_path / "old/a.wav"
    assert find_media(str(tmp_path / "old/a.wav"), tmp_path / "new") == tmp_path / "new/a.wav"
    assert find_media("archive/b.wav", tmp_path / "new") is None


def test_truth_is_found_by_any_end_of_a_path_and_an_ambiguous_name_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    table.write_text("file,onset,offset,label\nsite/a.wav,2,3,dog\na.wav,,,\nb,0,1,cat\nelse.wav,0,1,cat\n")
    with pytest.raises(TableError, match=r"line 3: 'a.wav' may be other/a.wav or site/a.wav; write its path"):
        read_truth(table, ["site/a.wav", "other/a.wav", "b.wav"])
    truth = read_truth(table, ["site/a.wav", "b.wav", "c.wav"])
    assert {file: [event.label for event in events] for file, events in truth.items()} == {
        "site/a.wav": ["dog"],
        "b.wav": ["cat"],
    }


def test_true_events_stand_beside_the_found_ones(job: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("file,onset,offset,label\na.flac,1.5,2,yes\n")
    data = data_of(review(job, "--truth", tmp_path / "truth.csv"))
    truth = {Path(recording["file"]).name: recording["truth"] for recording in data["recordings"]}
    assert truth == {"a.flac": [[1.5, 2.0, "yes"]], "b.flac": None}  # nobody annotated b


def test_the_model_is_found_by_its_fingerprint_and_no_other_is_taken(
    job: Path, model: Model, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_folder.rename(tmp_path / "gone")
    assert main([str(job)]) == 2
    assert f"no model of fingerprint {model.fingerprint} is in runs/; name its folder" in capsys.readouterr().err
    (tmp_path / "runs" / "kws").mkdir(parents=True)
    (tmp_path / "gone").rename(tmp_path / "runs" / "kws" / "model")
    assert find_model(model.fingerprint, [tmp_path]) == tmp_path / "runs" / "kws" / "model"
    review(job)
    model.line.encoder.eval()
    model.decisions = {label: each._replace(threshold=0.9) for label, each in model.decisions.items()}
    model.save(tmp_path / "other")
    assert main([str(job), "--model", str(tmp_path / "other")]) == 2
    assert "name the model of this job" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere: holds no tagging job (journal.sqlite is missing)"),
        (["results", "--events", "0"], "--events 0 must be at least 1"),
        (["results", "--pad", "-1"], "--pad -1 must be 0 or more"),
        (["results", "--media", "nowhere"], "--media nowhere: is no folder"),
        (["results", "--order", "best"], "invalid choice: 'best'"),
    ],
)
def test_wrong_usage_is_named(
    job: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(job.parent)
    assert main(options) == 2
    assert message in capsys.readouterr().err


def test_a_job_that_found_nothing_has_nothing_to_judge(
    tmp_path: Path, model: Model, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model_folder.is_dir()
    write_audio(tmp_path / "silent.flac", np.zeros(RATE_HZ, np.float32), RATE_HZ)
    job = tag_into(tmp_path / "job", model, [])
    assert main([str(job)]) == 2
    assert "has found no event; there is nothing to judge" in capsys.readouterr().err
