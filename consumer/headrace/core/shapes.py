"""Payloads of a known shape, straight from JSON text to DynamoDB's JSON text.

The records of a stream mostly look alike: the same fields in the same order, with the same kinds of values. One regular
expression, made of one such payload, checks the next one from its first byte to its last and takes out its values; one
format puts them between DynamoDB's own brackets. Not one Python object is made for a value's place, which costs a third
of decoding, wrapping and encoding them (measured: 31 values).

Only what comes out as it would the ordinary way is taken: text without escapes, valid UTF-8, numbers as JSON writes
them. Everything else matches no shape, and the ordinary way has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from operator import itemgetter
from typing import Any, Final, TypeAlias

import msgspec

from headrace.core.items import MAX_DEPTH, N

Path: TypeAlias = tuple[str, ...]
"""Where a value stands in a payload: the names that lead to it."""

MOST_VALUES: Final = 200
"""Values of a payload that a shape is made of: the expression takes 0.1 ms a value to compile."""

MOST_SHAPES: Final = 8
"""Shapes known at once; the one that was seen longest ago gives way."""

WINDOW: Final = 1_000
"""Payloads after which it is asked whether looking is worth it: one of two must have had a known shape."""

REST: Final = 20_000
"""Payloads that nobody looks at after a window that was not."""

STYLES: Final = ((b",", b":"), (b", ", b": "))
"""Separators of items and of names: without spaces, and as Python's `json` writes them."""

BETWEEN: Final = b"\0"
"""Between the values of `Layout.VALUES`: a byte that JSON never has."""

Found: TypeAlias = tuple[dict[str, Any], bytes, tuple[str, ...]]
"""The wanted fields of a payload; the text of its top level, as the layout says; the item's names in their order."""


class Layout(Enum):
    """How the top level of an item is written: for requests that take it whole, or for statements with values beside them."""

    ITEM = auto()
    """Names and values, without the braces."""
    VALUES = auto()
    """Values alone, `BETWEEN` them."""


_TEXT: Final = rb'"([^"]*+)"'
_NUMBER: Final = rb"([-+.0-9]{1,26}+(?:[eE][-+]?[0-9]{1,2}+)?+)"
"""Neither checks more than it must: `_UNFIT` and `_are_numbers` do the rest for all values at once, at a third of the price.

A number of so few characters is in DynamoDB's range, whatever they are (`core.number_range`); others go the ordinary way.
"""

_UNFIT: Final = bytes(range(0x20)) + b"\\"
"""Escapes, and what must be escaped in JSON (RFC 8259, 7)."""

_encode = msgspec.json.Encoder().encode
_are_numbers = msgspec.json.Decoder(list[float]).decode
_decode_number = msgspec.json.Decoder(float_hook=N).decode


@dataclass(slots=True)
class _Draft:
    """A shape in the making: its expression and its format, value by value."""

    comma: bytes
    colon: bytes
    pattern: bytes = b""
    format: bytes = b""
    paths: list[Path | None] = field(default_factory=list)
    """Of each value that is taken out; None inside of a list."""
    kinds: list[type] = field(default_factory=list)

    def add(self, pattern: bytes, text: bytes) -> None:
        self.pattern += pattern
        self.format += text

    def take(self, pattern: bytes, text: bytes, kind: type, path: Path | None) -> None:
        self.add(pattern, text)
        self.paths.append(path)
        self.kinds.append(kind)

    def value(self, value: Any, path: Path | None) -> None:
        match value:
            case dict():
                self.add(rb"\{", b'{"M":{')
                self.names(value, path)
                self.add(rb"\}", b"}}")
            case list():
                self.add(rb"\[", b'{"L":[')
                self.members(value)
                self.add(rb"\]", b"]}")
            case str():
                self.take(_TEXT, b'{"S":"%b"}', str, path)
            case bool():
                self.take(rb"(true|false)", b'{"BOOL":%b}', bool, path)
            case None:
                self.add(rb"null", b'{"NULL":true}')
            case _:
                self.take(_NUMBER, b'{"N":"%b"}', N, path)

    def top(self, payload: Mapping[str, Any], layout: Layout) -> None:
        if layout is Layout.ITEM:
            self.names(payload, ())
        else:
            for place, (name, value) in enumerate(payload.items()):
                self.add(self._before(place, _encode(name)), BETWEEN if place else b"")
                self.value(value, (name,))

    def names(self, values: Mapping[str, Any], path: Path | None) -> None:
        for place, (name, value) in enumerate(values.items()):
            text = _encode(name)
            self.add(self._before(place, text), (b"," if place else b"") + text.replace(b"%", b"%%") + b":")
            self.value(value, None if path is None else (*path, name))

    def _before(self, place: int, name: bytes) -> bytes:
        """What stands before a value in a payload."""
        return (self.comma if place else b"") + re.escape(name) + self.colon

    def members(self, values: Sequence[Any]) -> None:
        for place, value in enumerate(values):
            if place:
                self.add(self.comma, b",")
            self.value(value, None)


