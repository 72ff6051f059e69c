"""One walk, block by block and over open runs only, gives what everything at once gives; closed frames cost nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from small_line import noise, set_switch
from torch import Tensor

from featurizers import (
    AudioSource,
    Featurizer,
    GlanceFrames,
    GlanceSource,
    Grid,
    LogMel,
    Needs,
    Run,
    SpeechEmbedding,
    Stretch,
    array_blocks,
    check_featurizer,
    evaluate_runs,
    open_audio,
    silence_frame,
    write_audio,
)
from pipelines import line as line_module
from pipelines.audit import Auditor
from pipelines.encoder import Encoder
from pipelines.errors import UsageError
from pipelines.events import Event
from pipelines.feeds import Block
from pipelines.heads import Held, LevelDecay
from pipelines.line import Decided, Line, Step, Track
from surnn import EventGate, Gate, Open, Packed, RandomGate, Stride, Switch

RATE_HZ = 16_000
GRID = Grid(0.08)
FRAME = 1280  # samples
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # float32 sums in another order; a lost or shifted frame shows as 0.01 or more


class Envelope:
    """Reads audio: mean and peak of each frame and of what is around it, 0.1 s before and 0.3 s after."""

    def __init__(self) -> None:
        self.needs = Needs("audio", RATE_HZ, left_seconds=0.1, right_seconds=0.3)
        self.size = 2

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        around = stretch.data.abs().unfold(1, 1600 + FRAME + 4800, FRAME)[:, :num_frames]
        return torch.stack([around.mean(dim=2), around.amax(dim=2)], dim=2) * 10


class Windows:
    """Reads the glance in windows of 7 frames that cannot be cut: each frame minus the window's mean."""

    def __init__(self, size: int) -> None:
        self.needs = Needs("glance", block_frames=7)
        self.size = size

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        assert not (first_frame % 7).any()
        windows = stretch.data.reshape(len(stretch.data), num_frames // 7, 7, self.size)
        return (windows - windows.mean(dim=2, keepdim=True)).reshape(len(stretch.data), num_frames, self.size)


class Spy:
    """Another featurizer, and the frames that reached it."""

    def __init__(self, inner: Featurizer) -> None:
        self.inner, self.needs, self.size = inner, inner.needs, inner.size
        self.frames: list[int] = []

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        for first in first_frame.tolist():
            self.frames += range(first, first + num_frames)
        return self.inner.evaluate(stretch, first_frame, num_frames)


class Listed:
    """A gate that opens the frames it was told to."""

    lookahead_frames = lookback_frames = 0

    def __init__(self, *frames: int) -> None:
        self.frames = torch.tensor(frames, dtype=torch.int64)

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:
        assert among is None
        index = torch.arange(first_frame, first_frame + glance.shape[1])
        return Switch(torch.isin(index, self.frames).float()[None])


class Kind(NamedTuple):
    """A sort of line to test, by its featurizer and the bands of its glance."""

    num_mels: int
    featurizer: Callable[[int], Featurizer]
    layers: int = 1


KINDS = {
    "glance frames": Kind(8, lambda size: GlanceFrames(GRID, glance_size=size), layers=2),
    "speech embedding": Kind(32, lambda size: SpeechEmbedding(GRID, glance_size=size)),
    "audio": Kind(8, lambda _: Envelope()),
    "windows": Kind(8, Windows),
}


def make_line(kind: str, featurizer: Featurizer | None = None, share_open: float = 0.3) -> Line:
    """Random weights; its switch opens about this share of `noise`."""
    torch.manual_seed(5)
    glance = LogMel(GRID, num_mels=KINDS[kind].num_mels)
    featurizer = featurizer or KINDS[kind].featurizer(glance.size)
    line = Line(
        grid=GRID,
        glance=glance,
        gate=EventGate(glance.size, channels=8, dilations=(1, 2, 4)),
        featurizer=featurizer,
        encoder=Encoder(featurizer.size, 8, KINDS[kind].layers),
        head=LevelDecay(8, 2),
    )
    set_switch(line, noise(12.0), share_open)
    return line.eval()


class Answer(NamedTuple):
    """What the line should say, computed in one piece."""

    is_open: Tensor
    logits: Tensor | None
    features: Tensor
    level: Tensor
    decay: Tensor


@torch.inference_mode()
def in_one_piece(line: Line, samples: Tensor, gate: Gate | None = None) -> Answer:
    """Glance, switch and features of every frame in one pass each; torch's own GRU over the open ones."""
    gate = gate or line.gate
    num_frames = -(-len(samples) // FRAME)
    padded = torch.nn.functional.pad(samples, (0, (num_frames + 1) * FRAME - len(samples)))
    zero = torch.zeros(1, dtype=torch.int64)
    glance = line.glance.evaluate(Stretch(padded[None], zero.double()), zero, num_frames)[0]
    switch = gate.switch(glance[None])
    is_open = switch.frames[0] > 0
    window = line.featurizer.needs.block_frames
    source: AudioSource | GlanceSource = AudioSource(samples)
    if line.featurizer.needs.reads == "glance":
        source = GlanceSource(glance, silence_frame(line.glance, GRID))
    everything = [Run(0, -(-num_frames // window) * window)]
    features = evaluate_runs(line.featurizer, GRID, everything, source).features[:num_frames]
    rnn = line.encoder.rnn
    gru = torch.nn.GRU(rnn.input_size, rnn.hidden_size, rnn.num_layers, batch_first=True)
    gru.load_state_dict(rnn.state_dict())
    rows = (features[is_open] - line.encoder.mean) * line.encoder.scale
    hidden = gru(rows[None])[0][0] if len(rows) else torch.zeros(0, rnn.hidden_size)
    return Answer(is_open, None if switch.logits is None else switch.logits[0], features, *line.head(hidden))


def follow(line: Line, samples: Tensor, gate: Gate | None = None) -> Track:
    return line.follow(array_blocks(samples, RATE_HZ, RATE_HZ), gate=gate)


def require_equal(track: Track, expected: Answer) -> None:
    assert torch.equal(track.is_open, expected.is_open)
    assert torch.equal(track.held.index, expected.is_open.nonzero()[:, 0])
    if expected.logits is None:
        assert track.switch_logits is None
    else:
        torch.testing.assert_close(track.switch_logits, expected.logits, **TOLERANCE)
    torch.testing.assert_close(track.held.level, expected.level, **TOLERANCE)
    torch.testing.assert_close(track.held.decay, expected.decay, **TOLERANCE)


LENGTHS = [
    1,
    320,
    FRAME,
    FRAME + 1,
    6 * FRAME,
    49 * FRAME,
    50 * FRAME - 1,
    50 * FRAME,
    50 * FRAME + 353,
    173 * FRAME + 7,
]


@pytest.mark.parametrize("block_frames", [3, 50, 100_000])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_any_size_equal_one_pass(kind: str, block_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SOUND_FRAMES", block_frames)
    line = make_line(kind)
    for num_samples in LENGTHS:
        samples = noise(14.0)[:num_samples]
        expected = in_one_piece(line, samples)
        track = follow(line, samples)
        require_equal(track, expected)
        assert track.seconds == num_samples / RATE_HZ
    assert 0.1 < expected.is_open.float().mean() < 0.6  # else the comparison would show little


@pytest.mark.parametrize(
    "gate", [Stride(64, every=7, offset=3), RandomGate(64, rate=0.3, seed=2)], ids=["stride", "random"]
)
@pytest.mark.parametrize(
    "kind", ["glance frames", "audio"]
)  # without a look-ahead, which would hide a context too short
def test_gates_of_absolute_time_agree_in_blocks(kind: str, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SOUND_FRAMES", 3)  # shorter than the context
    line = make_line(kind)
    require_equal(follow(line, noise(9.0), gate), in_one_piece(line, noise(9.0), gate))


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_gate_encodes_what_all_frames_gives(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SOUND_FRAMES", 50)
    line = make_line(kind)
    samples = noise(11.3)
    expected = in_one_piece(line, samples, Open(0))
    glance, features = line.all_frames(array_blocks(samples, RATE_HZ, RATE_HZ))
    torch.testing.assert_close(glance, line.glance_of(samples), **TOLERANCE)
    torch.testing.assert_close(features, expected.features, **TOLERANCE)
    track = follow(line, samples, Open(line.glance.size))
    require_equal(track, expected)
    with torch.inference_mode():
        rows = Packed(line.encoder.normalise(features), track.held.index, torch.tensor([len(features)]))
        level, _ = line.head(line.encoder.rnn(rows).output)
    torch.testing.assert_close(track.held.level, level, **TOLERANCE)
    assert line.glance_only(array_blocks(samples, RATE_HZ, RATE_HZ)) == len(glance)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_frames_never_reach_the_featurizer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SOUND_FRAMES", 50)
    spy = Spy(KINDS[kind].featurizer(KINDS[kind].num_mels * 8))
    line = make_line(kind, spy, share_open=0.06)
    spy.frames.clear()
    track = follow(line, noise(14.0))
    assert len(spy.frames) == len(set(spy.frames)) == track.frames_featurized
    opened = track.held.index.tolist()
    window = spy.needs.block_frames
    context = {"glance frames": 0, "speech embedding": 9, "audio": 2 + 4, "windows": 0}[kind]
    allowed = {frame for first in opened for frame in range(first // window * window, (first // window + 1) * window)}
    for one, other in zip(sorted(allowed)[:-1], sorted(allowed)[1:], strict=True):
        if other - one - 1 <= context and one // 50 == (other - 1) // 50:  # bridged, within a block
            allowed |= set(range(one, other))
    assert set(opened) <= set(spy.frames) <= allowed
    assert len(spy.frames) < 0.75 * track.is_open.numel()


def test_runs_by_hand() -> None:
    spy = Spy(Envelope())  # context: 2 frames before, 4 after, so gaps of 6 frames are bridged
    line = make_line("audio", spy)
    spy.frames.clear()
    track = follow(line, noise(3.0), Listed(5, 6, 13, 21))
    assert sorted(spy.frames) == [*range(5, 14), 21]
    assert track.frames_featurized == 10
    assert track.held.index.tolist() == [5, 6, 13, 21]


class Reopener:
    """A watcher that reopens each stretch once the walk has decided it; the stretches begin where windows of 7 do."""

    stretches = ((0, 9), (7, 20), (42, 61), (91, 113), (98, 100))
    behind_frames = 40

    def __init__(self, line: Line) -> None:
        self.line, self.past = line, list[Decided]()
        self.held: dict[tuple[int, int], Held] = {}

    def see(self, block: Block, decided: Decided) -> None:
        self.past.append(decided)
        for first, end in self.stretches:
            if block.first_frame < end <= block.first_frame + block.num_frames:
                start = next(p for p in self.past if p.first_frame <= first < p.first_frame + p.num_frames)
                self.held[first, end] = self.line.reopen(block, start, first, end)

    def end(self) -> None:
        assert set(self.held) == set(self.stretches)


@pytest.mark.parametrize("block_frames", [14, 50, 750])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reopened_stretch_gives_what_a_walk_with_it_open_gives(
    kind: str, block_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "SOUND_FRAMES", block_frames)
    line, samples = make_line(kind), noise(9.3)
    plain, watcher = follow(line, samples), Reopener(line)
    watched = line.follow(array_blocks(samples, RATE_HZ, RATE_HZ), watcher=watcher)
    for one, other in zip(plain.held, watched.held, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(plain.is_open, watched.is_open)
    assert (plain.frames_featurized, plain.seconds) == (watched.frames_featurized, watched.seconds)
    for (first, end), held in watcher.held.items():
        before = [frame for frame in plain.held.index.tolist() if frame < first]
        expected = in_one_piece(line, samples, Listed(*before, *range(first, end)))
        assert held.index.tolist() == list(range(first, end))
        torch.testing.assert_close(held.level, expected.level[len(before) :], **TOLERANCE)
        torch.testing.assert_close(held.decay, expected.decay[len(before) :], **TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_an_audit_opens_what_any_featurizer_can_give(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SOUND_FRAMES", 50)
    line, samples = make_line(kind), noise(21.0)
    opened: list[Held] = []

    def decode(held: Held, grid: Grid, seconds: float) -> list[Event]:  # noqa: ARG001
        opened.append(held)
        return []

    track = line.follow(
        array_blocks(samples, RATE_HZ, RATE_HZ), watcher=Auditor(line, GRID, decode, share=1.0, seed=b"")
    )
    assert len(opened) == 5  # windows of 5 s
    for held in opened:
        first, end = int(held.index[0]), int(held.index[-1]) + 1
        before = [frame for frame in track.held.index.tolist() if frame < first]
        expected = in_one_piece(line, samples, Listed(*before, *range(first, end)))
        torch.testing.assert_close(held.level, expected.level[len(before) :], **TOLERANCE)


def test_nothing_open_nothing_featurized() -> None:
    spy = Spy(Envelope())
    line = make_line("audio", spy)
    spy.frames.clear()
    track = follow(line, noise(3.0), Listed())
    assert spy.frames == []
    assert track.frames_featurized == 0
    assert track.held.level.shape == track.held.decay.shape == (0, 2)
    assert not track.is_open.any()
    assert track.is_open.numel() == 38


def test_a_closed_stretch_of_many_blocks_carries_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SOUND_FRAMES", 8)
    line = make_line("glance frames")
    gate = Listed(2, 3, 90, 91)
    require_equal(follow(line, noise(9.0), gate), in_one_piece(line, noise(9.0), gate))


def test_an_array_and_its_file_give_the_same_bits(tmp_path: Path) -> None:
    line = make_line("glance frames")
    samples = noise(7.77)
    write_audio(tmp_path / "noise.flac", samples, RATE_HZ)
    with open_audio(tmp_path / "noise.flac", RATE_HZ) as stream:
        from_file = line.follow(stream)
    from_array = follow(line, samples)
    assert torch.equal(from_file.held.level, from_array.held.level)
    assert torch.equal(from_file.is_open, from_array.is_open)
    assert from_file.seconds == from_array.seconds == len(samples) / RATE_HZ


def test_a_late_start_shifts_times_and_nothing_else() -> None:
    line = make_line("speech embedding")
    late = line.follow(array_blocks(noise(5.0), RATE_HZ, RATE_HZ, start_seconds=3600.5))
    early = follow(line, noise(5.0))
    assert late.grid.onset_seconds(3) == 3600.5 + 3 * 0.08
    assert early.grid.origin_seconds == 0.0
    assert torch.equal(late.held.level, early.held.level)
    assert torch.equal(late.held.index, early.held.index)


class Endless:
    """An hour (or so) of noise that is never in memory as a whole."""

    start_seconds = 0.0

    def __init__(self, seconds: float) -> None:
        self.num_samples = round(seconds * RATE_HZ)
        self.second = noise(1.0)

    def blocks(self, num_samples: int) -> Iterator[Tensor]:
        for first in range(0, self.num_samples, num_samples):
            count = min(num_samples, self.num_samples - first)
            yield self.second.repeat(-(-count // RATE_HZ))[:count]


@pytest.mark.parametrize("kind", ["audio", "speech embedding"])
def test_memory_does_not_grow_with_length(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = make_line(kind)
    largest = {"samples": 0, "rows": 0}
    visit = line.visit

    def watch(block: Block, *others: object) -> Step:
        # storage, not view: a slice of a long tensor keeps all of it
        for name, tensor in (("samples", block.source.samples), ("rows", block.glance)):
            largest[name] = max(largest[name], tensor.untyped_storage().nbytes() // tensor.element_size())
        return visit(block, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(line, "visit", watch)
    track = line.follow(Endless(3600.0), gate=Stride(line.glance.size, every=100))
    assert track.seconds == 3600.0
    assert track.held.index.numel() == 450
    frames = 3 * line_module.SOUND_FRAMES + 20  # of context
    assert largest["samples"] < frames * FRAME
    assert largest["rows"] < frames * line.glance.size


@pytest.mark.parametrize("featurizer", [Envelope(), Windows(64)], ids=["audio", "windows"])
def test_the_featurizers_of_these_tests_keep_their_promises(featurizer: Featurizer) -> None:
    glance = torch.randn(75, 64, generator=torch.Generator().manual_seed(0))
    check_featurizer(featurizer, GRID, glance=glance)


def test_a_glance_must_read_audio_at_the_featurizer_s_rate() -> None:
    def build(glance: Featurizer, featurizer: Featurizer) -> Line:
        gate, encoder, head = Open(8), Encoder(featurizer.size, 8), LevelDecay(8, 2)
        return Line(grid=GRID, glance=glance, gate=gate, featurizer=featurizer, encoder=encoder, head=head)

    with pytest.raises(ValueError, match="glance reads 'glance'; the rule is that a glance reads 'audio'"):
        build(GlanceFrames(GRID, glance_size=8), Envelope())
    with pytest.raises(ValueError, match=r"16000 Hz.* 8000 Hz"):
        build(LogMel(GRID, rate_hz=8000, num_mels=8), Envelope())


def test_a_neuron_switch_that_nobody_would_heed_is_refused() -> None:
    gate, encoder, head = EventGate(64, num_neurons=8), Encoder(64, 8), LevelDecay(8, 2)
    glance, featurizer = LogMel(GRID, num_mels=8), GlanceFrames(GRID, glance_size=64)
    with pytest.raises(UsageError, match="num_neurons=8: a line skips whole frames"):
        Line(grid=GRID, glance=glance, gate=gate, featurizer=featurizer, encoder=encoder, head=head)


def test_statistics_center_what_never_varies_and_scale_the_rest() -> None:
    encoder = Encoder(2, 4)
    encoder.set_statistics(torch.tensor([1.0, 5.0]), torch.tensor([0.5, 0.0]))
    assert encoder.normalise(torch.tensor([[2.0, 6.0]])).tolist() == [[2.0, 1.0]]
