"""The main job from start to end, small: prepared, interrupted twice, resumed, and what its run folder then holds."""

import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import pipelines
from pipelines.metrics.keywords import RATES
from pipelines.recipe import load_recipe
from pipelines.stage_times import STAGES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["yes", "no"]
SMALL = {
    "corpus.init_args.words": "[yes, no]",
    "corpus.init_args.train_hours": "{practice: 0.05}",
    "corpus.init_args.validation_hours": "{talkative: 0.035}",
    "corpus.init_args.test_hours": "{talkative: 0.035, quiet: 0.02}",
    "corpus.init_args.stream_seconds": "60",
    "train.max_epochs": "6",
    "train.batch_size": "4",
    "train.crop_seconds": "5.0",
}
RUN_FOLDER = {"recipe.yaml", "run.json", "metrics.json", "report.html", "plots", "model", "checkpoints", ".lock"}
MODEL_FOLDER = {"recipe.yaml", "weights.safetensors", "labels.json", "thresholds.json", "metrics.json", "card.md"}


class Ended(NamedTuple):
    """How a call of the command ended: its exit code, what it said, and how long it took after Ctrl-C."""

    exit_code: int
    said: str
    seconds_to_stop: float = 0.0


class Story(NamedTuple):
    """Two runs of one recipe with one cache: one interrupted while preparing, the other while training."""

    folder: Path
    interrupted_preparing: Ended
    first: Ended
    interrupted_training: Ended
    steps_when_interrupted: int
    second: Ended


def call(folder: Path, *arguments: str, interrupt_when: Callable[[], object] | None = None) -> Ended:
    """`python -m pipelines.run`; Ctrl-C, as a terminal sends it to all its processes, once the condition holds."""
    overrides = [part for key, text in SMALL.items() for part in (f"--{key}", text)]
    recipe = str(ROOT / "recipes" / "kws.yaml")
    command = [sys.executable, "-m", "pipelines.run", recipe, *overrides, "--cache", "cache", "--device", "cpu"]
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        begun = time.monotonic()
        try:
            while interrupt_when is not None and not interrupt_when() and process.poll() is None:
                assert time.monotonic() - begun < 120, "the moment to interrupt never came"
                time.sleep(0.02)
            asked = time.monotonic()
            if interrupt_when is not None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=180)
            took = time.monotonic() - asked
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        said.seek(0)
        return Ended(process.returncode, said.read(), took)


def steps_trained(run_folder: Path) -> int:
    """Optimizer steps that the checkpoint of a run has behind it."""
    checkpoint = torch.load(run_folder / "checkpoints" / "last.ckpt", weights_only=False)
    return int(checkpoint["global_step"])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("job")

    def is_preparing() -> bool:
        return any((folder / "cache").rglob("stock/*.json"))

    def is_training() -> bool:
        return (folder / "runs" / "kws-2" / "checkpoints" / "last.ckpt").exists()

    return Story(
        folder,
        call(folder, "--seed", "1", interrupt_when=is_preparing),
        call(folder, "--output", "runs/kws", "--resume"),
        call(folder, "--seed", "1", interrupt_when=is_training),
        steps_trained(folder / "runs" / "kws-2"),
        call(folder, "--output", "runs/kws-2", "--resume"),
    )


@pytest.fixture(scope="module", params=["runs/kws", "runs/kws-2"])
def run_folder(story: Story, request: pytest.FixtureRequest) -> Path:
    return story.folder / str(request.param)


@pytest.mark.parametrize("moment", ["preparing", "training"])
def test_ctrl_c_ends_the_job_within_two_seconds_with_the_command_that_continues_it(story: Story, moment: str) -> None:
    ended: Ended = getattr(story, f"interrupted_{moment}")
    assert ended.exit_code == 130, ended.said
    assert ended.seconds_to_stop < 2.0
    assert "Interrupted. Continue with:\n  python -m pipelines.run" in ended.said
    assert ended.said.rstrip().endswith("--resume")
    assert "Traceback" not in ended.said


def test_a_resumed_run_ends_like_any_other(story: Story) -> None:
    for ended in (story.first, story.second):
        assert ended.exit_code == 0, ended.said
        assert "of the words at 1 false alarm per hour and keyword" in ended.said
        assert "python -m pipelines.tag" in ended.said
    first, second = (
        json.loads((story.folder / run / "metrics.json").read_text()) for run in ("runs/kws", "runs/kws-2")
    )
    assert first.keys() == second.keys()
    assert first["seed"] == second["seed"] == 1


def test_training_goes_on_from_where_it_was_interrupted(story: Story) -> None:
    total = steps_trained(story.folder / "runs" / "kws")
    assert 0 < story.steps_when_interrupted < total  # else there was nothing to go on from
    assert steps_trained(story.folder / "runs" / "kws-2") == total


