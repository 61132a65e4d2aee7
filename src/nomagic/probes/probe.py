"""What every probe shares: it hears events, keeps plain rows, and can be filled by hand in a test.

The loop, and the events a probe may hear in it (define the method, and it is called)::

    on_module(module, place)              a module was constructed
    on_optimizer(optimizer, place)        an optimizer was constructed
    on_loader(loader, place)              a DataLoader was constructed
    on_seed(library, seed, place)         random.seed, numpy.random.seed, torch.manual_seed
    on_load(value, place)                 torch.load returned
    on_restore(owner, state, place)       load_state_dict of a module or an optimizer
    on_fill(tensor, place)                nn.init filled a tensor with one number
    on_scheduler(scheduler, place)        a learning-rate scheduler was constructed

    on_epoch(loader, place)               a pass over a loader begins
        on_batch(batch)                   a loader handed out a batch
        on_enter(call)                    an outermost module call begins (nothing computed yet)
            on_layer(layer)               any module call inside (and the outermost) ended; looked
            ticks only on_op(op)                     a torch function returned a tensor; looked
            ticks only
        on_call(call)                     the outermost module call ended
        on_backward(backward)             before gradients flow
        on_gradients(backward)            after they have
        on_clip(clip)                     gradients were clipped
        on_zero_grad(owner, place)        an optimizer's or a module's zero_grad
        on_scaler(event)                  a GradScaler stepped, unscaled or updated
        on_before_step(step)              an optimizer is about to step
        on_step(step)                     it has
    on_end()                              the script is over: turn what was kept into plain rows

A *tick* is the time from one backward to the next. `Run.looking` says whether this tick is looked
at closely: the first twenty always, later ones as the budget allows. The events inside the loop
(indented above, and those from on_backward to on_step) are told in looked ticks only, and in
evaluation calls that are looked at. A probe names in ``windows`` those that it must hear in some
ticks before a look, too, one after the other, and in ``always`` those that it must hear in every
tick, and then handles them in microseconds. When a window begins after ticks of which little was
heard, ``on_wake()`` tells so: what a probe kept for the next tick is stale then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from nomagic.probes.run import Run

Row = TypeVar("Row")


class Probe(Generic[Row]):
    """A list of plain rows about one aspect of a run.

    A subclass defines the events it wants to hear; ``needs`` names probes that it reads while
    it runs. In a test it is filled with rows by hand: ``Losses([Loss(…)])``.
    """

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = ()
    always: ClassVar[tuple[str, ...]] = ()
    windows: ClassVar[tuple[str, ...]] = ()
    drowsy: bool = False
    """From now on windows are enough for what it hears always."""
    run: Run
    trouble: str = ""
    """Why this probe saw less than it should ("the model is compiled"), or empty."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows: list[Row] = list(rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]
