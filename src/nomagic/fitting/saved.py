"""A trained model on disk: weights as safetensors, everything else as text, and nothing pickled.

A directory holds ``model.safetensors`` (all members, and the values of the input steps),
``recipe.toml`` (every resolved setting, also for `nomagic fit --recipe`) and ``README.md`` (the
model card). ``recipe.toml`` names the hash of the weights and is what counts: it is replaced in one
step, while new weights lie ready beside the old ones.
"""

from __future__ import annotations

import copy
import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as as_bytes
from torch import Tensor, nn

from nomagic import described, setups, toml
from nomagic.datasets.tables import Coding
from nomagic.described import DescriptionError
from nomagic.engine.draws import generator, seeded
from nomagic.engine.lasting import replace_file
from nomagic.engine.plan import DTYPES
from nomagic.fitting import card
from nomagic.fitting.fitted import Facts, Fitted, Scaling, Span
from nomagic.fitting.forest import Forest, ForestError
from nomagic.fitting.quality import Noise
from nomagic.trial import recipe as recipes
from nomagic.words import BlockRates, Edit, Form, InputStep, Recipe, Setup

WEIGHTS, RECIPE, CARD = "model.safetensors", "recipe.toml", "README.md"
NEW = f"{WEIGHTS}.new"
"""Weights that lie ready while the recipe is replaced."""
FOREST = "forest."
"""What the names of the trees' tensors begin with."""
LARGEST = 32 * 2**20
"""Bytes that a recipe has at most."""
NEEDED = frozenset({"model", "inputs", "edits", "precision"})
"""Fields of a setup without which nothing can be predicted; the others only tell how it was
trained.
"""
SAMPLE = 4
"""Inputs of the made-up batch that edits look at when a network is built again."""

T = TypeVar("T")


class SavedModelError(ValueError):
    """A model that cannot be saved or loaded: says what came, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The file of the weights, and what is in it."""

    sha256: str
    bytes: int
    members: int
    parameters: int
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answering:
    """What is done to the outputs; see `Fitted`."""

    temperature: float = 1.0
    threshold: float | None = None
    scaling: Scaling | None = None
    noise: Noise | None = None
    span: Span | None = None
    votes: int = 0


# -- save -----------------------------------------------------------------------------------------


def save(fitted: Fitted, directory: str | Path) -> Path:
    """Write a model so that `load` gives the same predictions, bit for bit, which is checked.

    A model that was there before stays whole until the new one is.

    Raises:
        SavedModelError: the directory cannot be written, or the model cannot be built again.
    """
    folder = Path(directory)
    content = as_bytes(_tensors(fitted))
    text = _text(fitted, content)
    try:
        replace_file(folder / NEW, content)
        replace_file(folder / RECIPE, text.encode())
        (folder / NEW).replace(folder / WEIGHTS)
        replace_file(folder / CARD, card.text(fitted, len(content)).encode())
    except OSError as error:
        raise SavedModelError(
            f"cannot save to {folder}: {error.strerror}; what was saved there before is kept: make "
            "room, or name another directory"
        ) from error
    _check(fitted, folder)
    return folder


def _tensors(fitted: Fitted) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for number, network in enumerate(fitted.networks):
        strange = [name for name in network.state_dict() if name.endswith("_extra_state")]
        if strange:
            raise SavedModelError(
                f"the network keeps {strange[0]}, which is no tensor and cannot be saved without "
                "pickle: make it a buffer"
            )
        found |= {f"members.{number}.{name}": t for name, t in _named(network).items()}
    if fitted.forest is not None:
        found |= {f"{FOREST}{name}": t for name, t in _named(fitted.forest).items()}
    strange = [name for name, t in found.items() if hasattr(t, "__tensor_flatten__")]
    if strange:
        raise SavedModelError(
            f"{strange[0]} is kept in 8 bits, which safetensors cannot hold: export the model "
            "(kind torch), or save the one that it was made from"
        )
    for number, values in enumerate(fitted.fitted):
        found |= {f"inputs.{number}.{k}": value for k, value in enumerate(values)}
    return {name: t.detach().cpu().clone().contiguous() for name, t in found.items()}


