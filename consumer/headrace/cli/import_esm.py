"""`headrace import esm`: a mapping's JSON in, headrace.toml out. The file is loaded as a worker would before it is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from headrace.errors import SettingsError
from headrace.settings import SeveralSettingsError, load
from headrace.settings.esm import Choices, Line, as_table, as_toml, chosen, taken
from headrace.settings.loading import FILE_NAME
from headrace.settings.names import Name

STREAM: Final = "-"
"""Stands for standard input and standard output."""

_PLACEHOLDER: Final = {"HEADRACE_HANDLER": "module.function"}
"""The setting that a person has to fill in, so that all others can be checked."""


def import_esm(file: str, output: str, uuid: str | None, choices: Choices, *, force: bool) -> int:
    """Write the settings of a mapping to `output`, and what became of each field to standard error.

    Raises SettingsError for whatever cannot be taken; then nothing is written.
    """
    lines = taken(chosen(_content(file), uuid, file), choices)
    text = as_toml(lines, choices.handler)
    _check(text, lines, {} if choices.handler else _PLACEHOLDER)
    _write(text, output, force=force)
    sys.stderr.write(as_table(lines))
    sys.stderr.write(_next_step(output, choices))
    return 0


def _content(file: str) -> Any:
    try:
        text = (sys.stdin.buffer.read() if file == STREAM else Path(file).read_bytes()).decode("utf-8-sig")
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()  # half of a surrogate pair is no text, and no file can hold it
    except OSError as error:
        raise SettingsError("FILE", file, f"cannot be read ({error.strerror})", "Name a readable file") from error
    except (ValueError, RecursionError) as error:
        mend = "Take what `aws lambda get-event-source-mapping --output json` prints"
        raise SettingsError("FILE", file, f"is not JSON: {error}", mend) from error
    return content


def _check(text: str, lines: Sequence[Line], environment: Mapping[str, str]) -> None:
    """Load the file from where nobody sees it. Raises SettingsError under the names of the mapping's fields."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / FILE_NAME
        file.write_text(text, encoding="utf-8")
        try:
            load([], environment, file)
        except SettingsError as error:
            wrong = error.errors if isinstance(error, SeveralSettingsError) else (error,)
            told = [_told(one, lines) for one in wrong]
            raise told[0] if len(told) == 1 else SeveralSettingsError(told) from error


def _told(error: SettingsError, lines: Sequence[Line]) -> SettingsError:
    """What is wrong with a setting, as a mistake of the field that became it."""
    for line in lines:
        if line.setting and error.setting == f"{FILE_NAME}: {Name(line.setting).key}":
            name = ".".join(line.setting)
            if line.value == line.becomes:
                return SettingsError(line.field, line.value, error.problem, line.instead or error.mend)
            problem = f"becomes {name} = {error.value!r}, which is refused: {error.problem}"
            return SettingsError(line.field, line.value, problem, line.instead or f"{name}: {error.mend}")
    return error


def _write(text: str, output: str, *, force: bool) -> None:
    if output == STREAM:
        sys.stdout.write(text)
        return
    try:
        with Path(output).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SettingsError("--output", output, "is there already", "Name another file, or add --force") from error
    except OSError as error:
        mend = "Name a file that can be written"
        raise SettingsError("--output", output, f"cannot be written ({error.strerror})", mend) from error


def _next_step(output: str, choices: Choices) -> str:
    where = "standard output" if output == STREAM else output
    missing = "" if choices.handler else "Fill in handler (or set HEADRACE_HANDLER), then "
    return f"\nWritten to {where}.\n{missing}`headrace settings` checks the file.\n"
