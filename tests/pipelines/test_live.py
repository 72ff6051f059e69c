"""Sound that is pushed in pieces of any size gives the events and switches of the whole file, in time, and forgets."""

import itertools
import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_line import LABELS, RATE_HZ, noise, set_switch
from torch import Tensor

from featurizers import Featurizer, GlanceFrames, Grid, LogMel, MediaError, Needs, PacketGlance, Stretch, array_blocks
from pipelines.decoding import PeakDecoder, Placement, decode_peaks
from pipelines.encoder import Encoder
from pipelines.errors import UsageError, UserError
from pipelines.events import Event
from pipelines.feeds import Block
from pipelines.heads import Held, LevelDecay
from pipelines.keywords import Decision
from pipelines.line import Decided, Line
from pipelines.live import BLOCK_SECONDS, LiveStream, look_ahead_of
from pipelines.live_decoding import LiveDecoder, decoder_of
from pipelines.model import Model
from pipelines.span_decoding import SpanDecision, SpanDecoder, decode_spans
from pipelines.tasks import ActionRecognition, KeywordSpotting, SoundEventDetection
from surnn import EventGate, Restart, Stride, Switch

GRID = Grid(0.08)
RESAMPLER_SECONDS = 0.12  # measured: the longest that soxr's HQ setting keeps sound back, from 8 kHz


class Envelope:
    """Reads audio: mean and peak of each frame and of what is around it, 0.1 s before and 0.3 s after."""

    needs, size = Needs("audio", RATE_HZ, left_seconds=0.1, right_seconds=0.3), 2

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        around = stretch.data.abs().unfold(1, 1600 + 1280 + 4800, 1280)[:, :num_frames]
        return torch.stack([around.mean(dim=2), around.amax(dim=2)], dim=2) * 10


