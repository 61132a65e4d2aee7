"""Change a network: other units, norms and pools, in its tree of modules and in its forward.

What is a module of its own is replaced in the tree, wherever it is held, once; what is shared stays
shared. Units and pools that a forward calls as functions first become modules (`lift`), by
tracing that one forward with torch.fx.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Node
from torch.utils import _pytree as pytree

from nomagic.parts.flow import MODULES, Call, Flow, name_of, observe

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class SurgeryError(Exception):
    """A network cannot be changed in this way, and why."""


def substitute(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put new modules in the place of old ones, wherever a module, list or dict holds these.

    The new ones are moved to where the network is, in its precision. Returns the network, which is
    another object only if the network itself is replaced.
    """
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    if first is not None:
        for module in new.values():
            module.to(first.device, first.dtype)
    if model in new:
        return new[model]
    held = [(p, m) for p, m in model.named_modules(remove_duplicate=False) if m in new]
    for parent in list(model.modules()):
        _substitute_held(parent, new)
    for path, module in held:
        model.set_submodule(path, new[module])
    return model


def _substitute_held(parent: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """In the plain lists, tuples and dicts that are attributes of a module."""
    for name, value in list(vars(parent).items()):
        if isinstance(value, list | tuple | dict) and not name.startswith("_"):
            leaves = pytree.tree_leaves(value)
            if any(isinstance(leaf, nn.Module) and leaf in new for leaf in leaves):
                setattr(parent, name, pytree.tree_map(lambda leaf: _swapped(leaf, new), value))


def _swapped(leaf: Any, new: Mapping[nn.Module, nn.Module]) -> Any:
    return new.get(leaf, leaf) if isinstance(leaf, nn.Module) else leaf


# -- functions become modules ---------------------------------------------------------------------


def lift(
    model: nn.Module,
    sample: Tensor,
    names: Collection[str],
    wanted: Callable[[Flow], Collection[Call]] = lambda flow: flow.calls,
    apart: bool = False,
) -> nn.Module:
    """Give calls of functions a module of their own: ``F.relu(x)`` becomes an nn.ReLU.

    Args:
        model: the network; it is changed in place, but for forwards that are rewritten.
        sample: a batch of its inputs.
        names: functions of `nomagic.parts.flow.MODULES`.
        wanted: which of their calls must be modules; where one is, all in its forward become some.
        apart: give each call of a shared module without parameters a module of its own, too.

    Raises:
        SurgeryError: a forward that would have to be rewritten cannot be traced.
    """
    flow = observe(model, sample)
    loose: dict[nn.Module, Call] = {}
    for call in wanted(flow):
        if call.name in names and _is_loose(flow, call, apart):
            loose.setdefault(call.owner, call)
    if not loose:
        return model
    depth = {m: path.count(".") + bool(path) for path, m in model.named_modules()}
    for owner in sorted(loose, key=lambda module: depth.get(module, 0), reverse=True):
        rewritten = _rewritten(owner, names, flow, loose[owner], apart)
        model = substitute(model, {owner: rewritten})
    if not _equal(observe(model, sample).output, flow.output):
        call = next(iter(loose.values()))
        raise SurgeryError(f"{_called(call)} and its forward does not compute the same when traced")
    return model


def _is_loose(flow: Flow, call: Call, apart: bool) -> bool:
    if call.module is None:
        return call.name != "prelu"  # its slope is a parameter of the caller's own
    shared = len(flow.of(call.module)) > 1 and not any(True for _ in call.module.parameters())
    return apart and shared


def _equal(a: Any, b: Any) -> bool:
    """Whether two outputs are the same numbers."""
    pairs = list(zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=False))
    return all(torch.equal(x, y) for x, y in pairs if isinstance(x, Tensor))


def _called(call: Call) -> str:
    return f"{call.name} is called in forward at {call.place}"


def _rewritten(
    owner: nn.Module, names: Collection[str], flow: Flow, call: Call, apart: bool
) -> fx.GraphModule:
    """The forward of one module with modules for functions."""
    try:
        traced = trace(owner, flow.given.get(owner))
        for number, node in enumerate(list(traced.graph.nodes)):
            module = _module(traced, node, names, apart)
            if module is not None:
                _place_module(traced, node, module, f"{name_of(module)}_at_{number}")
    except Exception as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise SurgeryError(f"{_called(call)} and the forward cannot be traced: {said}") from error
    traced.recompile()
    return traced


