"""What a Graph says about its nodes, on graphs made by hand."""

from nomagic.practices.activation import no_sigmoid_tanh, watch_dead_units
from nomagic.probes.activations import Activation, Activations
from nomagic.probes.descent import Descent, Loss
from nomagic.probes.signals import Signal, Signals
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import Finding, Place

HERE = Place("train.py", 7)


def graph(*calls: tuple[str, tuple[int, ...], str]) -> Graph:
    """A graph of (function, inputs, weight) in order; the last is the loss."""
    nodes = [
        Node(i, name, HERE, "", "", inputs, (weight,) if weight else (), (8, 4), ((8, 4),))
        for i, (name, inputs, weight) in enumerate(calls)
    ]
    return Graph(HERE, 0, 1.0, tuple(nodes))


MLP = graph(
    ("linear", (-1,), "a.weight"),
    ("relu", (0,), ""),
    ("view", (1,), ""),
    ("linear", (2,), "b.weight"),
    ("relu", (3,), ""),
    ("cross_entropy", (4, -1), ""),
)
CODE = graph(
    ("linear", (-1,), "a.weight"),
    ("relu", (0,), ""),
    ("linear", (1,), "b.weight"),
    ("mse_loss", (2, -1), ""),
    ("abs", (1,), ""),
    ("mean", (4,), ""),
    ("add", (3, 5), ""),
)
GATE = graph(
    ("linear", (-1,), "a.weight"),
    ("sigmoid", (0,), ""),
    ("tanh", (0,), ""),
    ("rsub", (1,), ""),
    ("mul", (3, 2), ""),
    ("linear", (4,), "b.weight"),
    ("mse_loss", (5, -1), ""),
)


def test_hidden_lies_between_two_layers():
    assert MLP.hidden(MLP.nodes[1])
    assert not MLP.hidden(MLP.nodes[4])


def test_feeder_is_the_nearest_layer_through_plumbing():
    assert MLP.feeder(MLP.nodes[4]) is MLP.nodes[3]
    assert MLP.feeder(MLP.nodes[0]) is None


def test_a_penalised_code_is_exposed():
    assert CODE.exposed(CODE.nodes[1])
    assert not MLP.exposed(MLP.nodes[1])


def test_a_gate_is_multiplied_with_something_computed():
    assert GATE.gates(GATE.nodes[1])
    assert GATE.gates(GATE.nodes[2])
    assert not MLP.gates(MLP.nodes[1])


def dead(silent: float, born: float, where: Graph = MLP, **more: object) -> list[str]:
    row = Activation("relu", "a", HERE, 64, 5_000, 80, 0.0, born, silent, (0, 0), ((0, 1),), **more)
    outcomes = watch_dead_units.check(Activations([row]), Trace([where]))
    return [outcome.severity for outcome in outcomes if isinstance(outcome, Finding)]


def test_dead_layers_are_faults_and_dying_ones_warnings():
    assert dead(1.0, 0.1) == ["fault"]
    assert dead(0.6, 0.1) == ["warning"]
    assert dead(0.95, 0.95) == ["warning"]
    assert dead(0.6, 0.5) == []
    assert dead(float("nan"), float("nan")) == []


def test_frozen_and_sparse_layers_may_be_silent():
    assert dead(1.0, 0.1, trained=False) == []
    assert dead(1.0, 0.1, where=CODE) == []


def sigmoids(layers: list[str], gradients: tuple[float, float], ended: float = 1.0) -> list[str]:
    calls: list[tuple[str, tuple[int, ...], str]] = []
    for layer in layers:
        calls += [("linear", (len(calls) - 1,), layer), ("sigmoid", (len(calls),), "")]
    calls += [("linear", (len(calls) - 1,), "out.weight"), ("mse_loss", (len(calls), -1), "")]
    rows = [Signal(0, layers[0], gradients[0], 1.0), Signal(0, layers[-1], gradients[1], 1.0)]
    losses = Descent([Loss(1.0, 0, 0, HERE), Loss(ended, 1, 1, HERE)])
    outcomes = no_sigmoid_tanh.check(Trace([graph(*calls)]), Signals(rows), losses)
    return [outcome.severity for outcome in outcomes if isinstance(outcome, Finding)]


def test_deep_sigmoids_are_judged_by_the_gradient_that_is_left():
    three = ["a.weight", "b.weight", "c.weight"]
    assert sigmoids(three, (0.001, 0.1)) == ["warning"]
    assert sigmoids(three, (0.05, 0.1)) == ["note"]
    assert sigmoids(three, (0.001, 0.1), ended=0.1) == ["note"]
    assert sigmoids(three[:2], (0.001, 0.1)) == []


def test_a_loop_over_time_is_no_depth():
    assert sigmoids(["a.weight"] * 12, (0.001, 0.1)) == []
