"""The contracts that hold for every practice: it is tested by being there."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import pytest
from fixtures import FOLDER, Fixture, fixtures, lookalikes

from nomagic import catalog, checking, script
from nomagic.config import Options
from nomagic.words import Finding, Record


def watch(path: Path) -> Record:
    """Run a script in this process as `nomagic check` would, its output swallowed."""
    loaded = script.load(str(path), [])
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        record = checking.script(loaded, Options())
    assert record.ending.how in ("finished", "crashed"), record.ending
    if record.ending.how == "crashed" and "# crashes" not in path.read_text():
        raise AssertionError(said.getvalue())
    return record


def serious(record: Record) -> list[str]:
    """The faults and warnings of a record, as lines to print."""
    return [told(found) for found in record.findings if found.severity != "note"]


def told(found: Finding) -> str:
    """A finding in one line."""
    return f"{found.severity} {found.practice} at {found.place}: {found.message} | {found.seen}"


@pytest.mark.parametrize("practice", catalog.load(), ids=lambda practice: practice.name)
def test_practice_says_what_it_is(practice):
    assert practice.claim.endswith((".", ":"))
    assert len(practice.claim) <= 100
    assert "Against:" in practice.text
    assert "Check:" in practice.text or practice.check is None
    assert "Try:" in practice.text or practice.apply is None
    fixture = FOLDER / f"{practice.name.replace('-', '_')}.py"
    assert fixture.exists() or practice.check is None, "it has no fixture"


@pytest.mark.parametrize("fixture", fixtures(), ids=lambda fixture: fixture.practice)
def test_sick_script_is_caught_on_its_line(fixture: Fixture):
    assert fixture.anchors, "no line says '# sick: practice'"
    record = watch(fixture.path)
    found = [finding for finding in record.findings if finding.practice == fixture.practice]
    looks = [look for look in record.looks if look.practice == fixture.practice]
    assert found, looks
    places = {(Path(f.place.file).name, f.place.line) for f in found if f.place is not None}
    wanted = {(fixture.path.name, line) for line in fixture.anchors}
    assert places & wanted, [told(finding) for finding in found]


@pytest.mark.parametrize("fixture", fixtures(), ids=lambda fixture: fixture.practice)
def test_healthy_script_is_silent(fixture: Fixture, tmp_path: Path):
    path = tmp_path / fixture.path.name
    path.write_text(fixture.healthy())
    record = watch(path)
    assert not serious(record)
    looks = {look.practice: look for look in record.looks}
    assert looks[fixture.practice].status in ("clean", "findings", "not-applicable"), looks[
        fixture.practice
    ]


@pytest.mark.parametrize("path", lookalikes(), ids=lambda path: path.stem)
def test_lookalike_is_silent(path: Path):
    practice = path.stem.split("__")[0].replace("_", "-")
    assert practice in {known.name for known in catalog.load()}
    assert not serious(watch(path))