def _module(
    traced: fx.GraphModule, node: Node, names: Collection[str], apart: bool
) -> nn.Module | None:
    """The module that does what a node does, where there is one to be made."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        alone = any(True for _ in module.parameters()) or name_of(module) not in names
        return None if alone or not apart else copy.deepcopy(module)
    called = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    name = called.rstrip("_")
    if name not in names:
        return None
    settings = {key: value for key, value in node.kwargs.items() if key not in ("input", "inplace")}
    if name.startswith("max_pool"):
        settings["stride"] = settings.get("stride") or None
    if node.kwargs.get("inplace") or called.endswith("_"):
        _refuse_aliases(node)
    return MODULES[name](*node.args[1:], **settings)


def _refuse_aliases(node: Node) -> None:
    """What is changed in place must not be read again under its old name."""
    source = _input(node)
    if not node.users or len(source.users) > 1:
        raise SurgeryError("it changes in place what is used elsewhere")


def _input(node: Node) -> Node:
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, Node)
    return source


def _place_module(traced: fx.GraphModule, node: Node, module: nn.Module, name: str) -> None:
    module.train(traced.training)
    traced.add_submodule(name, module)
    with traced.graph.inserting_after(node):
        call = traced.graph.call_module(name, (_input(node),))
    node.replace_all_uses_with(call)
    traced.graph.erase_node(node)


# -- tracing --------------------------------------------------------------------------------------


class _Tracer(fx.Tracer):
    """Traces one forward; the modules that it calls stay as they are."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def trace(module: nn.Module, given: tuple[int, frozenset[str]] | None = None) -> fx.GraphModule:
    """Trace one forward with torch.fx, so that it still depends on the mode as before.

    Args:
        module: the module; its submodules are not looked into.
        given: how many positional arguments, and which keywords, it is called with.

    Raises:
        Exception: what torch.fx says about a forward that it cannot trace.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(vars(module).get(name) for name in hooks):
        raise SurgeryError("it has hooks")
    defaults = _left_out(module, given)
    before = module.training
    graphs: list[fx.Graph] = []
    try:
        for mode in (True, False):
            module.training = mode
            graphs.append(_Tracer().trace(module, concrete_args=defaults or None))
    finally:
        module.training = before
    _merge(*graphs)
    return fx.GraphModule(module, graphs[0], type(module).__name__)


def _left_out(module: nn.Module, given: tuple[int, frozenset[str]] | None) -> dict[str, Any]:
    """The parameters of a forward that it was called without, with their defaults."""
    count, keywords = given or (len(inspect.signature(module.forward).parameters), frozenset())
    named = list(inspect.signature(module.forward).parameters.values())
    return {
        p.name: p.default
        for p in named[count:]
        if p.name not in keywords and p.default is not inspect.Parameter.empty
    }


def _merge(train: fx.Graph, evaluation: fx.Graph) -> None:
    """Make constants that differ between the modes, as in ``F.dropout(x, 0.5, self.training)``,
    depend on the mode; other differences are refused.
    """
    pairs = list(zip(list(train.nodes), list(evaluation.nodes), strict=False))
    alike = all(a.op == b.op and a.target == b.target for a, b in pairs)
    if not alike or len(train.nodes) != len(evaluation.nodes):
        raise SurgeryError("it does something else in evaluation mode")
    mode: list[Node] = []
    for a, b in pairs:
        values, shape = pytree.tree_flatten((a.args, dict(a.kwargs)))
        others = pytree.tree_leaves((b.args, dict(b.kwargs)))
        merged = [_either(train, a, mode, x, y) for x, y in zip(values, others, strict=True)]
        a.args, a.kwargs = pytree.tree_unflatten(merged, shape)


def _either(graph: fx.Graph, node: Node, mode: list[Node], x: Any, y: Any) -> Any:
    if isinstance(x, Node) or x is y or x == y:
        return x
    if not mode:
        first = next(iter(n for n in graph.nodes if n.op != "placeholder"))
        with graph.inserting_before(first):
            mode.append(graph.create_node("get_attr", "training"))
    if (x, y) == (True, False):
        return mode[0]
    with graph.inserting_before(node):
        return graph.call_function(operator.getitem, ((y, x), mode[0]))


# -- units and layers -----------------------------------------------------------------------------


def swap_units(
    model: nn.Module, sample: Tensor, names: Collection[str], make: Callable[[], nn.Module]
) -> nn.Module:
    """Another unit in place of every hidden one of these kinds; gates and outputs stay.

    A unit that is used at several places is replaced once, if all of them are hidden.

    Raises:
        SurgeryError: there is none, or a forward calls one and cannot be traced.
    """
    flow = observe(model, sample)
    hidden = set(flow.units())
    mixed = any(
        call in hidden and call.module is not None and not hidden.issuperset(flow.of(call.module))
        for call in flow.calls
    )
    model = lift(model, sample, names, Flow.units, apart=mixed)
    flow = observe(model, sample)
    units = [call.module for call in flow.units() if call.name in names and call.module is not None]
    if not units:
        raise SurgeryError(f"there is no {_either_of(names)} in hidden layers")
    return substitute(model, {unit: make() for unit in units})


def _either_of(names: Collection[str]) -> str:
    return " or ".join(sorted(names))


def behind(model: nn.Module, extra: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put a module behind each of these modules."""
    return substitute(model, {old: nn.Sequential(old, new) for old, new in extra.items()})


