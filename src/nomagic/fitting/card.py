"""The model card: what a saved model is, what it was tested on, and where it stops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from nomagic.fitting.fitted import Fitted
from nomagic.words import BlockRates

if TYPE_CHECKING:
    from nomagic.words import Task

MOST = 20
"""Labels that are listed."""
ANSWERS: dict[Task, str] = {
    "classification": "one of {} classes",
    "binary": "yes or no",
    "multi-label": "yes or no for each of {} labels",
    "regression": "{} number(s)",
    "sequence": "the next of {} tokens",
}


def text(fitted: Fitted, size: int) -> str:
    """A model card in Markdown; ``size`` is that of the weights in bytes."""
    parts = (_what(fitted, size), _numbers(fitted), _limits(fitted), _use(fitted), LICENCE)
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _what(fitted: Fitted, size: int) -> Iterator[str]:
    setup, form, facts = fitted.setup, fitted.form, fitted.facts
    yield f"# {setup.name or facts.data or 'A model'}"
    yield ""
    yield (
        f"From inputs of shape {_shape(form.shape)}{' (tokens)' if form.tokens else ''} it says "
        f"{ANSWERS[form.task].format(form.outputs)}."
    )
    yield ""
    yield from _members(fitted)
    trees = "" if fitted.forest is None else " with the trees"
    yield f"- size: {fitted.parameters:,} weights, {size:,} bytes{trees}"
    if facts.data:
        seen = f", {facts.trained:,} samples to learn from" if facts.trained else ""
        yield f"- data: {facts.data}{seen}"
    if setup.inputs:
        yield f"- input steps, inside the model: {', '.join(step.name for step in setup.inputs)}"
    if setup.edits:
        yield f"- changes to the model: {', '.join(edit.name for edit in setup.edits)}"
    if setup.block_rates:
        yield f"- learning rates by block: {_rates(setup.block_rates)}"
    if form.labels:
        more = ", …" if len(form.labels) > MOST else ""
        yield f"- labels: {', '.join(_shown(label) for label in form.labels[:MOST])}{more}"
    for step in fitted.recipe.steps if fitted.recipe else ():
        yield f"- trick: {step.arm}, {step.verdict.decision}, {step.verdict.effect:+.4g}"
    if facts.versions:
        yield f"- made with {', '.join(f'{name} {v}' for name, v in facts.versions.items())}"


def _members(fitted: Fitted) -> Iterator[str]:
    """The networks, and the trees beside them."""
    count = len(fitted.networks)
    made = _function(fitted.setup.model)
    yield f"- model: {made}" + (f", mean of {count} networks" if count > 1 else "")
    if fitted.forest is not None:
        trees, votes = len(fitted.forest.root), fitted.votes
        yield f"- beside it: {trees:,} boosted trees, with {votes} of {count + votes} votes"


def _numbers(fitted: Fitted) -> Iterator[str]:
    facts = fitted.facts
    yield "## Numbers"
    yield ""
    if not facts.scores:
        yield "It was not tested."
        return
    yield f"On {facts.tested:,} samples that were set aside before training:"
    yield ""
    yield "| metric | value | 95 % interval |"
    yield "| --- | --- | --- |"
    for name, value in facts.scores.items():
        low, high = facts.intervals.get(name, (math.nan, math.nan))
        wide = "" if math.isnan(low) else f"{low:.4g} … {high:.4g}"
        mark = " (decides)" if name == facts.metric else ""
        yield f"| {name}{mark} | {value:.4g} | {wide} |"
    yield ""
    if fitted.form.task != "regression":
        yield f"Probabilities are calibrated: logits are divided by {fitted.temperature:.3g}."
    elif fitted.noise is not None:
        yield f"Its intervals are to cover {fitted.noise.level:.0%} of the targets."
    if fitted.threshold is not None:
        yield f"Answers with a confidence of {fitted.threshold:.4g} or less are not accepted."


def _limits(fitted: Fitted) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield (
        "The numbers hold for inputs from where the training data came from. On others it may be "
        "wrong and sure of it: look at spread and information, and measure on your own."
    )
    if len(fitted.parts) == 1:
        yield "It is a single network, so that its spread is 0 and says nothing."
    for sentence in fitted.facts.says:
        yield f"- {sentence}"


def _use(fitted: Fitted) -> Iterator[str]:
    own = "" if _known(fitted.setup.model) else ', setup="setup.py"'
    yield "## Use"
    yield ""
    yield "```python"
    yield "import nomagic as nm"
    yield ""
    yield f"mean, spread = nm.load(folder{own}).predict(x)"
    yield "```"
    yield ""
    yield f"`nomagic predict FOLDER DATA` does the same. {_given(fitted)}"
    yield "Nothing is unpickled."


def _given(fitted: Fitted) -> str:
    form = fitted.form
    if fitted.coding is not None:
        names = ", ".join(column.name for column in fitted.coding.columns)
        return f"DATA is a table with the columns {names}."
    if form.tokens:
        return f"x holds tokens, {form.shape[0]} in a row."
    reach = f" that reach {fitted.span.most:.4g}" if fitted.span else ""
    return f"x holds numbers{reach}, shape (n, {_shape(form.shape)}); uint8 images become 0 to 1."


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _shown(label: str) -> str:
    return repr(label) if label.strip() != label or not label else label


def _rates(rates: BlockRates) -> str:
    parts = ["head × 1", f"block before it × {rates.trunk:g}"]
    if rates.factor != 1:
        parts.append(f"× {rates.factor:g} more for each block before that")
    if rates.opening:
        parts.append(f"opened one after the other over {rates.opening:.0%} of the epochs")
    return ", ".join(parts)


def _known(model: Any) -> bool:
    return getattr(getattr(model, "func", model), "__module__", "").startswith("nomagic.parts")


def _function(model: Any) -> str:
    if is_dataclass(model):
        return repr(model)
    inner = getattr(model, "func", model)
    given = [f"{name}={value}" for name, value in getattr(model, "keywords", {}).items()]
    name = getattr(inner, "__name__", type(inner).__name__)
    return f"{name}({', '.join(given)})" if given else name


LICENCE = (
    "## Licence",
    "",
    "Not stated. Weights are made from the training data: say here what its licence allows.",
)
