"""The command line: parse, call a verb, hand the result to a report. Starts without torch."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from nomagic import __version__, catalog, config
from nomagic.config import Options
from nomagic.report.lines import console
from nomagic.report.progress import Afterwards
from nomagic.words import SEVERITIES, Fit, Record, Survey, Trial

T = TypeVar("T")

PAGE = Path("nomagic-report", "index.html")
"""Where the page of the latest run is written, from where the command began."""
USAGE = 2
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nomagic")
def main() -> None:
    """Say what is wrong with a training run, which tricks pay, and train by the recipe."""


def names(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> Any:
    """Split ``--select a,b --select c``, and check that there are such practices."""
    chosen = tuple(name.strip() for part in value for name in part.split(",") if name.strip())
    for name in chosen:
        try:
            catalog.find(name)
        except catalog.UnknownPracticeError as error:
            file: Path | None = context.meta.get("nomagic.file")
            source = context.get_parameter_source(parameter.name or "")
            where = f"{file}: " if source is ParameterSource.DEFAULT_MAP else ""
            raise click.BadParameter(f"{where}{error}") from error
    return chosen


def writable(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Any:
    """Find out before the training whether the report can be written after it."""
    if value is None:
        return None
    file = value.absolute()
    new = not file.exists()
    try:
        if new or file.is_file():
            file.open("a").close()
        elif file.is_dir():
            raise IsADirectoryError("it is a directory")
    except OSError as error:
        reason = error.strerror or error
        raise click.BadParameter(f"cannot write {value}: {reason}") from error
    if new:
        file.unlink()
    return value


def configure(context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Take the defaults from ``[tool.nomagic]``: upward from the script, or from here with -m."""
    try:
        found = config.read(Path(value).parent)
    except config.ConfigError as error:
        raise click.UsageError(str(error), context) from error
    if found:
        context.meta["nomagic.file"], context.default_map = found
    return value


@main.command(
    context_settings={"allow_interspersed_args": False, "auto_envvar_prefix": "NOMAGIC"},
    options_metavar="[OPTIONS]",
)
@click.option(
    "-m", "module", is_flag=True, allow_from_autoenv=False,
    help="SCRIPT is a module: -m package.module.",
)  # fmt: skip
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", callback=writable,
    envvar="NOMAGIC_JSON",
    help="Write the report for machines, too.",
)  # fmt: skip
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path), metavar="FILE", callback=writable,
    help="Where to write the report as a page, with your code, pictures, reasons and sources; by "
    "default nomagic-report/index.html.",
)  # fmt: skip
@click.option("--no-html", is_flag=True, help="Write no page.")
@click.option(
    "--fail-on", type=click.Choice(["fault", "warning"]),
    help="Exit with 1 when something this grave is found.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=1), metavar="N",
    help="Stop the script after N optimizer steps.",
)  # fmt: skip
@click.option(
    "--experiments/--no-experiments", default=True,
    help="Run small experiments on a copy of the model afterwards.",
)  # fmt: skip
@click.option(
    "--select", multiple=True, metavar="A,B", callback=names, help="Check only these practices."
)
@click.option("--skip", multiple=True, metavar="A,B", callback=names, help="Leave these out.")
@click.option(
    "--overhead", type=click.FloatRange(0, 1, min_open=True), default=0.05, show_default=True,
    metavar="SHARE", help="What watching may cost, as a share of the run time.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print no report.")
@click.argument("script", is_eager=True, callback=configure)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.pass_context
def check(
    context: click.Context,
    script: str,
    arguments: tuple[str, ...],
    module: bool,
    json_file: Path | None,
    html_file: Path | None,
    no_html: bool,
    fail_on: str | None,
    quiet: bool,
    **chosen: Any,
) -> None:
    """Run SCRIPT unmodified, and say what is wrong with its training.

    Everything after SCRIPT belongs to it. The exit code is the script's own if it failed, and 1
    when --fail-on is met. Options may also stand in the environment (NOMAGIC_FAIL_ON=fault) and
    under [tool.nomagic] in pyproject.toml.
    """
    options = Options(**chosen)
    if not catalog.select(catalog.load(), options.select, options.skip):
        raise click.UsageError("no practice is left to check", context)
    out = console(sys.stderr)
    here = Path.cwd()  # the script may go elsewhere
    page = html_file or (None if no_html else PAGE)
    written: list[Path] = []
    with Afterwards(out) as screen:
        record = _watch(script, arguments, module, options, screen.tell)
        if page:
            screen.tell("drawing the page")
            written += [page] if _write_page(record, page, here) else []
    if json_file and _write(record, json_file, here):
        written.append(json_file)
    if not quiet:
        from nomagic.report import terminal

        terminal.show(record, out, ", ".join(map(str, written)))
    context.exit(_code(record, fail_on))


