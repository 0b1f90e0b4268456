"""The command line. `main` is the only place where errors become exit codes: 1 failed, 2 bad settings or environment."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from headrace.errors import HeadraceError, SettingsError

IMPORTING: Final = 200_000
"""New objects until the collector looks at them: what a start imports lives on, and looking at it again and again takes a
tenth of the start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (`arguments` without the program's name; the process's own by default) and give its exit code."""
    gc.set_threshold(IMPORTING)
    from headrace.cli.app import app  # noqa: PLC0415 - importing this package must cost nothing

    try:
        app(args=arguments, prog_name="headrace")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except (HeadraceError, BaseExceptionGroup) as error:
        mistakes = list(_leaves(error))
        if not all(isinstance(mistake, HeadraceError) for mistake in mistakes):
            raise
        for line in dict.fromkeys(str(mistake) for mistake in mistakes):
            sys.stderr.write(f"{line}\n")
        return 2 if any(isinstance(mistake, SettingsError) for mistake in mistakes) else 1
    return 0


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves, out of the groups that TaskGroups wrap them in."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error