class Windows:
    """Reads the glance in windows of 7 frames that cannot be cut: each frame minus the window's mean."""

    needs, size = Needs("glance", block_frames=7), 64

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        assert not (first_frame % 7).any()
        windows = stretch.data.reshape(len(stretch.data), num_frames // 7, 7, self.size)
        return (windows - windows.mean(dim=2, keepdim=True)).reshape(len(stretch.data), num_frames, self.size)


class Loud:
    """A gate that opens frames within 3 of a loud one."""

    lookahead_frames = lookback_frames = 3

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:
        assert first_frame >= 0
        assert among is None
        is_loud = (glance.mean(2) > 0).float()  # of log10 of the power, plus 2
        return Switch(torch.nn.functional.max_pool1d(is_loud, 7, stride=1, padding=3))


class Opened:
    """A watcher that keeps which frames were open."""

    behind_frames = 0

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.num_frames = 0

    def see(self, block: Block, decided: Decided) -> None:
        assert block.first_frame == self.num_frames
        self.num_frames += decided.num_frames
        self.frames += decided.index.tolist()

    def end(self) -> None:
        self.num_frames = -self.num_frames


def make_line(featurizer: Featurizer | None = None, restart: Restart | None = None, level: float = -4.0) -> Line:
    """Random weights; its switch opens about 0.3 of `noise`."""
    torch.manual_seed(5)
    glance = LogMel(GRID, num_mels=8)
    featurizer = featurizer or GlanceFrames(GRID, glance_size=glance.size)
    encoder = Encoder(featurizer.size, 8, bidirectional=restart is not None, restart=restart)
    head = LevelDecay(encoder.size, 2, initial_level=level)
    gate = EventGate(glance.size, channels=8, dilations=(1, 2))
    line = Line(grid=GRID, glance=glance, gate=gate, featurizer=featurizer, encoder=encoder, head=head)
    set_switch(line, noise(12.0))
    return line.eval()


def spans(open_at: float = 0.5) -> SpanDecoder:
    return SpanDecoder(GRID, LABELS, decisions=SpanDecision(open_at, 0.9 * open_at, 3, 0.1, 0.2))


def peaks(threshold: float = 0.5) -> PeakDecoder:
    return PeakDecoder(GRID, LABELS, thresholds=threshold)


def heard(stream: LiveStream, samples: Tensor, sizes: Sequence[int]) -> list[Event]:
    """All events, pushed in pieces of these sizes in turn."""
    events, first = [], 0
    for size in itertools.cycle(sizes):
        events += stream.push(samples[first : first + size])
        first += size
        if first >= len(samples):
            return sorted(events + stream.end())
    raise AssertionError


def require_near(found: Sequence[Event], expected: Sequence[Event]) -> None:
    assert [event[:3] for event in found] == [event[:3] for event in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-4)  # float32 sums in another order


LINES = {
    "glance frames": {},
    "audio": {"featurizer": Envelope()},
    "windows": {"featurizer": Windows()},
    "both directions": {"restart": Restart(2, 5)},
    "both directions, long segments": {"restart": Restart(9, 60)},
}
SIZES = {"any": [3, 1600, 0, 777, 160_000, 5], "10 ms": [160], "80 ms": [1280], "10 s": [160_000]}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("decoder", [spans, peaks])
def test_pieces_of_any_size_give_the_events_and_switches_of_the_whole(kind: str, decoder: Any) -> None:
    line: Line = make_line(**LINES[kind], level=0.0)  # type: ignore[arg-type]
    for num_samples in (300, 40 * 1280 + 11, 9 * RATE_HZ):
        samples = noise(14.0)[:num_samples]
        track = line.follow(array_blocks(samples, RATE_HZ, RATE_HZ))
        whole = decoder()
        expected = whole.add(track.held, 0) + whole.end(track.seconds)
        results = []
        for sizes in SIZES.values():
            opened = Opened()
            stream = LiveStream(line, decoder(), RATE_HZ, watcher=opened)
            results.append(heard(stream, samples, sizes))
            assert -opened.num_frames == track.is_open.numel() == stream.num_frames
            assert opened.frames == track.is_open.nonzero()[:, 0].tolist()
            assert stream.frames_open == pytest.approx(float(track.is_open.float().mean()))
            assert stream.seconds == track.seconds
        require_near(results[0], sorted(expected))
        assert all(result == results[0] for result in results)  # to the last bit
    assert len(expected) > 3
    assert 0.1 < track.is_open.float().mean() < 0.6


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100])
def test_a_stream_of_any_rate_is_what_tag_finds(model: Model, rate_hz: int) -> None:
    samples = noise(9.0 * rate_hz / RATE_HZ)  # the bursts of the other rates come slower or faster
    tagged = model.tag(samples, rate_hz=rate_hz)
    both = torch.stack([samples, torch.zeros_like(samples)])
    for sizes in ([441], [1, 2, 3000], [rate_hz * 10]):
        require_near(heard(model.stream(rate_hz), samples, sizes), tagged)
        first = heard_both(model.stream(rate_hz, channel=0), both, sizes)
        require_near(first, tagged)
    assert len(tagged) >= 2


def heard_both(stream: LiveStream, samples: Tensor, sizes: Sequence[int]) -> list[Event]:
    events = []
    for part in torch.split(samples, max(sizes), dim=1):
        events += stream.push((part * 32768).round().clamp(-32768, 32767).to(torch.int16))
    return sorted(events + stream.end())


def test_every_sample_by_itself_is_heard_as_well(model: Model) -> None:
    samples = noise(1.7)
    low = model.stream(RATE_HZ, min_score=0.005)
    found = heard(low, samples, [1])
    require_near(found, model.tag(samples, rate_hz=RATE_HZ, min_score=0.005))
    assert found


def test_gate_thresholds_and_clock_are_those_asked_for(model: Model) -> None:
    samples = noise(9.0)
    opened = model.stream(RATE_HZ, gate="open")
    require_near(heard(opened, samples, [999]), model.tag(samples, rate_hz=RATE_HZ, gate="open"))
    assert opened.frames_open == 1.0
    usual = heard(model.stream(RATE_HZ), samples, [999])
    later = heard(model.stream(RATE_HZ, start_seconds=100.0), samples, [999])
    assert [e.onset_seconds for e in later] == pytest.approx([100 + e.onset_seconds for e in usual])


