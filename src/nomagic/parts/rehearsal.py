"""Try surgery on a fresh network before it is put to the trial: what does not work is no arm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch import Tensor, nn

from nomagic.glimpse import Glimpse
from nomagic.parts.flow import drawn, observe
from nomagic.parts.surgery import SurgeryError
from nomagic.words import Arm, Edit, NotApplicable, Setup


def arms(
    setup: Setup, glimpse: Glimpse, edits: Iterable[tuple[Edit, str]]
) -> Iterator[Arm | NotApplicable]:
    """The setup with each of these edits that works; why not, where none does.

    ``edits`` come with a description of what they do.
    """
    reasons: list[str] = []
    worked = False
    for edit, what in edits:
        try:
            rehearse(setup, glimpse, edit)
        except SurgeryError as error:
            reasons.append(str(error))
        else:
            worked = True
            yield Arm(edit.name, replace(setup, edits=(*setup.edits, edit)), what)
    if not worked:
        yield NotApplicable("; ".join(dict.fromkeys(reasons)))


def rehearse(setup: Setup, glimpse: Glimpse, edit: Edit) -> nn.Module:
    """Make a fresh network of the setup with one more edit, and see that it runs.

    Raises:
        SurgeryError: the edit says no, or the network does not run, or its output has another
            shape.
    """
    model = fresh(setup, glimpse)
    before = observe(model, glimpse.sample).output
    with drawn(0):
        model = edit.change(model, glimpse.sample)
    try:
        after = observe(model, glimpse.sample).output
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise SurgeryError(
            f"the network does not run with it: {type(error).__name__}: {said}"
        ) from error
    if isinstance(before, Tensor) and before.shape != after.shape:
        was, now = tuple(before.shape), tuple(after.shape)
        raise SurgeryError(f"the output's shape would change from {was} to {now}")
    return model


def fresh(setup: Setup, glimpse: Glimpse, seed: int = 0) -> nn.Module:
    """A fresh network of the setup, its edits made; torch's random state is left alone.

    It is where the sample is, in its precision.
    """
    with drawn(seed):
        model = setup.model(glimpse.form)
        for edit in setup.edits:
            model = edit.change(model, glimpse.sample)
    floats = glimpse.sample.is_floating_point()
    return model.to(glimpse.sample.device, glimpse.sample.dtype if floats else None)
