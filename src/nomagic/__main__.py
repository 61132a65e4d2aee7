"""The command line: parse, call a verb, hand the result to a report. Starts without torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nomagic import __version__, catalog, config
from nomagic.config import Options
from nomagic.report.lines import console
from nomagic.words import SEVERITIES, Record

USAGE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nomagic")
def main() -> None:
    """Say what is wrong with a training run, and why."""


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
    file = json_file and json_file.absolute()  # the script may go elsewhere
    record = _watch(script, arguments, module, options)
    if file:
        _write(record, file)
    if not quiet:
        from nomagic.report import terminal

        terminal.show(record, out, str(json_file or ""))
    context.exit(_code(record, fail_on))


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


def _watch(name: str, arguments: tuple[str, ...], module: bool, options: Options) -> Record:
    from nomagic import script

    try:
        loaded = script.load(name, arguments, as_module=module)
    except script.ScriptError as error:
        click.echo(f"nomagic cannot run {name}:\n{error}", err=True)
        sys.exit(error.code)
    from nomagic import checking

    return checking.script(loaded, options, restore=False)


def _write(record: Record, file: Path) -> None:
    from nomagic.report import json

    try:
        json.write(record, __version__, file)
    except OSError as error:
        click.echo(f"nomagic: cannot write {file}: {error.strerror}", err=True)


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
