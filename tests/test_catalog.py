"""The folder is the catalogue: what is found, what is refused and how, and what can be chosen."""

import importlib
import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import nomagic
from nomagic import catalog, practices
from nomagic.probes.probe import Probe
from nomagic.sources import SOURCES
from nomagic.suppress import suppressed
from nomagic.words import Finding, Place, Practice, Setup

ROOT = Path(practices.__path__[0])
NUMBER = itertools.count()
GOOD = '''"""Clear gradients.

They add up.
"""
from nomagic.probes.probe import Probe

SOURCES = ("KTW",)


class Grads(Probe):
    pass


def check(grads: Grads):
    yield
'''

Build = Callable[[dict[str, str]], ModuleType]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Write files below a new package, and import it."""

    def build(files: dict[str, str]) -> ModuleType:
        name = f"practices_{next(NUMBER)}"
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / folder / "__init__.py").touch()
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module(name)

    return build


# ---- the real one ----


def test_every_file_is_a_practice():
    files = {
        (file.parent.name, file.stem.replace("_", "-"))
        for file in ROOT.rglob("*.py")
        if file.stem != "__init__"
    }
    assert {(one.category, one.name) for one in catalog.load()} == files
    assert len(catalog.load()) == len(files) > 0


@pytest.mark.parametrize("practice", catalog.load(), ids=lambda practice: practice.name)
def test_a_practice_has_a_claim_a_reason_and_sources(practice: Practice):
    assert practice.claim.endswith(".")
    assert len(practice.claim) <= 100
    assert practice.text
    assert practice.sources
    assert set(practice.sources) <= set(SOURCES)
    assert all(issubclass(need, Probe) for need in practice.needs)
    assert practice.needs or practice.check is None


def test_every_folder_has_a_title():
    titles = catalog.titles()
    assert {folder.parent.name for folder in ROOT.glob("*/__init__.py")} == set(titles)
    assert all(titles.values())


def test_every_source_says_what_it_is():
    assert all(source.citation and source.what for source in SOURCES.values())


# ---- how a file becomes a practice ----


def test_a_practice_is_its_file(build: Build):
    (practice,) = catalog.load_package(build({"sanity/zero_grad.py": GOOD}))
    assert (practice.name, practice.category) == ("zero-grad", "sanity")
    assert (practice.claim, practice.text) == ("Clear gradients.", "They add up.")
    assert practice.sources == ("KTW",)
    assert [need.__name__ for need in practice.needs] == ["Grads"]
    assert practice.check is not None


def test_check_is_optional(build: Build):
    (practice,) = catalog.load_package(build({"a/b.py": '"""Do."""\nSOURCES = ("KTW",)\n'}))
    assert practice.check is None
    assert practice.needs == ()


TRICK = (
    GOOD
    + """

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Promise, Setup

PROMISE = Promise("ten points", "KTW", "helps")


def apply(setup: Setup, glimpse: Glimpse):
    yield Arm("zero-grad", setup)