class Shape:
    """What one payload told about all that look like it."""

    def __init__(self, draft: _Draft, wanted: Sequence[Path], names: tuple[str, ...]) -> None:
        self._names = names
        self._match = re.compile(rb"\{%b\}" % draft.pattern).fullmatch
        self._format = draft.format
        self._numbers = _several([place for place, kind in enumerate(draft.kinds) if kind is N])
        self._wanted = [
            (path[:-1], path[-1], place, _READ[draft.kinds[place]])
            for path in wanted
            for place in [draft.paths.index(path)]
        ]

    def read(self, data: bytes) -> Found | None:
        """What it holds. None for a payload of another shape."""
        found = self._match(data)
        if found is None or len(data.translate(None, _UNFIT)) < len(data):
            return None
        values = found.groups()
        try:
            if not data.isascii():
                data.decode()
            _are_numbers(b"[%b]" % b",".join(self._numbers(values)))
        except (UnicodeDecodeError, msgspec.DecodeError):
            return None
        fields: dict[str, Any] = {}
        for outer, name, place, read in self._wanted:
            holder = fields
            for step in outer:
                holder = holder.setdefault(step, {})
            holder[name] = read(values[place])
        return fields, self._format % values, self._names


_READ: Final[Mapping[type, Callable[[bytes], Any]]] = {
    str: bytes.decode,
    bool: lambda text: text == b"true",
    N: _decode_number,
}
"""A value taken out, as `items.decode_payload` would give it."""


def shape_of(
    data: bytes,
    payload: Mapping[str, Any],
    wanted: Sequence[Path],
    layout: Layout = Layout.ITEM,
    added: tuple[str, ...] = (),
) -> Shape | None:
    """The shape of `data`, which was decoded to `payload`; `added` are the item's names behind the payload's.

    None where there is none, or where a wanted value is no part of it.
    """
    if not payload or not _is_small(payload):
        return None
    for comma, colon in STYLES:
        draft = _Draft(comma, colon)
        draft.top(payload, layout)
        if not set(wanted) <= set(draft.paths):
            return None
        shape = Shape(draft, wanted, (*payload, *added))
        if shape.read(data) is not None:
            return shape
    return None


def _is_small(payload: Mapping[str, Any]) -> bool:
    """Within `MOST_VALUES`, and nested as DynamoDB allows. Level by level: depth costs no stack."""
    level: list[Any] = [payload]
    count = 0
    for _ in range(MAX_DEPTH):
        inner = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        ]
        level = [value for several in inner for value in several]
        count += len(level)
        if not level or count > MOST_VALUES:
            break
    return not level and count <= MOST_VALUES


def _several(places: list[int]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    """`itemgetter` that gives a tuple whatever their number."""
    match places:
        case []:
            return lambda _: ()
        case [only]:
            return lambda values: (values[only],)
        case _:
            return itemgetter(*places)


class Shapes:
    """The shapes of one stream, learned as they come.

    A payload that matches none is learned from; after each lesson twice as many must go by before the next, so that a
    stream without shapes costs a few lessons and, where most payloads match none, next to no looking.
    """

    def __init__(self, wanted: Sequence[Path], added: tuple[str, ...], layout: Layout = Layout.ITEM) -> None:
        """`wanted` are the fields that `read` gives apart; payloads that have an `added` one already have no shape."""
        self._wanted = wanted
        self._added = added
        self._layout = layout
        self._known: list[Shape] = []
        self._next_lesson = 1
        self._missed = 0
        """Since the last lesson."""
        self._looked = 0
        self._unknown = 0
        """Of those looked at in this window."""
        self._rest = 0

    def read(self, data: bytes) -> Found | None:
        """As `Shape.read`, by whichever shape it has."""
        if self._rest:
            self._rest -= 1
            return None
        self._looked += 1
        for place, shape in enumerate(self._known):
            found = shape.read(data)
            if found is not None:
                if place:
                    self._known.insert(0, self._known.pop(place))
                return found
        return None

    def learn(self, data: bytes, payload: Mapping[str, Any]) -> None:
        """`read` knew nothing of `data`, which was decoded to `payload`."""
        if self._rest:
            return
        self._missed += 1
        self._unknown += 1
        if self._looked >= WINDOW:
            self._rest = REST if self._unknown * 2 > self._looked else 0
            self._looked = self._unknown = 0
        if self._missed >= self._next_lesson:
            self._missed = 0
            self._next_lesson *= 2
            if payload.keys().isdisjoint(self._added):
                shape = shape_of(data, payload, self._wanted, self._layout, self._added)
                self._known = [shape, *self._known][:MOST_SHAPES] if shape is not None else self._known
