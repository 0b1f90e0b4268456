"""What an item is known by: equal keys mean the same item to DynamoDB.

DynamoDB compares strings and bytes byte by byte and numbers by value, and never takes one type for another.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from headrace.core.items import ItemError, N

KeyPart: TypeAlias = str | bytes | Decimal
ItemKey: TypeAlias = tuple[KeyPart, ...]
"""Values of the key attributes, in the order of the key schema; hashable."""


def key_of(item: Mapping[str, Any], key_attributes: tuple[str, ...]) -> ItemKey:
    """The item's key: 1, 1.0 and N("1.0") are one key; "1" and b"1" are others.

    Raises ItemError when a key attribute is missing or of a type that no key can have.
    """
    parts: list[KeyPart] = []
    for name in key_attributes:
        value = item.get(name)
        parts.append(value if type(value) is str else _part(name, value))
    return tuple(parts)


def stored_key(attribute_values: Mapping[str, Mapping[str, str]], key_attributes: tuple[str, ...]) -> ItemKey:
    """The key of an item in DynamoDB's own JSON, equal to what `key_of` gave for it. Raises ItemError, ValueError."""
    parts: list[KeyPart] = []
    for name in key_attributes:
        match attribute_values.get(name):
            case {"S": text}:
                parts.append(text)
            case {"N": text}:
                parts.append(_number(name, text))
            case {"B": text}:
                parts.append(b64decode(text))
            case _:
                raise ItemError(name, "the key attribute is missing")
    return tuple(parts)


def _part(name: str, value: Any) -> KeyPart:
    match value:
        case None:
            raise ItemError(name, "the key attribute is missing")
        case str():
            return str.__str__(value)
        case bytes() | bytearray():
            return bytes(value)
        case N():
            return _number(name, value.N)
        case bool():
            raise ItemError(name, "a key must be a string, a number or bytes, not bool")
        case int() | Decimal():
            return _finite(name, Decimal(value))
        case float():
            return _number(name, float.__repr__(value))
        case _:
            raise ItemError(name, f"a key must be a string, a number or bytes, not {type(value).__name__}")


def _number(name: str, text: str) -> Decimal:
    try:
        return _finite(name, Decimal(text))
    except InvalidOperation:
        raise ItemError(name, "not a number") from None


def _finite(name: str, number: Decimal) -> Decimal:
    if not number.is_finite():
        raise ItemError(name, "DynamoDB has neither NaN nor infinity")
    return number
