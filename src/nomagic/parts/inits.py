"""Initial weights that keep the size of signals through depth (He et al. 2015, Glorot 2010)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nomagic.parts.flow import Call, observe

GAINS = {"tanh": 5 / 3, "sigmoid": 1.0, "selu": 0.75, "hardsigmoid": 1.0, "hardtanh": 1.0}
"""As `torch.nn.init.calculate_gain`; units that are not named keep half of the signal, as ReLU."""


@dataclass(frozen=True)
class Scale:
    """A hidden layer and the gain of the unit that follows it."""

    layer: nn.Module
    weight: Tensor
    bias: Tensor | None
    gain: float

    @property
    def deviation(self) -> float:
        """The standard deviation of the weights that keeps the signal's size."""
        return self.gain / math.sqrt(fan_in(self.weight))


def scales(model: nn.Module, sample: Tensor) -> list[Scale]:
    """The hidden layers of a network with the gain of their units.

    Output layers, weights that are shared with another module, and weights that are all zero, as
    some are by design, are left out.
    """
    flow = observe(model, sample)
    held = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
    units = {call.module: flow.unit(call) for call in flow.layers() if call.module is not None}
    found = [_scale(layer, unit) for layer, unit in units.items() if unit is not None]
    return [one for one in found if held[id(one.weight)] == 1 and bool(one.weight.any())]


def _scale(layer: nn.Module, unit: Call) -> Scale:
    bias = layer.bias if isinstance(layer.bias, Tensor) else None
    assert isinstance(layer.weight, Tensor)
    return Scale(layer, layer.weight, bias, gain(unit))


def gain(unit: Call) -> float:
    """What a layer must multiply by to make up for the unit behind it."""
    slope = 0.0
    if isinstance(unit.module, nn.LeakyReLU):
        slope = unit.module.negative_slope
    elif isinstance(unit.module, nn.PReLU):
        slope = float(unit.module.weight.detach().mean())
    return GAINS.get(unit.name, math.sqrt(2 / (1 + slope**2)))


def fan_in(weight: Tensor) -> int:
    """The inputs of one output."""
    return weight[0].numel()


@torch.no_grad()
def rescale(model: nn.Module, sample: Tensor) -> nn.Module:
    """Draw the hidden layers' weights anew, in place, for the units behind them; biases are zero.

    Returns the same network; without such layers it is unchanged.
    """
    for scale in scales(model, sample):
        scale.weight.normal_(0, scale.deviation)
        if scale.bias is not None:
            scale.bias.zero_()
    return model


def unscaled(model: nn.Module, sample: Tensor, within: float = 0.15) -> Iterator[Scale]:
    """The layers whose weights' size is further off than this share, or whose bias is not zero."""
    for scale in scales(model, sample):
        size = float(scale.weight.detach().square().mean().sqrt())
        noise = within + 3 / math.sqrt(2 * scale.weight.numel())
        biased = scale.bias is not None and bool(scale.bias.any())
        if biased or abs(size / scale.deviation - 1) > noise:
            yield scale
