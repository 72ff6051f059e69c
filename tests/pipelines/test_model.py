"""A model is a folder: it comes back as it was, says what is broken in it, and runs no code that was not trusted."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from small_line import LABELS, RECIPE, noise

import pipelines
from featurizers import MediaError, write_audio
from pipelines.errors import UserError
from pipelines.events import Event
from pipelines.keywords import Decision
from pipelines.model import Model, ModelError, build_line, load
from pipelines.recipe import load_recipe

RATE_HZ = 16_000
FILES = ["card.md", "labels.json", "metrics.json", "recipe.yaml", "thresholds.json", "weights.safetensors"]


def test_a_model_comes_back_from_its_folder(model: Model, model_folder: Path, tmp_path: Path) -> None:
    loaded = pipelines.load(model_folder)
    before, after = (m.tag(noise(12.0), rate_hz=RATE_HZ) for m in (model, loaded))
    assert before.events == after.events
    assert len(after) > 3
    assert 0.1 < after.frames_open < 0.6  # else a lost threshold shift would not show
    assert loaded.labels == LABELS
    assert loaded.decisions == model.decisions
    assert loaded.recipe == model.recipe
    assert loaded.card == model.card
    assert loaded.metrics["frames_open"] == 0.3
    assert math.isnan(loaded.metrics["recall"])
    assert loaded.fingerprint == model.fingerprint != ""
    loaded.save(tmp_path / "again")
    assert loaded.fingerprint == model.fingerprint


def test_the_folder_holds_six_files_and_no_pickle(model_folder: Path) -> None:
    assert sorted(path.name for path in model_folder.iterdir()) == FILES
    json.loads((model_folder / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    weights = (model_folder / "weights.safetensors").read_bytes()
    assert int.from_bytes(weights[:8], "little") < len(weights)  # a safetensors header, no zip, no pickle
    assert weights[8:9] == b"{"


def test_the_fingerprint_follows_what_decides_and_not_what_describes(model: Model, model_folder: Path) -> None:
    before = model.fingerprint
    model.card = "other words"
    model.metrics = {"frames_open": 0.9}
    model.save(model_folder)
    assert model.fingerprint == before
    model.decisions = {**model.decisions, "no": model.decisions["no"]._replace(threshold=0.5)}
    model.save(model_folder)
    changed = model.fingerprint
    assert changed != before
    with torch.no_grad():
        model.line.head.level.bias += 1e-3
    model.save(model_folder)
    assert model.fingerprint not in (before, changed)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(model_folder: Path, name: str) -> None:
    (model_folder / name).unlink()
    with pytest.raises(ModelError, match=rf"is no model folder: {name} is missing"):
        load(model_folder)


def test_a_run_folder_leads_to_its_model(model_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"is no model folder: .*; did you mean .*/model\?"):
        load(model_folder.parent)


@pytest.mark.parametrize(
    "name", ["labels.json", "metrics.json", "recipe.yaml", "thresholds.json", "weights.safetensors"]
)
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[1, 2]", b'{"a": ', b'{"switch_threshold_shift": 0, "labels": []}']
)
def test_a_damaged_file_is_named(model_folder: Path, name: str, content: bytes) -> None:
    (model_folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load(model_folder)


def test_cut_off_weights_are_named(model_folder: Path) -> None:
    path = model_folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"weights\.safetensors is damaged"):
        load(model_folder)


def test_weights_of_another_model_are_named(model_folder: Path) -> None:
    path = model_folder / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["head.level.weight"] = torch.zeros(3, 8)
    safetensors.torch.save_file(weights, path)
    with pytest.raises(
        ModelError, match=r"weights\.safetensors .*does not fit recipe and labels: .*head\.level\.weight"
    ):
        load(model_folder)
    del weights["head.level.weight"]
    safetensors.torch.save_file(weights, path)
    with pytest.raises(ModelError, match=r"does not fit recipe and labels: .*Missing.*head\.level\.weight"):
        load(model_folder)


@pytest.mark.parametrize("labels", [["yes"], ["yes", "stop"], ["yes", "no", "up"], ["no", "no"], [], [1, 2]])
def test_wrong_labels_are_refused(model_folder: Path, labels: list[object]) -> None:
    (model_folder / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(ModelError, match=r"labels\.json|not those of labels"):
        load(model_folder)


@pytest.mark.parametrize("value", [math.nan, "high", None])
def test_a_threshold_that_is_no_number_is_refused(model_folder: Path, value: object) -> None:
    path = model_folder / "thresholds.json"
    stored = json.loads(path.read_text())
    stored["labels"]["no"]["threshold"] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"thresholds\.json is damaged"):
        load(model_folder)


@pytest.fixture
def foreign_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model whose switch is a class of somebody else's; importing that leaves a trace in my_lab_ran."""
    (tmp_path / "my_lab.py").write_text(
        "from pathlib import Path\nimport surnn\n"
        f"Path({str(tmp_path / 'my_lab_ran')!r}).touch()\n"
        "class MyGate(surnn.Open):\n    'Opens all.'\n"
        "class MyGateToo(surnn.Open):\n    'Opens all, too.'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "foreign.yaml"
    path.write_text(
        RECIPE.replace("{class_path: surnn.EventGate, init_args: {channels: 8, dilations: [1, 2]}}", "my_lab.MyGate")
    )
    recipe = load_recipe(path)
    decisions = {label: Decision(0.5) for label in LABELS}
    Model(recipe, build_line(recipe, 2), LABELS, decisions).save(tmp_path / "foreign")
    del sys.modules["my_lab"]
    (tmp_path / "my_lab_ran").unlink()
    yield tmp_path / "foreign"
    sys.modules.pop("my_lab", None)


@pytest.mark.parametrize("trust", [(), ("my_lab",), ("my_lab.MyGateToo",), "my_lab.MyGateToo"])
def test_a_foreign_class_is_refused_before_its_code_runs(foreign_folder: Path, trust: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=r"not trusted: my_lab\.MyGate"):
        load(foreign_folder, trust=trust)
    assert not (foreign_folder.parent / "my_lab_ran").exists()
    assert "my_lab" not in sys.modules


@pytest.mark.parametrize("trust", [["my_lab.MyGate"], "my_lab.MyGate"])
def test_a_foreign_class_runs_when_trusted_by_name(foreign_folder: Path, trust: list[str]) -> None:
    assert load(foreign_folder, trust=trust).tag(noise(1.0), rate_hz=RATE_HZ).frames_open == 1.0
    assert (foreign_folder.parent / "my_lab_ran").exists()


def test_a_path_and_its_samples_give_the_same_events(model: Model, tmp_path: Path) -> None:
    samples = noise(12.0)
    write_audio(tmp_path / "noise.flac", samples, RATE_HZ)
    from_path = model.tag(tmp_path / "noise.flac")
    for array in (samples, samples.numpy(), samples.double(), (samples * 32768).short(), torch.stack([samples] * 2)):
        assert model.tag(array, rate_hz=RATE_HZ).events == from_path.events
    assert model.tag(str(tmp_path / "noise.flac")).events == from_path.events
    assert from_path.source == str(tmp_path / "noise.flac")
    assert from_path.seconds == 12.0


def test_one_channel_is_read_when_asked_for(model: Model) -> None:
    both = torch.stack([noise(6.0, seed=1), noise(6.0, seed=2)])
    for channel in (0, 1):
        assert (
            model.tag(both, rate_hz=RATE_HZ, channel=channel).events == model.tag(both[channel], rate_hz=RATE_HZ).events
        )
    assert model.tag(both[0], rate_hz=RATE_HZ).events != model.tag(both[1], rate_hz=RATE_HZ).events
    with pytest.raises(MediaError, match="has no channel 2; it has channels 0 to 1"):
        model.tag(both, rate_hz=RATE_HZ, channel=2)


def test_min_score_replaces_the_thresholds(model: Model) -> None:
    everything = model.tag(noise(12.0), rate_hz=RATE_HZ, min_score=0.0)
    limit = sorted(event.score for event in everything)[-3]
    kept = model.tag(noise(12.0), rate_hz=RATE_HZ, min_score=limit)
    assert kept.events == tuple(event for event in everything if event.score >= limit)
    assert 3 <= len(kept) < len(everything)
    assert len(model.tag(noise(12.0), rate_hz=RATE_HZ, min_score=1)) == 0


def test_the_switch_can_be_turned_off(model: Model) -> None:
    scores = model.scores(noise(6.0), rate_hz=RATE_HZ)
    opened = model.scores(noise(6.0), rate_hz=RATE_HZ, gate="open")
    assert 0 < scores.is_open.mean() < 1
    assert opened.is_open.all()
    assert model.tag(noise(6.0), rate_hz=RATE_HZ, gate="open").frames_open == 1.0
    assert not np.allclose(scores.scores, opened.scores)


@pytest.mark.parametrize("given", [{"min_score": 1.5}, {"min_score": math.nan}, {"gate": "shut"}, {"rate_hz": None}])
def test_wrong_arguments_are_named(model: Model, given: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        model.tag(noise(1.0), **{"rate_hz": RATE_HZ, **given})  # type: ignore[arg-type]


def test_what_cannot_be_read_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nowhere\.wav does not exist"):
        model.tag(tmp_path / "nowhere.wav")
    with pytest.raises(MediaError, match=r"the array holds .*nan.* at 0\.000 s"):
        model.tag(torch.full((16_000,), math.nan), rate_hz=RATE_HZ)


def test_scores_hold_events_frames_and_times(model: Model) -> None:
    samples = noise(6.0)
    scores = model.scores(samples, rate_hz=RATE_HZ)
    assert scores.labels == LABELS
    assert scores.scores.shape == (75, 2)
    assert scores.scores.dtype == np.float32
    assert scores.times.dtype == np.float64
    np.testing.assert_allclose(scores.times, np.arange(75) * 0.08)
    assert ((scores.scores >= 0) & (scores.scores <= 1)).all()
    first = int(scores.is_open.argmax())
    assert (scores.scores[:first] == 0).all()
    place = model.decisions["yes"]
    for event in model.tag(samples, rate_hz=RATE_HZ, min_score=0.0):
        if event.label == "yes" and event.onset_seconds > 0:
            frame = round((event.onset_seconds + place.onset_delay_seconds) / 0.08) - 1
            assert scores.is_open[frame]
            assert event.score == pytest.approx(scores.scores[frame, 0])


def test_events_can_be_iterated_indexed_printed_and_tabulated(model: Model) -> None:
    events = model.tag(noise(12.0), rate_hz=RATE_HZ)
    assert list(events) == [events[place] for place in range(len(events))]
    assert isinstance(events[0], Event)
    assert [event.onset_seconds for event in events] == sorted(event.onset_seconds for event in events)
    first, *others = str(events).splitlines()
    assert first.startswith(f"{len(events)} events in array (12.0 s; {events.frames_open:.1%} of frames open, ")
    assert [line.split()[-1] for line in others] == [event.label for event in events]
    table = events.to_pandas()
    assert table["onset_seconds"].to_list() == [event.onset_seconds for event in events]
    assert list(model.tag(noise(1.0), rate_hz=RATE_HZ, min_score=1.0).to_pandas().columns) == list(Event._fields)


def test_a_name_that_would_break_the_line_is_escaped(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.flac"
    write_audio(path, noise(1.0), RATE_HZ)
    events = model.tag(path, min_score=1.0)
    assert str(events).startswith(f"0 events in {tmp_path}/two\\nlines.flac (1.0 s; ")
    assert events.source == str(path)


@pytest.mark.parametrize("seconds", [1 / RATE_HZ, 0.02])
def test_a_moment_of_sound_is_a_recording(model: Model, seconds: float) -> None:
    events = model.tag(noise(1.0)[: round(seconds * RATE_HZ)], rate_hz=RATE_HZ, gate="open", min_score=0.0)
    assert events.seconds == seconds
    assert len(events) == 2  # one frame, one peak per label


def test_progress_tells_how_much_was_heard(model: Model) -> None:
    heard: list[float] = []
    model.tag(noise(130.0), rate_hz=RATE_HZ, progress=heard.append)
    assert heard == sorted(heard)
    assert len(heard) > 1
    assert heard[-1] == 130.0