def insert_norms(
    model: nn.Module, sample: Tensor, make: Callable[[Flow, Call], nn.Module | None]
) -> nn.Module:
    """A norm behind each hidden linear or convolutional layer, before its unit; biases go.

    ``make`` gives the norm of one layer, or None where none fits.

    Raises:
        SurgeryError: there is no layer that one fits behind.
    """
    flow = observe(model, sample)
    extra: dict[nn.Module, nn.Module] = {}
    for call in flow.layers():
        norm = None if flow.normed(call) else make(flow, call)
        if norm is not None and call.module is not None:
            extra.setdefault(call.module, norm)
    if not extra:
        raise SurgeryError("there is no hidden layer that it fits behind")
    for layer in extra:
        layer.register_parameter("bias", None)
    return behind(model, extra)


def swap_norms(
    model: nn.Module, sample: Tensor, make: Callable[[Flow, Call], nn.Module | None]
) -> nn.Module:
    """Another norm in place of each batch norm; ``make`` gives it, or None where none fits.

    Raises:
        SurgeryError: there is no batch norm that one fits in place of.
    """
    flow = observe(model, sample)
    new: dict[nn.Module, nn.Module] = {}
    for call in flow.calls:
        if isinstance(call.module, BATCH_NORMS):
            norm = make(flow, call)
            if norm is not None:
                new.setdefault(call.module, norm)
    if not new:
        raise SurgeryError("there is no batch norm that it fits in place of")
    return substitute(model, new)


def norm(kind: str, flow: Flow, call: Call) -> nn.Module | None:
    """A "batch", "layer", "group" or "instance" norm for the output of a call, or None.

    Features are the last dimension of a linear layer's output, the second one of others.
    """
    last = isinstance(call.module, nn.Linear) or len(call.shape) == 2
    channels = call.shape[-1] if last else call.shape[1]
    spatial = len(call.shape) - 2
    if kind == "layer":
        return nn.LayerNorm(channels) if last else nn.GroupNorm(1, channels)
    if last and spatial:
        return None  # the other norms would take the steps of a sequence for features
    if kind == "batch":
        return (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[spatial](channels)
    if kind == "group":
        return nn.GroupNorm(groups(channels), channels)
    return _instance(flow, call, channels, spatial)


def groups(channels: int) -> int:
    """The most groups, at most 32, of 4 channels or more each."""
    return next((n for n in (32, 16, 8, 4, 2) if channels % n == 0 and channels >= 4 * n), 1)


def _instance(flow: Flow, call: Call, channels: int, spatial: int) -> nn.Module | None:
    """None on maps of four numbers or fewer, and where the mean over a map is all that is read."""
    size = 1
    for length in call.shape[2:]:
        size *= length
    behind = list(flow.below(call, "layer"))
    pooled = any(one.name.startswith("adaptive_avg_pool") or one.name == "mean" for one in behind)
    if not spatial or size <= 4 or pooled:
        return None
    kinds = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    return kinds[spatial - 1](channels, affine=True)
