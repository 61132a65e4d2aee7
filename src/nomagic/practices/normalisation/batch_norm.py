"""Use batch normalisation in deep convolutional networks: they converge faster and with less data.

Normalised activations allow a higher learning rate and forgive a bad initial scale.

Against: batch norm behaves differently in training and inference, hides bugs, and layer or group
norm often do the same; why it helps is disputed. Networks that normalise themselves (SELU),
residual branches with their own scale, weight norm and critics with a gradient penalty do without.

Check: six or more convolutions in a network that has no norm layer of any kind and no residual
connection are a note.
"""

from collections.abc import Iterator

from nomagic.probes.trace import NORMS, PLUMBING, Graph, Node, Trace
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("002", "C230", "IOF15", "000", "BYU", "MIS17")

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