LEVELS = st.tuples(st.integers(-4, 4).map(float), st.sampled_from([0.0, 0.25, 1.0, 4.0]))
ROWS = st.dictionaries(st.integers(0, 60), st.lists(LEVELS, min_size=2, max_size=2), min_size=1)
DECISIONS = st.builds(
    lambda pair, *rest: SpanDecision(max(pair), min(pair), *rest),
    st.tuples(st.sampled_from([0.0, 0.3, 0.6, 0.9]), st.sampled_from([0.1, 0.3, 0.6, 0.9])),
    st.sampled_from([1, 3, 9]),
    st.sampled_from([0.0, 0.1, 0.2]),
    st.sampled_from([0.0, 0.1, 0.4]),
)


def fed(decoder: LiveDecoder, held: Held, stops: Sequence[int], num_frames: int) -> list[Event]:
    """Events of a decoder that is told of frames up to each stop in turn; none may come too late."""
    events, before = [], 0
    for stop in [*sorted(stop for stop in stops if stop < num_frames), num_frames]:
        is_new = (held.index >= before) & (held.index < stop)
        before = stop
        events += decoder.add(Held(*(part[is_new] for part in held)), stop)
        sure = [e for e in events if stop * GRID.hop_seconds >= e.offset_seconds]
        assert sorted(sure) == sorted(events)  # nothing is named before it has ended
    return sorted(events + decoder.end(num_frames * GRID.hop_seconds))


@settings(max_examples=80, deadline=None)
@given(ROWS, st.lists(DECISIONS, min_size=2, max_size=2), st.lists(st.integers(0, 80)), st.integers(1, 20))
def test_decoders_that_are_fed_in_any_steps_find_what_the_whole_has(
    rows: dict[int, list[tuple[float, float]]], decisions: list[SpanDecision], stops: list[int], more: int
) -> None:
    numbers = torch.tensor([rows[frame] for frame in sorted(rows)], dtype=torch.float64)
    held, num_frames = Held(numbers[..., 0], numbers[..., 1], torch.tensor(sorted(rows))), max(rows) + more
    seconds = num_frames * GRID.hop_seconds
    chosen = dict(zip(LABELS, decisions, strict=True))
    expected = decode_spans(held, GRID, LABELS, decisions=chosen, seconds=seconds)
    assert fed(SpanDecoder(GRID, LABELS, decisions=chosen, block_frames=7), held, stops, num_frames) == expected
    places = {"yes": Placement(0.3, 0.0), "no": Placement(0.2, 0.08)}
    peaks = {"thresholds": 0.4, "placements": places, "separation_seconds": 0.24}
    found = fed(PeakDecoder(GRID, LABELS, **peaks), held, stops, num_frames)  # type: ignore[arg-type]
    require_near(found, decode_peaks(held, GRID, LABELS, **peaks))  # type: ignore[arg-type]


@pytest.mark.parametrize("decoder", [spans, peaks])
def test_an_event_that_ended_is_named_as_soon_as_its_delay_has_settled(decoder: Any) -> None:
    # Open from frame 10 to 14, then closed, the score falling fast: for spans its end is frame 15 at the latest.
    index = torch.arange(10, 15)
    level = torch.tensor([-1.0, 1.0, 3.0, 1.0, -2.0])[:, None].repeat(1, 2)
    live, when = decoder(), {}
    for stop in range(1, 60):
        is_new = index == stop - 1
        for event in live.add(Held(level[is_new], torch.full_like(level[is_new], 9.0), index[is_new]), stop):
            when[event.label] = stop * GRID.hop_seconds - event.offset_seconds
    assert when == {label: pytest.approx(live.delay_seconds) for label in LABELS}


