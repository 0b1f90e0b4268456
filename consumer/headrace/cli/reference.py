"""docs/commands.md, made from the command line itself: `python -m headrace.cli.reference > docs/commands.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import typer.main

from headrace.cli.app import app

EXIT_CODES: Final = {
    "run": {0: "stopped on request", 1: "failed, or stopped by a second signal"},
    "status": {0: "OK", 1: "the table cannot be read", 3: "LAGGING", 4: "UNOWNED", 5: "STALLED", 6: "LOSING DATA"},
    "top": {0: "stopped with Ctrl-C", 1: "the table could never be read"},
    "verify": {0: "nothing is missing, damaged or overtaken", 1: "something is"},
    "dead-letters redrive": {
        0: "all that was selected went through",
        1: "some failed again, were kept back, or a stop came",
    },
    "seek": {
        0: "workers read from the new place, or will once a pause is over",
        1: "refused: somebody changed the row meanwhile, or it was not confirmed",
        3: "the place is moved, and no worker reads from there yet: none lives",
    },
    "pause": {0: "nobody reads it", 1: "refused", 3: "paused; a worker still finishes what is in flight"},
    "resume": {0: "it is read", 1: "refused", 3: "resumed; no worker reads it yet"},
    "drain": {0: "the worker holds nothing", 1: "refused", 3: "drained; it still finishes what is in flight"},
    "move": {0: "the worker reads it", 1: "refused, or not handed over within 30 s"},
    "skip": {
        0: "the dead letter is stored and the checkpoint behind the record",
        1: "refused: the record is settled already, or no shard holds it",
        3: "named to be buried; no worker has come that far yet",
    },
    "explain": {
        0: "written (or, of a key: nothing is open or buried)",
        1: "unknown: who would know cannot be asked",
        3: "retrying",
        4: "buried",
        5: "never seen",
        6: "waiting: in the stream and not settled",
    },
    "doctor": {0: "nothing fails", 1: "something does"},
}
"""Beside 2, which every command gives for bad settings or options."""

HEAD: Final = """# Commands

Made from the command line itself (`python -m headrace.cli.reference`). Every command that looks at an application takes all
[settings](settings.md) as options, such as `--application`; they are left out here. `--json` writes one JSON document (or one
line for each record) on standard output; what is told beside goes to standard error. Every command ends with exit code 2 for
bad settings, bad options, or credentials that are not usable, with one line for each mistake.
"""


def markdown() -> str:
    """The page."""
    group = typer.main.get_command(app)
    return "\n".join([HEAD, *(line for name, command in _commands(group) for line in _section(name, command))])


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _section(name: str, command: Any) -> Iterator[str]:
    yield f"## headrace {name}\n"
    yield f"{command.help or ''}\n"
    arguments = [(p.metavar or p.name) for p in command.params if p.param_type_name == "argument"]
    words = getattr(command, "options_metavar", "") or ""
    usage = " ".join(["headrace", name, *arguments, words])
    yield f"    {usage.strip()}\n"
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    if options:
        yield "| option | meaning |"
        yield "| --- | --- |"
        yield from (_option(option) for option in options)
        yield ""
    if name in EXIT_CODES:
        yield "| exit code | meaning |"
        yield "| --- | --- |"
        yield from (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES[name].items())
        yield ""


def _option(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    required = " Required." if option.required else ""
    default = "" if option.required or option.is_flag or option.default in (None, "") else f" [{option.default}]"
    return f"| `{option.opts[0]}{value}` | {option.help or ''}{required}{default} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
