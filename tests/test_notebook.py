"""Results as notebooks take them: plain lines, a frame that reaches nothing, and plain text."""

import re
import subprocess
import sys
from dataclasses import replace
from html import unescape

import pytest
from results import FIT, HOSTILE, TRIAL, VERDICT

import nomagic as nm
from nomagic.words import Cost, Finding, Form, Look, Place, Record, Section, Shown, Survey

FINDING = Finding(
    "no seed is set", "never seeded: torch", "call torch.manual_seed", "note",
    Place("train.py", 3), "fix-seed",
)  # fmt: skip
RECORD = Record(("train.py",), (FINDING,), (Look("fix-seed", "findings"),), 9, 9, Cost(1.0))
SURVEY = Survey("digits", Form("classification", (1, 8, 8), 10), (Section("classes", ("Even.",)),))
TRIED = replace(TRIAL, context={})
WHOLE = {"check": RECORD, "try": TRIED, "fit": FIT, "look": SURVEY}


def shown(value: Shown) -> dict[str, str]:
    return value._repr_mimebundle_(include=None, exclude=None)


def page(html: str) -> str:
    (found,) = re.findall(r'<iframe srcdoc="([^"]*)"', html)
    return unescape(found)


@pytest.mark.parametrize("verb", WHOLE)
def test_a_result_is_lines_and_the_whole_page(verb: str):
    html = shown(WHOLE[verb])["text/html"]
    assert f"<p><b>nomagic {verb}" in html
    assert page(html).startswith("<!doctype html>")
    assert f"nomagic {verb}" in page(html)
    assert WHOLE[verb]._repr_html_() == html


@pytest.mark.parametrize("verb", WHOLE)
def test_the_frame_runs_nothing_and_the_lines_style_nothing(verb: str):
    html = shown(WHOLE[verb])["text/html"]
    (frame,) = re.findall(r"<iframe[^>]*>", html)
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame
    assert "<script" not in page(html)
    assert not re.search(r'<a[^>]*href="#', page(html))
    lines = html.replace(frame, "")
    assert set(re.findall(r"<(\w+)", lines)) <= {"p", "b", "ul", "li"}
    assert not re.search(r"<[^>]*(class|style|id|on\w+)=", lines)


@pytest.mark.parametrize("verb", WHOLE)
def test_without_html_there_is_the_report_of_a_terminal(verb: str):
    text = shown(WHOLE[verb])["text/plain"]
    assert text.startswith("nomagic")
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 88


def test_within_jupyter_text_comes_back_and_is_not_displayed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert shown(FIT)["text/plain"].startswith("nomagic fit digits")
    assert nm.explain("zero-grad").startswith("zero-grad")


def test_a_finding_and_a_verdict_are_shown_alone():
    found = shown(FINDING)
    assert found["text/plain"] == "no seed is set"
    for said in (
        "note fix-seed: no seed is set",
        "<b>fix</b> call torch.manual_seed",
        "train.py:3",
    ):
        assert said in found["text/html"]
    assert "batch-norm: helps" in shown(VERDICT)["text/html"]
    assert shown(VERDICT)["text/plain"] == "batch-norm: HELPS"


def test_what_was_watched_is_shown_when_it_is_over():
    with nm.check(experiments=False) as watched:
        assert "still" not in watched._repr_mimebundle_()["text/plain"]
    assert "nomagic check: no findings" in watched._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    "value",
    [
        replace(FINDING, message=HOSTILE, seen=HOSTILE, fix=HOSTILE, practice=HOSTILE),
        replace(RECORD, findings=(replace(FINDING, message=HOSTILE),), command=(HOSTILE,)),
        replace(TRIED, setup=HOSTILE, verdicts=(replace(VERDICT, arm=HOSTILE),)),
        replace(FIT, setup=HOSTILE, directory=HOSTILE),
        replace(SURVEY, subject=HOSTILE),
        replace(VERDICT, arm=HOSTILE, reason=HOSTILE),
    ],
)
def test_hostile_words_stay_words(value: Shown):
    html = shown(value)["text/html"]
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<iframe") <= 1
    assert "<iframe" not in html or "<script>alert" not in page(html)


def test_many_findings_are_counted():
    many = replace(RECORD, findings=(FINDING,) * 40)
    assert "and 28 more below" in shown(many)["text/html"]


def test_words_alone_show_nothing_and_import_nothing():
    code = (
        "import sys, importlib.util as u, pathlib;"
        f"s = u.spec_from_file_location('words', {str(sys.modules['nomagic.words'].__file__)!r});"
        "m = u.module_from_spec(s); sys.modules['words'] = m; s.loader.exec_module(m);"
        "f = m.Finding('a', 'b', 'c');"
        "assert f._repr_html_() is None, f._repr_html_();"
        "assert 'Finding' in f._repr_mimebundle_()['text/plain'];"
        "assert not [name for name in sys.modules if name.startswith('nomagic')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
