"""Rates by block, as `nomagic.words.BlockRates` says them, for any optimizer and any schedule.

The optimizer's groups are split by block, and a schedule around the setup's own gives each its
share of the rate. Blocks are counted from the head, which is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nomagic.parts import trunk
from nomagic.words import BlockRates


def places(model: nn.Module, sample: Tensor) -> dict[str, int]:
    """The block of each parameter by name, from what runs on a batch of inputs (n, …).

    Raises:
        TrunkError: the network has no head that could be told from the rest.
    """
    blocks = trunk.find(model, sample).blocks[::-1]
    return {name: place for place, block in enumerate(blocks) for name in block.parameters}


def share(rates: BlockRates, place: int) -> float:
    """The factor on the learning rate of a block."""
    return rates.trunk * rates.factor ** (place - 1) if place else 1.0


def split(
    optimizer: Optimizer, parameters: Mapping[str, Tensor], places: Mapping[str, int]
) -> None:
    """Split the groups of a fresh optimizer so that each has parameters of one ``block`` only.

    Raises:
        TrunkError: a parameter is in no block.
    """
    strange = sorted(parameters.keys() - places.keys())
    if strange:
        raise trunk.TrunkError(f"{strange[0]} is in no block: the network is not always the same")
    by_id = {id(p): places[name] for name, p in parameters.items()}
    groups = optimizer.param_groups
    groups[:] = [part for group in groups for part in _parts(group, by_id)]


def _parts(group: dict[str, Any], places: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    """One group by block, the head first."""
    for place in sorted({places[id(p)] for p in group["params"]}):
        own = [p for p in group["params"] if places[id(p)] == place]
        yield {**group, "params": own, "lr": float(group["lr"]), "block": place}


class Blockwise(LRScheduler):
    """Another schedule, or none, of which each block gets its share as soon as it is open.

    Args:
        optimizer: its groups are split.
        inner: the other schedule, made for this optimizer.
        rates: the shares, and how blocks are opened.
        epochs: the length of the training in epochs, at whose beginnings blocks are opened,
        steps: and in steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        inner: LRScheduler | None,
        rates: BlockRates,
        epochs: int,
        steps: int,
    ) -> None:
        self.inner = inner
        found: list[int] = [group["block"] for group in optimizer.param_groups]
        order = sorted(set(found))
        late = rates.opening * epochs / max(1, len(order) - 1)
        self.opens = [round(late * order.index(place)) * steps // epochs for place in found]
        self.shares = [share(rates, place) for place in found]
        self.whole: list[float] = [group["lr"] for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group; the other schedule sees the whole rates only."""
        if self.inner is not None and self.last_epoch:
            groups = self.optimizer.param_groups
            for group, rate in zip(groups, self.whole, strict=True):
                group["lr"] = rate
            self.inner.step()
            self.whole = [group["lr"] for group in groups]
        each = zip(self.whole, self.shares, self.opens, strict=True)
        return [part * rate if self.last_epoch >= opened else 0.0 for rate, part, opened in each]
