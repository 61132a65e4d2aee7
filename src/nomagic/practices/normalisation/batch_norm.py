"""Use batch normalisation in deep convolutional networks: they converge faster and with less data.

Normalised activations allow a higher learning rate and forgive a bad initial scale.

Against: batch norm behaves differently in training and inference, hides bugs, and layer or group
norm often do the same; why it helps is disputed. Networks that normalise themselves (SELU),
residual branches with their own scale, weight norm and critics with a gradient penalty do without.

Check: six or more convolutions in a network that has no norm layer of any kind and no residual
connection are a note.

Try: batch norm behind every hidden linear or convolutional layer, before its unit, whose bias goes;
where batches have 8 samples or more and there is no norm yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.probes.trace import NORMS, PLUMBING, Graph, Node, Trace
from nomagic.words import Arm, Edit, Finding, NotApplicable, Outcome, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCES = ("002", "C230", "IOF15", "000", "BYU", "MIS17")
PROMISE = Promise("ImageNet: 47.1 to 49.9 % accuracy", "MIS17", "helps", 2.8)
FEWEST = 8  # samples of a batch, below which its mean and variance are noise

DEEP = 6  # convolutions; shorter stacks train well without
INSTEAD = NORMS | {
    "selu",
    "selu_",
    "alpha_dropout",
    "_weight_norm",
    "rsqrt",
    "var",
    "std",
    "var_mean",
    "normalize",
}
SUMS = frozenset({"add", "__add__", "__iadd__", "add_", "__radd__", "cat", "concat"})


def check(trace: Trace) -> Iterator[Outcome]:
    """Deep stacks of convolutions without a norm, each once."""
    stacks = [(graph, _convolutions(graph)) for graph in trace]
    if not any(layers for _, layers in stacks):
        yield NotApplicable("no convolution was seen in training")
        return
    told: set[object] = set()
    for graph, layers in stacks:
        plain = not any(node.name in INSTEAD or _joins(graph, node) for node in graph.nodes)
        if len(layers) >= DEEP and plain and layers[0].anchor not in told:
            told.add(layers[0].anchor)
            yield Finding(
                message="a deep convolutional network without any norm layer",
                seen=f"{len(layers)} convolutions from {layers[0].layer} to "
                f"{layers[-1].layer}, no norm layer, "
                "no residual connection",
                fix="try nn.BatchNorm2d after each convolution (nn.GroupNorm where batches "
                "are small)",
                severity="note",
                place=layers[0].anchor,
            )


def _convolutions(graph: Graph) -> list[Node]:
    layers = [node for node in graph.nodes if node.name.startswith("conv") and node.weighted]
    return list({node.layer: node for node in layers}.values())


def _joins(graph: Graph, node: Node) -> bool:
    """Whether it adds two branches of feature maps."""
    if node.name not in SUMS or len(node.shape) < 3:
        return False
    inputs = [
        index for index in node.inputs if index >= 0 and graph.nodes[index].name not in PLUMBING
    ]
    return len(set(inputs)) > 1


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Batch norm behind each hidden layer."""
    from nomagic.parts.flow import observe
    from nomagic.parts.rehearsal import arms

    if setup.batch_size < FEWEST:
        size = setup.batch_size
        yield NotApplicable(f"batches of {size} are too small to normalise by ({FEWEST} or more)")
        return
    calls = observe(glimpse.model, glimpse.sample).calls
    norms = [call.name for call in calls if call.role == "norm"]
    if norms:
        yield NotApplicable(f"the network has norm layers ({norms[0]}): it is followed already")
        return
    edit = Edit("batch-norm", normalise)
    yield from arms(setup, glimpse, [(edit, "batch norm behind each hidden layer, without a bias")])


def normalise(model: nn.Module, sample: Tensor) -> nn.Module:
    """Put batch norms behind hidden layers."""
    from nomagic.parts.surgery import insert_norms, norm

    return insert_norms(model, sample, partial(norm, "batch"))