@main.command(name="try", context_settings={"auto_envvar_prefix": "NOMAGIC_TRY"})
@click.argument("setup")
@click.argument("chosen", nargs=-1, callback=names, metavar="[PRACTICE]...")
@click.option(
    "--all", "everything", is_flag=True,
    help="Try all that apply, even if there is no time to finish.",
)  # fmt: skip
@click.option("--skip", multiple=True, metavar="A,B", callback=names, help="Leave these out.")
@click.option(
    "--budget", default="10m", show_default=True, metavar="TIME", help="How long it may take."
)
@click.option("--metric", metavar="NAME", help="The metric that decides, not the setup's own.")
@click.option(
    "--worth", metavar="EFFECT",
    help="The smallest effect worth having, as 0.3pt or 0.01; by default half the standard "
    "deviation of the first differences.",
)  # fmt: skip
@click.option(
    "--store", type=click.Path(dir_okay=False, path_type=Path), default="nomagic-trials.sqlite",
    show_default=True, metavar="FILE", help="Where finished runs are kept.",
)  # fmt: skip
@click.option(
    "--recipe", type=click.Path(path_type=Path), default="recipe.toml", show_default=True,
    metavar="FILE", callback=writable, help="Where to write what helped.",
)  # fmt: skip
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", callback=writable,
    help="Write the verdicts for machines, too.",
)  # fmt: skip
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path), metavar="FILE", callback=writable,
    help="Where to write the verdicts as a page; by default nomagic-report/index.html.",
)  # fmt: skip
@click.option("--no-html", is_flag=True, help="Write no page.")
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), envvar="NOMAGIC_DATA",
    metavar="FOLDER", help="Where the files of built-in data are.",
)  # fmt: skip
@click.option("--aa", is_flag=True, help="Try the setup against itself with other random draws.")
@click.option(
    "--extend", is_flag=True, help="Go on once, with as many pairs again, if some are open."
)
@click.option(
    "--discoveries", is_flag=True,
    help="For more than 20 arms: of all HELPS and HURTS, 5 % may be false on average (e-BH), "
    "instead of any with a probability of 5 %.",
)  # fmt: skip
@click.option(
    "--samples", type=click.IntRange(min=16), metavar="N",
    help="Use only so many samples of the data; built-in sets use 6000 at most.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
              help="Of all random draws.")  # fmt: skip
@click.pass_context
def try_(
    context: click.Context,
    setup: str,
    chosen: tuple[str, ...],
    recipe: Path,
    json_file: Path | None,
    html_file: Path | None,
    no_html: bool,
    **options: Any,
) -> None:
    """Find out which tricks pay on SETUP, by how much, and how sure that is.

    SETUP is a built-in name (digits), file.py or file.py:function. Without PRACTICE all are tried
    that apply and that there is time for. Finished runs are kept: the same command goes on where it
    was stopped. The exit code is 130 after Ctrl-C.
    """
    from nomagic.report.trial import Screen, show

    with Screen(console(sys.stderr)) as screen:
        trial = _tried(setup, practices=chosen, tell=screen.tell, **options)
    written = _keep(trial, recipe, json_file, html_file or (None if no_html else PAGE))
    show(trial, console(sys.stdout), written)
    context.exit(INTERRUPTED if trial.ending == "interrupted" else 0)


@main.command(context_settings={"auto_envvar_prefix": "NOMAGIC_FIT"})
@click.argument("setup")
@click.option(
    "--budget", default="10m", show_default=True, metavar="TIME", help="How long it may take."
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where the model and all evidence are kept; by default fit-NAME.",
)  # fmt: skip
@click.option(
    "--recipe", type=click.Path(dir_okay=False, exists=True, path_type=Path), metavar="FILE",
    help="What `nomagic try` proved; without it a short trial is made.",
)  # fmt: skip
@click.option(
    "--members", type=click.IntRange(min=1), default=5, show_default=True, metavar="N",
    help="Networks of the ensemble.",
)  # fmt: skip
@click.option("--metric", metavar="NAME", help="The metric that decides, not the setup's own.")
@click.option("--from", "from_", default="", metavar="STAGE", help="Do all anew from this stage.")
@click.option("--until", default="", metavar="STAGE", help="Stop after this stage.")
@click.option("--skip", multiple=True, metavar="A,B", help="Leave these stages out.")
@click.option(
    "--max-bytes", metavar="SIZE", help="The model's weights must not take more, such as 200kB."
)
@click.option(
    "--max-ms", type=click.FloatRange(min=0, min_open=True), metavar="MS",
    help="One prediction must not take longer.",
)  # fmt: skip
@click.option(
    "--pretrain", metavar="KIND", default="auto", show_default=True,
    help="Unsupervised pre-training on the inputs: masked, contrastive, layer-wise, auto (where it "
    "pays) or off.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Fine-tune the setup's network from these weights (safetensors).",
)  # fmt: skip
@click.option(
    "--export", type=click.Choice(["onnx", "torch", "int8"]), multiple=True,
    help="Write the model in this format, too, proven equal on real inputs; int8 keeps the weights "
    "of linear layers in 8 bits and says what that loses.",
)  # fmt: skip
@click.option(
    "--test", type=click.FloatRange(0, 1, max_open=True), default=0.15, show_default=True,
    metavar="SHARE", help="Samples set aside for the end, where the data have no test part.",
)  # fmt: skip
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path), metavar="FILE", callback=writable,
    help="Where to write the report; by default DIR/report.html.",
)  # fmt: skip
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), envvar="NOMAGIC_DATA",
    metavar="FOLDER", help="Where the files of built-in data are.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
              help="Of all random draws.")  # fmt: skip
