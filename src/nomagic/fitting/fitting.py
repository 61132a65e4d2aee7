"""`nomagic.fit`: the stages of the recipe one after the other, each kept as it is finished."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nomagic import described
from nomagic.datasets import Data, as_data
from nomagic.engine import scores
from nomagic.engine.draws import seeded
from nomagic.engine.plan import Plan
from nomagic.engine.processes import threads
from nomagic.fitting import forest, saved
from nomagic.fitting.case import Case, FitError, Wish, apart
from nomagic.fitting.fitted import Scaling
from nomagic.fitting.ledger import Ledger
from nomagic.fitting.stages import (
    baselines,
    blend,
    data,
    final,
    growing,
    overfit,
    regularise,
    shrinking,
    squeeze,
    transferring,
    tune,
)
from nomagic.trial import recipe as recipes
from nomagic.trial.arms import preflight, said
from nomagic.trial.runs import data_name, setup_name
from nomagic.words import Fit, Setup, Stage

Run = Callable[[Case], Stage]

STAGES: dict[str, tuple[Run, float]] = {
    "data": (data.run, 1),
    "baselines": (baselines.run, 4),
    "overfit": (overfit.run, 45),
    "regularise": (regularise.run, 25),
    "transfer": (transferring.run, 10),
    "tune": (tune.run, 15),
    "squeeze": (squeeze.run, 60),
    "blend": (blend.run, 20),
    "shrink": (shrinking.run, 8),
    "growth": (growing.run, 8),
    "trust": (final.trust, 3),
    "test": (final.test, 2),
}
"""The stages in their order, and their shares of the time."""
NEEDED = ("squeeze",)
"""Stages that cannot be skipped where a model is wanted."""
LATER, SHORT = ("shrink", "growth"), 0.2
"""Stages that have so much less where there was no time to compare networks."""
TEST = 0.15
"""The share of the samples that is set aside for the last stage."""
FAR = 3.0
"""Targets of a regression whose mean is further from zero, or whose deviation is further from one
than by this factor, are trained standardised."""

Tell = Callable[[Fit], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is run: from which stage anew, until which, without which; and for how long.

    ``source`` is what named the setup, such as ``"setup.py"``.
    """

    seconds: float
    from_: str = ""
    until: str = ""
    skip: tuple[str, ...] = ()
    test: float = TEST
    source: str = "setup.py"


