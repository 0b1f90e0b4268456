"""`headrace dead-letters` and its options. Each body imports what it needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.options import PASS_THROUGH, AsJson, Config, SettingsCommand, load_settings, take_word

if TYPE_CHECKING:
    from headrace.cli.dead_letters import Wanted

dead_letters = typer.Typer(
    help="Buried records: look at them, deliver them again, delete them.", no_args_is_help=True, rich_markup_mode=None
)

ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="SHARD", help="Only of this shard: its id, or the number in it.")
]
KeyOption = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only of this partition key.")]
SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Buried since: an ISO 8601 instant, or how long ago, like 2h.")
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Buried before.")]
ReasonOption = Annotated[str | None, typer.Option(metavar="REASON", help="Only for this reason.")]
LimitOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many, the oldest records first.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@dead_letters.command("list", cls=SettingsCommand, context_settings=PASS_THROUGH)
def list_letters(  # noqa: PLR0913 - an option each
    context: typer.Context,
    config: Config = None,
    shard: ShardOption = None,
    key: KeyOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    reason: ReasonOption = None,
    limit: LimitOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List them, oldest record first; never a payload. With --json, one line of JSON each."""
    settings = load_settings(context, config).settings
    _log_to_standard_error("warning")
    wanted = _wanted(shard, key, since, until, reason, limit)
    from headrace.cli.dead_letters import list_letters as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, wanted, as_json=as_json))


@dead_letters.command(cls=SettingsCommand, context_settings=PASS_THROUGH, options_metavar="SEQUENCE [OPTIONS]")
def show(
    context: typer.Context,
    config: Config = None,
    shard: ShardOption = None,
    *,
    payload: Annotated[bool, typer.Option("--payload", help="With the payload.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of one record: its sequence number, or the last digits of it."""
    number = take_word(context.args)
    settings = load_settings(context, config).settings
    _log_to_standard_error("warning")
    from headrace.cli.dead_letters import show as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, number, shard, payload=payload, as_json=as_json))


@dead_letters.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def redrive(  # noqa: PLR0913 - an option each
    context: typer.Context,
    config: Config = None,
    shard: ShardOption = None,
    key: KeyOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    reason: ReasonOption = None,
    limit: LimitOption = None,
    *,
    rate: Annotated[float | None, typer.Option(min=0.01, metavar="N", help="At most so many records a second.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> None:
    """Deliver them again, in order per key, through the handler and the sink; what goes through is removed."""
    settings = load_settings(context, config).settings
    _log_to_standard_error("warning" if sys.stderr.isatty() else settings.log.level)
    wanted = _wanted(shard, key, since, until, reason, limit)
    from headrace.cli.redrive import redrive as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, wanted, rate, dry_run=dry_run, yes=yes, as_json=as_json))


@dead_letters.command(cls=SettingsCommand, context_settings=PASS_THROUGH)
def purge(  # noqa: PLR0913 - an option each
    context: typer.Context,
    config: Config = None,
    shard: ShardOption = None,
    key: KeyOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    reason: ReasonOption = None,
    limit: LimitOption = None,
    *,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> None:
    """Delete them for good. Off a terminal it takes --yes."""
    settings = load_settings(context, config).settings
    _log_to_standard_error("warning" if sys.stderr.isatty() else settings.log.level)
    wanted = _wanted(shard, key, since, until, reason, limit)
    from headrace.cli.redrive import purge as body  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(body(settings, wanted, yes=yes, as_json=as_json))


def _wanted(*filters: Any) -> Wanted:
    """The filters as a selection. Raises SettingsError."""
    from headrace.cli.dead_letters import Wanted  # noqa: PLC0415 - only these commands need it

    return Wanted.of(*filters)


def _log_to_standard_error(level: str) -> None:
    from headrace.ops import logs  # noqa: PLC0415 - before anything imports structlog

    logs.configure(level, "auto", sys.stderr)