@click.pass_context
def fit(context: click.Context, setup: str, html_file: Path | None, **options: Any) -> None:
    """Train SETUP by the recipe, with the evidence at every step.

    SETUP is a built-in name (digits), file.py or file.py:function. The same command goes on where
    it was stopped, also after kill -9. The exit code is 130 after Ctrl-C.
    """
    from nomagic.report.fit import Screen, show

    with Screen(console(sys.stderr)) as screen:
        found = _fitted(setup, tell=screen.tell, **options)
    written = _keep_fit(found, html_file)
    show(found, console(sys.stdout), written)
    context.exit(INTERRUPTED if found.ending == "interrupted" else 0)


@main.command(context_settings={"auto_envvar_prefix": "NOMAGIC_LOOK"})
@click.argument("data")
@click.option(
    "--target", metavar="NAME",
    help="The column of a table that is to be predicted; by default one called target or label, or "
    "else the last.",
)  # fmt: skip
@click.option(
    "--samples", type=click.IntRange(min=16), metavar="N",
    help="How many samples are looked at closely, drawn at random.",
)  # fmt: skip
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path), callback=writable,
    metavar="FILE",
    help="Where to write the page, with pictures and sounds; by default nomagic-report/index.html.",
)  # fmt: skip
@click.option("--no-html", is_flag=True, help="Write no page.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", callback=writable,
    help="Write the answers for machines, too.",
)  # fmt: skip
@click.option(
    "--data", "folder", type=click.Path(file_okay=False, path_type=Path), envvar="NOMAGIC_DATA",
    metavar="FOLDER", help="Where the files of built-in data are.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
              help="Of all random draws.")  # fmt: skip
def look(
    data: str,
    html_file: Path | None,
    no_html: bool,
    json_file: Path | None,
    folder: Path | None,
    **options: Any,
) -> None:
    """Look at DATA: what is in it, what is wrong with it, and what a network is really fed.

    DATA is a built-in name (digits), file.py or file.py:name with a setup, a .npy, .npz or .csv
    file, or a folder of images or wavs in subfolders. The exit code is 130 after Ctrl-C.
    """
    from nomagic.report.look import Screen, show

    with Screen(console(sys.stderr)) as screen:
        survey = _looked(data, data=folder, tell=screen.tell, **options)
    written = _keep_look(survey, html_file or (None if no_html else PAGE), json_file)
    show(survey, console(sys.stdout), written)


@main.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("data")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", callback=writable,
    help="Where to write the predictions (.csv or .json); by default to standard output, as CSV.",
)  # fmt: skip
@click.option(
    "--setup", metavar="SETUP", help="The setup of a model that needs your own code: file.py."
)
@click.option(
    "--data-folder", type=click.Path(file_okay=False, path_type=Path), envvar="NOMAGIC_DATA",
    metavar="FOLDER", help="Where the files of built-in data are.",
)  # fmt: skip
def predict(
    model: Path, data: str, out: Path | None, setup: str | None, data_folder: Path | None
) -> None:
    """Predict DATA with the MODEL that `nomagic fit` saved: answers, and how sure they are.

    DATA is a file (.csv, .npy, .npz, .wav, .txt, an image), a folder of images or wavs, or the name
    of a built-in set.
    """
    from nomagic.fitting import serving

    try:
        serving.predict(model, data, out, setup, data_folder)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        sys.stdout = None
    except serving.ERRORS as error:
        raise click.UsageError(f"nomagic cannot predict {data}: {error}") from error


@main.command()
@click.argument("practice")
def explain(practice: str) -> None:
    """Print one practice: the advice, its reason, what is watched, and the sources."""
    from nomagic.report import advice

    try:
        advice.page(catalog.find(practice), console(sys.stdout))
    except catalog.UnknownPracticeError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.option("--category", metavar="NAME", help="Only those of one category.")
