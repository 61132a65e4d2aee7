"""The computation graph of a training pass: the torch functions called, with the user's lines.

One graph is kept for each line that calls backward: the functions between what came in and the
loss, in the order of their calls, in modules or not. Compiled models hide their inside; then
there is no graph.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Layer, Op
from nomagic.words import Place

LIMIT = 20_000
"""Functions kept of one tick (a loop over time steps can be long)."""

PLUMBING = frozenset(
    [
        "view",
        "reshape",
        "view_as",
        "reshape_as",
        "flatten",
        "unflatten",
        "contiguous",
        "to",
        "type",
        "float",
        "half",
        "bfloat16",
        "double",
        "clone",
        "squeeze",
        "unsqueeze",
        "T",
        "mT",
        "t",
        "transpose",
        "permute",
        "movedim",
        "swapaxes",
        "expand",
        "expand_as",
        "repeat",
        "detach",
        "cuda",
        "cpu",
        "__getitem__",
        "chunk",
        "split",
        "unbind",
        "select",
        "narrow",
        "data",
        "requires_grad_",
        "identity",
        "alias",
    ]
)
"""Functions that move numbers about without changing them."""

LAYERS = frozenset(
    [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "bilinear",
        "addmm",
        "addmv",
        "addbmm",
        "baddbmm",
        "embedding",
        "embedding_bag",
        "lstm",
        "gru",
        "rnn_tanh",
        "rnn_relu",
        "lstm_cell",
        "gru_cell",
        "rnn_tanh_cell",
        "rnn_relu_cell",
        "multi_head_attention_forward",
    ]
)
"""Functions that combine their input with weights."""

PRODUCTS = frozenset(
    [
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "mm",
        "bmm",
        "mv",
        "einsum",
        "tensordot",
        "dot",
        "inner",
    ]
)
"""Functions that do so when one side is a parameter or came from outside."""

GATES = frozenset(
    [
        "mul",
        "__mul__",
        "__rmul__",
        "mul_",
        "__imul__",
        "addcmul",
        "addcmul_",
        "lerp",
        "where",
        "glu",
    ]
)
"""Functions that let one input decide how much of another passes."""

NORMS = frozenset(
    [
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "local_response_norm",
        "SyncBatchNorm",
    ]
)
"""Functions that normalise."""


@dataclass(frozen=True, slots=True)
class Node:
    """One function call: its name, where, in which module, fed by which earlier nodes.

    ``inputs`` are indices of the nodes that made its tensor arguments, in order (-1: it came from
    outside: data, a constant); parameters are left out of them and named in ``parameters``.
    ``settings`` are the call's plain arguments (``p``, ``training``, ``reduction``…), ``features``
    the plain attributes of the module it ran in, ``native`` whether that is one of torch's own,
    ``root`` the number of the outermost module around it (-1: none).
    ``rms`` is the size of what a layer returned (root mean square of a sample; 0 for others).
    """

    index: int
    name: str
    place: Place | None
    module: str
    kind: str
    inputs: tuple[int, ...]
    parameters: tuple[str, ...]
    shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    built: Place | None = None
    dtype: str = ""
    native: bool = False
    root: int = -1
    rms: float = 0.0

    @property
    def anchor(self) -> Place | None:
        """The user's line to name: of the module's construction, or of the call of a function."""
        return (self.built if self.native else None) or self.place

    @property
    def weighted(self) -> bool:
        """Whether it combines its input with weights, as a linear layer or a recurrent cell."""
        return self.name in LAYERS or (
            self.name in PRODUCTS and (bool(self.parameters) or -1 in self.inputs)
        )

    @property
    def layer(self) -> str:
        """The name of the layer whose weights it uses ("encoder.fc1"), or of its line."""
        if self.parameters:
            owner, _, _ = self.parameters[0].rpartition(".")
            return owner or self.parameters[0]
        inner = self.module and self.module != self.kind
        return self.module if inner else f"{self.name} ({self.place})"


@dataclass(frozen=True)
class Graph:
    """The functions that led to one loss, ``nodes[-1]`` being the loss; node indices count in
    ``nodes``.
    """

    place: Place | None
    tick: int
    value: float
    nodes: tuple[Node, ...]
    whole: bool = True

    def sources(self, node: Node, skip: frozenset[str] = PLUMBING) -> Iterator[Node]:
        """The nodes that feed this one, looking through plumbing."""
        for index in node.inputs:
            if index < 0:
                continue
            source = self.nodes[index]
            if source.name in skip:
                yield from self.sources(source, skip)
            else:
                yield source

    @functools.cached_property
    def _fed(self) -> dict[int, tuple[int, ...]]:
        fed: dict[int, tuple[int, ...]] = {}
        for node in self.nodes:
            for index in dict.fromkeys(node.inputs):
                if index >= 0:
                    fed[index] = (*fed.get(index, ()), node.index)
        return fed

    def consumers(self, node: Node, skip: frozenset[str] = PLUMBING) -> Iterator[Node]:
        """The nodes that this one feeds, looking through plumbing."""
        for index in self._fed.get(node.index, ()):
            consumer = self.nodes[index]
            if consumer.name in skip:
                yield from self.consumers(consumer, skip)
            else:
                yield consumer

    def above(self, node: Node) -> Iterator[Node]:
        """Every node upstream of this one, nearest first."""
        seen: set[int] = set()
        queue = list(node.inputs)
        while queue:
            index = queue.pop(0)
            if index < 0 or index in seen:
                continue
            seen.add(index)
            yield self.nodes[index]
            queue.extend(self.nodes[index].inputs)

    def below(self, node: Node) -> Iterator[Node]:
        """Every node downstream of this one, nearest first."""
        seen: set[int] = set()
        queue = list(self._fed.get(node.index, ()))
        while queue:
            index = queue.pop(0)
            if index not in seen:
                seen.add(index)
                yield self.nodes[index]
                queue.extend(self._fed.get(index, ()))

    @functools.cached_property
    def _useful(self) -> frozenset[int]:
        """The nodes with a weighted layer downstream."""
        useful: set[int] = set()
        for node in reversed(self.nodes):
            if node.weighted or node.index in useful:
                useful.update(node.inputs)
        return frozenset(useful)

    @functools.cached_property
    def _exposed(self) -> frozenset[int]:
        """The nodes that reach the loss with no weighted layer between."""
        exposed = {len(self.nodes) - 1}
        for node in reversed(self.nodes):
            if node.index in exposed and not node.weighted:
                exposed.update(node.inputs)
        return frozenset(exposed)

    def feeder(self, node: Node) -> Node | None:
        """The nearest layer upstream whose weights made this node's first input."""
        seen: set[int] = set()
        index = next((i for i in node.inputs if i >= 0), -1)
        while index >= 0 and index not in seen:
            seen.add(index)
            if self.nodes[index].weighted:
                return self.nodes[index]
            index = next((i for i in self.nodes[index].inputs if i >= 0), -1)
        return None

    def hidden(self, node: Node) -> bool:
        """Whether a layer with weights feeds this node, and another one uses what it returns."""
        return node.index in self._useful and self.feeder(node) is not None

    def exposed(self, node: Node) -> bool:
        """Whether the loss sees what the node returns with no weighted layer between: an output, a
        penalty.
        """
        return node.index in self._exposed

    def gates(self, node: Node) -> bool:
        """Whether what the node returns is multiplied with something else: a gate, a mask."""
        through = PLUMBING | {"sub", "__sub__", "__rsub__", "rsub", "neg", "__neg__", "dropout"}
        consumers = self.consumers(node, through)
        return any(user.name in GATES and len(user.inputs) > 1 for user in consumers)


