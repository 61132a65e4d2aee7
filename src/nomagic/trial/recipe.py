"""Recipes: tricks that were proven together, as a value, as a TOML file, and applied to a setup."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nomagic import toml
from nomagic.engine.plan import Plan
from nomagic.trial.arms import glimpse, proved
from nomagic.trial.runs import setup_name
from nomagic.words import Arm, NotApplicable, Practice, Proof, Recipe, Setup, Step, Verdict

VERSION = 1
EVIDENCE = ("effect", "low", "high", "evidence", "better", "pairs", "failures", "cost")
"""What a recipe tells of each verdict."""


class RecipeError(ValueError):
    """A recipe that cannot be read or followed: says which, and why."""


# -- applied -------------------------------------------------------------------------------------


def combine(
    plan: Plan, steps: Mapping[str, tuple[Practice, str]], seed: int
) -> tuple[Setup, dict[str, str]]:
    """Apply arms of practices one after the other, each to what the others made of the setup.

    Args:
        plan: the setup, with its data.
        steps: the practice and the name of its arm, under any name.
        seed: of the networks that the tricks look at.

    Returns:
        The setup, and why some of the steps could not be applied.
    """
    setup, refused = plan.setup, dict[str, str]()
    for name, (practice, arm) in steps.items():
        found, reason = _arm(practice, arm, Plan(setup, plan.data), seed)
        if found is None:
            refused[name] = reason
        else:
            setup = found.setup
    return setup, refused


def alike(plan: Plan, first: Setup, second: Setup, seed: int) -> bool:
    """Whether two setups are one training: equal settings, and networks that compute the same.

    Args:
        plan: has the data.
        first: a setup,
        second: and another one.
        seed: of the networks that are compared.
    """
    names = [setup_name(replace(setup, edits=()), "") for setup in (first, second)]
    if names[0] != names[1]:
        return False
    plans = [Plan(setup, plan.data) for setup in (first, second)]
    one, other = (each.model(each.members([seed])[0]).eval() for each in plans)
    if str(one) != str(other):
        return False
    x, own = plans[0].sample(seed), one.state_dict()
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in other.state_dict().items()}:
        return False
    other.load_state_dict(own)
    with torch.no_grad():
        return torch.equal(one(x), other(x))


def _arm(practice: Practice, name: str, plan: Plan, seed: int) -> tuple[Arm | Proof | None, str]:
    if practice.apply is None:
        return None, f"{practice.name} has no trick"
    found = list(practice.apply(plan.setup, glimpse(plan, seed)))
    for one in found:
        if isinstance(one, Arm | Proof) and one.name == name:
            return one, ""
    reasons = [one.reason for one in found if isinstance(one, NotApplicable)]
    return None, "; ".join(reasons) or f"{practice.name} no longer offers {name}"


def with_identities(
    recipe: Recipe,
    plan: Plan,
    practices: Sequence[Practice],
    proven: Sequence[Verdict],
    seed: int,
) -> Recipe:
    """The recipe with identities, where the proof holds beside its tricks, too.

    Args:
        recipe: what was proven to help.
        plan: the bare setup, with its data.
        practices: those of the recipe and of the identities, among others.
        proven: the identities that hold for the bare setup.
        seed: of the networks that are compared.
    """
    if not proven:
        return recipe
    known = {practice.name: practice for practice in practices}
    setup = follow(recipe, plan, practices, seed)
    for one in proven:
        practice = known[one.practice]
        found, _ = _arm(practice, one.arm, Plan(setup, plan.data), seed)
        if isinstance(found, Proof):
            setup = found.setup
            step = Step(practice.name, one.arm, proved(practice, found))
            recipe = replace(recipe, steps=(*recipe.steps, step))
    return recipe


def follow(recipe: Recipe, plan: Plan, practices: Sequence[Practice], seed: int = 0) -> Setup:
    """The setup with a recipe's tricks and its learning rate.

    Raises:
        RecipeError: a trick is not known, or cannot be applied to this setup.
    """
    known = {practice.name: practice for practice in practices}
    for step in recipe.steps:
        if step.practice not in known:
            raise RecipeError(f"the recipe names {step.practice!r}, and there is no such practice")
    steps = {step.arm: (known[step.practice], step.arm) for step in recipe.steps}
    setup, refused = combine(plan, steps, seed)
    if refused:
        name, reason = next(iter(refused.items()))
        raise RecipeError(f"the recipe's {name} cannot be applied to this setup: {reason}")
    return replace(setup, rate=setup.rate * recipe.rate)


# -- written and read ----------------------------------------------------------------------------


def write(recipe: Recipe, file: Path) -> None:
    """Write a recipe for people and for `read`."""
    file.write_text(dumps(recipe), encoding="utf-8")


def dumps(recipe: Recipe) -> str:
    """A recipe as TOML."""
    return "\n".join(_lines(recipe)) + "\n"


def _lines(recipe: Recipe) -> Iterator[str]:
    yield "# What helped, each on seeds that had no part in choosing it (nomagic try)."
    yield f"version = {VERSION}"
    yield f"setup = {toml.value(recipe.setup)}"
    yield f"metric = {toml.value(recipe.metric)}"
    yield f"rate = {toml.value(recipe.rate)}  # times the learning rate of the setup"
    if recipe.context:
        yield ""
        yield "[context]"
        yield from toml.pairs(recipe.context)
    if recipe.together:
        yield ""
        yield "[together]  # the whole recipe against the bare setup"
        yield from _evidence(recipe.together)
    for step in recipe.steps:
        same = step.verdict.decision == "SAME RESULT"
        what = "proven to compute the same" if same else "the recipe against the recipe without it"
        yield ""
        yield f"[[tricks]]  # {what}"
        yield f"practice = {toml.value(step.practice)}"
        yield f"arm = {toml.value(step.arm)}"
        yield from _evidence(step.verdict)


def _evidence(verdict: Verdict) -> Iterator[str]:
    yield f"verdict = {toml.value(verdict.decision)}"
    yield from toml.pairs({name: getattr(verdict, name) for name in EVIDENCE})


def read(file: Path) -> Recipe:
    """Read a recipe.

    Raises:
        RecipeError: there is no such file, or it is no recipe.
    """
    try:
        return loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{file} is not a recipe: {error}") from error


def loads(text: str) -> Recipe:
    """A recipe from TOML."""
    table = tomllib.loads(text)
    if table.get("version") != VERSION:
        raise RecipeError(f"version is {table.get('version')}, expected {VERSION}")
    steps = [
        Step(trick["practice"], trick["arm"], _verdict(trick["practice"], trick["arm"], trick))
        for trick in table.get("tricks", [])
    ]
    together = table.get("together")
    return Recipe(
        setup=table["setup"],
        metric=table["metric"],
        steps=tuple(steps),
        rate=float(table["rate"]),
        together=_verdict("", "recipe", together) if together else None,
        context=table.get("context", {}),
    )


def _verdict(practice: str, arm: str, table: Mapping[str, Any]) -> Verdict:
    known = {name: table[name] for name in EVIDENCE if name in table}
    known["failures"] = tuple(known.get("failures", (0, 0)))
    return Verdict(practice, arm, table["verdict"], fresh=True, **known)
