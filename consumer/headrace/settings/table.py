"""The settings as a table: for docs/settings.md, for `headrace run --help`, for `headrace settings`.

Meanings are the docstrings under the fields, read from the source: only documentation needs them, so start-up does not
pay for them.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

from pydantic import BeforeValidator

from headrace.settings.groups import Group, Shown
from headrace.settings.loading import Loaded
from headrace.settings.model import Settings
from headrace.settings.names import Name, known_names
from headrace.settings.units import size, written, written_size

_INTRODUCTION: Final = """\
# Settings

Every setting has one name in three places: an environment variable, a key in `headrace.toml`, an option of
`headrace run`. For example `HEADRACE_BATCH_SIZE=500` is

```toml
[batch]
size = 500
```

and `--batch.size 500`. The command line beats the environment, the environment beats the file. The file is what
`--config` or `HEADRACE_CONFIG` names, or `headrace.toml` in the working directory. An empty environment variable counts
as not set. An unknown name is refused, with the nearest known one; a setting that changes nothing with the handler in use is
named in a warning at the start (`setting_without_effect`). `headrace settings` shows what is in effect and where it comes from.

Durations are written `500ms`, `10s`, `5m`, `1h`, `1d` or ISO 8601 (`PT10S`); sizes `64MiB`. Region, credentials and
endpoints are botocore's own (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_KINESIS`, ...) and never settings here.

This page is made from the model: `python -m headrace.settings.table > docs/settings.md`.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as documented."""

    name: Name
    meaning: str
    default: str


def settings_table() -> Iterator[Row]:
    """Every setting in the order of the model."""
    for name in known_names().values():
        yield Row(name, meanings(name.model).get(name.path[-1], ""), default(name))


@cache
def meanings(model: type[Settings | Group]) -> dict[str, str]:
    """The docstring under each field of a class; empty where the source is not at hand."""
    try:
        tree = ast.parse(inspect.getsource(model))
    except OSError:
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def default(name: Name) -> str:
    """The default as a person reads it."""
    for mark in name.field.metadata:
        if isinstance(mark, Shown):
            return mark.text
    return "required" if name.field.is_required() else written(name.field.default)


def in_effect(loaded: Loaded) -> Iterator[tuple[Name, str, str]]:
    """Each setting with its value as written and where it comes from."""
    for name in known_names().values():
        value: Any = loaded.settings
        for part in name.path:
            value = getattr(value, part)
        yield name, written_size(value) if _is_size(name) else written(value), loaded.origin(name)


def _is_size(name: Name) -> bool:
    return any(isinstance(one, BeforeValidator) and one.func is size for one in name.field.metadata)


def markdown() -> str:
    """docs/settings.md."""
    parts = [_INTRODUCTION]
    for title, meaning, rows in _sections():
        lines = [f"| `{row.name.env}` | `{row.name.key}` | {row.meaning} | {_code(row.default)} |" for row in rows]
        parts.append("\n".join([f"## {title}\n\n{meaning}\n", "| environment | file | meaning | default |", "| --- | --- | --- | --- |", *lines, ""]))  # fmt: skip
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, str, list[Row]]]:
    sections: dict[type[Settings | Group], list[Row]] = {}
    for row in settings_table():
        sections.setdefault(row.name.model, []).append(row)
    for model, rows in sections.items():
        if issubclass(model, Settings):
            yield "The application", "What must be said first.", rows
        else:
            yield rows[0].name.path[0], inspect.getdoc(model) or "", rows


def _code(text: str) -> str:
    return text if text in {"required", "none"} else f"`{text}`"


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
