"""The commands and their options. Each body imports what it needs: a worker's start pays for nothing else.

Options with a dot (`--batch.size`) are settings; they pass through to `headrace.settings`, which knows them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import headrace
from headrace.cli.dead_letters_app import dead_letters
from headrace.cli.operate_app import operators
from headrace.cli.options import PASS_THROUGH, AsJson, Config, SettingsCommand, load_settings

app = typer.Typer(
    help="A self-hosted Amazon Kinesis consumer.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

imports = typer.Typer(help="Make settings out of what runs elsewhere.", no_args_is_help=True)
app.add_typer(imports, name="import")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(operators)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        typer.echo(f"headrace {headrace.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@app.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def run(
    context: typer.Context,
    config: Config = None,
    report_to: Annotated[int | None, typer.Option("--report-to", hidden=True)] = None,
) -> None:
    """Run a worker until SIGTERM, or several of them (HEADRACE_PROCESSES)."""
    loaded = load_settings(context, config)
    from headrace.ops import logs  # noqa: PLC0415 - before anything imports structlog: it keeps rich out

    logs.configure(loaded.settings.log.level, loaded.settings.log.format)
    if (count := loaded.settings.processes) != 1:
        from headrace.cli.processes import run_processes  # noqa: PLC0415 - a single worker pays for none of it

        raise typer.Exit(run_processes(loaded, count))
    from headrace.cli.run import run as run_worker  # noqa: PLC0415 - only a worker needs the AWS client

    raise typer.Exit(run_worker(loaded.settings, report_to))


@app.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def health(
    context: typer.Context,
    config: Config = None,
    *,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it takes part, not only whether it lives.")
    ] = False,
) -> None:
    """Ask the worker at this machine's ops port how it is; exit code 0 if it is well, 1 if not or if there is none."""
    settings = load_settings(context, config).settings
    from headrace.cli.health import health as ask  # noqa: PLC0415 - only this command needs it

    is_well, told = ask(settings, "/readyz" if ready else "/livez")
    typer.echo(told, err=not is_well)
    raise typer.Exit(0 if is_well else 1)


@app.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def verify(
    context: typer.Context,
    ledger: Annotated[
        Path, typer.Option(metavar="FILE", help="What the stream acknowledged, as the producer wrote it.")
    ],
    config: Config = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare a producer's ledger with the serving table and the dead letters."""
    loaded = load_settings(context, config)
    from headrace.cli.verify import verify as verify_ledger  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(verify_ledger(loaded.settings, ledger=ledger, as_json=as_json))


@app.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def status(context: typer.Context, config: Config = None, *, as_json: AsJson = False) -> None:
    """Show the fleet once. Exit code: 0 OK, 3 LAGGING, 4 UNOWNED, 5 STALLED, 6 LOSING DATA; 1 when nothing is known."""
    settings = load_settings(context, config).settings
    _log_to_standard_error()
    from headrace.cli.fleet import status as show_once  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(show_once(settings, as_json=as_json))


@app.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def top(
    context: typer.Context,
    config: Config = None,
    every: Annotated[str, typer.Option(help="Between two pictures, like 2s.")] = "2s",
    *,
    as_json: AsJson = False,
) -> None:
    """Show the fleet live, until Ctrl-C. With --json, one line for each picture."""
    settings = load_settings(context, config).settings
    _log_to_standard_error()
    from headrace.cli.fleet import top as show_live  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(show_live(settings, _duration("--every", every).total_seconds(), as_json=as_json))


def _log_to_standard_error() -> None:
    import sys  # noqa: PLC0415 - only for these commands

    from headrace.ops import logs  # noqa: PLC0415 - before anything imports structlog

    logs.configure("warning", "auto", sys.stderr)


@app.command()
def demo(
    rate: Annotated[int, typer.Option(min=1, help="Records a second.")] = 2000,
    duration: Annotated[str, typer.Option(help="How long to produce, like 20s.")] = "20s",
    shards: Annotated[int, typer.Option(min=1, help="Shards of the stream.")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    poison_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of records the handler cannot take.")] = 0.001,
    seed: Annotated[int, typer.Option(help="Same seed, same records.")] = 1,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the local stack running.")] = False,
) -> None:
    """Show it all on this machine: a local stack, two workers, poison, and the proof that nothing is lost."""
    from headrace.cli.demo import demo as show  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(
        show(
            rate=rate,
            duration=_duration("--duration", duration),
            shards=shards,
            workers=workers,
            poison_rate=poison_rate,
            seed=seed,
            keep=keep,
        )
    )


@app.command("stack")
def local_stack(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0: any free port.")] = 4566,
    stream: Annotated[str, typer.Option(help="Stream to make.")] = "readings",
    shards: Annotated[int, typer.Option(min=1, help="Shards of the stream.")] = 2,
    table: Annotated[str, typer.Option(help="Serving table to make.")] = "readings",
    key: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Key attribute of the table, once or twice. [pk, sk]")
    ] = None,
) -> None:
    """Run a local look-alike of AWS with a stream and a table, until Ctrl-C: no Docker, no account."""
    from headrace.cli.demo.stack import Resources  # noqa: PLC0415 - only this command needs it
    from headrace.cli.stack import stack  # noqa: PLC0415 - likewise

    raise typer.Exit(stack(Resources(stream, shards, table, tuple(key or ("pk", "sk"))), port))


@app.command("settings", cls=SettingsCommand, context_settings=PASS_THROUGH)
def show_settings(context: typer.Context, config: Config = None, *, as_json: AsJson = False) -> None:
    """Show the settings in effect and where each comes from."""
    from headrace.settings.table import in_effect  # noqa: PLC0415 - only this command needs it

    rows = [(name.env, value, origin) for name, value, origin in in_effect(load_settings(context, config))]
    if as_json:
        import json  # noqa: PLC0415 - likewise

        shown = {name: {"value": value, "origin": origin} for name, value, origin in rows}
        typer.echo(json.dumps(shown, indent=2))
        return
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, origin in rows:
        typer.echo(f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}")


@imports.command("esm")
def import_esm(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What `aws lambda get-event-source-mapping` prints; - reads it.")
    ],
    output: Annotated[
        str, typer.Option(metavar="FILE", help="Where to write; - for standard output.")
    ] = "headrace.toml",
    uuid: Annotated[str | None, typer.Option(help="Which mapping of a list.")] = None,
    application: Annotated[str | None, typer.Option(help="Its name; the function's unless given.")] = None,
    handler: Annotated[str | None, typer.Option(help="The function's Handler, module.function.")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    ignore_unknown: Annotated[bool, typer.Option("--ignore-unknown", help="Leave out fields nobody knows.")] = False,
) -> None:
    """Turn a Lambda event source mapping into headrace.toml, and name what becomes of each of its fields."""
    from headrace.cli.import_esm import import_esm as write_settings  # noqa: PLC0415 - only this command needs it
    from headrace.settings.esm import Choices  # noqa: PLC0415 - likewise

    choices = Choices(application, handler, ignore_unknown)
    raise typer.Exit(write_settings(file, output, uuid, choices, force=force))


def _duration(option: str, text: str) -> Any:
    from headrace.errors import SettingsError  # noqa: PLC0415 - only the demo needs it
    from headrace.settings.units import Unfit, duration  # noqa: PLC0415 - likewise

    try:
        return duration(text)
    except Unfit as error:
        raise SettingsError(option, text, error.problem, error.mend) from None
