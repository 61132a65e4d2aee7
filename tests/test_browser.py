"""Pages in headless Chromium: they open from disk, fold, draw, print, and fetch nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from results import FIT, TRIAL
from test_html import FAULT, RECORD, hostile
from torch import nn

import nomagic
from nomagic import catalog
from nomagic.report import html
from nomagic.words import Look, Picture, Place, Record, Series

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

KINDS = pytest.mark.parametrize("kind", ["check", "trial", "fit"])
PHONE = {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium for these tests; its event loop must be over before others start one."""
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="session")
def written(folder: Path) -> Callable[[str], Path]:
    """Writes the page of each kind once; that of a check is of a real run."""
    made: dict[str, Callable[[], str]] = {
        "check": lambda: html.check(watched(), catalog.load(), "0.1.0"),
        "trial": lambda: html.trial(TRIAL, catalog.load(), "0.1.0"),
        "fit": lambda: html.fit(FIT, "0.1.0"),
    }

    def write(kind: str) -> Path:
        file = folder / f"{kind}.html"
        if not file.exists():
            html.write(made[kind](), file)
        return file

    return write


def watched() -> Record:
    """A small network that is trained with two faults, watched."""
    torch.manual_seed(0)
    x, y = torch.randn(96, 8), torch.randint(3, (96,))
    with nomagic.check() as seen:
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(40):
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                (net(x).argmax(1) == y).float().mean()
    return seen.record


class Seen:
    """What a page asks for, complains about and pops up."""

    def __init__(self, page: Any) -> None:
        self.requests: list[str] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))

    def nothing_but(self, file: Path) -> bool:
        """Whether it asked for the file alone, and was silent."""
        asked = [url for url in self.requests if not url.startswith("data:")]
        return (asked, self.said) == ([file.as_uri()], [])


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., tuple[Any, Seen]]]:
    """Opens a file in a window of its own; options are those of a browser context."""
    contexts: list[Any] = []

    def open_(file: Path, **options: Any) -> tuple[Any, Seen]:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        seen = Seen(page)
        page.goto(file.as_uri())
        return page, seen

    yield open_
    for context in contexts:
        context.close()


def every_fold(page: Any) -> list[bool]:
    return page.eval_on_selector_all("main details", "all => all.map(one => one.open)")


@KINDS
def test_a_page_opens_from_disk_and_fetches_nothing(kind, written, opened):
    file = written(kind)
    page, seen = opened(file)
    assert page.title().startswith("nomagic ")
    assert page.get_by_role("heading", level=1).is_visible()
    page.get_by_role("button", name="Open all").click()
    assert seen.nothing_but(file), (seen.requests, seen.said)


@KINDS
def test_folds_answer_to_mouse_and_keyboard(kind, written, opened):
    page, _ = opened(written(kind))
    page.get_by_role("button", name="Close all").click()
    assert not any(every_fold(page))
    summary = page.locator("main summary:visible").first
    fold = summary.locator("xpath=..")
    summary.click()
    assert fold.evaluate("one => one.open")
    summary.focus()
    page.keyboard.press("Enter")
    assert not fold.evaluate("one => one.open")
    page.keyboard.press("Space")
    assert fold.evaluate("one => one.open")
    page.get_by_role("button", name="Open all").press("Enter")
    assert all(every_fold(page))


@KINDS
def test_pictures_are_drawn_and_have_names(kind, written, opened):
    page, _ = opened(written(kind))
    page.get_by_role("button", name="Open all").click()
    pictures = page.locator("svg.picture").all()
    assert pictures
    for picture in pictures:
        box = picture.bounding_box()
        assert box["width"] > 100
        assert box["height"] > 50
        assert picture.locator("text").first.text_content().strip()
        assert picture.locator("path").count()
        playwright.expect(picture).to_have_accessible_name(re.compile(r"\w"))


@KINDS
def test_whatever_can_be_reached_has_a_name(kind, written, opened):
    page, _ = opened(written(kind))
    page.get_by_role("button", name="Open all").click()
    for role in ("region", "button", "link", "navigation"):
        for one in page.get_by_role(role).all():
            playwright.expect(one).to_have_accessible_name(re.compile(r"\w"))
    levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


CONTRAST = """selector => {
  const light = text => {
    const rgb = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
  };
  const behind = one => {
    const color = getComputedStyle(one).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" && one.parentElement ? behind(one.parentElement) : color;
  };
  return [...document.querySelectorAll(selector)].map(one => {
    const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  });
}"""


@KINDS
def test_words_can_be_read_by_day_and_by_night(kind, written, opened):
    papers = set()
    for scheme in ("light", "dark"):
        page, _ = opened(written(kind), color_scheme=scheme)
        words = page.evaluate(CONTRAST, "h1, h2, h3, p, li, summary, .dim, .badge, th, td, a")
        assert min(words) >= 4.5
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2


