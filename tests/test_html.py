"""Pages on values made by hand, read back with a parser; in a browser where there is one."""

import math
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from results import FIT, HOSTILE, PICTURE, STAGES, TRIAL, VERDICT

from nomagic import catalog
from nomagic.__main__ import main
from nomagic.report import excerpt, html
from nomagic.words import (
    Cost,
    Ending,
    Exhibit,
    Finding,
    Fit,
    Gallery,
    Look,
    Picture,
    Place,
    Practice,
    Recipe,
    Record,
    Series,
    Stage,
    Step,
    Trial,
)

FAULT = Finding(
    "gradients of earlier steps are applied again",
    "at 222 of 222 steps the gradient still held what the step before had applied",
    "call optimizer.zero_grad() between the step and the next backward",
    "fault",
    Place(__file__, 10, "train"),
    "zero-grad",
)
NOTE = Finding("No seed is set.", "never seeded: torch", "seed it", "note", None, "fix-seed")
RECORD = Record(
    command=("train.py", "--name", "a b"),
    findings=(NOTE, FAULT),
    looks=(
        Look("zero-grad", "findings"),
        Look("fix-seed", "findings"),
        Look("shuffle-every-epoch", "clean"),
        Look("worker-seeds", "not-applicable", "no loader has workers"),
        Look("overfit-one-batch", "could-not-look", "the model could not be copied"),
    ),
    steps=222,
    backwards=222,
    cost=Cost(12.3, 0.8, 0.16, 4.1),
    versions={"torch": "2.13.0"},
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Reader(HTMLParser):
    """The elements and the text of a page; fails on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def pages() -> dict[str, str]:
    known = catalog.load()
    return {
        "check": html.check(RECORD, known, "0.1.0"),
        "trial": html.trial(TRIAL, known, "0.1.0"),
        "fit": html.fit(FIT, "0.1.0"),
    }


@pytest.fixture(scope="module")
def all_pages() -> dict[str, str]:
    return pages()


KINDS = pytest.mark.parametrize("kind", ["check", "trial", "fit"])


@KINDS
def test_a_page_is_complete_and_fetches_nothing(kind: str, all_pages: dict[str, str]):
    page = all_pages[kind]
    read = Reader(page)
    assert len(page) < 300_000
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in read.elements}
    assert not [attrs for _, attrs in read.elements if {"src", "onclick", "onload"} & set(attrs)]
    assert "@import" not in page
    assert "url(" not in re.sub(r"url\(#", "", page)
    assert "Made by nomagic 0.1.0" in read.words


@KINDS
def test_ids_are_unique_and_links_within_the_page_lead_somewhere(
    kind: str, all_pages: dict[str, str]
):
    elements = Reader(all_pages[kind]).elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs.get("href") or "" for tag, attrs in elements if tag == "a"}
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)


@KINDS
def test_what_scrolls_can_be_reached_and_has_a_name(kind: str, all_pages: dict[str, str]):
    scrolls = [
        attrs
        for tag, attrs in Reader(all_pages[kind]).elements
        if tag == "pre" or "scroll" in (attrs.get("class") or "").split()
    ]
    assert scrolls or kind == "fit"
    for attrs in scrolls:
        assert attrs.get("class") == "use" or (
            attrs.get("tabindex") == "0" and attrs.get("aria-label")
        )


def test_the_policy_names_the_only_script(all_pages: dict[str, str]):
    import base64
    import hashlib

    page = all_pages["check"]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"sha256-{digest}" in page.replace("&#43;", "+")


def test_a_finding_has_its_parts_and_its_line():
    page = Reader(html.check(RECORD, catalog.load())).words
    for said in (FAULT.message, FAULT.seen, FAULT.fix, str(FAULT.place), "1 fault", "1 note"):
        assert said in page
    line = Path(__file__).read_text().splitlines()[9]
    assert re.search(r'<mark class="codeline"><i>10</i>(.*?)</mark>', html.check(RECORD))
    assert line in page
    assert page.index("zero-grad") < page.index("fix-seed")
    assert "Why: Clear the gradients between an optimizer step and the next backward." in page
    assert "Karpathy 2018" in page


def test_what_was_not_looked_at_says_why():
    page = Reader(html.check(RECORD)).words
    assert "Could not look: 1 practice" in page
    assert "the model could not be copied" in page
    assert "no loader has workers" in page
    assert "Clean: 1 practice" in page


def test_a_run_without_findings_and_one_that_crashed():
    page = Reader(html.check(replace(RECORD, findings=()))).words
    assert "no findings" in page
    crashed = replace(RECORD, ending=Ending("crashed", 1, "ValueError: <b>no</b>"))
    assert (
        "ValueError: <b>no</b>. This is what was seen until then."
        in Reader(html.check(crashed)).words
    )


def test_the_file_is_found_from_where_the_run_began(tmp_path: Path):
    (tmp_path / "train.py").write_text("one\ntwo\nthree\n")
    finding = replace(FAULT, place=Place("train.py", 2))
    record = replace(RECORD, findings=(finding,))
    assert "<i>2</i>two</mark>" in html.check(record, folder=tmp_path)
    assert "<i>2</i>two</mark>" not in html.check(record)


@pytest.mark.parametrize("line", [0, -3, 10_000])
def test_lines_that_are_not_there_have_no_code(line: int):
    assert excerpt.around(Place(__file__, line)) == ()


@pytest.mark.parametrize("file", ["", "no/such.py", "/dev/zero", "a\0b", "x" * 10_000, "/tmp"])
def test_files_that_cannot_be_read_have_no_code(file: str):
    assert excerpt.around(Place(file, 1)) == ()


def test_a_pipe_does_not_hold_up_a_report(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.py")
    assert excerpt.around(Place(str(tmp_path / "pipe.py"), 1)) == ()


def test_broken_and_long_lines_are_shown(tmp_path: Path):
    file = tmp_path / "odd.py"
    file.write_text("x = '" + "y" * 9_000 + "'\n")
    (line,) = excerpt.around(Place(str(file), 1))
    assert len(line.text) == excerpt.WIDEST
    file.with_name("bytes.py").write_bytes(b"\xff\xfe\n\x00")
    excerpt.around(Place(str(file.with_name("bytes.py")), 1))


def test_many_findings_stay_usable():
    findings = tuple(
        replace(
            FAULT,
            practice=f"practice-{number % 50}",
            place=Place(__file__, number % 90 + 1),
            severity=("fault", "warning", "note")[number % 3],
        )
        for number in range(10_000)
    )
    began = time.process_time()
    page = html.check(replace(RECORD, findings=findings))
    assert time.process_time() - began < 10
    assert len(page) < 3_000_000
    read = Reader(page)
    assert "3334 faults" in read.words
    assert "like these" in read.words


def test_a_trial_says_effects_claims_and_what_did_not_apply():
    page = Reader(html.trial(TRIAL, catalog.load())).words
    assert "+1.89 pt" in page
    assert "+1.11 … +2.67" in page
    assert "33 : 1" in page
    assert "Use batch normalisation" in page
    assert "the network has no convolution" in page
    assert "Gain against cost" in page


def test_a_recipe_is_told():
    step = Step("batch-norm", "batch-norm", VERDICT)
    recipe = Recipe("digits", "accuracy", (step,), 2.0, replace(VERDICT, arm="recipe"))
    page = Reader(html.trial(replace(TRIAL, recipe=recipe))).words
    assert "batch-norm : together +1.89 pt (+1.11 … +2.67)" in page
    assert "learning rate times 2.0" in page


@pytest.mark.parametrize("ending", ["", "finished", "out of time", "interrupted"])
def test_a_trial_without_verdicts_is_a_page(ending: str):
    page = Reader(html.trial(Trial("digits", "loss", points=False, ending=ending))).words
    assert "nothing was tried" in page
    assert ("this is what is known" in page) == (ending in ("out of time", "interrupted"))


def test_unbounded_intervals_are_drawn():
    open_one = replace(VERDICT, low=-math.inf, high=math.nan, arm="odd", cost=math.nan)
    assert "odd" in html.trial(replace(TRIAL, verdicts=(VERDICT, open_one)))


def test_a_fit_tells_its_story():
    page = Reader(html.fit(FIT)).words
    for said in (
        "97.8 %", "95.8 % … 98.9 %", "360 test samples", "The best plain model (linear) has 95.6 %",
        "2.2 points better", "nomagic predict 'out/my digits' DATA", "all samples have labels",
        "optimizer = AdamW(lr=0.004)", "Width 64 learns the training part by heart.",
    ):  # fmt: skip
        assert said in page


def test_a_fit_shows_its_mistakes_and_what_to_do_next():
    found = Gallery("The worst mistakes", "Look.", (Exhibit(HOSTILE, "text", text=HOSTILE),))
    tested = Stage("test", ("Done.",), {}, galleries=(found,))
    page = html.fit(replace(FIT, stages=(*STAGES, tested)), "0.1.0")
    words = Reader(page).words
    for said in ("The worst mistakes", "What to do next", "cheapest hour", "without a network?"):
        assert said in words
    assert "<script>alert(1)" not in page
    stopped = html.fit(replace(FIT, stages=(*STAGES, tested), ending="stopped"))
    assert "What to do next" not in Reader(stopped).words


def test_a_fit_that_has_not_tested_yet():
    page = Reader(html.fit(Fit("digits", "accuracy", True, "out"))).words
    assert "No model was tested yet." in page


@pytest.mark.slow
def test_many_stages_stay_usable():
    layers = {f"net.block{n}.weight": {"norm": 1.0 * n, "update": 1e-3} for n in range(500)}
    stage = Stage("layers", ("All layers move.",), {"layers": layers})
    drawn = replace(stage, pictures=(PICTURE,))
    page = html.fit(replace(FIT, stages=(drawn,) * 70 + (stage,) * 430))
    assert len(page) < 3_000_000
    assert page.count("<svg") == html.PICTURES
    assert page.count(" open id=") == 1


def test_pictures_that_do_not_fit_do_not_cost_the_report():
    broken = Picture("odd", "odd", "x", "y", (Series("s", (1.0,), ()),))
    page = Reader(html.fit(replace(FIT, stages=(Stage("s", pictures=(broken,)),)))).words
    assert "This picture cannot be drawn: the series 's' has 1 x, 0 y" in page


def hostile() -> dict[str, str]:
    """Pages on which every text is an attack."""
    finding = Finding(HOSTILE, HOSTILE, HOSTILE, "fault", Place(HOSTILE, 1, HOSTILE), HOSTILE)
    record = Record(
        (HOSTILE,), (finding,) * 6,
        (
            Look(HOSTILE, "clean"), Look(HOSTILE, "not-applicable", HOSTILE),
            Look(HOSTILE, "could-not-look", HOSTILE),
        ),
        1, 1, Cost(), Ending("crashed", 1, HOSTILE), {HOSTILE: HOSTILE}, (HOSTILE,),
    )  # fmt: skip
    advice = Practice(HOSTILE, "data", HOSTILE, HOSTILE, (HOSTILE, "KAR"))
    verdict = replace(
        VERDICT, practice=HOSTILE, arm=HOSTILE, reason=HOSTILE, claim=HOSTILE, mechanism=HOSTILE,
        twin=HOSTILE, context={HOSTILE: HOSTILE}, others={HOSTILE: 1.0},
    )  # fmt: skip
    trial = replace(
        TRIAL, setup=HOSTILE, metric=HOSTILE, remarks=(HOSTILE,), context={HOSTILE: [HOSTILE]},
        verdicts=(verdict, replace(verdict, decision="NOT APPLICABLE")),
    )  # fmt: skip
    picture = Picture(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, (Series(HOSTILE, (HOSTILE, "b"), (1.0, 2.0)),)
    )
    numbers = {HOSTILE: {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}}
    stage = Stage(HOSTILE, (HOSTILE,), numbers, (picture,), {HOSTILE: {"name": HOSTILE}})
    fit = Fit(
        HOSTILE, HOSTILE, True, HOSTILE, (stage, replace(stage, skipped=HOSTILE)),
        {HOSTILE: 1.0}, context={HOSTILE: HOSTILE, "more": [HOSTILE]}, remarks=(HOSTILE,),
    )  # fmt: skip
    return {
        "check": html.check(record, (advice,), HOSTILE),
        "trial": html.trial(trial, (advice,), HOSTILE),
        "fit": html.fit(fit, HOSTILE),
    }


@KINDS
def test_hostile_words_stay_words(kind: str):
    page = hostile()[kind]
    read = Reader(page)
    plain = {tag for tag, _ in Reader(pages()[kind]).elements}
    assert {tag for tag, _ in read.elements} <= plain | {
        "svg", "g", "path", "text", "use", "defs", "title", "desc", "rect", "clippath", "details",
        "summary", "table", "tr", "td", "th", "thead", "tbody", "ul", "li", "p", "dl", "dt", "dd",
        "article", "figure", "figcaption", "b", "em", "code", "span", "div", "strong",
    }  # fmt: skip
    assert [tag for tag, _ in read.elements].count("script") == 1
    assert not [name for _, attrs in read.elements for name in attrs if name.startswith("on")]
    assert not [attrs for _, attrs in read.elements if "javascript:" in (attrs.get("href") or "")]
    assert "<script>alert(1)</script>" in read.words
    assert not re.search("[\u202e\x00\x1b\ud800]", page)


def test_long_texts_are_cut_and_say_so():
    page = html.check(replace(RECORD, remarks=("x" * 1_000_000,)))
    assert "… (997,000 more letters)" in page
    assert len(page) < 100_000


def test_a_page_is_written_whole_and_makes_its_folder(tmp_path: Path):
    file = tmp_path / "report" / "index.html"
    html.write("é\ud800", file)
    assert file.read_text(encoding="utf-8") == "é?"
    assert [one.name for one in file.parent.iterdir()] == ["index.html"]


def test_a_page_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        html.write("x", tmp_path / "taken")
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]


SCRIPT = """
import os, torch
os.makedirs("elsewhere", exist_ok=True)
os.chdir("elsewhere")
net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(20):
    net(torch.randn(8, 3)).square().mean().backward()
    optimizer.step()
"""


@pytest.mark.slow
def test_check_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "nomagic", "check", "--select", "zero-grad"]
    command += ["train.py"]
    monkeypatch.delenv("NOMAGIC_NO_HTML")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].endswith("report: nomagic-report/index.html")
    page = (tmp_path / "nomagic-report" / "index.html").read_text(encoding="utf-8")
    assert "zero-grad" in page
    assert '<mark class="codeline">' in page
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "elsewhere", "nomagic-report", "train.py",
    ]  # fmt: skip


def test_check_says_at_once_that_the_page_cannot_be_written(tmp_path: Path):
    script = tmp_path / "train.py"
    script.write_text("raise SystemExit(7)")
    done = CliRunner().invoke(
        main, ["check", "--html", str(tmp_path / "no" / "x.html"), str(script)]
    )
    assert done.exit_code == 2
    assert "cannot write" in done.output
