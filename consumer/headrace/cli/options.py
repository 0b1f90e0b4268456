"""What more than one command takes: every setting as an option, the settings file, JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from headrace.settings import Loaded


class SettingsCommand(TyperCommand):
    """A command that takes every setting as an option; its help lists them."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The command's own options, then the settings with meaning and default."""
        from headrace.settings.table import settings_table  # noqa: PLC0415 - only help needs it

        super().format_options(ctx, formatter)
        with formatter.section("Settings (also HEADRACE_... in the environment, or in headrace.toml)"):
            formatter.write_dl([(row.name.option, f"{row.meaning} [{row.default}]") for row in settings_table()])


PASS_THROUGH: Final = {"allow_extra_args": True, "ignore_unknown_options": True}

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file instead of headrace.toml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def load_settings(context: typer.Context, config: Path | None) -> Loaded:
    """What environment, file and the rest of the command line say. Raises SettingsError."""
    from headrace.settings import load_with_origins  # noqa: PLC0415 - `--version` and `--help` need no pydantic

    return load_with_origins(context.args, os.environ, config, context.command_path)


def take_word(arguments: list[str]) -> str | None:
    """Take the first word that is neither a setting nor its value out of the arguments; None where there is none.

    A command cannot declare it beside options that pass through: these would be taken for it.
    """
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if not word.startswith("--"):
            return arguments.pop(index)
        index += 1 if "=" in word else 2
    return None