def test_without_output_a_second_run_goes_to_a_new_folder_and_says_that_the_cache_is_reused(story: Story) -> None:
    said = story.interrupted_training.said
    assert said.startswith("Run folder runs/kws-2,")
    for what in ("Corpus", "Features"):
        assert re.search(rf"^{what}.* reused from the cache$", said, flags=re.MULTILINE), said
    assert "computed" in story.first.said
    assert "reused" not in story.interrupted_preparing.said


def test_a_finished_run_folder_is_not_written_over(story: Story) -> None:
    before = (story.folder / "runs/kws/metrics.json").read_bytes()
    ended = call(story.folder, "--output", "runs/kws")
    assert ended.exit_code == 2
    assert "--resume continues it, --overwrite deletes it" in ended.said
    assert (story.folder / "runs/kws/metrics.json").read_bytes() == before


def test_the_run_folder_holds_what_was_promised(run_folder: Path) -> None:
    assert {path.name for path in run_folder.iterdir()} == RUN_FOLDER
    assert {path.name for path in (run_folder / "model").iterdir()} == MODEL_FOLDER
    pictures = {path.name for path in (run_folder / "plots").glob("*.png")}
    assert {"training.png", "operating_curve.png", "recording_talkative.png", "recording_quiet.png"} <= pictures
    for name in pictures:
        header = (run_folder / "plots" / name).read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert min(struct.unpack(">II", header[16:])) > 200  # width and height in pixels


def test_the_recipe_in_the_run_folder_is_complete_and_does_the_same_work(run_folder: Path) -> None:
    kept, given = load_recipe(run_folder / "recipe.yaml"), load_recipe(ROOT / "recipes/kws.yaml", SMALL.items())
    assert kept == given
    assert load_recipe(run_folder / "model" / "recipe.yaml") == given
    assert "# " in (run_folder / "recipe.yaml").read_text()


def documented_keys() -> set[str]:
    """The keys in the tables of docs/metrics.md, but for those of sound events and actions."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    text = re.sub(r"^## (Sound events|Actions)\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))


def test_metrics_are_flat_and_every_key_is_documented_and_every_documented_key_is_there(run_folder: Path) -> None:
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert all(value is None or isinstance(value, float | int) for value in metrics.values())
    names = {re.sub(r"^(quiet|talkative)_", "", key) for key in metrics}
    names = {re.sub(rf"/({'|'.join(WORDS)})$", "/LABEL", name) for name in names}
    names = {re.sub(r"_(low|high)$", "", name) for name in names}
    names = {re.sub(rf"^time_share/({'|'.join((*STAGES, 'rest'))})$", "time_share/STAGE", name) for name in names}
    assert names - documented_keys() == set(), "not documented"
    assert documented_keys() - names == set(), "documented, but not there"


def test_metrics_agree_with_each_other(run_folder: Path) -> None:
    metrics = json.loads((run_folder / "metrics.json").read_text())
    work, dense = (metrics["seconds_of_media"] / metrics[f"times_real_time{end}"] for end in ("", "_dense"))
    assert metrics["seconds_of_work"] == pytest.approx(work)
    assert metrics["seconds_saved"] == pytest.approx(dense - work)
    assert metrics["speedup"] == pytest.approx(dense / work)
    assert metrics["num_recordings"] == metrics["quiet_num_recordings"] + metrics["talkative_num_recordings"] == 3
    assert metrics["num_frames"] * 0.08 == pytest.approx(metrics["hours"] * 3600, rel=0.01)
    recalls = [metrics[f"recall_at_{rate:g}_false_alarm{'s' * (rate != 1)}_per_hour"] for rate in RATES]
    assert recalls == sorted(recalls)


class Links(HTMLParser):
    """What a page would fetch from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.embedded = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data") or (tag == "link" and name == "href"):
                is_embedded = (value or "").startswith("data:")
                self.embedded += is_embedded
                self.fetched += [] if is_embedded else [f"{tag} {name}={value}"]


def test_the_report_is_one_file_that_fetches_nothing(run_folder: Path) -> None:
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert links.fetched == []
    assert links.embedded >= 4  # the plots, and sounds
    assert not re.search(r"@import|url\((?!\s*['\"]?data:)", page)


def test_the_model_needs_no_pickle_and_tags_a_recording(story: Story, run_folder: Path) -> None:
    for path in (run_folder / "model").iterdir():
        assert path.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x04"), path  # torch.save and pickle begin so
    model = pipelines.load(run_folder / "model")
    recording = next((story.folder / "cache").rglob("test-talkative-0000.flac"))
    events, scores = model.tag(recording), model.scores(recording)
    assert {event.label for event in events} <= set(WORDS)
    assert scores.labels == tuple(WORDS)
    assert scores.scores.shape == (750, 2)  # 60 s at 0.08 s
    assert events.frames_open == pytest.approx(scores.is_open.mean())
    assert str(events).startswith(f"{len(events)} event{'' if len(events) == 1 else 's'} in {recording} (60.0 s")
