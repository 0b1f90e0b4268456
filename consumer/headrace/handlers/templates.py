"""Key templates: `pk={device_id}#{arrival:%Y-%m-%dT%H} sk={sequence_number}`, compiled once to closures.

In braces stands a payload field (dotted for nested objects; a leading dot for a field that is called like one of the
metadata names) or one of partition_key, sequence_number (`Record.position`), shard_id, stream and arrival. `{arrival:...}` takes a
strftime format, in UTC. `{{` and `}}` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from string import Formatter
from typing import Any, Final, TypeAlias

from headrace.core.items import N
from headrace.errors import Reject
from headrace.model import Record

Part: TypeAlias = Callable[[Mapping[str, Any], Record], str]
"""From payload and record to text. Raises Reject when the payload has no such text."""

_PAIR: Final = re.compile(r"([^\s={}]+)=((?:\{[^{}]*\}|\{\{|\}\}|[^\s{}])+)(?:\s+|$)")
_DIRECTIVES: Final = re.compile(r"(?:[^%{}]|%[aAbBdfGHIjmMpSuUVwWyYzZ%])*")
"""What Python documents for every platform, without the locale's own formats."""


Told: TypeAlias = tuple[str, Any]
"""A piece of a template as it is told to the compiled transcoder: what it is, and of what."""


class BadTemplate(ValueError):  # noqa: N818 - translated where the setting is known
    """A template that cannot be compiled; the text says why."""


def split(templates: str) -> dict[str, str]:
    """The template of each key attribute. Raises BadTemplate."""
    found: dict[str, str] = {}
    end = 0
    text = templates.strip()
    for match in _PAIR.finditer(text):
        if match.start() != end:
            break
        if match[1] in found:
            raise BadTemplate(f"{match[1]!r} appears twice")
        found[match[1]] = match[2]
        end = match.end()
    if end != len(text) or not found:
        raise BadTemplate(f"{text[end:]!r} is not of the form attribute=template")
    return found


def compiled(template: str, stream: str) -> Part:
    """One template as a function. Raises BadTemplate."""
    pattern, parts = "", []
    for literal, part in _pieces(template, stream):
        pattern += literal.replace("%", "%%") + ("%s" if part else "")
        parts += [part] if part else []
    return parts[0] if pattern == "%s" else _joined(pattern, tuple(parts))


def _joined(pattern: str, parts: tuple[Part, ...]) -> Part:
    """The parts in the pattern; one and two, the usual numbers, without a loop (half the time, measured)."""
    match parts:
        case ():
            text = pattern % ()
            return lambda _payload, _record: text
        case (only,):
            return lambda payload, record: pattern % only(payload, record)
        case (first, second):
            return lambda payload, record: pattern % (first(payload, record), second(payload, record))
        case _:
            return lambda payload, record: pattern % tuple([part(payload, record) for part in parts])


def told(template: str, stream: str) -> list[Told]:
    """The pieces of a template that `compiled` has taken, in the transcoder's terms."""
    pieces: list[Told] = []
    for literal, name, spec, _ in Formatter().parse(template):
        pieces += [("literal", literal)] if literal else []
        if name == "stream":
            pieces.append(("literal", stream))
        elif name == "arrival" and spec:
            pieces.append(("call", partial(_arrival(spec), {})))
        elif name in {"arrival", *_METADATA}:
            pieces.append((name, None))
        elif name is not None:
            pieces.append(("field", name.removeprefix(".").split(".")))
    return pieces


def fields(template: str) -> Iterator[str]:
    """The names in braces. Raises BadTemplate."""
    try:
        for _, name, _, _ in Formatter().parse(template):
            if name is not None:
                yield name
    except ValueError as error:
        raise BadTemplate(f"{template!r}: {str(error).lower()}") from None


def paths(templates: str) -> Iterator[tuple[str, ...]]:
    """Where the payload's fields stand that templates, as `split` takes them, are made of. Raises BadTemplate."""
    for template in split(templates).values():
        for name in fields(template):
            if name not in {*_METADATA, "arrival", "stream"}:
                yield tuple(name.removeprefix(".").split("."))


def _pieces(template: str, stream: str) -> Iterator[tuple[str, Part | None]]:
    list(fields(template))
    for literal, name, spec, conversion in Formatter().parse(template):
        if conversion:
            raise BadTemplate(f"{{{name}!{conversion}}}: a conversion is not supported")
        yield literal, None if name is None else _part(name, spec or "", stream)


def _part(name: str, spec: str, stream: str) -> Part:
    if name == "arrival":
        if not _DIRECTIVES.fullmatch(spec):
            raise BadTemplate(f"{{arrival:{spec}}}: not a strftime format")
        return _arrival(spec)
    if spec:
        raise BadTemplate(f"{{{name}:{spec}}}: only arrival takes a format")
    return _METADATA[name] if name in _METADATA else _constant(stream) if name == "stream" else _field(name)


_METADATA: Final[Mapping[str, Part]] = {
    "partition_key": lambda _, record: record.partition_key,
    # The records of an aggregate share their sequence number, and must not share an item's key.
    "sequence_number": lambda _, record: (
        str(record.sequence_number) if record.sub_sequence_number < 0 else record.position
    ),
    "shard_id": lambda _, record: record.shard_id,
}


def _constant(text: str) -> Part:
    return lambda _payload, _record: text


def _arrival(spec: str) -> Part:
    stamp = by_the_second(lambda moment: moment.strftime(spec)) if spec and "%f" not in spec else None
    if stamp is not None:
        return lambda _, record: stamp(int(record.arrival_s))
    if spec:
        return lambda _, record: record.arrival.strftime(spec)
    iso = iso_milliseconds()
    return lambda _, record: iso(record.arrival_s)


def by_the_second(render: Callable[[datetime], str]) -> Callable[[int], str]:
    """`render` of an epoch second, kept for the next record: records that follow each other share their second."""
    last, text = -1, ""

    def stamp(second: int) -> str:
        nonlocal last, text
        if second != last:
            text = render(datetime.fromtimestamp(second, UTC))
            last = second
        return text

    return stamp


def iso_milliseconds() -> Callable[[float], str]:
    """Epoch seconds as `2026-01-31T08:00:00.123Z`."""
    stamp = by_the_second(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S"))
    fractions = [f".{millisecond:03d}Z" for millisecond in range(1000)]

    def render(seconds: float) -> str:
        milliseconds = int(seconds * 1000 + 0.5)
        return stamp(milliseconds // 1000) + fractions[milliseconds % 1000]

    return render


def _field(name: str) -> Part:
    path = name.removeprefix(".").split(".")
    if not all(path) or re.search(r"[\[\]]", name):
        raise BadTemplate(f"{{{name}}} is not a field name")
    return _top_field(path[0]) if len(path) == 1 else _nested_field(path)


def _top_field(name: str) -> Part:
    def get(payload: Mapping[str, Any], _: Record) -> str:
        value = payload.get(name)
        return value if type(value) is str else text_of(value, name)

    return get


def _nested_field(path: list[str]) -> Part:
    def get(payload: Mapping[str, Any], _: Record) -> str:
        value: Any = payload
        for name in path:
            value = value.get(name) if type(value) is dict else None
        return value if type(value) is str else text_of(value, ".".join(path))

    return get


def text_of(value: Any, name: str) -> str:
    """A payload value as text: numbers digit for digit. Raises Reject for what has none."""
    match value:
        case N():
            return value.N
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return value
        case None:
            raise Reject(f"the payload has no field {name!r}")
        case _:
            raise Reject(f"the field {name!r} is {'an array' if isinstance(value, list) else 'an object'}")
