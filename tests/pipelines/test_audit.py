"""What the switch made the model miss is estimated without bias; the interval holds the truth; the cost is known."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import binom  # type: ignore[import-untyped]
from small_line import LABELS, noise
from torch import Tensor

from featurizers import array_blocks, write_audio
from pipelines import audit as audit_module
from pipelines import model as model_module
from pipelines.audit import Audit, Missed, estimate, interval, is_drawn, seed_of
from pipelines.errors import UserError
from pipelines.events import Event
from pipelines.feeds import Block
from pipelines.keywords import Decision
from pipelines.line import Decided, Line
from pipelines.metrics import match_detections
from pipelines.model import Model
from surnn import Gate, Open, RandomGate

RATE_HZ = 16_000
HOP = 0.08
FRAMES_OF_WINDOW = 63  # 5 s


def staged(seconds: float, bursts: Sequence[float], seed: int = 0) -> Tensor:
    """Faint noise with a burst of 0.3 s at each of these times: one event each, for the line of `stage`."""
    random = torch.Generator().manual_seed(seed)
    samples = torch.randn(round(seconds * RATE_HZ), generator=random).clamp(-4, 4) * 0.002
    for burst in bursts:
        samples[round(burst * RATE_HZ) : round((burst + 0.3) * RATE_HZ)] *= 100
    return samples


def set_gate(line: Line, gate: Gate) -> None:
    del line.gate  # a module; only another one could be put in its place
    line.gate = gate


def stage(model: Model, rate: float) -> Model:
    """Make a model say "yes" at loud frames, whatever it heard before, with a switch that opens frames at random."""
    line = model.line
    with torch.no_grad():
        for parameter in (*line.encoder.parameters(), *line.head.parameters()):
            parameter.zero_()
        hidden = line.encoder.rnn.hidden_size
        line.encoder.rnn.bias_ih_l0[: 2 * hidden] = -30  # reset and update closed: the state is tanh(candidate)
        line.encoder.rnn.weight_ih_l0[2 * hidden] = 0.5 / line.featurizer.size
        line.head.level.weight[0, 0] = 20.0
        line.head.level.bias[:] = torch.tensor([-4.0, -30.0])
        line.head.decay.bias[:] = 30.0
    set_gate(line, RandomGate(line.glance.size, rate=rate, seed=1))
    model.decisions = dict.fromkeys(LABELS, Decision(0.5, 0.3, 0.05))
    return model


def burst_times(seconds: float, seed: int) -> list[float]:
    """About one time in 2 s, 1 s apart or more."""
    steps = np.random.default_rng(seed).exponential(1.0, size=round(seconds)) + 1.0
    return [float(time) for time in np.cumsum(steps) if time < seconds - 1]


class Archive(NamedTuple):
    """Recordings, and what opening all of them finds that the switch had missed."""

    recordings: list[Tensor]
    truth: int


@pytest.fixture
def archive(model: Model) -> Archive:
    stage(model, rate=0.12)
    recordings = [staged(61.7, burst_times(61.7, seed), seed) for seed in range(4)]
    truth = 0
    for samples in recordings:
        switched, opened = (model.tag(samples, rate_hz=RATE_HZ, gate=gate) for gate in ("learned", "open"))
        truth += int((match_detections(switched.events, opened.events).detected_of_truth < 0).sum())
    assert 20 < truth < 80  # of about 120 events
    return Archive(recordings, truth)


def audit_of(model: Model, samples: Tensor, share: float) -> Audit:
    audit = model.tag(samples, rate_hz=RATE_HZ, audit_share=share).audit
    assert audit is not None
    return audit


def reseed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(model_module, "seed_of", lambda *source: seed_of(*source) + seed.to_bytes(2, "big"))


@pytest.mark.parametrize("block_frames", [14, 50, 750])
def test_with_all_time_opened_it_finds_what_the_dense_twin_finds(
    model: Model, archive: Archive, block_frames: int
) -> None:
    model.line.block_frames = block_frames
    audits = [audit_of(model, samples, 1.0) for samples in archive.recordings]
    assert sum(len(audit.missed) for audit in audits) == archive.truth
    whole = estimate(audit.to_json() for audit in audits)
    assert (whole.events, whole.low, whole.high) == (archive.truth,) * 3  # nothing is left to chance
    for audit, samples in zip(audits, archive.recordings, strict=True):
        opened = model.tag(samples, rate_hz=RATE_HZ, gate="open").events
        assert {missed.event for missed in audit.missed} <= set(opened)
        for window, event in audit.missed:
            assert window * FRAMES_OF_WINDOW * HOP <= event.offset_seconds < (window + 1) * FRAMES_OF_WINDOW * HOP


def test_a_part_finds_what_the_whole_finds_there(
    model: Model, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a window gives does not depend on which others were drawn: so each stands for 1 / share of its kind."""
    for seed in range(3):
        reseed(monkeypatch, seed)
        for samples in archive.recordings[:2]:
            whole, part = audit_of(model, samples, 1.0), audit_of(model, samples, 0.4)
            key = seed_of(samples) + seed.to_bytes(2, "big")
            drawn = [window for window in range(13) if is_drawn(key, window, 0.4)]
            assert part.missed == tuple(missed for missed in whole.missed if missed.window in drawn)
            assert part.closed_seconds == whole.closed_seconds == whole.heard_seconds
            assert 0 < part.heard_seconds < whole.heard_seconds


