"""What an audited job says at its end, against audits that were put into its journal."""

import json
from pathlib import Path

import pytest

from pipelines.archive.finish import _write_estimate, usual_missed_share_of
from pipelines.audit import Audit, Missed
from pipelines.events import Event


class Audits:
    """A journal as far as an estimate goes: it hands out its audits once."""

    def __init__(self, *audits: Audit) -> None:
        self._audits = audits

    def audits(self):  # type: ignore[no-untyped-def]
        return iter([audit.to_json() for audit in self._audits])


def audit(num_missed: int, num_found: int) -> Audit:
    missed = tuple(Missed(window, Event(5.0 * window, 5.0 * window + 1, "yes")) for window in range(num_missed))
    return Audit(0.5, num_found, num_found, 3600.0, 1800.0, 1900.0, missed)


def test_the_estimate_is_written_in_words_and_as_numbers(tmp_path: Path) -> None:
    said = _write_estimate(Audits(audit(2, 10), audit(1, 5)), tmp_path / "audit.json", None)  # type: ignore[arg-type]
    stored = json.loads((tmp_path / "audit.json").read_text())
    assert stored["estimate"] == said
    assert stored["events"] == 6.0  # three heard, each with probability one half
    assert stored["low"] <= 6.0 <= stored["high"]
    assert stored["num_found"] == 15


def test_a_job_without_audit_writes_none(tmp_path: Path) -> None:
    assert _write_estimate(Audits(), tmp_path / "audit.json", None) == ""  # type: ignore[arg-type]
    assert not (tmp_path / "audit.json").exists()


def test_recordings_on_which_more_is_missed_than_usual_raise_an_alarm(tmp_path: Path) -> None:
    many = Audits(audit(40, 10))
    assert "unlike those" in _write_estimate(many, tmp_path / "a.json", 0.01)  # type: ignore[arg-type]
    assert "unlike those" not in _write_estimate(many, tmp_path / "a.json", 0.95)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "share"),
    [('{"missed_share_vs_dense": 0.07}', 0.07), ('{"missed_share_vs_dense": null}', None), ("{}", None), ("[", None)],
)
def test_what_is_usual_stands_in_the_models_metrics(tmp_path: Path, text: str, share: float | None) -> None:
    (tmp_path / "metrics.json").write_text(text)
    assert usual_missed_share_of(tmp_path) == share
    assert usual_missed_share_of(str(tmp_path)) == share


def test_a_loader_or_a_folder_without_metrics_says_nothing(tmp_path: Path) -> None:
    assert usual_missed_share_of(lambda: None) is None
    assert usual_missed_share_of(tmp_path) is None
