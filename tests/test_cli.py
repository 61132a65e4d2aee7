"""The command line: what it understands, what it refuses before anything runs, and how it exits."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import nomagic
from nomagic import catalog, checking
from nomagic.__main__ import main
from nomagic.checking import Tell
from nomagic.config import Options
from nomagic.script import Loaded
from nomagic.words import Cost, Ending, Finding, Look, Place, Record, Severity

RECORD = Record(("train.py",), (), (), 3, 3, Cost(run=1.0))
NAMES = [practice.name for practice in catalog.load()]


@dataclass
class Engine:
    """Stands in for the engine: keeps what it was asked, and returns a record made by hand."""

    record: Record = RECORD
    asked: list[tuple[Loaded, Options]] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def __call__(self, loaded: Loaded, options: Options, *, restore: bool, tell: Tell) -> Record:
        assert not restore
        tell("experiment 1 of 1", 9.0)
        self.asked.append((loaded, options))
        self.meanwhile()
        return self.record

    @property
    def options(self) -> Options:
        return self.asked[0][1]

    @property
    def args(self) -> tuple[str, ...]:
        return self.asked[0][0].program.args


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(checking, "script", engine)
    return engine


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, with a script in it."""
    (tmp_path / "train.py").write_text("print('training')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, args, env=env, prog_name="nomagic")


def finding(severity: Severity) -> Finding:
    return Finding("message", "seen", "fix", severity, Place("train.py", 1), "zero-grad")


# ---- starting without torch ----


@pytest.mark.parametrize(
    "args", [["--help"], ["practices"], ["check", "--help"], ["explain", NAMES[0]], ["--version"]]
)
def test_it_answers_without_importing_torch(args: list[str]):
    code = (
        "import sys; from nomagic.__main__ import main\n"
        f"main({args}, standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(done.stdout.splitlines()) > 1


def test_it_is_a_module_too():
    command = [sys.executable, "-m", "nomagic", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"nomagic, version {nomagic.__version__}\n"


# ---- the catalogue ----


def test_practices_lists_all_of_them():
    listed = call("practices").stdout.split()
    assert set(NAMES) <= set(listed)


def test_practices_of_one_category():
    practice = catalog.load()[0]
    listed = set(call("practices", "--category", practice.category).stdout.split())
    for one in catalog.load():
        assert (one.name in listed) is (one.category == practice.category)


def test_an_unknown_category_meets_the_nearest_one():
    result = call("practices", "--category", "optimization")
    assert result.exit_code == 2
    assert "no category 'optimization', did you mean optimisation?" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_explain_prints_the_page(name: str):
    result = call("explain", name, COLUMNS="200")
    assert result.exit_code == 0
    practice = catalog.find(name)
    assert result.stdout.startswith(f"{name}  ({practice.category})\n")
    assert practice.claim in result.stdout


def test_explaining_an_unknown_practice_names_the_nearest():
    result = call("explain", NAMES[0][:-1])
    assert result.exit_code == 2
    assert f"no practice '{NAMES[0][:-1]}', did you mean {NAMES[0]}?" in result.stderr
    assert not result.stdout


# ---- what belongs to whom ----


def test_everything_after_the_script_belongs_to_it(engine: Engine):
    theirs = ("--lr", "0.1", "--json", "x", "-m", "-v", "--", "--help", "--steps=4")
    assert call("check", "--steps", "2", "train.py", *theirs).exit_code == 0
    assert engine.args == theirs
    assert engine.options.steps == 2
    assert not Path("x").exists()


def test_a_module_takes_its_arguments_too(engine: Engine, project: Path):
    (project / "pack").mkdir()
    (project / "pack" / "__init__.py").touch()
    (project / "pack" / "run.py").write_text("")
    assert call("check", "--steps", "2", "-m", "pack.run", "-m", "--steps", "9").exit_code == 0
    assert engine.asked[0][0].program.module == "pack.run"
    assert engine.args == ("-m", "--steps", "9")
    assert engine.options.steps == 2


def test_a_module_is_configured_from_the_working_directory(engine: Engine, project: Path):
    (project / "run.py").touch()
    (project / "pyproject.toml").write_text("[tool.nomagic]\nsteps = 7\n")
    assert call("check", "-m", "run").exit_code == 0
    assert engine.options.steps == 7


def test_two_dashes_end_our_options(engine: Engine):
    assert call("check", "--", "train.py", "--").exit_code == 0
    assert engine.args == ("--",)


def test_the_options_reach_the_engine(engine: Engine):
    a, b, c = NAMES[:3]
    chosen = ("--select", f"{a}, {b}", "--select", c, "--skip", a, "--no-experiments")
    assert call("check", *chosen, "--overhead", "0.02", "train.py").exit_code == 0
    assert engine.options == Options((a, b, c), (a,), None, False, 0.02)


def test_nothing_chosen_means_the_defaults(engine: Engine):
    assert call("check", "train.py").exit_code == 0
    assert engine.options == Options()


# ---- command line > environment > file > default ----


@pytest.mark.parametrize(
    ("file", "env", "args", "steps"),
    [
        (True, True, True, 3),
        (True, True, False, 2),
        (True, False, True, 3),
        (True, False, False, 1),
        (False, True, False, 2),
        (False, False, False, None),
    ],
)
def test_the_nearer_choice_wins(
    engine: Engine, project: Path, file: bool, env: bool, args: bool, steps: int | None
):
    if file:
        (project / "pyproject.toml").write_text("[tool.nomagic]\nsteps = 1\n")
    variables = {"NOMAGIC_STEPS": "2"} if env else {}
    call("check", *(("--steps", "3") if args else ()), "train.py", **variables)
    assert engine.options.steps == steps


def test_every_option_can_stand_in_the_file(engine: Engine, project: Path):
    a, b = NAMES[:2]
    (project / "pyproject.toml").write_text(
        f"[tool.nomagic]\nselect = ['{a}', '{b}']\nskip = ['{b}']\nfail-on = 'warning'\n"
        "steps = 5\noverhead = 0.1\nexperiments = false\n"
    )
    engine.record = replace(RECORD, findings=(finding("warning"),))
    assert call("check", "train.py").exit_code == 1
    assert engine.options == Options((a, b), (b,), 5, False, 0.1)


def test_every_option_can_stand_in_the_environment(engine: Engine):
    a, b = NAMES[:2]
    engine.record = replace(RECORD, findings=(finding("fault"),))
    result = call(
        "check", "train.py", NOMAGIC_SELECT=f"{a},{b}", NOMAGIC_SKIP=b, NOMAGIC_FAIL_ON="fault",
        NOMAGIC_EXPERIMENTS="0", NOMAGIC_OVERHEAD="0.1", NOMAGIC_JSON="out.json",
    )  # fmt: skip
    assert result.exit_code == 1
    assert engine.options == Options((a, b), (b,), None, False, 0.1)
    assert Path("out.json").exists()


def test_the_file_is_looked_for_from_the_script_upward(engine: Engine, project: Path):
    inner = project / "deep" / "down"
    inner.mkdir(parents=True)
    (inner / "train.py").touch()
    (project / "pyproject.toml").write_text("[tool.nomagic]\nsteps = 7\n")
    (project / "deep" / "pyproject.toml").write_text("[tool.other]\nsteps = 8\n")
    call("check", str(inner / "train.py"))
    assert engine.options.steps == 7


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("stpes = 1", "[tool.nomagic] has no key stpes, did you mean steps?"),
        ("fail_on = 'fault'", "[tool.nomagic] has no key fail_on, did you mean fail-on?"),
        ("xyzzy = 1", "[tool.nomagic] has no key xyzzy"),
        ("steps = 'many'", "[tool.nomagic] Expected `int`, got `str` - at `steps`"),
        ("steps = 0", "[tool.nomagic] Expected `int` >= 1 - at `steps`"),
        ("steps = true", "[tool.nomagic] Expected `int`, got `bool` - at `steps`"),
        ("select = 'zero-grad'", "[tool.nomagic] Expected `array`, got `str` - at `select`"),
        ("fail-on = 'note'", "[tool.nomagic] Invalid enum value 'note' - at `fail-on`"),
        ("overhead = 0", "[tool.nomagic] Expected `float` > 0.0 - at `overhead`"),
        ("experiments = 'no'", "[tool.nomagic] Expected `bool`, got `str` - at `experiments`"),
        ("steps = ", "Invalid value"),
        ("skip = ['no-such']", "there is no practice 'no-such'"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_key(
    engine: Engine, project: Path, table: str, said: str
):
    file = project / "pyproject.toml"
    file.write_text(f"[tool.nomagic]\n{table}\n")
    result = call("check", "train.py")
    assert result.exit_code == 2
    assert f"{file}: " in result.stderr
    assert said in result.stderr
    assert not engine.asked


# ---- refused before anything runs ----


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "Missing argument 'SCRIPT'"),
        (("--jsn", "x", "train.py"), "No such option '--jsn'"),
        (("--steps", "0", "train.py"), "0 is not in the range x>=1"),
        (("--overhead", "0", "train.py"), "0.0 is not in the range 0<x<=1"),
        (("--fail-on", "note", "train.py"), "'note' is not one of 'fault', 'warning'"),
        (("--select", NAMES[0] + "x", "train.py"), f"did you mean {NAMES[0]}?"),
        (("--skip", NAMES[0] + "x", "train.py"), f"did you mean {NAMES[0]}?"),
        (("--select", NAMES[0], "--skip", NAMES[0], "train.py"), "no practice is left to check"),
        (("--json", "no/such/out.json", "train.py"), "cannot write no/such/out.json: No such file"),
        (("--json", ".", "train.py"), "cannot write .: it is a directory"),
        (("trian.py",), "Did you mean 'train.py'?"),
        (("-m", "no.such.module"), "no module named 'no.such.module'"),
        (("broken.py",), "SyntaxError: "),
    ],
)
def test_bad_input_is_refused(engine: Engine, project: Path, args: tuple[str, ...], said: str):
    (project / "broken.py").write_text("def f(:\n")
    before = sorted(project.iterdir())
    result = call("check", *args)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not engine.asked
    assert sorted(project.iterdir()) == before


# ---- the report for machines ----


def test_json_is_written_where_it_was_asked_for(engine: Engine, project: Path):
    engine.record = replace(RECORD, findings=(finding("fault"),))
    (project / "elsewhere").mkdir()
    engine.meanwhile = lambda: os.chdir("elsewhere")
    result = call("check", "--json", "out.json", "train.py")
    assert result.exit_code == 0
    document = json.loads((project / "out.json").read_text())
    assert [one["practice"] for one in document["findings"]] == ["zero-grad"]
    assert document["nomagic"] == nomagic.__version__
    assert result.stderr.splitlines()[-1].endswith("  report: out.json")


@pytest.mark.usefixtures("engine")
def test_a_report_that_is_there_stays_until_the_new_one_comes(project: Path):
    out = project / "out.json"
    out.write_text("old" * 1000)
    assert call("check", "--json", "out.json", "--steps", "x", "train.py").exit_code == 2
    assert out.read_text() == "old" * 1000
    assert call("check", "--json", "out.json", "train.py").exit_code == 0
    assert json.loads(out.read_text())["steps"] == 3


def test_a_report_that_cannot_be_written_after_all_spoils_nothing(engine: Engine, project: Path):
    (project / "out").mkdir()
    engine.meanwhile = (project / "out").rmdir
    engine.record = replace(RECORD, ending=Ending("exit", 5))
    result = call("check", "--json", "out/report.json", "train.py")
    assert result.exit_code == 5
    assert "cannot write" in result.stderr
    assert "3 steps watched" in result.stderr


@pytest.fixture
def paged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOMAGIC_NO_HTML")


@pytest.mark.usefixtures("engine", "paged")
def test_the_page_is_written_where_the_command_began(project: Path):
    result = call("check", "train.py")
    assert result.stderr.splitlines()[-1].endswith("  report: nomagic-report/index.html")
    assert "nomagic check train.py" in (project / "nomagic-report" / "index.html").read_text()
    result = call("check", "--html", "own.html", "--json", "own.json", "train.py")
    assert result.stderr.splitlines()[-1].endswith("  report: own.html, own.json")
    assert (project / "own.html").exists()


@pytest.mark.usefixtures("engine", "paged")
@pytest.mark.parametrize("how", ["option", "variable", "file"])
def test_no_page_is_written_where_none_is_wanted(
    how: str, project: Path, monkeypatch: pytest.MonkeyPatch
):
    if how == "variable":
        monkeypatch.setenv("NOMAGIC_NO_HTML", "1")
    if how == "file":
        (project / "pyproject.toml").write_text("[tool.nomagic]\nno-html = true\n")
    before = sorted(project.iterdir())
    result = call("check", *(["--no-html"] if how == "option" else []), "train.py")
    assert "report:" not in result.stderr
    assert sorted(project.iterdir()) == before


@pytest.mark.usefixtures("paged")
def test_a_page_that_cannot_be_written_spoils_nothing(engine: Engine, project: Path):
    (project / "nomagic-report").write_text("a file of the user's")
    engine.record = replace(RECORD, ending=Ending("exit", 5))
    result = call("check", "train.py")
    assert result.exit_code == 5
    assert "nomagic: cannot write nomagic-report/index.html" in result.stderr
    assert "3 steps watched" in result.stderr
    assert "report:" not in result.stderr
    assert (project / "nomagic-report").read_text() == "a file of the user's"


@pytest.mark.usefixtures("paged")
def test_a_page_that_we_cannot_make_spoils_nothing(engine: Engine):
    odd = Look("zero-grad", "clean", pictures=(None,))  # type: ignore[arg-type]
    engine.record = replace(RECORD, looks=(odd,), ending=Ending("exit", 5))
    result = call("check", "train.py")
    assert result.exit_code == 5
    assert "nomagic: cannot make nomagic-report/index.html: " in result.stderr
    assert "3 steps watched" in result.stderr


# ---- what is printed, and the exit code ----


@pytest.mark.usefixtures("engine")
def test_the_report_goes_to_stderr():
    result = call("check", "train.py")
    assert not result.stdout
    assert "nomagic · 3 steps watched" in result.stderr


def test_quiet_prints_no_report(engine: Engine):
    engine.record = replace(RECORD, findings=(finding("fault"),))
    result = call("check", "-q", "--fail-on", "fault", "train.py")
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize(
    ("ending", "worst", "fail_on", "code"),
    [
        (Ending(), "fault", None, 0),
        (Ending(), "fault", "fault", 1),
        (Ending(), "fault", "warning", 1),
        (Ending(), "warning", "fault", 0),
        (Ending(), "warning", "warning", 1),
        (Ending(), "note", "warning", 0),
        (Ending(), None, "warning", 0),
        (Ending("stopped"), "fault", "fault", 1),
        (Ending("exit", 0), "fault", "fault", 1),
        (Ending("exit", 7), "fault", "fault", 7),
        (Ending("exit", 7), None, None, 7),
        (Ending("crashed", 1, "ValueError"), None, None, 1),
        (Ending("interrupted", 130), "fault", "fault", 130),
    ],
)
def test_exit_codes(
    engine: Engine, ending: Ending, worst: Severity | None, fail_on: str | None, code: int
):
    findings = (finding(worst),) if worst else ()
    engine.record = replace(RECORD, ending=ending, findings=findings)
    args = ("--fail-on", fail_on) if fail_on else ()
    assert call("check", *args, "train.py").exit_code == code


@pytest.mark.parametrize(("args", "code"), [((), 0), (("--fail-on", "fault"), 2)])
def test_a_gate_does_not_pass_what_trained_nothing(
    engine: Engine, args: tuple[str, ...], code: int
):
    engine.record = replace(RECORD, backwards=0, steps=0)
    assert call("check", *args, "train.py").exit_code == code


# ---- for real ----

TRAIN = """
import sys
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(64, 4)
for step in range(int(sys.argv[1])):
    loss = (model(x).squeeze(1) - x.sum(1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("done", *sys.argv[1:])
sys.exit(int(sys.argv[2]))
"""


def shell(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nomagic", "check", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("args", "said", "out", "code"),
    [
        (("5", "0"), "5 steps watched", "done 5 0\n", 0),
        (("5", "3"), "The script left with exit code 3 after 5 steps.", "done 5 3\n", 3),
        (("5", "x"), "The script crashed after 5 steps: ValueError", "done 5 x\n", 1),
        (("0", "0"), "no backward pass was seen", "done 0 0\n", 0),
    ],
)
def test_a_script_keeps_its_output_and_its_exit_code(
    project: Path, args: tuple[str, ...], said: str, out: str, code: int
):
    (project / "train.py").write_text(TRAIN)
    done = shell("--json", "out.json", "train.py", *args)
    assert (done.stdout, done.returncode) == (out, code)
    assert said in " ".join(done.stderr.split())
    document = json.loads((project / "out.json").read_text())
    assert document["command"] == ["train.py", *args]
    assert document["backwards"] == int(args[0])
    assert document["ending"]["code"] == code


def test_steps_ends_the_script_cleanly(project: Path):
    (project / "train.py").write_text(TRAIN)
    done = shell("--steps", "3", "train.py", "1000000", "9")
    assert (done.stdout, done.returncode) == ("", 0)
    assert "The script was stopped after 3 steps, as asked." in done.stderr


EXAMPLE = Path(__file__).parent.parent / "examples" / "digits.py"


def test_the_example_is_found_out(project: Path):
    lines = EXAMPLE.read_text().splitlines()
    done = shell("--json", "out.json", str(EXAMPLE))
    assert done.returncode == 0
    assert done.stdout.count("epoch") == 5
    document = json.loads((project / "out.json").read_text())
    found = {one["practice"]: one for one in document["findings"] if one["severity"] != "note"}
    for practice, part in {
        "logits-into-cross-entropy": "criterion(model(x)",
        "zero-grad": "backward()",
        "toggle-train-eval": "model(x)",
        "shuffle-every-epoch": "DataLoader(train_set",
    }.items():
        assert part in lines[found[practice]["line"] - 1], practice
