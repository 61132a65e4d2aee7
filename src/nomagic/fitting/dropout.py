"""Dropout that stays on: several answers of one network, whose differences say how sure it is.

Gal & Ghahramani 2016 (arXiv:1506.02142) read them as draws from an approximate posterior. Only
dropout is switched on. Everything else, norm layers above all, stays in evaluation mode: with batch
statistics an answer would hang on its neighbours.

Against: an ensemble is mostly better calibrated, under shift above all (Ovadia et al. 2019), and
dropout must have been trained with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nomagic.engine.draws import seeded
from nomagic.words import NotApplicable

PASSES = 30
"""Answers of one network."""
CHUNK = 2_048
"""Inputs in one forward."""
KINDS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
FUNCTIONS = frozenset(
    {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
)


def passes(
    model: nn.Module, x: Tensor, count: int = PASSES, seed: int = 0
) -> Tensor | NotApplicable:
    """Outputs of a network with its dropout on: (count, n, …), or why there are none.

    The network's modes, its parameters and torch's random state are as they were afterwards.

    Args:
        model: a trained network.
        x: inputs as it sees them (n, *shape).
        count: answers for each input.
        seed: of the units that are dropped.
    """
    layers = switches(model)
    if not layers:
        return NotApplicable(_reason(model, x))
    with seeded(seed), switched(model, layers), torch.no_grad():
        chunks = [torch.stack([model(one) for _ in range(count)]) for one in x.split(CHUNK)]
    outputs = torch.cat(chunks, 1)
    if count > 1 and bool((outputs == outputs[0]).all()):
        return NotApplicable(
            "the network has dropout layers, but its answers do not change with them: forward does "
            "not use them, or its last layers hide them"
        )
    return outputs


def switches(model: nn.Module) -> list[nn.Module]:
    """The modules that drop units and nothing else in training mode; attention and recurrent
    layers have a dropout of their own.
    """
    return [module for module in model.modules() if _drops(module)]


def _drops(module: Any) -> bool:
    if isinstance(module, KINDS):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention):
        return module.dropout > 0
    return isinstance(module, nn.RNNBase) and module.dropout > 0 and module.num_layers > 1


@contextlib.contextmanager
def switched(model: nn.Module, layers: list[nn.Module]) -> Generator[None]:
    """These layers in training mode and all else in evaluation mode; afterwards as before.

    Torch's fused transformer layers leave dropout out in evaluation mode, so they are not used.
    """
    modes = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes:
            module.training = mode


class _Heard(TorchFunctionMode):
    """Hears dropout functions with a probability above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given: dict[str, Any] = kwargs or {}
        if func in FUNCTIONS:
            self.rates.append(float(given.get("p", args[1] if len(args) > 1 else 0.5)))
        return func(*args, **given)


def _reason(model: nn.Module, x: Tensor) -> str:
    """Why there is no dropout to switch on."""
    with switched(model, []), torch.no_grad(), _Heard() as heard:
        model(x[:2])
    if any(rate > 0 for rate in heard.rates):
        return (
            "the network calls dropout as a function, which follows the mode of a module that may "
            "do other things too; use nn.Dropout, which can be switched on by itself"
        )
    return "the network has no dropout"
