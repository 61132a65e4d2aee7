"""Every patch of foreign code, in one place: puts in the taps that probes need, and takes them out.

The demands, since users' scripts run through this:

- Results stay bit-identical: no random draw, no change of modes, flags, gradients or values.
- Nothing raises into the user's code: an error of a probe silences that probe and becomes a line
in the report.
- Never a global backward hook (breaks in-place ops and vmap), never a dispatch mode (disables
torch.compile), no
  patched ``F.*`` (breaks scripting). Torch functions are seen by a TorchFunctionMode that is only
  on in looked ticks, and never inside modules that take a fused path when no mode is on.
- What is off costs nothing; every tap is undone by an ExitStack even when the script crashes.
"""

# Watching from below means reaching into what torch keeps private.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import functools
import random
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, overrides
from torch.nn.modules import module as modules
from torch.nn.utils import clip_grad
from torch.optim import lr_scheduler
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._device import DeviceContext
from torch.utils.data import DataLoader, dataloader

from nomagic.frames import call_as
from nomagic.probes.probe import Probe
from nomagic.probes.run import (
    DENSE,
    SPANS,
    Backward,
    Batch,
    Call,
    Clip,
    Layer,
    Op,
    Run,
    Scaled,
    Step,
)

FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
"""In evaluation these leave their fused path as soon as a function mode is on, and change the last
bits.
"""

GLOBAL_HOOKS = (modules._global_forward_pre_hooks, modules._global_forward_hooks)

LOOP = frozenset(
    [
        "on_batch",
        "on_enter",
        "on_layer",
        "on_op",
        "on_call",
        "on_backward",
        "on_gradients",
        "on_clip",
        "on_zero_grad",
        "on_before_step",
        "on_step",
    ]
)
"""Events that come in every round of the loop: told in looked ticks; and in windows or always to
probes that ask for that.
"""

UNSEEN = 3e-6
"""Seconds of a tap that it cannot time itself: torch's way to us and back."""
INDIRECT = 1.3
"""What our work costs for each second that it takes: it leaves cold caches to the script and more
to do to the collector (measured on looked ticks: 1.24 to 1.5).
"""

Hears = dict[str, list[tuple[Probe[Any], Callable[..., None]]]]

compiling = torch.compiler.is_compiling
set_grads = torch._C._set_grad_enabled


DISPATCH = overrides.handle_torch_function.__code__

UNHEARD = frozenset({Tensor.grad.__get__, Tensor.requires_grad_, Tensor.retain_grad})  # type: ignore[attr-defined]
"""Functions that return a tensor and compute nothing; optimizers and zero_grad call them by the
thousand.
"""


def harmless(method: Callable[..., None]) -> Callable[..., None]:
    """A tap's own part: its time is booked; should it raise, watching ends, and not the script."""

    @functools.wraps(method)
    def guarded(taps: Taps, *values: Any) -> None:
        outer, taps.booking = not taps.booking, True
        began = time.perf_counter() if outer else 0.0
        try:
            method(taps, *values)
        except Exception as error:
            taps.give_up(error)
        finally:
            if outer:
                taps.booking = False
                taps.run.clock.add(INDIRECT * (time.perf_counter() - began) + UNSEEN)

    return guarded


class Functions(overrides.TorchFunctionMode):
    """Reports every torch function that returns a tensor while it is on."""

    def __init__(self, taps: Taps) -> None:
        self.taps = taps
        self.on = False
        self.present = False
        self.inside = 0

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        frame = sys._getframe(1)
        if (
            frame.f_code is DISPATCH
        ):  # a function of torch's that is written in python dispatched itself
            frame = frame.f_back and frame.f_back.f_back
        self.inside += 1
        try:
            output = call_as(frame, func, args, kwargs) if frame else func(*args, **kwargs)
        finally:
            self.inside -= 1
        self.present = True  # torch takes a mode off while it is called, and puts it back after
        taps = self.taps
        if not self.on or taps.muted or taps.run.busy or func in UNHEARD:
            return output
        if has_tensor(output):
            taps.op(func, args, kwargs, output)
        return output


def has_tensor(value: Any) -> bool:
    """Whether a function's result is a tensor, or a tuple or list that holds one."""
    if isinstance(value, Tensor):
        return True
    return isinstance(value, tuple | list) and any(isinstance(item, Tensor) for item in value)


