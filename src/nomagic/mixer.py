"""Finds the function that mixes the samples of a batch, by looking at every intermediate result.

The pass is run once as it is and once for each of a few replaced samples. Of every tensor on the
way it is known, then, which elements depend on which sample. As long as some dimension has no
index that depends on two of them, the samples are apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nomagic import replay
from nomagic.probes.run import Places
from nomagic.probes.tree import leaves
from nomagic.replay import Replay, short
from nomagic.subject import Subject
from nomagic.words import Place

LARGEST = 4_000_000
MOST = 2_000
"""Functions looked at."""
CHANGED = 1e-5

KINDS = {
    "reshape": "view reshape flatten unflatten view_as reshape_as resize unfold chunk split narrow",
    "recurrent": "lstm gru rnn_tanh rnn_relu",
    "attention": "multi_head_attention_forward scaled_dot_product_attention",
    "softmax": "softmax log_softmax softmin gumbel_softmax",
    "statistics": "mean std var std_mean var_mean sum norm amax amin max min median quantile",
    "norm": "batch_norm instance_norm layer_norm group_norm",
}
SEQUENCES = ("recurrent", "attention")
BY_NAME = {name: kind for kind, names in KINDS.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class Mixer:
    """The function that mixed: its name and kind, the user's line, shapes before and after."""

    name: str = ""
    kind: str = "other"
    place: Place | None = None
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(slots=True)
class _Seen:
    name: str
    inputs: list[Tensor]
    output: Tensor
    place: Place | None
    settings: dict[str, Any]


class _Log(TorchFunctionMode):
    """Every tensor that a pass makes."""

    def __init__(self, places: Places | None) -> None:
        super().__init__()
        self.places = places
        self.seen: list[_Seen] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        first = next(leaves(output), None)
        if first is not None and first.dim() and first.numel() <= LARGEST and len(self.seen) < MOST:
            place = _line(self.places) if self.places is not None else None
            inputs = [t.detach() for t in leaves((args, kwargs))]
            self.seen.append(_Seen(short(func), inputs, first.detach(), place, kwargs))
        return output


def _line(places: Places) -> Place | None:
    """The user's line inside the replayed pass that is running, if there is one."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename != replay.__file__:
        code = frame.f_code
        if places.mine(code.co_filename):
            return places.place(code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return None


def first_mixer(subject: Subject, replaced: Sequence[Mapping[int, Tensor]]) -> Mixer:
    """The first function whose result no longer tells the samples apart."""
    copy = subject.calm()
    base = _logged(copy, {}, Places())
    masks: list[list[Tensor]] = [[] for _ in base]
    for data in replaced:
        log = _logged(copy, data, None)
        if [s.name for s in log] != [s.name for s in base]:
            return Mixer()
        for mask, a, b in zip(masks, base, log, strict=True):
            if a.output.shape != b.output.shape:
                return Mixer()
            mask.append(_differ(a.output, b.output))
    for seen, mask in zip(base, masks, strict=True):
        if not _apart(mask):
            return _mixer(seen, subject.tape.data[subject.input].collated)
    return Mixer()


def _logged(copy: Replay, data: Mapping[int, Tensor], places: Places | None) -> list[_Seen]:
    torch.manual_seed(0)
    log = _Log(places)
    with torch.no_grad(), log:
        copy.loss(data)
    return log.seen


def _differ(a: Tensor, b: Tensor) -> Tensor:
    if not a.is_floating_point():
        return a != b
    a, b = a.float(), b.float()
    gap = (a - b).abs()
    scale = a.std(unbiased=False).nan_to_num(0.0).clamp_min(1e-9)
    return (gap > CHANGED * scale) & gap.isfinite()


def _apart(masks: list[Tensor]) -> bool:
    """Whether along some dimension no index depends on two of the replaced samples."""
    for axis in range(masks[0].dim()):
        touched = torch.stack([m.movedim(axis, 0).reshape(m.shape[axis], -1).any(1) for m in masks])
        if int(touched.sum(0).max()) <= 1:
            return True
    return False


def _mixer(seen: _Seen, collated: bool) -> Mixer:
    kind = BY_NAME.get(seen.name, "other")
    if kind in SEQUENCES and seen.inputs and not collated:
        first = seen.inputs[0]
        if first.dim() < 3 or first.shape[1] == 1:
            kind = "other"  # one sequence at a time: what looks like a batch is time
    shapes = tuple(tuple(t.shape) for t in (*seen.inputs[:1], seen.output))
    return Mixer(seen.name, kind, seen.place, shapes)
