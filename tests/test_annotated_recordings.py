"""docs/annotated_recordings.md, run from its first line to its last on a small folder of made-up birds."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from featurizers import write_audio
from pipelines import review, run, tag
from pipelines.corpora import EventTable
from pipelines.model import load
from pipelines.recipe import load_recipe

TEXT = (Path(__file__).parents[1] / "docs" / "annotated_recordings.md").read_text(encoding="utf-8")
RECIPE, CORPUS_WITH_VERDICTS = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = dict(re.findall(r"^    python -m pipelines\.(\w+) (.*)$", TEXT, flags=re.MULTILINE))
RATE_HZ = 16_000
SECONDS = 12.0
FAST = ["--train.max_epochs", "6", "--device", "cpu", "--quiet"]


def put_birds(path: Path, labels: Path | None, seed: int) -> None:
    """Faint noise with whistles that rise or fall, and an Audacity label track of them."""
    generator = np.random.default_rng(seed)
    samples = 0.003 * generator.standard_normal(round(SECONDS * RATE_HZ))
    lines = []
    for onset in np.arange(0.8, SECONDS - 1, 1.7):
        onset = float(onset + generator.uniform(0, 0.6))
        label, low_hz, high_hz = [("rises", 1500, 3000), ("falls", 3000, 1500)][generator.integers(2)]
        frequency = np.linspace(low_hz, high_hz, RATE_HZ // 2)
        whistle = 0.2 * np.sin(2 * np.pi * np.cumsum(frequency) / RATE_HZ) * np.hanning(RATE_HZ // 2)
        first = round(onset * RATE_HZ)
        samples[first : first + len(whistle)] += whistle
        lines.append(f"{onset:.3f}\t{onset + 0.5:.3f}\t{label}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, samples.astype(np.float32), RATE_HZ)
    if labels is not None:
        labels.mkdir(exist_ok=True)
        (labels / f"{path.stem}.txt").write_text("".join(lines))


@pytest.mark.slow
def test_the_documented_way_leads_from_recordings_to_a_model_and_on_to_a_better_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number, day in enumerate(("monday", "tuesday", "thursday", "friday")):
        put_birds(tmp_path / "recordings" / day / f"{number:02}.flac", tmp_path / "labels", seed=number)
    put_birds(tmp_path / "archive" / "night.flac", None, seed=9)
    Path("birds.yaml").write_text(RECIPE)

    assert run.main([*shlex.split(COMMANDS["run"]), *FAST]) == 0, capsys.readouterr().err
    assert Path("runs/birds/report.html").is_file()
    assert tag.main([*shlex.split(COMMANDS["tag"]), "--quiet"]) == 0
    assert review.main([*shlex.split(COMMANDS["review"]), "--quiet"]) == 0
    assert Path("results/review.html").is_file()

    # What the page would download if the first event were accepted and the second rejected.
    found = load("runs/birds/model").tag("archive/night.flac")
    assert len(found) >= 2
    with open("verdicts.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "onset_seconds", "offset_seconds", "label", "score", "verdict"])
        for event, verdict in zip(found, ["accept", "reject", *[""] * len(found)], strict=False):
            writer.writerow(["archive/night.flac", *event[:4], verdict])
    Path("better.yaml").write_text(re.sub(r"corpus:\n(?:  .*\n)+", CORPUS_WITH_VERDICTS, RECIPE))
    corpus = load_recipe("better.yaml").corpus.build()
    assert isinstance(corpus, EventTable)
    splits = {recording.source.stem: recording.split for recording in corpus.prepare(tmp_path)}
    assert splits == {"night": "train", "00": "train", "01": "train", "02": "validation", "03": "test"}