"""
)


def test_a_trick_and_its_promise_are_loaded(build: Build):
    (practice,) = catalog.load_package(build({"a/b.py": TRICK}))
    assert practice.apply is not None
    assert practice.promise is not None
    assert practice.promise.source == "KTW"
    (arm,) = practice.apply(Setup(data="digits", model=lambda _form: None), None)
    assert arm.name == "zero-grad"
    (plain,) = catalog.load_package(build({"a/b.py": GOOD}))
    assert plain.apply is None
    assert plain.promise is None


def test_annotations_may_be_written_as_strings(build: Build):
    text = GOOD.replace("from nomagic", "from __future__ import annotations\nfrom nomagic", 1)
    (practice,) = catalog.load_package(build({"a/b.py": text}))
    assert [need.__name__ for need in practice.needs] == ["Grads"]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("a/b_c.py", TRICK, "x = 1\n", "b_c.py:1: b-c: the docstring is missing"),
        ("a/b_c.py", 'SOURCES = ("KTW",)', "", "b_c.py:1: b-c: SOURCES is missing"),
        ("a/b_c.py", "KTW", "KTV", "b-c: unknown source 'KTV', did you mean KTW?"),
        (
            "a/b_c.py",
            "grads: Grads",
            "grads: int",
            "b_c.py:14: b-c: the parameter 'grads' of check is annotated with int; it takes",
        ),
        ("a/b_c.py", "grads: Grads", "grads", "'grads' of check is annotated with nothing"),
        ("a/b_c.py", "grads: Grads", "grads: 'Grad'", "'grads' of check is annotated with 'Grad'"),
        (
            "a/b_c.py",
            "(setup: Setup, glimpse: Glimpse)",
            "(setup: Setup)",
            "b_c.py:24: b-c: apply takes (setup) and yields; it must take (setup: Setup, glimpse",
        ),
        (
            "a/b_c.py",
            "yield Arm",
            "return Arm",
            "b-c: apply takes (setup, glimpse) and returns; it must",
        ),
        ("a/b_c.py", 'PROMISE = Promise("ten points", "KTW", "helps")', "PROMISE = 10", "is int"),
        (
            "a/b_c.py",
            '"ten points", "KTW"',
            '"", "KTV"',
            "unknown source 'KTV' of PROMISE, did you",
        ),
        ("b_c.py", "", "", "b_c.py:1: b-c: a practice lies in the folder of its category"),
        ("a/b/c.py", "", "", "c.py:1: c: a practice lies in the folder of its category"),
    ],
)
def test_what_is_no_practice_is_refused_with_its_place(
    build: Build, file: str, old: str, new: str, said: str
):
    package = build({file: TRICK.replace(old, new) if old else TRICK})
    with pytest.raises(catalog.CatalogError) as raised:
        catalog.load_package(package)
    assert said in str(raised.value)


def test_two_practices_of_one_name_are_refused(build: Build):
    package = build({"a/same.py": GOOD, "b/same.py": GOOD})
    with pytest.raises(catalog.CatalogError, match=r"same: a/ has a practice of this name, too"):
        catalog.load_package(package)


# ---- choosing ----

MADE = tuple(
    Practice(name, "sanity", "Claim.", "", ("KTW",))
    for name in ("zero-grad", "prelu", "batch-norm", "fix-seed")
)


@pytest.mark.parametrize(
    ("select", "skip", "left"),
    [
        ((), (), "zero-grad prelu batch-norm fix-seed"),
        (("fix-seed", "zero-grad"), (), "zero-grad fix-seed"),
        ((), ("prelu",), "zero-grad batch-norm fix-seed"),
        (("prelu", "fix-seed"), ("fix-seed",), "prelu"),
        (("prelu",), ("prelu",), ""),
    ],
)
def test_select_keeps_the_order_of_the_catalogue(
    select: tuple[str, ...], skip: tuple[str, ...], left: str
):
    assert " ".join(one.name for one in catalog.select(MADE, select, skip)) == left


@pytest.mark.parametrize(("select", "skip"), [(("zerograd",), ()), ((), ("zerograd",))])
def test_an_unknown_name_meets_the_nearest_one(select: tuple[str, ...], skip: tuple[str, ...]):
    with pytest.raises(
        catalog.UnknownPracticeError, match="no practice 'zerograd', did you mean zero-grad"
    ):
        catalog.select(MADE, select, skip)


def test_a_name_that_is_near_nothing_gets_no_hint():
    with pytest.raises(catalog.UnknownPracticeError) as raised:
        catalog.find("xyzzy", MADE)
    assert str(raised.value) == "there is no practice 'xyzzy'"


# ---- the comment that silences ----


@pytest.mark.parametrize(
    ("line", "silent"),
    [
        ("loss.backward()  # nomagic: skip zero-grad", True),
        ("loss.backward()  #nomagic:skip zero-grad", True),
        ("loss.backward()  # nomagic: skip prelu , zero-grad  # noqa", True),
        ("loss.backward()  # type: ignore # nomagic: skip zero-grad because we add up", True),
        ("loss.backward()  # nomagic: skip prelu", False),
        ("loss.backward()  # nomagic: skip zero-gradient", False),
        ("loss.backward()  # nomagic: skip", False),
        ("loss.backward()  # skip zero-grad", False),
        ("loss.backward()", False),
    ],
)
def test_a_comment_silences_its_own_line(line: str, silent: bool):
    finding = Finding("", "", "", place=Place("train.py", 2), practice="zero-grad")
    assert suppressed(finding, ["import torch", line]) is silent
    assert not suppressed(finding, [line, "import torch"])


@pytest.mark.parametrize("place", [None, Place("train.py", 0), Place("train.py", 2)])
def test_a_finding_without_a_line_cannot_be_silenced(place: Place | None):
    finding = Finding("", "", "", place=place, practice="zero-grad")
    assert not suppressed(finding, ["x  # nomagic: skip zero-grad"])


# ---- from Python ----


def test_explain_is_the_page_as_text():
    practice = catalog.load()[0]
    assert practice.claim in " ".join(nomagic.explain(practice.name).split())
    with pytest.raises(catalog.UnknownPracticeError):
        nomagic.explain("xyzzy")


def test_the_public_names_are_there():
    assert nomagic.catalog is catalog
    assert nomagic.check is sys.modules["nomagic.checking"].check
    with pytest.raises(AttributeError, match="has no attribute 'chek'"):
        _ = nomagic.chek


def test_find_without_a_list_looks_in_the_catalogue():
    practice = catalog.load()[-1]
    assert catalog.find(practice.name) == replace(practice)
