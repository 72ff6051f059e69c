"""A tagging job without worker processes: its journal, filled by a model in this one."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.archive.inputs import Found
from pipelines.archive.journal import Journal
from pipelines.archive.tagging import Settings, outcome_of
from pipelines.model import Model


def tag_into(folder: Path, model: Model, files: Iterable[Path | str], settings: Settings | None = None) -> Path:
    """Tag files into a job's folder."""
    folder.mkdir(parents=True)
    settings = settings or Settings()
    with Journal(folder) as journal:
        journal.settle({"model": model.fingerprint, "version": "0", **settings._asdict()})
        list(journal.enlist([Found(str(file), True) for file in files], print))
        for task in journal.tasks():
            journal.record(outcome_of(model, settings, task, lambda _seconds: None))
    return folder


def data_of(page: Path) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def media_of(page: Path, name: str) -> str:
    """The data address of a clip or picture; "" if it is not in the page."""
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page.read_text())
    return found[1] if found else ""