@dataclass(slots=True)
class _Live:
    op: Op | None
    layer: Layer | None
    inputs: list[int]
    outputs: list[Any]


class Trace(Probe[Graph]):
    """One computation graph for each line that calls backward, taken at its first looked tick.

    While the script runs, ``chain`` and ``feeder`` tell what made a tensor of this tick, for
    probes that need it; ``newest`` is the position of the function just heard, and ``numbers``
    maps positions to the nodes of the graph that this tick's backward added (empty where it added
    none).
    """

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self._live: list[_Live] = []
        self._makers: dict[int, tuple[Any, int]] = {}
        self._places: set[Place | None] = set()
        self._start: int = 0
        self._roots: dict[int, int] = {}
        self.numbers: dict[int, int] = {}

    def on_op(self, op: Op) -> None:
        """A torch function returned a tensor."""
        if op.grads and len(self._live) < LIMIT:
            self._add(_Live(op, None, [], []), (op.args, op.kwargs), op.output)

    def on_layer(self, layer: Layer) -> None:
        """A module whose output no seen function made (a custom autograd function, TorchScript) is
        one node.
        """
        made = [tensor for tensor in tensors(layer.output) if id(tensor) not in self._makers]
        if made and layer.call is not None and layer.call.grads:
            self._add(_Live(None, layer, [], []), layer.args, made)

    def _add(self, live: _Live, given: Any, output: Any) -> None:
        live.inputs = [self._index(tensor) for tensor in tensors(given)]
        live.outputs = list(tensors(output))
        index = len(self._live)
        self._live.append(live)
        for tensor in live.outputs:
            self._makers[id(tensor)] = (tensor, index)

    def _index(self, tensor: Any) -> int:
        kept = self._makers.get(id(tensor))
        return kept[1] if kept is not None and kept[0] is tensor else -1

    def maker(self, tensor: Any) -> Op | None:
        """The call that made a live tensor of this tick, if it was seen."""
        index = self._index(tensor)
        return self._live[index].op if index >= 0 else None

    def chain(self, tensor: Any, length: int = 12) -> tuple[Node, ...]:
        """The functions that led to a live tensor along first inputs, nearest first."""
        chain: list[Node] = []
        index = self._index(tensor)
        while index >= 0 and len(chain) < length:
            live = self._live[index]
            made = {i: len(chain) + 1 for i in live.inputs if i >= 0}  # the next in the chain
            chain.append(self._node(live, len(chain), made, measured=False))
            index = next((i for i in live.inputs if i >= 0), -1)
        return tuple(chain)

    def at(self, nodes: Iterable[tuple[int, int]]) -> list[tuple[Graph, Node]]:
        """The graphs and nodes that pairs of numbers mean."""
        return [(self[graph], self[graph].nodes[node]) for graph, node in nodes]

    @property
    def newest(self) -> int:
        """The position in this tick of the function heard last."""
        return len(self._live) - 1

    def feeder(self, tensor: Any) -> tuple[str, Any]:
        """The nearest function with parameters that led to a live tensor, and the first of them."""
        index = self._index(tensor)
        while index >= 0:
            live = self._live[index]
            if live.op is not None:
                for given in tensors((live.op.args, live.op.kwargs)):
                    if (given.requires_grad and given.is_leaf) or self.run.name(given):
                        return live.op.name, given
            index = next((i for i in live.inputs if 0 <= i < index), -1)
        return "", None

    def on_backward(self, backward: Backward) -> None:
        """The tick is over: keep the graph of its loss if this line's is not yet known."""
        live, self._live = self._live, []
        makers, self._makers = self._makers, {}
        self.numbers = {}
        if not live or backward.place in self._places or len(self._places) >= 16:
            return
        if self.run.compiled:
            self.trouble = "the model is compiled, its inside cannot be seen"
            return
        kept = makers.get(id(backward.loss))
        if kept is None:
            return
        self._places.add(backward.place)
        wanted = self._slice(live, kept[1])
        order = self.numbers = {old: new for new, old in enumerate(wanted)}
        nodes = tuple(self._node(live[old], new, order) for old, new in order.items())
        value = float(backward.loss.detach().float().mean())
        whole = len(live) < LIMIT
        self.rows.append(Graph(backward.place, backward.tick, value, nodes, whole))

    @staticmethod
    def _slice(live: list[_Live], last: int) -> list[int]:
        wanted: set[int] = set()
        queue = [last]
        while queue:
            index = queue.pop()
            if index not in wanted:
                wanted.add(index)
                queue.extend(i for i in live[index].inputs if 0 <= i < index)
        return sorted(wanted)

    def _node(self, live: _Live, index: int, order: Any, measured: bool = True) -> Node:
        op, layer = live.op, live.layer
        module = (
            (op.modules[-1] if op.modules else None) if op is not None else layer and layer.module
        )
        given = list(tensors((op.args, op.kwargs) if op is not None else layer and layer.args))
        named = [self.run.name(tensor) for tensor in given]
        inputs = [i for i, name in zip(live.inputs, named, strict=True) if not name]
        first = live.outputs[0] if live.outputs else None
        return Node(
            index=index,
            name=op.name if op is not None else type(module).__name__,
            place=op.place if op is not None else self.run.built(module),
            module=self.run.name(module) if module is not None else "",
            kind=type(module).__name__ if module is not None else "",
            inputs=tuple(order.get(i, -1) for i in inputs),
            parameters=tuple(name for name in named if name),
            shape=tuple(first.shape) if first is not None else (),
            shapes=tuple(tuple(tensor.shape) for tensor in given),
            settings=settings(op.func, op.args, op.kwargs) if op is not None else {},
            features=plain(vars(module)) if module is not None else {},
            built=self.run.built(module) if module is not None else None,
            dtype=str(first.dtype).removeprefix("torch.") if first is not None else "",
            native=module is not None and type(module).__module__.startswith("torch.nn."),
            root=self._root(op.modules[0]) if op is not None and op.modules else -1,
            rms=rms(first) if first is not None and measured and any(named) else 0.0,
        )

    def _root(self, module: Any) -> int:
        return self._roots.setdefault(id(module), len(self._roots))

    def on_end(self) -> None:
        """Let go of what a tick that never ended has kept."""
        self._live, self._makers = [], {}