def op_name(func: Any) -> str:
    """The short name of a torch function: "relu", "view", "T"."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(getattr(func, "__self__", None), "__name__", name)
    return name or type(func).__name__


class Taps:
    """The taps of one run: hears the script and tells the probes."""

    def __init__(
        self, run: Run, probes: Iterable[Probe[Any]], stop: Callable[[], None] | None = None
    ) -> None:
        """``stop`` is called after every optimizer step, and may raise to end the script."""
        self.run = run
        self.stop = stop
        self.muted = False
        self.peeking = False
        self.functions = Functions(self)
        self.stack: list[nn.Module] = []
        self.call: Call | None = None
        self.backward: Backward | None = None
        self._paused: nn.Module | None = None
        self._dived: nn.Module | None = None
        self._under = False
        self.quiet = False
        """Between windows, with nobody left who follows the calls."""
        self._hooks: tuple[Any, Any]
        self._thread = threading.get_ident()
        self._exits = ExitStack()
        self.booking = False
        self._probes = list(probes)
        self._looked: Hears = {}
        self._awake: Hears = {}
        self._asleep: Hears = {}
        self._told = self._looked
        self._evaluations = 0
        self._evaluated = -1
        self._forward = self._forward_began = self._step_began = 0.0
        self._ours_began = 0.0
        self._evaluating: Batch | None = None
        self._epochs: dict[int, int] = {}
        self._passes: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()
        self._scaled: dict[int, tuple[Tensor, Tensor]] = {}
        for probe in self._probes:
            probe.run = run
        self._seat()
        self._functions_heard = self.hears("on_op")

    # -- telling ------------------------------------------------------------------------

    def _seat(self) -> None:
        """Who hears which event in looked ticks, and in the other ticks of a window."""
        self._looked, self._awake = {}, {}
        for probe in self._probes:
            for event in (name for name in dir(type(probe)) if name.startswith("on_")):
                pair = (probe, getattr(probe, event))
                self._looked.setdefault(event, []).append(pair)
                if event not in LOOP or event in (*probe.always, *probe.windows):
                    self._awake.setdefault(event, []).append(pair)
        self._rest()

    def _rest(self) -> None:
        """Who hears which event between windows: probes that want to, and those that they read."""
        lively = [probe for probe in self._probes if probe.always and not probe.drowsy]
        kinds = {kind for probe in lively for kind in (type(probe), *probe.needs)}
        self._asleep = {
            event: [pair for pair in heard if event not in LOOP or type(pair[0]) in kinds]
            for event, heard in self._awake.items()
        }
        self._attend()

    def _attend(self, noticed: bool = False) -> None:
        """Choose who hears what happens now; what is ``noticed`` wakes those who sleep."""
        run = self.run
        if run.looking or self.peeking:
            self._told = self._looked
        else:
            self._told = self._asleep if run.asleep and not noticed else self._awake
        self.quiet = self._told is self._asleep and not self._asleep.get("on_call")

    def hears(self, *events: str) -> bool:
        """Whether any probe hears one of these events."""
        return any(event in self._looked for event in events)

    def heard(self, event: str) -> bool:
        """Whether any probe hears this event now."""
        return bool(self._told.get(event))

    @harmless
    def tell(self, event: str, *values: Any) -> None:
        """Call the probes that hear this event now; one that raises is silenced and noted."""
        run = self.run
        heard = self._told.get(event)
        if not heard or run.busy:
            return
        run.busy = True
        grads = torch.is_grad_enabled()
        if grads:
            set_grads(False)
        try:
            for probe, hear in heard:
                try:
                    hear(*values)
                except Exception as error:
                    self._silence(probe, event, error)
        finally:
            if grads:
                set_grads(True)
            run.busy = False

    def _silence(self, probe: Probe[Any], event: str, error: Exception) -> None:
        where = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(probe).__name__
        self.run.errors[kind] = (
            f"{type(error).__name__} in {event}: {error} ({where.filename}:{where.lineno})"
        )
        self._probes = [other for other in self._probes if other is not probe]
        self._seat()

    def give_up(self, error: Exception) -> None:
        """Our own code failed: watch no more, and say so."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        self.run.errors["taps"] = f"{type(error).__name__}: {error} ({where.name}:{where.lineno})"
        self.run.over = True
        self.functions.on = self.muted = False

    def _deaf(self) -> bool:
        """Whether this moment is not the script's: our own work, another thread, a compiler's
        trace.
        """
        return self.run.busy or self.run.over or threading.get_ident() != self._thread

    # -- torch functions ------------------------------------------------------------------

    @harmless
    def listen(self, on: bool) -> None:
        """Put the function mode below the user's own modes, or take it out from among them."""
        on = on and self._functions_heard and not self.run.compiled
        if on == self.functions.on == self.functions.present:
            return
        self.functions.on = on
        if (
            self.functions.inside
        ):  # Tensor.backward is such a call: put in now, it would be there twice
            return
        stack = overrides._get_current_function_mode_stack()  # bottom first
        present = any(mode is self.functions for mode in stack)
        if on != present:
            for _ in stack:
                overrides._pop_mode()
            stack = [mode for mode in stack if mode is not self.functions]
            if on:
                stack.insert(
                    1 if stack and isinstance(stack[0], DeviceContext) else 0, self.functions
                )
            for mode in stack:
                overrides._push_mode(mode)
        self.functions.present = on

    @harmless
    def op(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """A torch function returned a tensor in a looked tick."""
        if self._deaf():
            return
        op = Op(
            func,
            op_name(func),
            args,
            kwargs,
            output,
            self.run.places.here(),
            tuple(self.stack),
            torch.is_grad_enabled(),
        )
        self.tell("on_op", op)

    # -- modules --------------------------------------------------------------------------

    def _enter(self, module: nn.Module, args: Any) -> None:  # the compiler reads these hooks
        if compiling() or self.muted or self._deaf():
            return
        if self.quiet and torch.is_grad_enabled():
            self._dive(None)
        else:
            self._entered(module, args)

    @harmless
    def _entered(self, module: nn.Module, args: Any) -> None:
        if not self.stack:
            self._outermost(module, args)
        self.stack.append(module)
        if self.functions.on and isinstance(module, FUSED) and not module.training:
            self._paused = module
            self.listen(False)

    def _outermost(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        run = self.run
        grads = torch.is_grad_enabled()
        self.call = Call(module, args, {}, None, run.places.here(), grads, run.batch, run.tick)
        if grads:
            run.adopt(module)
            self.peeking = False
            self._attend()
        else:
            self._evaluations += 1
            self.peeking = self._evaluations <= DENSE or run.clock.spare()
            self._attend(noticed=run.tick != self._evaluated)
            self._evaluated = run.tick
        self.listen(run.looking or self.peeking)
        self.tell("on_enter", self.call)
        if not (run.looking or self.peeking or run.compiled):
            self._dive(module)
        self._ours_began = run.clock.start + run.clock.spent
        self._forward_began = time.perf_counter()

    def _dive(self, module: nn.Module | None) -> None:
        """In a pass that is not looked at, hear the outermost module only: hooks cost 4 µs a
        module call. With no module, hear none before the backward.
        """
        if module is not None and isinstance(module, (*FUSED, torch.jit.ScriptModule)):
            return
        before, after = self._hooks
        GLOBAL_HOOKS[0].pop(before.id, None)
        GLOBAL_HOOKS[1].pop(after.id, None)
        self._under = True
        if module is not None:
            module._forward_hooks[self._hooks[1].id] = self._leave
            module._forward_hooks_with_kwargs[self._hooks[1].id] = True
            self._dived = module

    def _surface(self) -> None:
        """Hear every module again; also after an exception that left the modules without a word."""
        if not self._under:
            return
        self._under = False
        module, self._dived = self._dived, None
        if module is not None:
            module._forward_hooks.pop(self._hooks[1].id, None)
            module._forward_hooks_with_kwargs.pop(self._hooks[1].id, None)
        before, after = self._hooks
        GLOBAL_HOOKS[0][before.id] = self._enter
        GLOBAL_HOOKS[1][after.id] = self._leave

    def _leave(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if compiling() or self.muted or not self.stack or self._deaf():
            return
        self._left(module, args, kwargs, output)

    @harmless
    def _left(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        self._surface()
        while self.stack[-1] is not module:  # an exception left the modules in between
            self.stack.pop()
            if not self.stack:
                return
        if self._paused is module:
            self._paused = None
            self.listen(True)
        call = self.call
        if self.run.looking or self.peeking:
            self.tell("on_layer", Layer(module, args, output, call))
        self.stack.pop()
        if not self.stack and call is not None:
            seconds = time.perf_counter() - self._forward_began
            self.run.times["forward"] += seconds
            self._forward += seconds if call.grads else 0.0
            self._lap(call, seconds)
            call.args, call.kwargs, call.output = args, kwargs, output
            if call.grads:
                self.run.calls.append(call)
            self.tell("on_call", call)
            self.call = None

    def _lap(self, call: Call, seconds: float) -> None:
        """Book an outermost call, and for an evaluation what its batch was waited for."""
        run = self.run
        own = max(0.0, seconds - (run.clock.start + run.clock.spent - self._ours_began))
        run.laps.add("forward" if call.grads else "evaluation", own)
        if not call.grads and call.batch is not None and call.batch is not self._evaluating:
            self._evaluating = call.batch
            run.laps.add("evaluation", call.batch.waited)
            run.laps.add("loader", -call.batch.waited)

    # -- the taps -------------------------------------------------------------------------

    def install(self) -> None:
        """Put in every tap."""
        keep = self._exits
        self._hooks = (
            modules.register_module_forward_pre_hook(self._enter),
            modules.register_module_forward_hook(self._leave, with_kwargs=True),
        )
        hooks = (
            *self._hooks,
            register_optimizer_step_pre_hook(self._step_begins),
            register_optimizer_step_post_hook(self._stepped),
        )
        for hook in hooks:
            keep.callback(hook.remove)
        keep.callback(self._surface)
        keep.callback(self.listen, False)
        patch = self._patch
        patch(Tensor, "backward", self._undispatched)
        patch(torch.autograd, "backward", self._backward)
        patch(torch.autograd, "grad", self._grad)
        patch(nn.Module, "__init__", self._after("on_module", built=True))
        patch(Optimizer, "__init__", self._after("on_optimizer", built=True))
        patch(DataLoader, "__init__", self._after("on_loader", built=True))
        patch(lr_scheduler.LRScheduler, "__init__", self._after("on_scheduler", built=True))
        patch(lr_scheduler.ReduceLROnPlateau, "__init__", self._after("on_scheduler", built=True))
        patch(DataLoader, "__iter__", self._iterate)
        patch(dataloader._BaseDataLoaderIter, "__next__", self._next)
        patch(Optimizer, "zero_grad", self._after("on_zero_grad"))
        patch(nn.Module, "zero_grad", self._after("on_zero_grad"))
        patch(nn.Module, "load_state_dict", self._restored)
        patch(Optimizer, "load_state_dict", self._restored)
        patch(clip_grad, "_clip_grads_with_norm_", self._clipped)
        for owner in (clip_grad, nn.utils):
            patch(owner, "clip_grad_value_", self._clipped_value)
        patch(torch.amp.GradScaler, "scale", self._scale)
        patch(torch.amp.GradScaler, "step", self._scaler)
        patch(torch.amp.GradScaler, "unscale_", self._scaler)
        patch(torch, "load", self._loaded)
        for name in ("constant_", "zeros_", "ones_"):
            patch(nn.init, name, self._filled)
        patch(torch, "manual_seed", self._seeded)
        patch(np.random, "seed", self._seeded)
        patch(random, "seed", self._seeded)
        patch(torch, "compile", self._compiled)
        patch(nn.Module, "compile", self._compiled)

    def remove(self) -> None:
        """Take out every tap, in reverse order."""
        self.run.over = True
        self._exits.close()

    def _patch(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        original = owner.__dict__.get(name) or getattr(owner, name, None)
        if original is None:  # another version of torch: this tap is not there
            self.run.errors[f"tap {name}"] = f"{owner.__name__} has no {name}"
            return
        patched = wrap(original)
        if patched is original:  # nobody hears it
            return
        patched = functools.wraps(original)(patched)
        patched._torchdynamo_disable = True  # type: ignore[attr-defined]
        setattr(owner, name, patched)
        self._exits.callback(setattr, owner, name, original)

    def _after(self, event: str, built: bool = False) -> Callable[[Any], Any]:
        """A tap that tells after a method returned; with ``built``, the outermost of nested
        constructors only.
        """
        hears = event == "on_module" or self.hears(event)

        def wrap(original: Any) -> Any:
            if not hears:
                return original

            def patched(this: Any, *args: Any, **kwargs: Any) -> Any:
                result = original(this, *args, **kwargs)
                if compiling() or self._deaf():
                    return result
                if event == "on_optimizer":
                    self.run.stepped.pop(id(this), None)  # one that is gone had its address
                if event == "on_module" or self.heard(event):
                    place = self.run.places.here(skip=this if built else None)
                    if event == "on_module" and place is not None:
                        self.run.note_built(this, place)
                    self.tell(event, this, place)
                return result

            return patched

        return wrap

    def _undispatched(self, original: Any) -> Any:
        """`Tensor.backward` hands itself to the modes that are on: ours is taken out before, since
        torch would put it back after the tick, and leave it there in a script without modules.
        """

        def backward(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if self.functions.present and not (self.muted or self._deaf() or compiling()):
                self.listen(False)
            return original(tensor, *args, **kwargs)

        return backward

    def _backward(self, original: Any) -> Any:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self._deaf() or self.muted or compiling():
                return original(tensors, *args, **kwargs)
            loss = tensors if isinstance(tensors, Tensor) else next(iter(tensors))
            return self._flow(loss, False, lambda: original(tensors, *args, **kwargs))

        return backward

    def _grad(self, original: Any) -> Any:
        def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            flat = [inputs] if isinstance(inputs, Tensor) else list(inputs)
            training = (
                not kwargs.get("create_graph")
                and not self._deaf()
                and not self.muted
                and not compiling()
                and bool(flat)
                and all(isinstance(t, Tensor) and t.is_leaf and t.requires_grad for t in flat)
            )
            if not training:
                return original(outputs, inputs, *args, **kwargs)
            loss = outputs if isinstance(outputs, Tensor) else next(iter(outputs))
            return self._flow(loss, True, lambda: original(outputs, flat, *args, **kwargs))

        return grad

    def _flow(self, loss: Tensor, by_grad: bool, flow: Callable[[], Any]) -> Any:
        """One backward: before, the gradients themselves, after; then the next tick begins."""
        self._flows(loss, by_grad)
        self.muted = True
        began = time.perf_counter()
        try:
            result = flow()
        finally:
            self.muted = False
        if self.quiet:
            self.run.laps.lose()
            self.run.advance()
            if not self.run.asleep:
                self._wake()
        else:
            self._flowed(time.perf_counter() - began)
        return result

    @harmless
    def _flows(self, loss: Tensor, by_grad: bool) -> None:
        run = self.run
        self._surface()
        self.stack.clear()
        true = self._unscaled(loss) if self._scaled else loss
        self.backward = Backward(true, run.places.here(), run.calls, run.tick, by_grad)
        if self.functions.present:
            self.listen(False)
        if self.peeking:
            self.peeking = False
            self._attend()
        self.tell("on_backward", self.backward)

    def _unscaled(self, loss: Tensor) -> Tensor:
        """The loss before a GradScaler scaled it."""
        kept = self._scaled.get(id(loss))
        self._scaled.clear()
        return kept[1] if kept is not None and kept[0] is loss else loss

    @harmless
    def _flowed(self, seconds: float) -> None:
        run = self.run
        run.times["backward"] += seconds
        run.timed += 1
        run.laps.add("backward", seconds)
        now, ours = time.perf_counter(), run.clock.start + run.clock.spent
        run.laps.end(run.tick, now, ours, run.looking)
        if not run.looking and len(run.spans) < SPANS:
            run.spans.append(self._forward + seconds)
        self._forward = 0.0
        if self.heard("on_gradients"):
            self.tell("on_gradients", self.backward)
        self.backward = None
        run.calls.clear()
        slept = run.asleep
        run.advance()
        if slept and run.asleep:
            if self._told is not self._asleep:
                self._attend()
        elif slept:
            self._wake()
        elif run.asleep:
            self._rest()
        else:
            self._attend()
        if run.looking or self.functions.present:
            self.listen(run.looking)

    @harmless
    def _wake(self) -> None:
        """After ticks of which probes have heard little: what they held for the next is stale."""
        self._attend()
        self.tell("on_wake")

    def _step_begins(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._deaf() and not (self.quiet and id(optimizer) in self.run.stepped):
            self._before_step(optimizer, (*args[1:], *kwargs.values()))

    @harmless
    def _before_step(self, optimizer: Any, given: tuple[Any, ...]) -> None:
        run = self.run
        index = run.stepped.get(id(optimizer), 0)
        if not index and run.asleep:
            run.wake()
            self._wake()
        self._surface()
        self.muted = not any(callable(value) for value in given)  # a closure is the script's own
        if self.heard("on_before_step"):
            place = run.places.here()
            self.tell("on_before_step", Step(optimizer, index, place, run.tick))
        self._step_began = time.perf_counter()

    def _stepped(self, optimizer: Any, *_: Any) -> None:
        if self._deaf():
            return
        run = self.run
        if not self.quiet:
            self._after_step(optimizer)
        run.stepped[id(optimizer)] = run.stepped.get(id(optimizer), 0) + 1
        run.steps += 1
        if self.stop is not None:
            self.stop()

    @harmless
    def _after_step(self, optimizer: Any) -> None:
        self.muted = False
        run = self.run
        if self._step_began:
            seconds = time.perf_counter() - self._step_began
            run.times["step"] += seconds
            run.laps.add("step", seconds)
            self._step_began = 0.0
        if self.heard("on_step"):
            index = run.stepped.get(id(optimizer), 0)
            self.tell("on_step", Step(optimizer, index, run.places.here(), run.tick))

    def _iterate(self, original: Any) -> Any:
        def iterate(loader: Any) -> Any:
            if self._deaf():
                return original(loader)
            epoch = self._epochs[id(loader)] = self._epochs.get(id(loader), -1) + 1
            self.tell("on_epoch", loader, self.run.places.here())
            self.muted, before = True, self.muted
            try:
                iterator = original(loader)
            finally:
                self.muted = before
            self._passes[iterator] = [loader, epoch, 0]
            return iterator

        return iterate

    def _next(self, original: Any) -> Any:
        def following(iterator: Any) -> Any:
            known = self._passes.get(iterator)
            if known is None or self._deaf() or self.muted:
                return original(iterator)
            self._surface()
            self.run.batch = None
            self.muted = True
            began = time.perf_counter()
            try:
                value = original(iterator)
            finally:
                self.muted = False
                waited = time.perf_counter() - began
            loader, epoch, index = known
            known[2] += 1
            self.run.laps.add("loader", waited)
            self.run.batch = Batch(loader, value, epoch, index, waited)
            if self.heard("on_batch"):
                self.tell("on_batch", self.run.batch)
            return value

        return following

    def _restored(self, original: Any) -> Any:
        def load_state_dict(this: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(this, state, *args, **kwargs)
            if not self._deaf():
                self.tell("on_restore", this, state, self.run.places.here())
            return result

        return load_state_dict

    def _loaded(self, original: Any) -> Any:
        def load(*args: Any, **kwargs: Any) -> Any:
            value = original(*args, **kwargs)
            if not self._deaf():
                self.tell("on_load", value, self.run.places.here())
            return value

        return load

    def _filled(self, original: Any) -> Any:
        def fill(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(tensor, *args, **kwargs)
            if not self._deaf() and not compiling():
                self.tell("on_fill", tensor, self.run.places.here())
            return result

        return fill

    def _clipped(self, original: Any) -> Any:
        def clip(parameters: Any, max_norm: Any, total_norm: Any, *args: Any, **kwargs: Any) -> Any:
            some = [parameters] if isinstance(parameters, Tensor) else list(parameters)
            if not self._deaf() and self.heard("on_clip"):
                place = self.run.places.here()
                self.tell("on_clip", Clip("norm", some, float(max_norm), total_norm, place))
            return original(some, max_norm, total_norm, *args, **kwargs)

        return clip

    def _clipped_value(self, original: Any) -> Any:
        def clip(parameters: Any, clip_value: Any, *args: Any, **kwargs: Any) -> Any:
            some = [parameters] if isinstance(parameters, Tensor) else list(parameters)
            if not self._deaf() and self.heard("on_clip"):
                place = self.run.places.here()
                self.tell("on_clip", Clip("value", some, float(clip_value), None, place))
            return original(some, clip_value, *args, **kwargs)

        return clip

    def _scale(self, original: Any) -> Any:
        def scale(scaler: Any, outputs: Any) -> Any:
            scaled = original(scaler, outputs)
            if not self._deaf() and isinstance(outputs, Tensor) and isinstance(scaled, Tensor):
                self._scaled[id(scaled)] = (scaled, outputs)
            return scaled

        return scale

    def _scaler(self, original: Any) -> Any:
        name = original.__name__

        def method(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            before = self.run.steps
            result = original(scaler, optimizer, *args, **kwargs)
            if not self._deaf():
                skipped = name == "step" and self.run.steps == before
                place = self.run.places.here()
                self.tell("on_scaler", Scaled(scaler, optimizer, name, skipped, place))
            return result

        return method

    def _seeded(self, original: Any) -> Any:
        library = {torch.manual_seed: "torch", np.random.seed: "numpy"}.get(original, "random")

        def seed(*args: Any, **kwargs: Any) -> Any:
            given = (*args, *kwargs.values())
            if not self._deaf() and given:
                self.tell("on_seed", library, given[0], self.run.places.here())
            return original(*args, **kwargs)

        return seed

    def _compiled(self, original: Any) -> Any:
        def compiled(*args: Any, **kwargs: Any) -> Any:
            self.run.compiled = True
            self.listen(False)
            return original(*args, **kwargs)

        return compiled
