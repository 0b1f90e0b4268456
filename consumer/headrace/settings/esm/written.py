"""headrace.toml as made from a mapping, each line with its origin, and the table of what became of which field."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from headrace.settings.esm.fields import Line, Toml
from headrace.settings.names import Name, known_names

_WIDTH: Final = 110
_SHOWN: Final = 60
"""Most characters of a value in the table."""

_COLUMNS: Final = 100
_INDENT: Final = 32
"""Of a line of the table, and of them for the field's name: all but one are shorter."""

_UUID: Final = re.compile(r"[0-9a-fA-F-]{36}")

_HEAD: Final = """\
Each setting stands below the field it comes from. `headrace settings` checks the file and shows the whole in effect.\
 There is no [sink]: a Lambda handler writes by itself."""

_HANDLER: Final = """\
To fill in: the function's Handler, with its code where Python finds it\
 (aws lambda get-function-configuration --function-name {name} --query "[Handler,Timeout,MemorySize]")."""

_FUNCTION: Final = "Timeout and MemorySize are the function's, not the mapping's: take them over."


def as_toml(lines: Sequence[Line], handler: str | None = None) -> str:
    """The file. `handler` is the function's Handler, where it is known."""
    settings = _in_order([line for line in lines if line.setting is not None])
    parts = [_comment(f"Made from the event source mapping{_named(lines)} by `headrace import esm`. {_HEAD}")]
    for group, members in groupby(settings, key=lambda line: line.setting[:-1] if line.setting else ()):
        blocks = [_block(line) for line in members]
        parts.append("\n\n".join(blocks) if not group else f"[{group[0]}]\n" + "\n".join(blocks))
        if not group:
            parts.append(_about_handler(lines, handler))
    return "\n\n".join(parts) + "\n"


def _named(lines: Sequence[Line]) -> str:
    uuid = next((str(line.value) for line in lines if line.field == "UUID"), "")
    return f" {uuid}" if _UUID.fullmatch(uuid) else ""


def _in_order(lines: Sequence[Line]) -> list[Line]:
    """As the settings are documented; what stands in no group has to come first."""
    places = {path: place for place, path in enumerate(known_names())}
    return sorted(lines, key=lambda line: (len(line.setting or ()), places[line.setting or ()]))


def _block(line: Line) -> str:
    setting = line.setting or ()
    comment = _comment(f"{line.field}: {line.remark}" if line.remark else line.field)
    return comment if line.becomes is None else f"{comment}\n{setting[-1]} = {toml(line.becomes)}"


def _about_handler(lines: Sequence[Line], handler: str | None) -> str:
    name = next(line.becomes for line in lines if line.setting == ("handler_name",))
    example = 'handler = "module.function"'
    known = (
        f"# --handler\nhandler = {toml(handler)}" if handler else f"{_comment(_HANDLER.format(name=name))}\n# {example}"
    )
    return f'{known}\n\n{_comment(_FUNCTION)}\n# handler_timeout = "60s"\n# handler_memory = "128MiB"'


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def toml(value: Toml) -> str:
    """A value as TOML writes it: the shortest string that needs no escaping, or else one with escapes."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return _string(value)
        case tuple():
            return "".join(["[\n", *(f"    {_string(one)},\n" for one in value), "]"])


def _string(text: str) -> str:
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)


def as_table(lines: Sequence[Line]) -> str:
    """What became of each field, for a person: field and value, then setting and remark, within the columns of a terminal."""
    grouped = groupby(lines, key=lambda line: (line.field, line.value))
    return "".join(f"{row}\n" for (field, value), group in grouped for row in _rows(field, value, list(group)))


def _rows(field: str, value: object, lines: Sequence[Line]) -> Iterator[str]:
    shown = list(_told(_shown(value), lines))
    if len(field) >= _INDENT:
        yield field
        field = ""
    for row in shown:
        yield f"{field:{_INDENT}}{row}".rstrip()
        field = ""


def _told(value: str, lines: Sequence[Line]) -> Iterator[str]:
    """On one line where value and setting have room together."""
    becomes = [f"-> {' '.join(_setting(line))}" for line in lines]
    if len(lines) == 1 and len(joined := f"{value} {becomes[0]}") <= _COLUMNS - _INDENT:
        becomes[0] = joined
    else:
        yield from _wrapped(value)
    for text, line in zip(becomes, lines, strict=True):
        yield from _wrapped(text)
        yield from _wrapped(line.remark, "   ")


def _wrapped(text: str, before: str = "") -> list[str]:
    return textwrap.wrap(
        text, _COLUMNS - _INDENT, initial_indent=before, subsequent_indent="   ", break_on_hyphens=False
    )


def _setting(line: Line) -> Iterator[str]:
    if line.setting is None:
        yield "not needed"
        return
    yield Name(line.setting).option.removeprefix("--")
    yield "by default" if line.becomes is None else f"= {_short(_on_one_line(line.becomes))}"


def _on_one_line(value: Toml) -> str:
    return f"[{', '.join(_string(one) for one in value)}]" if isinstance(value, tuple) else toml(value)


def _shown(value: object) -> str:
    """A value of the document on one line, cut in the middle where it is long; `-` where there is none."""
    if value is None:
        return "-"
    is_plain = isinstance(value, str) and value.isprintable() and value.strip()
    return _short(str(value) if is_plain else json.dumps(value))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN // 2 - 2]}...{line[-_SHOWN // 2 + 1 :]}"