def named(line: Line, decoder: LiveDecoder, samples: Tensor, piece: int) -> list[tuple[Event, float]]:
    """Each event named while the sound went on, and the seconds heard by then."""
    stream = LiveStream(line, decoder, RATE_HZ, gate=Loud())
    return [(event, stream.seconds) for part in torch.split(samples, piece) for event in stream.push(part)]


def rare_bursts() -> Tensor:
    """A burst of 0.3 s in every 4 s of near silence."""
    samples = 0.0002 * torch.randn(32 * RATE_HZ, generator=torch.Generator().manual_seed(1))
    for second in range(2, 32, 4):
        samples[second * RATE_HZ : second * RATE_HZ + 4800] = noise(1.0)[9600:14_400]
    return samples


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("decoder", [spans, peaks])
def test_events_come_within_half_a_second_of_the_declared_look_ahead(kind: str, decoder: Any) -> None:
    line: Line = make_line(**LINES[kind], level=0.0)  # type: ignore[arg-type]
    samples, piece, hop = rare_bursts(), 160, GRID.hop_seconds
    track = line.follow(array_blocks(samples, RATE_HZ, RATE_HZ), gate=Loud())
    assert 0.1 < track.is_open.float().mean() < 0.4
    opened = track.held.index
    usual = float(track.held.level.sigmoid().median())  # so that about half of what opens is an event
    ahead = look_ahead_of(line, decoder(), Loud())
    waits, waits_closed = [], []
    for event, at_seconds in named(line, decoder(usual), samples, piece):
        waits.append(at_seconds - event.offset_seconds)
        burst = int(event.onset_seconds // 4)  # each burst's open frames have closed ones behind them
        last = opened[opened < (burst + 1) * 4 / hop][-1]
        waits_closed.append(at_seconds - max(event.offset_seconds, (int(last) + 1) * hop))
    assert len(waits) >= 6
    late = BLOCK_SECONDS - hop + piece / RATE_HZ + 1e-6
    assert max(waits_closed) <= ahead.seconds + late
    assert max(waits) <= ahead.longest_seconds + late
    if ahead.longest_backward == 0:  # no more is declared than is needed
        assert min(waits) >= ahead.seconds - ahead.window - 1e-6
    else:
        assert max(waits) >= ahead.seconds - hop
    assert BLOCK_SECONDS + RESAMPLER_SECONDS < 0.5


def test_the_look_ahead_by_hand(model: Model) -> None:
    ahead = model.look_ahead
    assert ahead.glance == pytest.approx((512 - 160) / 16_000)
    assert ahead.frames == pytest.approx(3 * 0.08)  # dilations 1 and 2 of the gate; the featurizer sees no further
    assert ahead.window == ahead.backward == ahead.longest_backward == 0
    assert ahead.decoding == pytest.approx(6 * 0.08 + 0.2)  # 0.5 s is 6 frames; the later of the two placements
    assert model.look_ahead_seconds == ahead.seconds == pytest.approx(0.022 + 0.24 + 0.68)
    both = look_ahead_of(make_line(restart=Restart(9, 60)), spans())
    assert both.backward == pytest.approx(9 * 0.08)
    assert both.longest_backward == pytest.approx(59 * 9 * 0.08)
    assert both.decoding == pytest.approx(
        (1 + 2 + 1) * 0.08
    )  # half of 3 frames, 0.2 s of gap, and the frame that closes
    windows = look_ahead_of(make_line(Windows()), spans())
    assert windows.window == pytest.approx((7 - 2) * 0.08)
    assert look_ahead_of(make_line(Envelope()), spans()).frames == pytest.approx(4 * 0.08)  # 0.3 s, beyond the gate's 3
    endless = look_ahead_of(make_line(restart=Restart(None, 60)), spans())
    assert endless.longest_seconds == endless.seconds == math.inf


@pytest.mark.parametrize(("kind", "decoder"), [*((kind, spans) for kind in LINES), ("glance frames", peaks)])
def test_a_stream_remembers_no_more_after_six_minutes_than_after_one(kind: str, decoder: Any) -> None:
    line: Line = make_line(**LINES[kind], level=0.0)  # type: ignore[arg-type]
    stream = LiveStream(line, decoder(), RATE_HZ, gate=Stride(64, every=37))
    remembered = []
    for _ in range(6):
        for part in torch.split(noise(60.0), 50_000):
            stream.push(part)
        # of tensors their whole storage is pickled, not only what is seen of it
        kept = {name: value for name, value in vars(stream).items() if name not in ("_line", "_gate")}
        remembered.append(len(pickle.dumps(kept)))
    assert stream.num_frames > 4400
    assert max(remembered[1:]) <= remembered[0] + 100_000  # parts end anywhere in a block


def test_what_cannot_be_streamed_is_said(model: Model) -> None:
    stream = model.stream(RATE_HZ)
    stream.push(torch.zeros(16_000))
    with pytest.raises(MediaError, match=r"holds \[nan\] at 0.003 s.*counted from 1.000 s of the stream"):
        stream.push(torch.tensor([0.0] * 48 + [math.nan] + [0.0] * 200))
    stream.end()
    assert stream.end() == []
    with pytest.raises(UsageError, match=r"has ended; open another one"):
        stream.push(torch.zeros(5))
    with pytest.raises(MediaError, match=r"a sample rate of 7 Hz"):
        model.stream(7)
    with pytest.raises(UserError, match=r"min_score=2 must lie in \[0, 1\]"):
        model.stream(RATE_HZ, min_score=2)
    with pytest.raises(MediaError, match=r"has no channel 3"):
        model.stream(RATE_HZ, channel=3).push(torch.zeros(2, 4000))
    assert model.stream(RATE_HZ).end() == []


def test_a_model_of_video_is_refused() -> None:
    glance = PacketGlance(GRID)
    featurizer = GlanceFrames(GRID, glance_size=glance.size)
    line = Line(
        grid=GRID,
        glance=glance,
        gate=EventGate(glance.size),
        featurizer=featurizer,
        encoder=Encoder(featurizer.size, 8),
        head=LevelDecay(8, 2),
    )
    with pytest.raises(UsageError, match="reads video, which cannot be streamed"):
        LiveStream(line, peaks(), RATE_HZ)


def test_a_task_of_somebody_s_own_is_refused_since_its_decoding_is_unknown() -> None:
    class MyTask(KeywordSpotting):
        def decode(self, *_: object, **__: object) -> list[Event]:  # type: ignore[override]
            return []

    with pytest.raises(UsageError, match=r"MyTask can only decode whole recordings"):
        decoder_of(MyTask(), GRID, LABELS, {})


TASKS = {
    "words": (KeywordSpotting(), Decision(0.6, 0.3, 0.1)),
    "sounds": (SoundEventDetection(), SpanDecision(0.6, 0.5, 3, 0.1, 0.1)),
    "actions": (ActionRecognition(), ActionRecognition.decision(0.6, 0.5, 3, 0.1, 0.1)),
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("min_score", [None, 0.3])
def test_each_task_finds_live_what_it_decodes(name: str, min_score: float | None) -> None:
    task, decision = TASKS[name]
    random = torch.Generator().manual_seed(2)
    index = torch.arange(300)[torch.rand(300, generator=random) < 0.5]
    shape = len(index), len(LABELS)
    held = Held(torch.randn(shape, generator=random), 8 * torch.rand(shape, generator=random), index)
    decisions = dict.fromkeys(LABELS, decision)
    expected = task.decode(held, GRID, 24.0, LABELS, decisions, min_score)
    live = decoder_of(task, GRID, LABELS, decisions, min_score)
    require_near(fed(live, held, range(0, 300, 5), 300), expected)
    others = task.decode(held, GRID, 24.0, LABELS, decisions, None if min_score else 0.3)
    assert len(expected) > 10
    assert [e[:3] for e in expected] != [e[:3] for e in others]  # so min_score tells
