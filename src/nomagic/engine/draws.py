"""Where a member's random draws come from: one number for each purpose, and dropout by key.

Everything that a member draws hangs on its seed alone, never on who is trained beside it. Streams
for the split, the initial weights, new layers, the order and dropout are independent, so that two
arms share each of them whatever else differs.

Dropout masks are a hash of (member, step, call, position), computed with the same integer
operations for one member and for many under `torch.vmap`. While `keyed` is on, the dropout
functions of `torch.nn.functional` and `nomagic.parts.chance` use it; what draws in another way
draws from torch's own state.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nomagic.parts.chance import drawn_by

ALPHA = -1.7580993408473766
"""The value that SELU saturates to, which alpha dropout sets units to."""


def stream(seed: int, purpose: str, member: int = 0, draw: int = 0) -> int:
    """A seed for one purpose of one member; ``draw`` gives another arm draws of its own."""
    words = [seed, member, draw, zlib.crc32(purpose.encode())]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def generator(seed: int) -> torch.Generator:
    """A generator on the host with this seed."""
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int) -> Generator[None]:
    """Torch's random state from this seed; afterwards as it was."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def written_out() -> Generator[None]:
    """Attention and linear layers in plain operations.

    Attention's fused ones cannot be mapped over members, and a linear layer's copies its inputs.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    fused, linear = F.scaled_dot_product_attention, F.linear
    torch.backends.mha.set_fastpath_enabled(False)
    F.scaled_dot_product_attention, F.linear = _attend, _linear
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        F.scaled_dot_product_attention, F.linear = fused, linear


_FUSED = F.scaled_dot_product_attention, F.linear


@contextlib.contextmanager
def untouched() -> Generator[None]:
    """Attention and linear layers as torch has them, also where they are written out.

    What looks at a network must see the same calls, whichever engine trains it.
    """
    others = F.scaled_dot_product_attention, F.linear
    F.scaled_dot_product_attention, F.linear = _FUSED
    try:
        yield
    finally:
        F.scaled_dot_product_attention, F.linear = others


def uniform(shape: tuple[int, ...], key: Tensor, step: int, call: int) -> Tensor:
    """Numbers in [0, 1) for each position, a hash of position, key, step and call (splitmix64).

    ``key`` is an int64 scalar, batched or not; the numbers are float32 multiples of 2^-24.
    """
    size = 1
    for length in shape:
        size *= length
    state = torch.arange(1, size + 1, device=key.device) * -7046029254386353131
    state = state + _mix(key + 0x9E3779B9 * (step * 1_009 + call + 1))
    return (_mix(state) >> 40 & 0xFFFFFF).to(torch.float32).reshape(shape) * 2.0**-24


def _mix(state: Tensor) -> Tensor:
    """The finaliser of splitmix64; int64 wraps around as uint64 does, shifts mask the sign."""
    state = (state ^ (state >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    state = (state ^ (state >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return state ^ (state >> 31 & 0x1FFFFFFFF)


class Masks:
    """The dropout functions of `torch.nn.functional` with masks by key; calls are counted."""

    def __init__(self, key: Tensor, step: int) -> None:
        self.key, self.step, self.calls, self.draws = key, step, 0, 0

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Numbers in [0, 1), for what draws by chance; counted downwards, beside the masks."""
        self.draws += 1
        return uniform(shape, self.key, self.step, -self.draws).to(like.dtype)

    def keep(self, x: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        """Ones where a unit is kept."""
        self.calls += 1
        return (uniform(shape, self.key, self.step, self.calls) >= p).to(x.dtype)

    def drop(self, x: Tensor, p: float, training: bool, spatial: int = 0) -> Tensor:
        """Dropout of numbers, or of whole channels with ``spatial`` dimensions."""
        if not training or p <= 0:
            return x
        shape = (*x.shape[: x.ndim - spatial], *(1,) * spatial)
        return x * (self.keep(x, shape, p) / (1 - p)) if p < 1 else x * 0

    def alpha(self, x: Tensor, p: float, training: bool) -> Tensor:
        """Alpha dropout (Klambauer et al. 2017)."""
        if not training or p <= 0:
            return x
        a = ((1 - p) * (1 + p * ALPHA**2)) ** -0.5 if p < 1 else 0.0
        mask = self.keep(x, tuple(x.shape), p)
        return a * (x * mask + ALPHA * (1 - mask)) - a * ALPHA * p

    def as_torch(self, spatial: int = 0, alpha: bool = False) -> Callable[..., Tensor]:
        """One of them with the signature that it has in torch."""

        def dropout(
            input: Tensor,  # noqa: A002 (torch's names)
            p: float = 0.5,
            training: bool = not alpha,
            inplace: bool = False,  # noqa: ARG001
        ) -> Tensor:
            return (
                self.alpha(input, p, training) if alpha else self.drop(input, p, training, spatial)
            )

        return dropout


@contextlib.contextmanager
def keyed(key: Tensor, step: int) -> Generator[None]:
    """Dropout, and what draws by chance, by key while this is on."""
    masks, attention = Masks(key, step), F.scaled_dot_product_attention

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        given = (query, key, value, attn_mask, dropout_p, is_causal)
        if dropout_p:
            return _attend(*given, **kwargs, drop=masks.as_torch())
        return attention(*given, **kwargs)

    ours: dict[str, Any] = {
        "dropout": masks.as_torch(),
        "dropout1d": masks.as_torch(1),
        "dropout2d": masks.as_torch(2),
        "dropout3d": masks.as_torch(3),
        "alpha_dropout": masks.as_torch(alpha=True),
        "scaled_dot_product_attention": attend,
    }
    theirs = {name: getattr(F, name) for name in ours}
    try:
        for name, function in ours.items():
            setattr(F, name, function)
        with drawn_by(masks.uniform):
            yield
    finally:
        for name, function in theirs.items():
            setattr(F, name, function)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
    """`torch.nn.functional.linear`, mapped as one matrix product a member."""
    rows = input.reshape(-1, input.shape[-1]) @ weight.t()
    rows = rows if bias is None else rows + bias
    return rows.reshape(*input.shape[:-1], rows.shape[-1])


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    drop: Callable[..., Tensor] | None = None,
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`, as its documentation writes it out."""
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(groups, -3) for t in (key, value))
    weights = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        ones = torch.ones(weights.shape[-2:], dtype=torch.bool, device=weights.device)
        weights = weights.masked_fill(~ones.tril(), float("-inf"))
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        weights = weights.masked_fill(~attn_mask, float("-inf")) if masked else weights + attn_mask
    weights = weights.softmax(-1)
    if dropout_p:
        weights = (drop or F.dropout)(weights, dropout_p)
    return weights @ value
