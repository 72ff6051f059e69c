"""The report page and its pictures: self-contained, escaped, small."""

import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import report
from pipelines.events import Event
from pipelines.metrics import Curve
from pipelines.plots import plot_operating_curve, plot_recording, plot_training
from pipelines.report import Example, Picture, write_report

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page strictly enough to see that tags nest, and keeps what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def write(folder: Path, **changes: object) -> Page:
    arguments: dict[str, object] = {
        "title": "Keywords",
        "summary": [("Found", "61 %")],
        "metrics": {"recall_at_1_false_alarm_per_hour": 0.614, "recall_at_1_false_alarm_per_hour_low": 0.55,
                    "recall_at_1_false_alarm_per_hour_high": 0.66, "quiet_recall_at_1_false_alarm_per_hour": 0.7,
                    "recall_at_thresholds/yes": 0.5, "quiet_recall_at_thresholds/yes": math.nan},
        "kinds": ["quiet"],
        "pictures": [],
        "examples": [],
        "recipe": "grid: {}",
    }  # fmt: skip
    page = Page(write_report(folder, **(arguments | changes)).read_text(encoding="utf-8"))  # type: ignore[arg-type]
    assert page.open == []
    return page


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_a_page_refers_to_nothing_outside_itself(tmp_path: Path, picture: Path) -> None:
    clip = tmp_path / "clip.flac"
    clip.write_bytes(b"fLaC")
    page = write(
        tmp_path, pictures=[Picture(picture, "training")], examples=[Example("missed yes", "at 2:00", picture, clip)]
    )
    kinds = [address.split(",")[0] for address in page.addresses]
    assert kinds == ["data:image/png;base64", "data:image/png;base64", "data:audio/flac;base64"]


def test_text_of_the_user_is_never_markup(tmp_path: Path, picture: Path) -> None:
    evil = "\"><script>alert('1')</script>&amp; {body} %s"
    clean = write(tmp_path, pictures=[Picture(picture, "x")], examples=[Example("x", "x", picture)])
    page = write(
        tmp_path,
        title=evil,
        summary=[(evil, evil)],
        metrics={"recall_at_1_false_alarm_per_hour": 0.5, f"{evil}_recall_at_1_false_alarm_per_hour": 0.5}
        | {f"recall_at_thresholds/{evil}": 0.1},
        kinds=[evil],
        pictures=[Picture(picture, evil)],
        examples=[Example(evil, evil, picture)],
        recipe=evil,
    )
    assert "script" not in page.tags
    assert set(page.tags) == set(clean.tags)
    assert page.words.count(evil) >= 8


def test_figures_read_in_users_units_with_a_column_per_kind(tmp_path: Path) -> None:
    page = write(tmp_path)
    assert "61.4% (55.0% to 66.0%)" in page.words
    assert "70.0%" in page.words
    assert "Quiet" in page.words


def test_the_page_says_what_skipping_saved_in_seconds(tmp_path: Path) -> None:
    work = {"seconds_of_media": 7200.0, "seconds_of_work": 12.0, "seconds_saved": 8.5, "frames_open": 0.08}
    page = write(tmp_path, metrics=work)
    assert "92.0% of 2.0 h was skipped. It took 12.0 s; with everything open it would have taken 20.5 s" in page.words
    assert "8.5 s saved" in page.words


def test_a_page_that_would_grow_too_large_leaves_out_the_last_examples_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(bytes(30_000))
    monkeypatch.setattr(report, "MOST_BYTES", 100_000)
    page = write(tmp_path, examples=[Example(f"miss {i}", "", None, clip) for i in range(4)])
    assert (tmp_path / "report.html").stat().st_size <= 100_000
    assert len(page.addresses) == 2
    assert "films of 2 examples were left out" in page.words
    assert "miss 3" in page.words


def test_a_picture_that_browsers_may_not_show_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.tiff").write_bytes(b"")
    with pytest.raises(ValueError, match=r"picture\.tiff is \.tiff"):
        write(tmp_path, pictures=[Picture(tmp_path / "picture.tiff", "")])


def recording(path: Path, labels: list[str], seed: int = 0, **changes: object) -> None:
    """Draw 30 s of the worst that a PNG can meet: white noise."""
    rng = np.random.default_rng(seed)
    frames = 375
    arguments: dict[str, object] = {
        "top": rng.normal(size=(3000, 32)),
        "top_hop_seconds": 0.01,
        "times": 60.0 + 0.08 * np.arange(frames),
        "is_open": rng.random(frames) < 0.5,
        "open_probability": rng.random(frames),
        "scores": rng.random((frames, len(labels))),
        "labels": labels,
        "found": [Event(61.0, 61.5, labels[0]), Event(70.0, 70.0, labels[-1])],
        "true": [Event(61.1, 61.6, labels[0]), Event(80.0, 80.5, labels[0])],
        "title": "$a_recording.flac",
    }
    plot_recording(path, **(arguments | changes))  # type: ignore[arg-type]


def test_pictures_are_small_even_of_noise(tmp_path: Path) -> None:
    rows = [{"train_loss": 1.0 / e, "frames_open": 1.0 / e} | ({"recall": 0.5} if e % 2 else {}) for e in range(1, 200)]
    plot_training(tmp_path / "training.png", rows, losses=["train_loss"], shares=["frames_open", "recall"])
    recording(tmp_path / "recording.png", [f"word {i}" for i in range(30)])
    steps = np.arange(5000.0)
    plot_operating_curve(tmp_path / "curve.png", {str(i): Curve(-steps, steps / 5e3, steps / 500) for i in range(4)})
    for name in ("training", "recording", "curve"):
        assert (tmp_path / f"{name}.png").stat().st_size <= 150_000
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width >= 700


def test_pictures_of_hardly_anything_are_drawn(tmp_path: Path) -> None:
    plot_training(tmp_path / "training.png", [{"loss": math.nan}], losses=["loss"], shares=[])
    nothing = Curve(np.array([np.inf]), np.array([np.nan]), np.array([0.0]))
    plot_operating_curve(
        tmp_path / "curve.png", {"no events": nothing, "no detections": nothing._replace(recall=np.zeros(1))}
    )
    recording(
        tmp_path / "recording.png", ["yes"], top=np.zeros((8, 32)), times=np.zeros(1), is_open=np.zeros(1),
        open_probability=np.zeros(1), scores=np.zeros((1, 1)), found=[], true=[],
    )  # fmt: skip
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_same_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        recording(tmp_path / name, ["yes", "no"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_switch_that_opens_shows_as_a_band_where_it_is_open(tmp_path: Path) -> None:
    # Open in the second half only: the band's colour must fill the right half of the picture and none of the left.
    is_open = np.arange(375) >= 188
    recording(
        tmp_path / "recording.png", ["yes"], is_open=is_open, open_probability=is_open * 1.0, top=np.zeros((3000, 32))
    )
    with Image.open(tmp_path / "recording.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    is_band = np.abs(pixels - [0xF0, 0xC3, 0x5A]).sum(axis=2) < 12
    columns = np.flatnonzero(is_band.sum(axis=0) > 40)  # whole columns, not the odd blended pixel
    begin, end = 0.08 * pixels.shape[1], 0.87 * pixels.shape[1]  # about where the panel lies, between axis and legend
    assert columns.min() == pytest.approx((begin + end) / 2, abs=0.05 * pixels.shape[1])
    assert np.all(np.diff(columns) == 1)
    assert columns.max() == pytest.approx(end, abs=0.05 * pixels.shape[1])