class Fitting:
    """One fit in a directory; `run` returns what is known when it ends, however it ends.

    Args:
        setup: as the user gave it.
        directory: where the model and all that is known are kept; the same call goes on there.
        ask: what is run.
        wish: what else the user wants.
        tell: called with the fit so far, again and again.

    Raises:
        FitError, LedgerError, DataError, SetupError: bad input.
    """

    def __init__(
        self, setup: Setup, directory: Path, ask: Ask, wish: Wish, tell: Tell | None = None
    ) -> None:
        _check(ask, wish)
        self.ask, self.wish, self.tell = ask, wish, tell
        self.directory, self.began, self.phase = directory, time.monotonic(), ""
        self.base, whole = _gathered(setup)
        seen, self.test = apart(whole, self.base, ask.test, wish.seed)
        self.data, self.scaling = _scaled(seen, self.base)
        self.test = _rescaled(self.test, self.scaling)
        self.plan = Plan(self.base, self.data)
        try:
            preflight(self.plan, wish.seed)
        except Exception as error:
            raise FitError(f"the setup cannot be trained: {said(error)}") from error
        self.stages: list[Stage] = []
        self.memory: dict[str, Any] = {}
        self.remarks: list[str] = []
        self.ledger = Ledger(directory / "state", self._identity(whole))
        names = list(STAGES)
        if ask.from_:
            self.ledger.forget(names[names.index(ask.from_) :])

    def _identity(self, whole: Data) -> dict[str, Any]:
        wish = self.wish
        return {
            "setup": setup_name(self.base, data_name(Plan(self.base, whole))),
            "metric": self.plan.metric,
            "recipe": recipes.dumps(wish.recipe) if wish.recipe else "",
            "members": wish.members,
            "seed": wish.seed,
            "test part": self.ask.test,
        }

    def run(self) -> Fit:
        """All stages that are asked for."""
        ending = "finished"
        try:
            for name in STAGES:
                self.stages.append(self._stage(name))
                self._say("")
                if name == self.ask.until:
                    ending = "stopped"
                    break
            if ending == "finished":
                self._save()
        except KeyboardInterrupt:
            ending = "interrupted"
            self.remarks.append("the same command goes on from here; what was trained is kept")
        finally:
            self.ledger.close()
        self.phase = ""
        return self.fit(ending)

    def _stage(self, name: str) -> Stage:
        """A stage as it was kept, or run now."""
        known = self.ledger.stage(name)
        if known is not None:
            return known
        if name in self.ask.skip:
            return Stage(name, skipped="as asked")
        self._say(name)
        began = time.monotonic()
        case = self.case(name)
        with seeded(self.wish.seed), threads(case.pace("data", self.plan).threads):
            stage = STAGES[name][0](case)
        return self.ledger.keep(replace(stage, seconds=time.monotonic() - began))

    def case(self, name: str) -> Case:
        """What a stage is given."""
        return Case(
            base=self.base,
            setup=self.setup,
            data=self.data,
            test=self.test,
            ledger=self.ledger,
            wish=self.wish,
            stages=tuple(self.stages),
            seconds=self._seconds(name),
            last=self._seconds(NEEDED[0]),
            tell=lambda what: self._say(f"{name} · {what}"),
            memory=self.memory,
            scaling=self.scaling,
        )

    @property
    def setup(self) -> Setup:
        """The setup as the stages so far have made it."""
        setup = self.base
        for stage in self.stages:
            setup = described.changed(setup, stage.change, described.owner(self.base))
        return setup

    def _seconds(self, name: str) -> float:
        """A stage's share of the time that is left: what others saved is passed on."""
        names = list(STAGES)
        after = [one for one in names[names.index(name) + 1 :] if one not in self.ask.skip]
        left = self.ask.seconds - (time.monotonic() - self.began)
        own = self._share(name)
        return max(1.0, left * own / max(own + sum(map(self._share, after)), 1e-9))

    def _share(self, name: str) -> float:
        """A stage's share; what comes after the last training has little where time is short."""
        if name == "blend" and forest.reason(self.base, self.data.form):
            return 0.0
        short = any(one.name == "overfit" and overfit.untried(one) for one in self.stages)
        return STAGES[name][1] * (SHORT if short and name in LATER else 1)

    def _save(self) -> None:
        """Put the model together and write it."""
        self._say("saving")
        case = self.case(list(STAGES)[-1])
        model = final.complete(case, final.fitted(case, self.scaling))
        saved.save(model, self.directory)
        least = final.smallest(case, self.scaling)
        small = self.directory / "small"
        if least is not None:
            saved.save(least, small)
        elif small.exists():
            shutil.rmtree(small)  # of an earlier fit in this directory
        for kind in self.wish.export:
            self._say(f"saving · {kind}")
            self.remarks.append(final.exported(case, model, kind, self.directory))

    # -- what is known ------------------------------------------------------------------------

    def _say(self, phase: str) -> None:
        self.phase = phase
        if self.tell:
            self.tell(self.fit(""))

    def fit(self, ending: Any = "") -> Fit:
        """The fit as it stands."""
        spent = time.monotonic() - self.began
        tested = next((one for one in self.stages if one.name == "test"), None)
        return Fit(
            setup=self.base.name or self.data.name,
            metric=self.plan.metric,
            points=self.plan.metric in scores.PERCENT,
            directory=str(self.directory),
            stages=tuple(self.stages),
            score=_score(tested) if tested and not tested.skipped else {},
            phase=self.phase,
            seconds=spent,
            left=max(0.0, self.ask.seconds - spent),
            ending=ending,
            context=_context(self.plan) | self._code(),
            remarks=tuple(self.remarks),
        )

    def _code(self) -> dict[str, str]:
        """What holds the network, where it is the user's own: the saved model needs it, too."""
        return {} if described.ours(self.base.model) else {"code": self.ask.source}


