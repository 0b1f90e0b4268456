"""The commands for operators and their options. Each body imports what it needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.options import PASS_THROUGH, AsJson, Config, SettingsCommand, load_settings, take_word

if TYPE_CHECKING:
    from headrace.cli.desk import Manner
    from headrace.settings import Settings

operators = typer.Typer(rich_markup_mode=None)

ShardOption = Annotated[str | None, typer.Option("--shard", metavar="SHARD", help="Its id, or the number in it.")]
TheShard = Annotated[str, typer.Option("--shard", metavar="SHARD", help="Its id, or the number in it.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every shard of the stream.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who asks, for the event log; user@host unless given.")
]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the event log.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def seek(  # noqa: PLR0913 - an option each
    context: typer.Context,
    to: Annotated[
        str,
        typer.Option(
            metavar="PLACE", help="trim, latest, an ISO 8601 instant, how long ago like 90m, or a sequence number."
        ),
    ],
    config: Config = None,
    shard: ShardOption = None,
    by: ByOption = None,
    why: WhyOption = "",
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="How long to wait for a worker to read from there.")
    ] = "10s",
    *,
    every: AllOption = False,
    dry_run: DryRun = False,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> None:
    """Read shards from another place on, while the fleet runs. Forward, it skips records for good."""
    settings = _settings(context, config)
    from headrace.cli.desk import Manner  # noqa: PLC0415 - only a command that runs needs it
    from headrace.cli.seek import seek as body  # noqa: PLC0415 - likewise

    raise typer.Exit(body(settings, shard, to, wait, Manner(by, why, yes, dry_run, as_json), every=every))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def pause(
    context: typer.Context,
    config: Config = None,
    shard: ShardOption = None,
    by: ByOption = None,
    why: WhyOption = "",
    *,
    every: AllOption = False,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> None:
    """Let nobody read a shard, or the whole stream, until it is resumed."""
    settings = _settings(context, config)
    from headrace.cli.operate import pause as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, shard, _manner(by, why, yes=yes, as_json=as_json), every=every))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def resume(
    context: typer.Context,
    config: Config = None,
    shard: ShardOption = None,
    by: ByOption = None,
    why: WhyOption = "",
    *,
    every: AllOption = False,
    as_json: AsJson = False,
) -> None:
    """Take a pause back."""
    settings = _settings(context, config)
    from headrace.cli.operate import resume as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, shard, _manner(by, why, yes=True, as_json=as_json), every=every))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH, options_metavar="WORKER [OPTIONS]")
def drain(
    context: typer.Context,
    config: Config = None,
    by: ByOption = None,
    why: WhyOption = "",
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take leases again.")] = False,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> None:
    """Make a worker hand its leases off and take none, until it restarts."""
    worker = take_word(context.args)
    settings = _settings(context, config)
    from headrace.cli.operate import drain as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, worker, _manner(by, why, yes=yes, as_json=as_json), undo=undo))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def move(
    context: typer.Context,
    shard: TheShard,
    to: Annotated[str, typer.Option(metavar="WORKER", help="Its id, the beginning of it, or its name.")],
    config: Config = None,
    by: ByOption = None,
    why: WhyOption = "",
    *,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> None:
    """Hand the lease of a shard over to a worker. The planner may move it again when loads are uneven."""
    settings = _settings(context, config)
    from headrace.cli.operate import move as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, shard, to, _manner(by, why, yes=yes, as_json=as_json)))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH, options_metavar="SEQUENCE [OPTIONS]")
def skip(
    context: typer.Context,
    config: Config = None,
    shard: ShardOption = None,
    by: ByOption = None,
    why: WhyOption = "",
    *,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> None:
    """Bury one record without a call, so that its key and its shard go on."""
    record = take_word(context.args)
    settings = _settings(context, config)
    from headrace.cli.operate import skip as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, record, shard, _manner(by, why, yes=yes, as_json=as_json)))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH, options_metavar="[SEQUENCE|KEY] [OPTIONS]")
def explain(
    context: typer.Context,
    config: Config = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="A partition key, even one that looks like a number.")
    ] = None,
    shard: ShardOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell one record's whole story, or what is open and buried of a partition key. The exit code is the verdict."""
    about = take_word(context.args)
    settings = _settings(context, config)
    from headrace.cli.explain import explain as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, about, key, shard, as_json=as_json))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def doctor(context: typer.Context, config: Config = None, *, as_json: AsJson = False) -> None:
    """Check the real resources, the fleet and the rights against what production asks for. Nothing is changed."""
    settings = _settings(context, config)
    from headrace.cli.doctor import doctor as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, as_json=as_json))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def iam(
    context: typer.Context,
    config: Config = None,
    role: Annotated[str, typer.Option(metavar="ROLE", help="worker, or operator for all other commands.")] = "worker",
    region: Annotated[str | None, typer.Option(help="Region of the ARNs; AWS_REGION unless given.")] = None,
    account: Annotated[str | None, typer.Option(help="Account of the ARNs; of the stream's ARN unless given.")] = None,
    kms_key: Annotated[
        str | None, typer.Option("--kms-key", metavar="ARN", help="The key that the stream is encrypted with.")
    ] = None,
    *,
    as_json: AsJson = False,  # noqa: ARG001 - it is JSON without it too; scripts write it everywhere
) -> None:
    """Print the least-privilege policy for what the settings turn on, as JSON. Nobody is asked."""
    settings = _settings(context, config)
    from headrace.cli.iam import iam as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, role, region, account, kms_key))


@operators.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def events(
    context: typer.Context,
    config: Config = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The last so many.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, when and why."""
    settings = _settings(context, config)
    from headrace.cli.operate import events as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, limit, as_json=as_json))


def _settings(context: typer.Context, config: Config) -> Settings:
    settings = load_settings(context, config).settings
    from headrace.ops import logs  # noqa: PLC0415 - before anything imports structlog

    logs.configure("warning", "auto", sys.stderr)
    return settings


def _manner(by: str | None, why: str, *, yes: bool, as_json: bool) -> Manner:
    from headrace.cli.desk import Manner  # noqa: PLC0415 - only a command that runs needs it

    return Manner(by, why, yes=yes, as_json=as_json)
