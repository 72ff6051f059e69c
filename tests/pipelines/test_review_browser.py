"""The page in a real browser: keys decide, verdicts stay, and what is downloaded is a table that a recipe trains on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from browser import PROGRAM, Browser, browser
from reviewed_job import data_of, tag_into
from small_line import LABELS, RATE_HZ, RECIPE, noise, set_switch

from featurizers import write_audio
from pipelines.corpora import EventTable
from pipelines.corpora.tables import read_table
from pipelines.keywords import Decision
from pipelines.model import Model, build_line
from pipelines.recipe import load_recipe
from pipelines.review import main

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here; Debian's package is called chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    (folder / "small.yaml").write_text(RECIPE)
    recipe = load_recipe(folder / "small.yaml")
    torch.manual_seed(3)
    line = build_line(recipe, len(LABELS))
    set_switch(line, noise(12.0))
    model = Model(recipe, line, LABELS, {"yes": Decision(0.02, 0.5, 0.1), "no": Decision(0.015, 0.4, 0.2)})
    model.save(folder / "model")
    (folder / "train").mkdir()
    for name, seed in (("a, loud.flac", 1), ("b.flac", 2)):
        write_audio(folder / "train" / name, noise(6.0, seed=seed), RATE_HZ)
    job = tag_into(folder / "results", model, sorted((folder / "train").iterdir()))
    (folder / "truth.csv").write_text("file,onset,offset,label\nb.flac,1.5,2,yes\n")
    assert main([str(job), "--quiet", "--truth", str(folder / "truth.csv")]) == 0
    return job / "review.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def opened(chromium: Browser, page: Path) -> Browser:
    """The page, nothing decided yet."""
    chromium.open(page)
    chromium.value("localStorage.clear(); location.reload()")
    chromium.wait_for("document.readyState === 'complete' && document.querySelectorAll('#list li').length > 0")
    return chromium


def text(running: Browser, selector: str) -> str:
    return str(running.value(f"document.querySelector({selector!r}).textContent"))


def chosen(running: Browser) -> int:
    return int(
        running.value("[...document.querySelectorAll('#list li')].findIndex((li) => li.ariaSelected === 'true')")
    )


def test_the_page_runs_without_an_error_and_fetches_nothing(opened: Browser, page: Path) -> None:
    opened.press("j", "a", " ")
    opened.wait_for("!document.querySelector('audio').paused")
    assert opened.value("document.querySelector('audio').error") is None
    said = [told for told in opened.said if told["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert said == []
    fetched = [told for told in opened.said if told["method"] == "Network.requestWillBeSent"]
    assert {told["params"]["request"]["url"].split(":")[0] for told in fetched} <= {"file", "data"}
    assert {
        told["params"]["request"]["url"] for told in fetched if told["params"]["request"]["url"][:5] == "file:"
    } == {page.resolve().as_uri()}


def test_keys_move_and_decide(opened: Browser, page: Path) -> None:
    number = len(data_of(page)["events"])
    assert number >= 5
    assert chosen(opened) == 0
    opened.press("j", "ArrowDown", "k")
    assert chosen(opened) == 1
    opened.press("k", "a", "r", "u")
    assert chosen(opened) == 3
    assert text(opened, "#count") == f"3 of {number} reviewed: 1 accepted, 1 rejected, 1 unsure"
    marks = opened.value("[...document.querySelectorAll('#list .mark')].map((mark) => mark.textContent)")
    assert marks == ["✓", "✗", "?"] + [""] * (number - 3)
    opened.press("k", "Backspace")
    assert text(opened, "#count") == f"2 of {number} reviewed: 1 accepted, 1 rejected, 0 unsure"
    assert chosen(opened) == 2
    assert opened.value("document.activeElement.id") == "list"


def test_what_was_not_reviewed_is_gone_through_without_a_mouse(opened: Browser, page: Path) -> None:
    opened.value("by('by-verdict').value = 'none'; by('by-verdict').dispatchEvent(new Event('change')); list.focus()")
    number = len(data_of(page)["events"])
    opened.press(*"ar" * (number // 2 + 1))
    assert text(opened, "#count").startswith(f"{number} of {number} reviewed")
    assert opened.value("document.querySelectorAll('#list li').length") == 0
    assert not opened.value("by('empty').hidden")


def test_filters_and_orders(opened: Browser, page: Path) -> None:
    events = data_of(page)["events"]
    opened.value(
        "by('by-file').value = '1'; by('order').value = 'time'; by('order').dispatchEvent(new Event('change'))"
    )
    shown = opened.value("shown.map((event) => event.number)")
    inside = [event for event in events if event["file"] == 1]
    assert shown == [event["number"] for event in sorted(inside, key=lambda event: event["onset"])]
    assert 0 < len(inside) < len(events)
    opened.value("by('by-label').value = 'no'; by('by-label').dispatchEvent(new Event('change'))")
    assert opened.value("shown.every((event) => event.label === 'no')")


def test_panels_stand_on_one_time_axis(opened: Browser, page: Path) -> None:
    data = data_of(page)
    place = next(i for i, e in enumerate(data["events"]) if data["recordings"][e["file"]]["file"].endswith("b.flac"))
    opened.press(*"j" * place)
    event = data["events"][place]
    names = opened.value("[...document.querySelectorAll('#event .names .row')].map((row) => row.textContent)")
    assert names == ["log-mel", "switch", "scores", "found", "true", ""]
    box, inner = opened.value(
        "['#event .box.chosen', '#event .inner'].map((each) => document.querySelector(each).getBoundingClientRect())"
        ".map((each) => [each.left, each.right])"
    )
    length, width = event["end"] - event["begin"], inner[1] - inner[0]
    assert box[0] - inner[0] == pytest.approx(width * (event["onset"] - event["begin"]) / length, abs=1)
    assert box[1] - inner[0] == pytest.approx(width * (event["offset"] - event["begin"]) / length, abs=1)


def test_verdicts_outlive_the_page(opened: Browser) -> None:
    opened.press("a", "r")
    opened.value("location.reload()")
    opened.wait_for("document.readyState === 'complete' && document.querySelectorAll('#list .accept').length === 1")
    opened.wait_for("document.querySelector('#count').textContent.includes('accepted')")  # drawn after the list
    assert " 1 accepted, 1 rejected" in text(opened, "#count")


def test_downloaded_verdicts_are_a_corpus_and_can_be_loaded_again(opened: Browser, page: Path, tmp_path: Path) -> None:
    opened.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    opened.press("a", "r", "u", "a")
    opened.value("document.getElementById('save').click()")
    table = tmp_path / "verdicts.csv"
    for _ in range(200):
        if table.exists():
            break
        opened.value("new Promise((then) => setTimeout(then, 25))")
    data = data_of(page)
    rows = read_table(table).rows
    expected = [(data["recordings"][e["file"]]["file"], e["onset"], e["label"], e["score"]) for e in data["events"]]
    assert [(row.file, row.event[0], row.event[2], row.event[3]) for row in rows if row.event] == expected
    assert [row.verdict for row in rows] == ["accept", "reject", "unsure", "accept"] + [""] * (len(rows) - 4)
    corpus = EventTable(str(page.parents[1]), str(table))
    accepted = [event for recording in corpus.prepare(tmp_path) for event in recording.events]
    assert sorted(event[:3] for event in accepted) == sorted(row.event[:3] for row in (rows[0], rows[3]) if row.event)
    opened.value("verdicts = {}; keep(); refresh()")
    opened.value(f"load({table.read_text()!r})")
    assert text(opened, "#count").startswith(f"4 of {len(rows)} reviewed: 2 accepted, 1 rejected, 1 unsure")
    opened.value("load('a,b\\n1,2\\n')")
    assert "This is no table of verdicts" in text(opened, "#note")