def practices(category: str | None) -> None:
    """List the practices by category."""
    from nomagic.report import advice

    titles = catalog.titles()
    if category and category not in titles:
        hint = config.nearest(category, titles) or f" ({', '.join(titles)})"
        raise click.UsageError(f"there is no category {category!r}{hint}")
    shown = [one for one in catalog.load() if category in (None, one.category)]
    advice.listing(shown, titles, console(sys.stdout))


def _watch(
    name: str,
    arguments: tuple[str, ...],
    module: bool,
    options: Options,
    tell: Callable[[str, float | None], None],
) -> Record:
    from nomagic import script

    try:
        loaded = script.load(name, arguments, as_module=module)
    except script.ScriptError as error:
        click.echo(f"nomagic cannot run {name}:\n{error}", err=True)
        sys.exit(error.code)
    from nomagic import checking

    return checking.script(loaded, options, restore=False, tell=tell)


def _tried(setup: str, **options: Any) -> Trial:
    from nomagic.trial import run

    return _asked(f"try {setup}", lambda: run.try_(setup, **options), run.ERRORS)


def _fitted(setup: str, **options: Any) -> Fit:
    from nomagic.fitting import run

    return _asked(f"fit {setup}", lambda: run.run(setup, **options), run.ERRORS)


def _looked(named: str, **options: Any) -> Survey:
    from nomagic.looking import run

    return _asked(f"look at {named}", lambda: run.look(named, **options), run.ERRORS)


def _keep_look(survey: Survey, html_file: Path | None, json_file: Path | None) -> str:
    """Write the reports; say where they are."""
    from nomagic.report import html
    from nomagic.report import survey as surveys

    wanted = (
        (html_file, lambda file: html.write(html.look(survey, catalog.load(), __version__), file)),
        (json_file, lambda file: surveys.write(survey, __version__, file)),
    )
    return _told([file for file, write in wanted if file and _wrote(file, partial(write, file))])


def _told(written: Iterable[Path]) -> str:
    return ", ".join(f"report: {file}" for file in written)


def _asked(what: str, run: Callable[[], T], errors: tuple[type[Exception], ...]) -> T:
    """What a run returns, or a message and exit code 2 when it cannot be run."""
    try:
        return run()
    except errors as error:
        raise click.UsageError(f"nomagic cannot {what}: {error}") from error
    except KeyboardInterrupt:  # before there is anything to know
        sys.exit(INTERRUPTED)


def _keep_fit(found: Fit, html_file: Path | None) -> str:
    """Write the report; say where it is."""
    from nomagic.report import html

    file = html_file or Path(found.directory) / "report.html"
    return _told(
        [file] if _wrote(file, lambda: html.write(html.fit(found, __version__), file)) else []
    )


def _keep(trial: Trial, recipe: Path, json_file: Path | None, html_file: Path | None) -> str:
    """Write the recipe, if there is one, and the reports; say where."""
    from nomagic.report import html, verdicts
    from nomagic.trial import recipe as recipes

    written: list[str] = []
    if trial.recipe.steps and _wrote(recipe, lambda: recipes.write(trial.recipe, recipe)):
        written.append(f"recipe: {recipe}")
    if json_file and _wrote(json_file, lambda: verdicts.write(trial, __version__, json_file)):
        written.append(f"report: {json_file}")
    if html_file and _wrote(
        html_file,
        lambda: html.write(html.trial(trial, catalog.load(), __version__), html_file),
    ):
        written.append(f"report: {html_file}")
    return ", ".join(written)


def _wrote(file: Path, write: Callable[[], None]) -> bool:
    """Write a file; what fails is said, and the run goes on: a fault of ours in a page may cost
    neither the script's own ending nor what was found.
    """
    try:
        with warnings.catch_warnings():  # the script may have made errors of them
            warnings.simplefilter("ignore")
            write()
    except OSError as error:
        click.echo(f"nomagic: cannot write {file}: {error.strerror or error}", err=True)
    except Exception as error:
        click.echo(f"nomagic: cannot make {file}: {type(error).__name__}: {error}", err=True)
    else:
        return True
    return False


def _write(record: Record, file: Path, folder: Path) -> bool:
    from nomagic.report import json

    return _wrote(file, lambda: json.write(record, __version__, folder / file))


def _write_page(record: Record, file: Path, folder: Path) -> bool:
    from nomagic.report import html

    return _wrote(
        file,
        lambda: html.write(html.check(record, catalog.load(), __version__, folder), folder / file),
    )


def _code(record: Record, fail_on: str | None) -> int:
    """The script's own exit code if it failed, else ours; nothing trained is nothing judged."""
    if record.ending.code or fail_on is None:
        return record.ending.code
    if not record.backwards:
        return USAGE
    worst = record.worst()
    return int(worst is not None and SEVERITIES.index(worst) <= SEVERITIES.index(fail_on))


if __name__ == "__main__":
    main(prog_name="nomagic")