def rms(tensor: Any, most: int = 65_536) -> float:
    """The root mean square of a tensor's numbers, or of a sample of them; 0 where it has none."""
    import torch

    tensor = tensor.detach()
    odd = tensor.is_sparse or tensor.is_nested or tensor.is_quantized or tensor.is_meta
    if odd or not tensor.is_floating_point() or not tensor.numel() or is_wrapped(tensor):
        return 0.0
    flat = tensor.reshape(-1)[:: max(1, tensor.numel() // most)]
    return float(torch.linalg.vector_norm(flat.float())) / flat.numel() ** 0.5


def is_wrapped(tensor: Any) -> bool:
    """Whether torch.func is transforming this tensor, so that it holds no plain numbers."""
    import torch

    functorch: Any = vars(torch)["_C"]._functorch  # not in the stubs
    return bool(functorch.is_functorch_wrapped_tensor(tensor))


def tensors(value: Any, depth: int = 4) -> Iterator[Any]:
    """The tensors in nested tuples, lists, dicts and dataclass-like outputs, in order."""
    from torch import Tensor

    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item, depth - 1)
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item, depth - 1)


@functools.lru_cache(maxsize=256)
def _signature(func: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):
        return None


def settings(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's plain arguments by name; by position ("0", "1"…) for built-in functions that name
    none.
    """
    signature = _signature(func)
    if signature is not None:
        try:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return plain(bound.arguments)
        except TypeError:
            pass
    return plain({**{str(i): arg for i, arg in enumerate(args)}, **kwargs})


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are numbers, words, None or short tuples of these; tensors become their
    shape's text.
    """
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith("_"):
            continue
        if value is None or isinstance(value, bool | int | float | str):
            kept[name] = value
        elif (
            isinstance(value, tuple | list)
            and len(value) <= 8
            and all(isinstance(item, bool | int | float | str) for item in value)
        ):
            kept[name] = tuple(value)
    return kept
