"""The house: which part may import which. Read from the source, nothing is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nomagic

ROOT = Path(nomagic.__file__).parent

# From the ground up. A part imports from its own floor or from lower ones.
FLOORS = (
    ("words", "sources", "frames", "glimpse", "toml"),
    ("config", "suppress", "parts", "report", "script"),
    ("probes", "replay", "subject", "mixer", "datasets", "exhibits"),
    ("practices", "evidence", "taps", "engine", "setups", "described"),
    ("catalog",),
    ("checking", "trial"),
    ("fitting", "looking"),
    ("__init__", "__main__"),
)
TORCH = frozenset(
    (
        "taps",
        "parts",
        "replay",
        "subject",
        "mixer",
        "datasets",
        "engine",
        "setups",
        "trial",
        "fitting",
        "looking",
    )
)
"""Parts that are themselves imported on demand and may import torch at once."""
HEIGHT = {part: height for height, floor in enumerate(FLOORS) for part in floor}

FILES = {
    ".".join(("nomagic", *file.relative_to(ROOT).with_suffix("").parts)): file
    for file in sorted(ROOT.rglob("*.py"))
}
MODULES = {name.removesuffix(".__init__"): file for name, file in FILES.items()}


def part(module: str) -> str:
    """The part of the house: ``report`` for ``nomagic.report.json``."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(node: ast.AST) -> Iterator[str]:
    """The modules that one statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else node.module or ""


def statements(node: ast.AST, skip: tuple[str, ...] = ()) -> Iterator[ast.AST]:
    """All statements below a node, without those of functions or of ``if TYPE_CHECKING:``."""
    for inner in ast.iter_child_nodes(node):
        function = isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef))
        typing = isinstance(inner, ast.If) and "TYPE_CHECKING" in ast.unparse(inner.test)
        if not ((function and "functions" in skip) or (typing and "types" in skip)):
            yield inner
            yield from statements(inner, skip)


def ours(module: str, skip: tuple[str, ...] = ()) -> set[str]:
    """What a module imports of ours, at the top or on demand."""
    tree = ast.parse(MODULES[module].read_text())
    found = {name for node in statements(tree, skip) for name in imports(node)}
    return found & set(MODULES) - {module}


def test_every_part_has_its_floor():
    assert {part(module) for module in MODULES} <= set(HEIGHT)


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_down(module: str):
    here = part(module)
    for name in ours(module):
        there = part(name)
        if name == "nomagic":
            assert here == "__main__", f"{module} imports the front door"
        else:
            assert HEIGHT[there] <= HEIGHT[here], f"{module} imports {name}"


@pytest.mark.parametrize("module", [one for one in MODULES if part(one) == "words"])
def test_words_import_nothing_of_ours(module: str):
    assert not ours(module)


@pytest.mark.parametrize("module", [one for one in MODULES if part(one) == "practices"])
def test_practices_know_words_parts_and_probes_only(module: str):
    assert {part(name) for name in ours(module)} <= {"words", "glimpse", "parts", "probes"}


@pytest.mark.parametrize("module", [one for one in MODULES if part(one) == "report"])
def test_reports_know_words_and_sources_only(module: str):
    assert {part(name) for name in ours(module)} <= {"words", "sources", "report"}


def test_there_is_no_cycle():
    graph = {module: ours(module, skip=("types",)) for module in MODULES}
    while leaves := {module for module, names in graph.items() if not names}:
        graph = {one: names - leaves for one, names in graph.items() if one not in leaves}
    assert not graph, f"a cycle among {sorted(graph)}"


@pytest.mark.parametrize(
    "module",
    [one for one in MODULES if part(one) not in TORCH],
)
def test_torch_is_imported_on_demand(module: str):
    tree = ast.parse(MODULES[module].read_text())
    for node in statements(tree, skip=("functions", "types")):
        heavy = {name.split(".")[0] for name in imports(node)} & {"torch", "scipy", "sklearn"}
        assert not heavy, f"{module}:{getattr(node, 'lineno', 0)}"
