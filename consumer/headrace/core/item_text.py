"""An item's text, as DynamoDB takes it, read back into Python values: for whoever looks into an item that is text."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from headrace.core.items import N

_decode: Final = msgspec.json.Decoder(dict[str, dict[str, Any]]).decode


def item_of_text(text: bytes) -> dict[str, Any]:
    """The item; numbers keep their text as `N`, lists and tuples are lists."""
    return {name: _value(value) for name, value in _decode(text).items()}


def _value(value: Mapping[str, Any]) -> Any:
    ((kind, inside),) = value.items()
    return _READ[kind](inside)


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "S": str,
    "N": N,
    "B": b64decode,
    "BOOL": bool,
    "NULL": lambda _: None,
    "M": lambda inside: {name: _value(value) for name, value in inside.items()},
    "L": lambda inside: [_value(value) for value in inside],
    "SS": frozenset,
    "NS": lambda inside: frozenset(map(N, inside)),
    "BS": lambda inside: frozenset(map(b64decode, inside)),
}