@KINDS
def test_a_phone_scrolls_in_one_direction(kind, written, opened):
    page, _ = opened(written(kind), viewport=PHONE)
    page.get_by_role("button", name="Open all").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@KINDS
def test_it_prints_with_its_folds_open(kind, written, opened):
    page, _ = opened(written(kind))
    before = every_fold(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    kept = page.eval_on_selector_all("main details:not(.data)", "all => all.map(one => one.open)")
    assert all(kept)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert every_fold(page) == before
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.get_by_role("button", name="Open all").is_visible()


@KINDS
def test_hostile_words_inject_nothing(kind, folder, opened):
    file = folder / f"hostile-{kind}.html"
    html.write(hostile()[kind], file)
    page, seen = opened(file)
    page.get_by_role("button", name="Open all").click()
    assert seen.nothing_but(file), (seen.requests, seen.said)
    assert page.locator("script").count() == 1
    assert page.locator("[onload], [onerror], iframe, object, embed, link").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    assert "<script>alert(1)</script>" in page.locator("body").inner_text()


def test_evidence_stands_with_its_finding_and_links_lead_to_it(written, opened):
    page, _ = opened(written("check"))
    finding = page.get_by_role("article").filter(has_text="zero-grad").first
    assert finding.locator("mark.codeline").inner_text().endswith("loss.backward()")
    assert finding.locator("figure svg.picture").count() >= 1
    assert finding.locator(".before, .after").count() >= 1
    page.get_by_role("button", name="Close all").click()
    target = page.locator("details figure[id]").last
    page.evaluate("id => { location.hash = id }", target.get_attribute("id"))
    page.wait_for_function("document.querySelector(':target')?.closest('details').open")
    assert target.is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["check", "try", "fit", "look"])
def test_the_page_of_a_real_command_opens(verb, folder, opened, monkeypatch):
    """What each verb writes, as a user gets it."""
    place = folder / verb
    place.mkdir()
    (place / "setup.py").write_text(SETUP)
    (place / "train.py").write_text(SCRIPT)
    for name in [name for name in os.environ if name.endswith("NO_HTML")]:
        monkeypatch.delenv(name)
    command = [sys.executable, "-m", "nomagic", *COMMANDS[verb].split()]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    (file,) = place.rglob("*.html")
    assert str(file.relative_to(place)) in done.stdout + done.stderr
    page, seen = opened(file, viewport=PHONE)
    page.get_by_role("button", name="Open all").click()
    assert page.locator("svg.picture").count()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert seen.nothing_but(file), (seen.requests, seen.said)
    assert file.stat().st_size < 3_000_000


COMMANDS = {
    "check": "check train.py",
    "try": "try setup.py batch-norm --budget 2m",
    "fit": "fit setup.py --budget 90s --members 2 --out fit",
    "look": "look digits --samples 200",
}
SETUP = """
from torch import nn
import nomagic as nm
def model(form):
    hidden = nn.Linear(form.features, 16)
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(16, form.outputs))
setup = nm.Setup(data="wine", model=model, epochs=3, batch_size=32)
"""
SCRIPT = """
import torch
from torch import nn
torch.manual_seed(0)
x, y = torch.randn(96, 8), torch.randint(3, (96,))
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(net.parameters())
for _ in range(40):
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
"""


def large() -> Record:
    """10,000 findings of 50 practices, and maps of 500 layers."""
    findings = tuple(
        replace(FAULT, practice=f"practice-{n % 50}", place=Place(__file__, n % 90 + 1))
        for n in range(10_000)
    )
    steps = tuple(float(step) for step in range(50))
    layers = tuple(
        Series(f"net.blocks.{n}.attention.weight", steps, tuple(n + step for step in steps),
               kind="map")
        for n in range(500)
    )  # fmt: skip
    maps = tuple(
        Picture(f"{what} by layer", "Layers.", "step", what, layers, "y", "layer")
        for what in ("Gradients", "Updates", "Signals")
    )
    looks = tuple(Look(f"practice-{n}", "findings", pictures=maps) for n in range(50))
    return replace(RECORD, findings=findings, looks=looks, charts=maps)


def test_ten_thousand_findings_and_five_hundred_layers_stay_usable(folder, opened):
    file = folder / "large.html"
    html.write(html.check(large(), catalog.load()), file)
    assert file.stat().st_size < 3_000_000
    page, seen = opened(file, viewport=PHONE)
    page.get_by_role("button", name="Open all").click()
    assert all(every_fold(page))
    page.get_by_role("link", name="practice-49").first.click()
    assert page.locator(":target h3").inner_text() == "practice-49"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert seen.nothing_but(file)
