"""Reports on records made by hand: no training, no torch."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from results import TRIAL
from rich.cells import cell_len
from rich.text import Text

from nomagic.report import advice, lines, terminal, trial
from nomagic.report import json as report_json
from nomagic.report.lines import console
from nomagic.report.progress import Afterwards
from nomagic.words import Cost, Ending, Finding, Look, Place, Practice, Record

DOCS = Path(__file__).parent.parent / "docs"

FAULT = Finding(
    message="The network ends in a softmax and the loss applies log-softmax again.",
    seen="rows of the loss input sum to 1.000 (64 of 64); the loss cannot fall below 1.461",
    fix="return the logits: drop F.softmax in Net.forward (train.py:12)",
    severity="fault",
    place=Place("train.py", 19, "train"),
    practice="logits-into-cross-entropy",
)
NOTE = Finding("No seed is set.", "no manual_seed", "seed it", "note", None, "fix-seed")
LOOKS = (
    Look("logits-into-cross-entropy", "findings"),
    Look("fix-seed", "findings"),
    Look("zero-grad", "clean"),
    Look("worker-seeds", "not-applicable", "no loader has workers"),
    Look("overfit-one-batch", "could-not-look", "the model could not be copied"),
    Look("batched-equals-single", "could-not-look", "the model could not be copied"),
)
RECORD = Record(
    command=("train.py", "--lr", "0.1"),
    findings=(FAULT, NOTE),
    looks=LOOKS,
    steps=66,
    backwards=66,
    cost=Cost(run=12.3, start=0.8, watching=0.16, experiments=4.1),
    versions={"torch": "2.13.0"},
)


def report(record: Record, width: int = 100, **options: object) -> str:
    stream = io.StringIO()
    terminal.show(record, console(stream, width=width, **options))
    return stream.getvalue()


def warnings(number: int) -> tuple[Finding, ...]:
    places = [Place("net.py", line) for line in range(1, number + 1)]
    return tuple(
        replace(FAULT, severity="warning", practice="watch-dead-units", place=place)
        for place in places
    )


def words(text: str) -> str:
    return "".join(text.split())


def test_header_counts_what_became_of_each_practice():
    assert (
        "nomagic · 66 steps watched · 1.4 % overhead · 6 practices looked at, 1 clean, "
        "1 not applicable, 2 could not look"
    ) in " ".join(report(RECORD).split())


def test_fault_shows_all_its_parts():
    lines = report(RECORD).splitlines()
    title = next(line for line in lines if "✖" in line)
    assert title.startswith(" ✖ logits-into-cross-entropy ")
    assert title.endswith(" train.py:19")
    assert cell_len(title) == 100
    body = lines[lines.index(title) + 1 :]
    assert body[0] == f"   {FAULT.message}"
    assert body[1] == f"   seen    {FAULT.seen}"
    assert body[2] == f"   fix     {FAULT.fix}"
    assert body[3] == "   why     nomagic explain logits-into-cross-entropy"


def test_long_evidence_hangs_below_its_label():
    lines = report(RECORD, 60).splitlines()
    at = next(i for i, line in enumerate(lines) if "seen    rows" in line)
    assert lines[at + 1].startswith(" " * 11)
    assert lines[at + 1].strip()


def test_faults_stand_before_notes_and_notes_are_short():
    text = report(replace(RECORD, findings=(NOTE, FAULT)))
    assert text.index("logits-into-cross-entropy") < text.index("fix-seed")
    assert "   No seed is set · no manual_seed · seed it\n" in text


@pytest.mark.parametrize(
    ("findings", "closing"),
    [
        ((FAULT, NOTE), "1 fault · 1 note"),
        ((FAULT, FAULT, *warnings(1)), "2 faults · 1 warning"),
        ((), "no findings"),
    ],
)
def test_closing_line_counts(findings: tuple[Finding, ...], closing: str):
    assert report(replace(RECORD, findings=findings)).splitlines()[-1] == closing


def test_closing_line_says_where_the_report_for_machines_is():
    stream = io.StringIO()
    terminal.show(RECORD, console(stream, width=80), written="out.json")
    assert stream.getvalue().splitlines()[-1].endswith("  report: out.json")


def test_many_alike_are_counted_with_their_places():
    text = report(replace(RECORD, findings=warnings(12)))
    assert text.count("▲") == terminal.SHOWN
    assert "and 9 more like it: net.py:4, net.py:5, net.py:6, net.py:7, net.py:8 and elsewh" in text
    assert text.count("nomagic explain watch-dead-units") == 1


def test_what_was_not_looked_at_is_grouped_by_reason():
    text = report(RECORD)
    assert (
        "could not look  overfit-one-batch, batched-equals-single: the model could not be copied"
    ) in text
    assert "not applicable  worker-seeds (no loader has workers)" in text


def test_many_reasons_are_left_to_json():
    looks = [Look(f"practice-{i}", "not-applicable", f"reason {i}") for i in range(9)]
    text = report(replace(RECORD, looks=tuple(looks)))
    assert "practice-8 (--json says why)" in " ".join(text.split())
    assert "reason 3" not in text


def test_start_and_experiments_are_printed_apart_from_the_overhead():
    assert (
        "1.4 %: 0.16 s on top of the script's 11.3 s; besides, 0.8 s to start and 4.1 s of "
        "experiments"
    ) in report(RECORD, 120)


def test_backwards_are_told_where_no_optimizer_steps():
    assert "nomagic · 9 backwards watched" in report(replace(RECORD, steps=0, backwards=9))
    assert "nomagic · 0 steps watched" in report(replace(RECORD, steps=0, backwards=0))


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Ending("stopped"), "The script was stopped after 66 steps, as asked."),
        (Ending("exit", 3), "The script left with exit code 3 after 66 steps."),
        (Ending("interrupted", 130), "The script was interrupted after 66 steps"),
        (Ending("crashed", 1, "ValueError: no [b]"), "crashed after 66 steps: ValueError: no [b]."),
    ],
)
def test_an_early_end_is_said_before_the_findings(ending: Ending, said: str):
    text = report(replace(RECORD, ending=ending), 110)
    assert said in text
    assert text.index(said) < text.index("✖")


@pytest.mark.parametrize("ending", [Ending(), Ending("exit", 0)])
def test_an_ordinary_end_needs_no_words(ending: Ending):
    assert "The script" not in report(replace(RECORD, ending=ending))


def test_remarks_are_printed():
    assert "\nno backward pass was seen\n" in report(
        replace(RECORD, remarks=("no backward pass was seen",))
    )


def hostile(text: str) -> Record:
    finding = Finding(text, text, text, "fault", Place(f"{text}.py", 1), text)
    looks = (Look(text, "could-not-look", text), Look(text, "not-applicable", text))
    return replace(
        RECORD,
        findings=(finding, replace(finding, severity="note")),
        looks=looks,
        ending=Ending("crashed", 1, text),
        remarks=(text,),
        command=(text,),
    )


@pytest.mark.parametrize("text", ["[bold]net[/bold]", "[/]", "[red", ":smile:", r"\[x]"])
def test_what_users_wrote_is_never_markup(text: str):
    assert report(hostile(text), 200).count(text) == 17


def test_control_characters_do_not_reach_the_terminal():
    text = report(hostile("a\x1b[31mb\x07\x9bc\rd"), 200)
    assert not set(text) & set("\x1b\x07\x9b\r")
    assert "a\ufffd[31mb" in text


@pytest.mark.parametrize("width", [40, 41, 72, 100, 250])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(width: int):
    long = replace(FAULT, place=Place("a/very/long/path/" * 5 + "train.py", 12345), seen="x" * 300)
    text = report(replace(RECORD, findings=(long, *warnings(9), NOTE)), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for said in (long.message, long.seen, long.fix, str(long.place), NOTE.fix):
        assert words(said) in words(text)


def test_wide_characters_count_double():
    wide = replace(FAULT, message="学習率が高すぎます" * 20)
    text = report(replace(RECORD, findings=(wide,)), 50)
    assert max(cell_len(line) for line in text.splitlines()) <= 50


def test_a_pipe_gets_plain_text_without_trailing_blanks():
    text = report(RECORD)
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_terminal_gets_colour_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in report(RECORD, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in report(RECORD, force_terminal=True)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31m" in report(RECORD)


def test_the_console_prints_what_it_is_given():
    out = console(io.StringIO())
    out.print("[b]x[/b] :smile:")
    assert out.file.getvalue() == "[b]x[/b] :smile:\n"


def test_columns_is_honoured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert console(io.StringIO()).width == 50


@pytest.mark.parametrize("errors", ["strict", "backslashreplace"])
def test_a_stream_that_knows_only_ascii_gets_ascii(errors: str):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors=errors)
    terminal.show(replace(RECORD, remarks=("naïve",)), console(stream, width=110))
    stream.flush()
    text = raw.getvalue().decode("ascii")
    assert " x logits-into-cross-entropy" in text
    assert "nomagic - 66 steps watched - 1.4 % overhead" in text
    assert "1 fault - 1 note" in text


def test_svg_is_a_picture_of_the_report():
    picture = terminal.svg(RECORD)
    said = "".join(ET.fromstring(picture).itertext()).replace("\xa0", " ")
    assert "logits-into-cross-entropy" in said
    assert "nomagic check train.py --lr 0.1" in said
    assert "url(http" not in picture.replace('"', "")


def test_svg_is_the_same_in_every_terminal(monkeypatch: pytest.MonkeyPatch):
    picture = terminal.svg(RECORD)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.svg(RECORD) == picture


# ---- for machines ----


def decoded(record: Record) -> report_json.Report:
    return msgspec.json.decode(report_json.dumps(record, "0.1.0"), type=report_json.Report)


def test_json_holds_the_record():
    report = decoded(replace(RECORD, findings=(NOTE, FAULT)))
    assert (report.schema, report.nomagic, report.steps) == (1, "0.1.0", 66)
    assert report.command == ["train.py", "--lr", "0.1"]
    assert [one.severity for one in report.findings] == ["fault", "note"]
    fault, note = report.findings
    assert (fault.practice, fault.file, fault.line, fault.function) == (
        "logits-into-cross-entropy", "train.py", 19, "train",
    )  # fmt: skip
    assert (fault.message, fault.seen, fault.fix) == (FAULT.message, FAULT.seen, FAULT.fix)
    assert (note.file, note.line, note.function) == (None, None, None)
    assert report.clean == ["zero-grad"]
    assert [(one.practice, one.status) for one in report.not_looked_at] == [
        ("worker-seeds", "not-applicable"),
        ("overfit-one-batch", "could-not-look"),
        ("batched-equals-single", "could-not-look"),
    ]
    assert report.overhead.share == pytest.approx(RECORD.cost.share)
    assert report.overhead.start_seconds == 0.8
    assert report.versions == {"torch": "2.13.0"}


def test_json_accounts_for_every_practice():
    report = decoded(RECORD)
    named = {one.practice for one in report.findings} | set(report.clean)
    assert named | {one.practice for one in report.not_looked_at} == {one.practice for one in LOOKS}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_has_no_nan(number: float):
    record = replace(RECORD, cost=Cost(number, number, number, number))
    document = json.loads(
        report_json.dumps(record, "0.1.0"), parse_constant=lambda name: pytest.fail(name)
    )
    assert document["overhead"]["run_seconds"] is None
    assert decoded(record).overhead.experiments_seconds is None


def test_json_survives_file_names_that_are_no_utf8(tmp_path: Path):
    broken = replace(FAULT, place=Place("tr\udcffin.py", 1), seen="a\x00b\x1b")
    file = tmp_path / "report.json"
    record = replace(RECORD, findings=(broken,), command=("tr\udcffin.py",))
    report_json.write(record, "0.1.0", file)
    document = json.loads(file.read_bytes())
    assert document["findings"][0]["file"] == "tr?in.py"
    assert document["findings"][0]["seen"] == "a\x00b\x1b"


class Version(str):
    """As ``torch.__version__`` is one."""


def test_json_takes_what_is_almost_a_string():
    record = replace(RECORD, versions={"torch": Version("2.13.0+cpu")})
    assert decoded(record).versions == {"torch": "2.13.0+cpu"}


def test_schema_on_disk_is_that_of_the_code():
    assert json.loads((DOCS / "json.schema.json").read_text()) == report_json.schema()


def test_the_documented_example_fits_the_schema():
    example = (DOCS / "json.md").read_text().split("```json\n")[1].split("```")[0]
    report = msgspec.json.decode(example, type=report_json.Report)
    assert set(json.loads(example)) == {
        one.name for one in msgspec.structs.fields(report_json.Report)
    }
    assert report.schema == report_json.VERSION


# ---- the pages of the catalogue ----


class Gradients:
    """The gradients of each parameter.

    More."""


ZERO_GRAD = Practice(
    "zero-grad", "sanity", "Clear gradients [first].",
    "They add\nup.\n\nAgainst: accumulation.\n\n- one\n- two", ("KTW", "LI18"), None, (Gradients,),
)  # fmt: skip


def test_page_says_everything_about_a_practice():
    text = advice.text(ZERO_GRAD)
    for said in (
        "zero-grad  (sanity)\n",
        "\nClear gradients [first].\n",
        "\nThey add up.\n",
        "\nAgainst: accumulation.\n",
        "\n- one\n- two\n",
        "  Gradients  The gradients of each parameter.\n",
        "  KTW    Karpathy 2018, most common neural net mistakes (expert's list).",
        "arXiv:1801.05134",
        "# nomagic: skip zero-grad",
    ):
        assert said in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [30, 100])
def test_listing_is_by_category(width: int):
    stream = io.StringIO()
    prelu = replace(ZERO_GRAD, name="same-in-training", category="loss", claim="Give them a slope.")
    out = console(stream, width=width)
    advice.listing((ZERO_GRAD, prelu), {"sanity": "Skeleton and sanity"}, out)
    text = stream.getvalue()
    assert max(map(cell_len, text.splitlines())) <= width
    flat = " ".join(text.split())
    assert flat == (
        "Skeleton and sanity (sanity) zero-grad Clear gradients [first]. "
        "loss (loss) same-in-training Give them a slope."
    )


def test_what_comes_after_a_script_is_told_on_a_terminal_only():
    for live in (True, False):
        stream = io.StringIO()
        out = lines.console(stream, force_terminal=live, width=60, _environ={})
        with Afterwards(out) as screen:
            assert not stream.getvalue()
            screen.tell("experiment 2 of 9", 7.25)
            screen.tell("drawing the page")
        said = stream.getvalue()
        assert ("experiment 2 of 9 · at most 7.2 s left" in said) == live
        assert ("drawing the page" in said) == live
        assert bool(said) == live


def test_a_label_stands_above_its_text_where_there_is_little_room():
    out = lines.console(io.StringIO(), width=40, _environ={})
    text = Text("same-in-training-and-inference, pool-for-shift-invariance")
    told = [line.plain for line in lines.hang(out, "", "not applicable  ", text)]
    assert told == [
        "not applicable", "   same-in-training-and-inference,", "   pool-for-shift-invariance",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("width", "columns"), [(40, {"effect", "verdict"}), (80, {"interval", "pairs"}),
                           (120, {"time", "published"})],
)  # fmt: skip
def test_a_trial_in_few_columns_keeps_effect_and_verdict(width: int, columns: set[str]):
    out = lines.console(io.StringIO(), width=width, _environ={})
    out.print(trial.table(TRIAL, out))
    told = out.file.getvalue()
    assert max(map(cell_len, told.splitlines())) <= width
    assert all(word in told for word in ("HELPS", "OPEN", "+1.89 pt", "practice", *columns))