@pytest.mark.slow
def test_the_estimate_is_unbiased_and_its_interval_holds_the_truth(
    model: Model, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates = []
    for seed in range(60):
        reseed(monkeypatch, seed)
        estimates.append(estimate(audit_of(model, samples, 0.2).to_json() for samples in archive.recordings))
    events = np.array([e.events for e in estimates])
    assert abs(events.mean() - archive.truth) < 4 * events.std() / math.sqrt(len(events))
    assert events.std() < archive.truth
    assert np.mean([e.low <= archive.truth <= e.high for e in estimates]) >= 0.9


def made_up(groups: Sequence[int], seed: int, share: float, found: Sequence[int]) -> str:
    """What an audit says of a recording with so many missed events, and so many found ones, in each of its windows."""
    missed = [Missed(w, Event(w, w + 1, "yes")) for w, num in enumerate(groups) for _ in range(num)]
    drawn = tuple(m for m in missed if is_drawn(seed.to_bytes(4, "big"), m.window, share))
    return Audit(share, sum(found), sum(n * n for n in found), 9.0, 1.0, 1.5, drawn).to_json()


@pytest.mark.parametrize("share", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("sizes", [(1,), (1, 1, 2), (1, 2, 3), (3,), (6,)], ids=str)
@pytest.mark.parametrize("expected_groups", [0.5, 1.5, 10, 40])
def test_intervals_hold_the_truth_however_crowded_events_are(
    sizes: Sequence[int], share: float, expected_groups: float
) -> None:
    groups = np.resize(sizes, math.ceil(expected_groups / share)).tolist()
    random = np.random.default_rng(0)
    draws = 300
    missed = np.repeat(np.array(groups)[None], draws, 0) * (random.random((draws, len(groups))) < share)
    crowd = sum(n * n for n in sizes) / sum(sizes)
    intervals = [interval(heard[heard > 0].tolist(), share, crowd) for heard in missed]
    hits = np.mean([low <= sum(groups) <= high for low, high in intervals])
    assert hits >= 0.92  # 0.95 promised, less three standard errors of 300 draws


def test_made_up_archives_are_estimated_without_bias() -> None:
    groups, share = [0, 1, 0, 2, 0, 0, 3, 1] * 5, 0.1
    estimates = [
        estimate([made_up(groups, 10_000 * archive + file, share, [1, 2, 1]) for file in range(5)])
        for archive in range(300)
    ]
    events = np.array([e.events for e in estimates])
    assert abs(events.mean() - 175) < 4 * events.std() / math.sqrt(300)
    assert np.mean([e.low <= 175 <= e.high for e in estimates]) >= 0.92
    assert all(e.low <= e.events <= e.high for e in estimates)


@pytest.mark.parametrize(("num", "share"), [(0, 0.005), (0, 0.3), (1, 0.01), (4, 0.05), (17, 0.2), (5, 1.0)])
def test_the_interval_is_exact_for_lonely_events(num: int, share: float) -> None:
    low, high = interval([1] * num, share)
    totals = np.arange(num, 20_000)
    more, fewer = binom.sf(num - 1, totals, share), binom.cdf(num, totals, share)
    inside = totals[(more > 0.025) & (fewer > 0.025)]
    assert (low, high) == pytest.approx((inside[0], inside[-1]), abs=1)  # quantiles of steps: one more or less
    if num == 0:
        assert low == 0
        assert high == pytest.approx(-math.log(0.025) / share, rel=0.25 if share > 0.1 else 0.01)  # 3.7 / share


def test_the_numbers_stay_the_same_when_files_move_and_a_job_is_resumed(model: Model, tmp_path: Path) -> None:
    stage(model, rate=0.12)
    audits = []
    for name in ("here.flac", "there/other name.flac"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_audio(path, staged(30.0, burst_times(30.0, 0)), RATE_HZ)
        audits.append(model.tag(path, audit_share=0.5).audit)
    assert audits[0] == audits[1]
    assert audits[0] is not None
    assert 0 < audits[0].heard_seconds < audits[0].closed_seconds


def test_seeds_differ_by_content_length_and_channel(tmp_path: Path) -> None:
    first, second, last = tmp_path / "first", tmp_path / "second", tmp_path / "last"
    first.write_bytes(bytes(200_000))
    second.write_bytes(bytes(200_001))
    last.write_bytes(bytes(199_999) + b"1")
    seeds = {seed_of(first), seed_of(second), seed_of(str(last)), seed_of(first, 0), seed_of(first, 1)}
    arrays = (torch.zeros(100), torch.zeros(101), torch.ones(100), torch.zeros(1, 100))
    assert len(seeds | {seed_of(array) for array in arrays}) == 9
    assert seed_of(torch.zeros(100)) == seed_of(np.zeros(100, dtype=np.float32))


def test_windows_are_drawn_at_the_share_and_a_larger_share_draws_the_same_and_more() -> None:
    few, many, every, none = (
        np.array([is_drawn(bytes([seed]), window, share) for seed in range(20) for window in range(2000)])
        for share in (0.01, 0.1, 1.0, 0.0)
    )
    assert abs(few.mean() - 0.01) < 4 * math.sqrt(0.01 * 0.99 / few.size)
    assert abs(many.mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / many.size)
    assert not (few & ~many).any()
    assert every.all()
    assert not none.any()
    by_seed = many.reshape(20, 2000)
    assert abs((by_seed[:10] & by_seed[10:]).mean() - 0.01) < 0.004  # recordings draw by themselves


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_what_the_model_finds_stays_the_same_to_the_last_bit(model: Model, share: float) -> None:
    samples = noise(130.0)
    plain, audited = (model.tag(samples, rate_hz=RATE_HZ, audit_share=s) for s in (0.0, share))
    assert plain.events == audited.events
    assert len(plain) > 10
    assert (plain.seconds, plain.frames_open) == (audited.seconds, audited.frames_open)
    assert audited.audit is not None
    assert audited.audit.heard_seconds > 0


def test_no_audit_is_none_and_costs_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "Auditor", lambda *_: pytest.fail("nobody asked for an audit"))
    monkeypatch.setattr(model_module, "seed_of", lambda *_: pytest.fail("nobody asked for an audit"))
    monkeypatch.setattr(Line, "reopen", lambda *_: pytest.fail("nobody asked for an audit"))
    assert model.tag(noise(12.0), rate_hz=RATE_HZ).audit is None
    assert model.tag(noise(12.0), rate_hz=RATE_HZ, audit_share=0).audit is None


@pytest.mark.parametrize("share", [-0.1, 1.01, math.nan, math.inf])
def test_a_share_that_is_none_is_refused(model: Model, share: float) -> None:
    with pytest.raises(UserError, match=r"audit_share=.* must lie in \[0, 1\]"):
        model.tag(noise(1.0), rate_hz=RATE_HZ, audit_share=share)


def test_the_work_is_the_share_and_the_run_in(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = 0
    evaluate = model.line.featurizer.evaluate

    def count(stretch: object, first_frame: Tensor, num_frames: int) -> Tensor:
        nonlocal frames
        frames += len(first_frame) * num_frames
        return evaluate(stretch, first_frame, num_frames)  # type: ignore[arg-type]

    monkeypatch.setattr(model.line.featurizer, "evaluate", count)
    samples = noise(305.0)
    model.tag(samples, rate_hz=RATE_HZ)
    plain, frames = frames, 0
    audit = audit_of(model, samples, 0.2)
    num_drawn = sum(is_drawn(seed_of(samples), window, 0.2) for window in range(61))
    assert num_drawn > 5
    assert frames - plain <= num_drawn * (FRAMES_OF_WINDOW + 25 + 10)  # 2 s of run-in, 0.6 s of run-out and its delay
    assert frames - plain == pytest.approx(audit.opened_seconds / HOP)
    assert frames - plain >= num_drawn * FRAMES_OF_WINDOW


def test_no_more_than_a_window_and_its_surroundings_is_kept(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.line.block_frames = 50
    samples_kept, past_kept = [], []
    see = audit_module.Auditor.see

    def watch(auditor: audit_module.Auditor, block: Block, decided: Decided) -> None:
        see(auditor, block, decided)
        samples_kept.append(block.source.samples.untyped_storage().nbytes() / 4)
        past_kept.append(sum(past.num_frames for past in auditor._past))

    monkeypatch.setattr(audit_module.Auditor, "see", watch)
    audit_of(model, noise(200.0), 0.3)
    surroundings = FRAMES_OF_WINDOW + 25 + 10 + 2
    assert max(samples_kept) / 1280 < surroundings + 4 * 50
    assert max(past_kept) < surroundings + 2 * 50


def test_what_is_open_anyway_is_not_opened_again(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    set_gate(model.line, Open(model.line.glance.size))
    monkeypatch.setattr(Line, "reopen", lambda *_: pytest.fail("all of it was open"))
    audit = audit_of(model, noise(31.0), 1.0)
    assert (audit.closed_seconds, audit.heard_seconds, audit.opened_seconds, audit.missed) == (0, 0, 0, ())
    assert str(estimate([audit.to_json()])) == "estimated events missed by the switch: 0 (nothing was closed)"


@pytest.mark.parametrize("delay", [0.05, 0.9, -0.8])
def test_an_event_on_the_border_of_two_windows_counts_once(model: Model, delay: float) -> None:
    """Wherever it lies, and however far its peak is from where it is said to lie."""
    stage(model, rate=0.0)
    model.decisions = dict.fromkeys(LABELS, Decision(0.5, delay + 0.25, delay))
    border = FRAMES_OF_WINDOW * HOP
    for shift in np.arange(-1.4, 1.2, 0.06):
        audit = audit_of(model, staged(12.0, [border + float(shift)]), 1.0)
        assert len(audit.missed) == 1
    bursts = [0.0, border - 0.3, 2 * border, 11.69]  # and at the recording's ends
    assert len(audit_of(model, staged(12.0, bursts), 1.0).missed) == 4


def test_a_late_start_shifts_times_and_not_what_is_drawn(model: Model) -> None:
    stage(model, rate=0.12)
    samples = staged(31.0, burst_times(31.0, 3))
    early = audit_of(model, samples, 1.0)
    grid, line = model.line.grid._replace(origin_seconds=900.5), model.line
    decode = model._decoder(None)
    auditor = audit_module.Auditor(line, grid, decode, share=1.0, seed=b"", peak_delays_seconds=[0.05])
    track = line.follow(array_blocks(samples, RATE_HZ, RATE_HZ, start_seconds=900.5), watcher=auditor)
    late = auditor.audit(decode(track.held, track.grid, track.seconds))
    assert [missed.window for missed in late.missed] == [missed.window for missed in early.missed]
    for one, other in zip(late.missed, early.missed, strict=True):
        assert one.event.offset_seconds == pytest.approx(other.event.offset_seconds + 900.5)


def test_an_audit_comes_back_from_its_text(model: Model, archive: Archive) -> None:
    audit = audit_of(model, archive.recordings[0], 1.0)
    assert len(audit.missed) > 3
    assert Audit.from_json(audit.to_json()) == audit
    assert "\n" not in audit.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"share": 1', '{"missed": [[1]]}', '{"missed": [], "share": 0.1}'])
def test_text_that_is_no_audit_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no audit"):
        estimate([text])


def test_shares_are_not_mixed() -> None:
    with pytest.raises(ValueError, match=r"shares 0\.1, 0\.2 are mixed"):
        estimate([made_up([1], 0, share, [1]) for share in (0.1, 0.2)])


def test_the_estimate_as_printed() -> None:
    missed = tuple(Missed(w, Event(0.0, 1.0, "yes")) for w in (3, 9))
    texts = [Audit(0.02, 40, 40, 5000.0, 101.0, 150.0, m).to_json() for m in (missed, (), ())]
    assert str(estimate(texts)) == (
        "estimated events missed by the switch: 100 (13 to 358), from 2 % of the closed time heard"
    )
    assert str(estimate(texts[1:])) == (
        "estimated events missed by the switch: 0 (0 to 182), from 2 % of the closed time heard"
    )
    assert str(estimate([])) == "estimated events missed by the switch: 0 (nothing was closed)"


def test_an_archive_that_is_surely_worse_than_usual_raises_the_alarm() -> None:
    missed = tuple(Missed(w, Event(0.0, 1.0, "yes")) for w in range(40))
    text = Audit(0.1, 600, 600, 5000.0, 500.0, 700.0, missed).to_json()  # 400 missed, 290 at least: 290 of 890 is 33 %
    assert estimate([text], usual_missed_share=0.3).is_alarm
    assert "more than the 30.0% measured when the model was made" in str(estimate([text], usual_missed_share=0.3))
    for usual in (0.35, None):  # 40 % is expected, but 35 % may be
        assert not estimate([text], usual_missed_share=usual).is_alarm
        assert str(estimate([text], usual_missed_share=usual)).endswith("of the closed time heard")