def _named(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those with several names once."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _text(fitted: Fitted, content: bytes) -> str:
    """All that is not weights, as TOML."""
    setup = fitted.setup
    weights = Weights(
        hashlib.sha256(content).hexdigest(),
        len(content),
        len(fitted.networks),
        fitted.parameters,
        tuple(len(values) for values in fitted.fitted),
    )
    answering = Answering(
        fitted.temperature,
        fitted.threshold,
        fitted.scaling,
        fitted.noise,
        fitted.span,
        fitted.votes,
    )
    plain = {
        one.name: described.describe(getattr(setup, one.name))
        for one in fields(Setup)
        if one.name not in described.LEFT_OUT
    }
    metric = fitted.facts.metric or (setup.metric if isinstance(setup.metric, str) else "")
    tables: dict[str, Mapping[str, Any]] = {
        "weights": asdict(weights),
        "form": asdict(fitted.form),
        "fields": plain,
        "answering": asdict(answering),
        **({"coding": asdict(fitted.coding)} if fitted.coding else {}),
        **dict(_sections("facts", asdict(fitted.facts))),
    }
    lines = ["# A model that nomagic has trained: nomagic.load(folder).predict(x)."]
    lines += [recipes.dumps(fitted.recipe or Recipe(setup.name, metric))]
    for name, table in tables.items():
        given = {key: _solid(value) for key, value in table.items() if value is not None}
        lines += [f"[{name}]", *toml.pairs(given), ""]
    return "\n".join(lines)


def _sections(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A table and those in it, each under its own heading."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    yield name, {key: value for key, value in table.items() if key not in inner}
    yield from ((f"{name}.{key}", value) for key, value in inner.items() if value)


def _solid(value: Any) -> Any:
    """The same with a mark for None, which TOML does not have."""
    if isinstance(value, Mapping):
        return {str(key): _solid(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_solid(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return {"nothing": True} if value is None else value


def _hollow(value: Any) -> Any:
    """What `_solid` was given."""
    if isinstance(value, dict):
        if value == {"nothing": True}:
            return None
        return {key: _hollow(inner) for key, inner in value.items()}
    return [_hollow(inner) for inner in value] if isinstance(value, list) else value


def _check(fitted: Fitted, folder: Path) -> None:
    """Load the model again and compare its answers."""
    again = load(folder, fitted.setup)
    x = sample(fitted.form)
    ours, theirs = fitted.to("cpu").members(x), again.members(x)
    if not torch.equal(ours.nan_to_num(), theirs.nan_to_num()):
        raise SavedModelError(
            f"the model saved in {folder} gives other predictions than the one in memory (by up to "
            f"{float((ours - theirs).abs().max()):.3g}): its model function makes networks that "
            "differ from call to call, or it keeps numbers that are neither parameters nor buffers"
        )


# -- load -----------------------------------------------------------------------------------------


def load(directory: str | Path, setup: Any = None) -> Fitted:
    """A model that was saved, on the CPU; nothing is unpickled and no code in it is run.

    Args:
        directory: where it was saved.
        setup: of a model of your own, the setup with its code: file.py, file.py:name or a `Setup`.

    Raises:
        SavedModelError: there is none, it is damaged, or what it describes does not fit.
        DescriptionError: it needs code of yours: pass ``setup``.
    """
    folder = Path(directory)
    text = _recipe_text(folder)
    table = _table(text)
    weights, form = _part(table, "weights", Weights), _part(table, "form", Form)
    answering, facts = _part(table, "answering", Answering), _part(table, "facts", Facts)
    coding = _part(table, "coding", Coding) if "coding" in table else None
    _check_form(form)
    tensors = _read(folder, weights)
    base = None if setup is None else setups.resolve(setup)
    remarks: list[str] = []
    made = _setup(table, base, facts.data, remarks)
    values = _values(tensors, weights)
    fresh = _built(lambda: network(made, form, values))
    networks = [_filled(fresh, tensors, number) for number in range(weights.members)]
    return Fitted(
        setup=made,
        form=form,
        networks=tuple(networks),
        fitted=values,
        coding=coding,
        facts=facts,
        recipe=_recipe(text),
        remarks=tuple(remarks),
        forest=_forest(tensors),
        **{one.name: getattr(answering, one.name) for one in fields(Answering)},
    )


def _recipe_text(folder: Path) -> str:
    file = folder / RECIPE
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except OSError as error:
        hint = " (that is a file: name its directory)" if folder.is_file() else ""
        raise SavedModelError(
            f"there is no saved model in {folder}{hint}: cannot read {RECIPE}, {error.strerror}"
        ) from error
    if len(content) > LARGEST:
        raise SavedModelError(f"{file} is larger than {LARGEST} bytes; it is no recipe")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SavedModelError(f"{file} is damaged: {error}") from error


def _table(text: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SavedModelError(f"{RECIPE} is damaged: {error}") from error
    if found.get("version") != recipes.VERSION or "weights" not in found:
        raise SavedModelError(
            f"{RECIPE} is not that of a saved model of this version: it has no [weights], or its "
            f"version is {found.get('version')} instead of {recipes.VERSION}"
        )
    return {name: _hollow(inner) for name, inner in found.items()}


def _part(table: Mapping[str, Any], name: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(table.get(name), kind)
    except msgspec.ValidationError as error:
        raise SavedModelError(f"{RECIPE} is damaged in [{name}]: {error}") from error


def _check_form(form: Form) -> None:
    numbers = (*form.shape, form.outputs)
    if min(numbers) < 1 or form.tokens < 0 or form.features > LARGEST:
        raise SavedModelError(
            f"{RECIPE} is damaged in [form]: shape {form.shape}, {form.outputs} outputs, "
            f"{form.tokens} tokens"
        )


def _read(folder: Path, weights: Weights) -> dict[str, Tensor]:
    """The tensors, of the file whose hash is the right one."""
    seen = ""
    for name in (WEIGHTS, NEW):
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            seen = seen or f"cannot read it, {error.strerror}"
            continue
        if hashlib.sha256(content).hexdigest() == weights.sha256:
            return _opened(content)
        seen = f"it has {len(content)} bytes, expected {weights.bytes}, or other content"
    raise SavedModelError(
        f"{folder / WEIGHTS} is not the file that {RECIPE} belongs to: {seen}; copy the whole "
        "directory again"
    )


def _opened(content: bytes) -> dict[str, Tensor]:
    try:
        return read_tensors(content)
    except (SafetensorError, ValueError, TypeError) as error:
        raise SavedModelError(f"{WEIGHTS} holds no tensors: {error}") from error


def _values(tensors: Mapping[str, Tensor], weights: Weights) -> tuple[tuple[Tensor, ...], ...]:
    names = [[f"inputs.{i}.{k}" for k in range(count)] for i, count in enumerate(weights.inputs)]
    lacking = [name for some in names for name in some if name not in tensors]
    if lacking:
        raise SavedModelError(f"{WEIGHTS} has no {lacking[0]}, a value of an input step")
    return tuple(tuple(tensors[name] for name in some) for some in names)


def _forest(tensors: Mapping[str, Tensor]) -> Forest | None:
    found = {n.removeprefix(FOREST): t for n, t in tensors.items() if n.startswith(FOREST)}
    try:
        return Forest(found) if found else None
    except ForestError as error:
        raise SavedModelError(f"{WEIGHTS} is damaged: {error}") from error


def _recipe(text: str) -> Recipe:
    try:
        return recipes.loads(text)
    except (KeyError, TypeError, ValueError) as error:
        raise SavedModelError(f"{RECIPE} is damaged: {error}") from error


# -- the setup ------------------------------------------------------------------------------------


def _setup(table: Mapping[str, Any], base: Setup | None, data: str, remarks: list[str]) -> Setup:
    """The setup as it was saved; what cannot be made again and is not needed is left as it is."""
    plain = table.get("fields")
    known = {one.name for one in fields(Setup)} - described.LEFT_OUT
    if not isinstance(plain, dict) or not set(plain) <= known or "model" not in plain:
        raise SavedModelError(f"{RECIPE} is damaged in [fields]")
    found: dict[str, Any] = {}
    for name, value in plain.items():
        try:
            found[name] = _field(name, value, base, remarks)
        except DescriptionError as error:
            if name in NEEDED:
                raise
            remarks.append(f"{name} is left out, which predictions do not need: {error}")
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise SavedModelError(f"{RECIPE} is damaged in [fields] {name}: {error}") from error
    _check_kinds(found)
    found |= {"data": data, "device": "cpu", "name": str(table.get("setup", ""))}
    return Setup(**found)


def _field(name: str, plain: Any, base: Setup | None, remarks: list[str]) -> Any:
    if base is None:
        return described.restore(plain)
    own = getattr(base, name)
    now = described.describe(own)
    if _without_hash(now) != _without_hash(plain):
        return described.restore(plain, _owner(base, remarks))
    if now != plain:
        remarks.append(_changed(name))
    return own


def _changed(name: str) -> str:
    return f"the file of {name} is another one than when the model was saved; its weights fit"


HASHES = ("sha256", "code")
"""What of a function's description changes with its file."""


def _without_hash(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_hash(inner) for key, inner in plain.items() if key not in HASHES}
    return [_without_hash(inner) for inner in plain] if isinstance(plain, list) else plain


def _owner(base: Setup, remarks: list[str]) -> described.Own:
    """Finds the user's own functions by their names, also in a file that has changed."""
    exact = described.owner(base)
    known = [one for part in fields(Setup) for one in _owned(_described(base, part.name))]

    def own(plain: Mapping[str, Any]) -> Any:
        near = [one for one in known if _without_hash(one) == _without_hash(dict(plain))]
        if len(near) != 1 or dict(plain) in near:
            return exact(plain)
        remarks.append(_changed(str(plain["own"])))
        return exact(near[0])

    return own


def _described(base: Setup, name: str) -> Any:
    return None if name in described.LEFT_OUT else described.describe(getattr(base, name))


def _owned(plain: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plain, dict):
        if "own" in plain:
            yield plain
        plain = list(plain.values())
    if isinstance(plain, list):
        for inner in plain:
            yield from _owned(inner)


def _check_kinds(found: Mapping[str, Any]) -> None:
    steps, edits = found.get("inputs", ()), found.get("edits", ())
    fits = (
        callable(found["model"])
        and all(isinstance(step, InputStep) for step in steps)
        and all(isinstance(edit, Edit) for edit in edits)
        and isinstance(found.get("block_rates"), BlockRates | None)
        and found.get("precision", "float32") in DTYPES
    )
    if not fits:
        raise SavedModelError(
            f"{RECIPE} is damaged in [fields]: model, inputs, edits, block_rates or precision"
        )


# -- the networks ---------------------------------------------------------------------------------


def sample(form: Form) -> Tensor:
    """A made-up batch of raw inputs (4, *shape): normal numbers, or tokens."""
    random = generator(0)
    if form.tokens:
        return torch.randint(form.tokens, (SAMPLE, *form.shape), generator=random)
    return torch.randn(SAMPLE, *form.shape, generator=random)


def network(setup: Setup, form: Form, values: tuple[tuple[Tensor, ...], ...]) -> nn.Module:
    """A fresh network of a setup, after surgery, without its data."""
    x = sample(form)
    x = x.to(DTYPES[setup.precision]) if x.is_floating_point() else x
    for step, fitted in zip(setup.inputs, values, strict=True):
        x = step.use(x, *fitted)
    with seeded(0):
        model = setup.model(form)
        for edit in setup.edits:
            model = edit.change(model, x)
    return model.to(DTYPES[setup.precision]).eval()


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        found: Any = build()
    except Exception as error:
        raise SavedModelError(
            f"the network that {RECIPE} describes cannot be built: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, nn.Module):
        raise SavedModelError(f"the model function gives {type(found).__name__}, no nn.Module")
    return found


@torch.no_grad()
def _filled(fresh: nn.Module, tensors: Mapping[str, Tensor], number: int) -> nn.Module:
    """A copy of the fresh network with the weights of one member."""
    prefix = f"members.{number}."
    given = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    model = copy.deepcopy(fresh)
    wanted = _named(model)
    differing = sorted(wanted.keys() ^ given.keys()) or [
        name
        for name, tensor in wanted.items()
        if (tensor.shape, tensor.dtype) != (given[name].shape, given[name].dtype)
    ]
    if differing:
        name = differing[0]
        raise SavedModelError(
            f"the weights do not fit the network that {RECIPE} describes: {name} is "
            f"{_told(given.get(name))} in the file and {_told(wanted.get(name))} in the network"
        )
    for name, tensor in wanted.items():
        tensor.copy_(given[name])
    return model


def _told(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"
