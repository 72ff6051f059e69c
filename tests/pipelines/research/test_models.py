"""Rival sequence models: hand-worked steps, causality, streaming, equal sizes."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.components import Role, read_component
from pipelines.errors import RecipeError, UserError
from pipelines.research import (
    Altered,
    Batch,
    DenseRecurrent,
    MackeyGlass,
    MinGRU,
    SelectiveCopy,
    SelectiveUpdate,
    SkipRNN,
    Transformer,
)
from pipelines.research.budgets import budget_cost
from pipelines.research.contract import seeded
from pipelines.research.job import build_model
from pipelines.research.min_gru import linear_scan
from pipelines.research.model import SequenceModel, matched_size, num_parameters
from pipelines.research.recipe import SizeOptions
from pipelines.research.skip_rnn import gru_step, rounded
from pipelines.research.transformer import positions
from surnn import Switch

GATES: list[dict[str, Any]] = [
    {"gate": "surnn.EventGate", "gate_args": {"dilations": [], "initial_logit": 0.0}},
    {"gate": "surnn.EventGate", "gate_args": {"dilations": [], "initial_logit": 0.0}, "switches": "both"},
    {"gate": "surnn.EventGate", "gate_args": {"dilations": [], "initial_logit": 0.0}, "switches": "neurons"},
    {"gate": "surnn.RhythmGate"},
    {"gate": "surnn.RhythmGate", "switches": "neurons"},
    {"gate": "surnn.Clockwork", "gate_args": {"periods": [1, 2, 4]}, "switches": "both"},
    {"gate": "surnn.Stride", "gate_args": {"every": 3}},
    {"gate": "surnn.RandomGate", "gate_args": {"rate": 0.4}},
    {"gate": "surnn.Open"},
]
CAUSAL: list[tuple[type, dict[str, Any]]] = [
    *((SelectiveUpdate, {**gate, "cell": cell}) for gate in GATES for cell in ("rnn", "gru", "lstm")),
    (DenseRecurrent, {"cell": "gru"}),
    (DenseRecurrent, {"cell": "lstm"}),
    (Transformer, {"causal": True}),
    (SkipRNN, {"initial_bias": -1.0}),
    (MinGRU, {}),
]


def name_of(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    return "-".join(str(part).rpartition(".")[2] for part in value.values() if not isinstance(part, dict)) or "plain"


def built(encoder: type, options: dict[str, Any]) -> nn.Module:
    torch.manual_seed(1)
    made: nn.Module = encoder(6, 12, **options)
    return made.eval()


@pytest.mark.parametrize(("encoder", "options"), CAUSAL, ids=name_of)
def test_a_causal_model_does_not_look_ahead(encoder: type, options: dict[str, Any]) -> None:
    model = built(encoder, options)
    frames = torch.randn(3, 20, 6)
    changed = frames.clone()
    changed[:, 11:] = torch.randn(3, 9, 6)
    before, after = model(frames), model(changed)
    assert model.is_causal
    assert torch.allclose(before.output[:, :11], after.output[:, :11], atol=1e-6)  # products of other shapes round
    assert not torch.allclose(before.output, after.output, atol=1e-3)


@pytest.mark.parametrize(("encoder", "options"), CAUSAL, ids=name_of)
def test_streaming_in_chunks_equals_one_pass(encoder: type, options: dict[str, Any]) -> None:
    model = built(encoder, options)
    frames = torch.randn(2, 23, 6)
    whole, parts, state = model(frames).output, [], None
    for first, last in ((0, 1), (1, 9), (9, 10), (10, 23)):
        encoded = model(frames[:, first:last], state)
        parts.append(encoded.output)
        state = encoded.state
    assert torch.allclose(torch.cat(parts, 1), whole, atol=2e-5)  # single precision


@pytest.mark.parametrize(("encoder", "options"), [*CAUSAL, (Transformer, {})], ids=name_of)
def test_padding_changes_no_answer(encoder: type, options: dict[str, Any]) -> None:
    problem = SelectiveCopy(length=14, num_tokens=2, num_symbols=4)
    problem.answers = "sequence"
    torch.manual_seed(0)
    model = SequenceModel(problem, encoder(6, 12, **options), 6).eval()
    symbols = torch.randint(4, (2, 14))
    lengths = torch.tensor([14, 9])
    padded = model(Batch(symbols, torch.zeros(2).long(), lengths)).scores
    alone = model(Batch(symbols[1:, :9], torch.zeros(1).long())).scores
    assert torch.allclose(padded[1:], alone, atol=1e-5)


def test_a_transformer_that_looks_ahead_cannot_stream_and_says_so() -> None:
    with pytest.raises(ValueError, match="causal=True"):
        built(Transformer, {})(torch.randn(1, 4, 6), state=[])


def test_positions_by_hand() -> None:
    table = positions(3, 2, 4)
    angles = [3.0, 3.0 / 100, 4.0, 4.0 / 100]
    by_hand = [value for angle in angles for value in (math.sin(angle), math.cos(angle))]
    assert table.flatten().tolist() == pytest.approx(by_hand, abs=1e-6)


def test_attention_by_hand() -> None:
    """One head, one block: softmax of products, weights worked out in loops."""
    model = built(Transformer, {"num_layers": 1, "num_heads": 1, "causal": True}).requires_grad_(False)
    frames = torch.randn(1, 5, 6)
    block = model.get_submodule("blocks.0")
    hidden = model.get_submodule("entry")(frames) + positions(0, 5, 12)
    queries, keys, values = block.get_submodule("projections")(block.get_submodule("before_attention")(hidden)).chunk(
        3, -1
    )
    attended = torch.zeros(1, 5, 12)
    for t in range(5):
        weights = torch.tensor([float(queries[0, t] @ keys[0, s]) / math.sqrt(12) for s in range(t + 1)]).exp()
        attended[0, t] = sum(w / weights.sum() * values[0, s] for s, w in enumerate(weights))
    hidden = hidden + block.get_submodule("exit")(attended)
    inner = nn.functional.gelu(block.get_submodule("up")(block.get_submodule("before_network")(hidden)))
    hidden = hidden + block.get_submodule("down")(inner)
    assert torch.allclose(model(frames).output, model.get_submodule("norm")(hidden), atol=1e-5)


def test_gru_step_is_that_of_torch() -> None:
    cell = nn.GRUCell(5, 7)
    frame, hidden = torch.randn(4, 5), torch.randn(4, 7)
    projected = frame @ cell.weight_ih.T + cell.bias_ih
    ours = gru_step(projected, hidden, cell.weight_hh, cell.bias_hh)
    assert torch.allclose(ours, cell(frame, hidden), atol=1e-6)


def test_skip_rnn_steps_at_the_frames_worked_out_by_hand() -> None:
    """With w = 0 each step adds sigmoid(b) = 0.2: open at 0, then 0.2, 0.4, 0.6 >= 0.5: open every third frame."""
    model = built(SkipRNN, {})
    with torch.no_grad():
        model.get_parameter("decision.weight").zero_()
        model.get_parameter("decision.bias").fill_(math.log(0.2 / 0.8))
    encoded = model(torch.randn(2, 10, 6))
    assert encoded.opened[0].tolist() == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    assert torch.equal(encoded.output[:, 0], encoded.output[:, 2])
    assert not torch.equal(encoded.output[:, 2], encoded.output[:, 3])
    assert float(encoded.cost.detach()) == pytest.approx(0.4)


def test_skip_rnn_does_not_count_padding() -> None:
    model = built(SkipRNN, {"initial_bias": 30.0})
    encoded = model(torch.randn(2, 10, 6), None, torch.tensor([10, 4]))
    assert encoded.opened.sum(1).tolist() == [10, 4]
    assert float(encoded.update_share) == 1


def test_skip_rnn_with_every_frame_open_is_a_gru() -> None:
    model = built(SkipRNN, {"initial_bias": 30.0})
    frames = torch.randn(2, 10, 6)
    assert torch.allclose(model(frames).output, model.get_submodule("layer")(frames)[0], atol=1e-6)


def test_skip_rnn_decisions_look_at_the_state() -> None:
    model = built(SkipRNN, {"initial_bias": 0.0})
    with torch.no_grad():
        model.get_parameter("decision.weight").mul_(20)
    opened = model(3 * torch.randn(8, 30, 6)).opened
    assert len({tuple(row) for row in opened.tolist()}) > 1


def test_rounding_passes_the_gradient_straight_through() -> None:
    values = torch.tensor([0.2, 0.5, 0.9], requires_grad=True)
    result = rounded(values)
    (result * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert result.tolist() == [0, 1, 1]
    assert values.grad is not None
    assert values.grad.tolist() == [1, 2, 3]


@pytest.mark.parametrize("num_frames", [1, 2, 7, 40])
def test_min_gru_scan_is_the_plain_loop(num_frames: int) -> None:
    torch.manual_seed(0)
    keep, new, before = torch.rand(2, num_frames, 3), torch.randn(2, num_frames, 3), torch.randn(2, 3)
    state, states = before, []
    for t in range(num_frames):
        state = keep[:, t] * state + new[:, t]
        states.append(state)
    assert torch.allclose(linear_scan(keep, new, before), torch.stack(states, 1), atol=1e-5)


def test_min_gru_layer_by_hand() -> None:
    model = built(MinGRU, {"num_layers": 1})
    frames = torch.randn(1, 4, 6)
    hidden = model.get_submodule("entry")(frames)
    mixing, candidate = model.get_submodule("projections.0")(model.get_submodule("norms.0")(hidden)).chunk(2, -1)
    state = torch.zeros(1, 12)
    for t in range(4):
        mix = torch.sigmoid(mixing[:, t])
        state = (1 - mix) * state + mix * candidate[:, t]
        expected = model.get_submodule("final_norm")(hidden[:, t] + state)
        assert torch.allclose(model(frames).output[:, t], expected, atol=1e-5)


def component(path: str, arguments: dict[str, Any]) -> Any:
    from pipelines.class_paths import Place

    role = Role(("input_size", "hidden_size"))
    value = {"class_path": f"pipelines.research.{path}", "init_args": arguments}
    return read_component(value, role, lambda key: Place("test", None, key))


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("SelectiveUpdate", {"gate_args": {"channels": 16}}),
        ("SelectiveUpdate", {"cell": "rnn", "gate_args": {"channels": 16}}),
        ("SelectiveUpdate", {"cell": "lstm", "gate_args": {"channels": 16}, "switches": "both"}),
        ("SelectiveUpdate", {"gate": "surnn.RhythmGate", "switches": "neurons"}),
        ("DenseRecurrent", {}),
        ("DenseRecurrent", {"cell": "lstm"}),
        ("Transformer", {}),
        ("SkipRNN", {}),
        ("MinGRU", {}),
    ],
)
def test_models_of_a_recipe_have_equal_parameters_within_5_percent(path: str, arguments: dict[str, Any]) -> None:
    model = build_model(SelectiveCopy(length=20), component(path, arguments), SizeOptions(20_000, 16))
    assert num_parameters(model) == pytest.approx(20_000, rel=0.05)


def test_the_nearest_size_is_found_and_none_within_5_percent_is_an_error() -> None:
    assert matched_size(lambda size: nn.Linear(size, 10), 1_000) == 99
    with pytest.raises(ValueError, match="within"):
        matched_size(lambda size: nn.Linear(size, size), 10, allows=lambda size: size % 4 == 0)


def test_a_model_that_looks_ahead_is_refused_where_that_tells_the_answer() -> None:
    with pytest.raises(UserError, match="looks ahead"):
        build_model(MackeyGlass(length=20), component("Transformer", {}), SizeOptions())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"gate": "surnn.NoSuchGate"}, "no NoSuchGate"),
        ({"gate_args": {"chanels": 3}}, "chanels"),
        ({"gate": "surnn.Stride", "switches": "neurons", "gate_args": {"every": 2}}, "num_neurons"),
        ({"gate": "surnn.RhythmGate", "switches": "both"}, "frames or neurons"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        SelectiveUpdate(6, 12, **arguments)


def switch_of(frames: Tensor, neurons: Tensor) -> Switch:
    return Switch((frames > 0).float(), (neurons > 0).float(), frames, neurons)


def test_budgets_by_hand() -> None:
    class Budgets:
        frame_budget, neuron_budget = 0.5, 0.5

    likely = math.log(3.0)  # a probability of 3/4
    switch = switch_of(torch.full((2, 4), likely), torch.full((2, 4, 3), likely))
    joint = budget_cost(switch, Budgets(), "joint", None)
    above = budget_cost(switch, Budgets(), "one-sided", None)
    apart = budget_cost(switch, Budgets(), "separate", torch.tensor([4, 2]))
    assert joint is not None
    assert float(joint.detach()) == pytest.approx(((0.75 * 0.75 - 0.25) / 0.25) ** 2)
    assert above is not None
    assert float(above.detach()) == pytest.approx(0.25 / 0.5 * 2)
    assert apart is not None
    assert float(apart.detach()) == pytest.approx(2 * 0.75 / 0.5)  # all open: probability / budget, twice


@pytest.mark.parametrize(("sharpness", "slope"), [(1.0, 0.5), (4.0, 2.0)])
def test_an_altered_gate_has_the_slope_that_it_names(sharpness: float, slope: float) -> None:
    torch.manual_seed(0)
    gate = Altered(3, sharpness=sharpness, gate_args={"dilations": []})
    glance = torch.randn(2, 5, 3)
    with torch.no_grad():
        gate.gate.decision.weight.zero_()
        gate.gate.decision.bias.zero_()
    gate.switch(glance).frames.sum().backward()
    bias = gate.gate.decision.bias.grad
    assert bias is not None
    assert bias.tolist() == pytest.approx([10 * slope])  # 2 s sigmoid'(0) = s / 2, ten frames


def test_noise_opens_other_frames_in_training_only() -> None:
    torch.manual_seed(0)
    gate = Altered(3, noise=1.0, gate_args={"dilations": []})
    glance = torch.randn(2, 50, 3)
    assert not torch.equal(gate.switch(glance).frames, gate.switch(glance).frames)
    gate.eval()
    assert torch.equal(gate.switch(glance).frames, gate.switch(glance).frames)
    assert torch.equal(gate.switch(glance).frames, gate.gate.switch(glance).frames)


def test_a_soft_switch_mixes_and_has_the_budgets_of_its_gate() -> None:
    torch.manual_seed(0)
    encoded = SelectiveUpdate(6, 4, is_soft=True, switches="both")(torch.randn(2, 9, 6))
    assert encoded.opened is not None
    assert 0 < float(encoded.opened.min()) < float(encoded.opened.max()) < 1
    assert encoded.cost is not None
    assert encoded.cost.isfinite()


def test_a_heartbeat_opens_every_so_many_frames_in_any_case() -> None:
    closed = {"dilations": [], "initial_logit": -50.0}
    encoded = SelectiveUpdate(6, 4, gate_args=closed, heartbeat_frames=4)(torch.randn(2, 9, 6))
    assert encoded.opened is not None
    assert encoded.opened[0].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_a_gate_that_looks_around_cannot_stream_and_says_so() -> None:
    model = SelectiveUpdate(6, 4)
    state = model(torch.randn(1, 5, 6)).state
    with pytest.raises(ValueError, match="cannot stream"):
        model(torch.randn(1, 5, 6), state)


def test_an_altered_gate_keeps_padding_and_what_it_was_not_asked_for_closed() -> None:
    gate = Altered(3, gate_args={"dilations": [], "initial_logit": 9.0})
    among = torch.ones(2, 5, dtype=torch.bool)
    among[0, 1] = False
    frames = gate.switch(torch.randn(2, 5, 3), 0, among, lengths=torch.tensor([5, 3])).frames
    assert frames.tolist() == [[1, 0, 1, 1, 1], [1, 1, 1, 0, 0]]


def test_seeds_of_whole_numbers_do_not_collide() -> None:
    drawn = {float(torch.rand((), generator=seeded(a, b))) for a in range(5) for b in range(5)}
    assert len(drawn) == 25