def _score(tested: Stage) -> dict[str, float]:
    """What the test part said, as `Fit.score` has it."""
    found = tested.numbers
    return found["scores"] | {
        "low": found["low"],
        "high": found["high"],
        "samples": found["samples"],
        "plain": found["its value"],
        "gain": found["lead"]["value"],
        "gain low": found["lead"]["low"],
        "gain high": found["lead"]["high"],
    }


def _check(ask: Ask, wish: Wish) -> None:
    for kind in wish.export:
        if kind not in final.EXPORTS:
            known = ", ".join(final.EXPORTS)
            raise FitError(f"the export {kind!r} is not known; it is one of {known}")
    for name in (ask.from_, ask.until, *ask.skip):
        if name and name not in STAGES:
            raise FitError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}")
    needed = [name for name in NEEDED if name in ask.skip]
    if needed:
        raise FitError(f"the stage {needed[0]} cannot be skipped: it trains the model")
    if not 0 <= ask.test < 1:
        raise FitError(f"the test part is {ask.test}; it is a share from 0 to below 1")


def _gathered(setup: Setup) -> tuple[Setup, Data]:
    """The setup and its data, which then knows its groups."""
    found = as_data(setup.data)
    if setup.groups is not None:
        codes = np.unique(np.asarray(setup.groups), return_inverse=True)[1]
        if len(codes) != len(found):
            raise FitError(f"groups has {len(codes)} entries for {len(found)} samples")
        found = replace(found, groups=torch.from_numpy(codes))
    return replace(setup, groups=None), found


def _scaled(seen: Data, setup: Setup) -> tuple[Data, Scaling | None]:
    """Targets of a regression that are far from mean 0 and deviation 1, standardised."""
    if seen.task != "regression" or seen.y is None or setup.loss is not None:
        return seen, None
    columns = seen.y.double().reshape(len(seen), -1)
    mean, deviation = columns.mean(0), columns.std(0).clamp(min=1e-12)
    near = (
        (mean.abs() < FAR * deviation.clamp(min=1 / FAR))
        & (deviation < FAR)
        & (deviation > 1 / FAR)
    )
    if bool(near.all()) or callable(setup.metric):
        return seen, None
    scaling = Scaling(tuple(mean.tolist()), tuple(deviation.tolist()))
    changed = _rescaled(seen, scaling)
    assert changed is not None, "there is data"
    return changed, scaling


def _rescaled(data: Data | None, scaling: Scaling | None) -> Data | None:
    """The data with targets in deviations from their mean."""
    if data is None or data.y is None or scaling is None:
        return data
    columns = data.y.double().reshape(len(data), -1)
    centre, deviation = (torch.tensor(one) for one in (scaling.centre, scaling.deviation))
    y = ((columns - centre) / deviation).reshape(data.y.shape).to(data.y.dtype)
    one = len(scaling.centre) == 1
    unit = f"1 is {scaling.deviation[0]:.4g} of the target" if one else "one of each target"
    remark = (
        f"targets are standardised for training, so losses and errors on the way are in standard "
        f"deviations ({unit})" + ("; those on the test part are in the target's unit" * one)
    )
    changed = replace(data, y=y, remarks=(*data.remarks, remark))
    vars(changed)["form"] = data.form
    return changed


def _context(plan: Plan) -> dict[str, Any]:
    setup = plan.setup
    return {
        "data": plan.data.name,
        "task": plan.form.task,
        "split": setup.split,
        "batch size": setup.batch_size,
        "epochs": setup.epochs,
        "device": setup.device,
    }
