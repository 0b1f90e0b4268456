"""Python values to DynamoDB attribute values, by one table from type to wrapper. The hottest code of the project.

An attribute value is a Struct with one field, so that `{"S": "text"}` costs 24 bytes outside the garbage collector where
the dict costs 184. The good path looks each value's exact type up and keeps no account of where it is. Only when a value
has no row there is the item walked again, carefully: that walk takes subclasses too and names the place of a fault.
Values never appear in messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time
from decimal import Decimal
from math import isfinite
from typing import Any, Final, TypeAlias

import msgspec

from headrace.core.number_range import MOST_DIGITS, fits
from headrace.core.rendered_items import RenderedItem

MAX_DEPTH: Final = 32
"""Levels a document may nest (DynamoDB developer guide, "Quotas")."""


class S(msgspec.Struct, gc=False):
    """A string."""

    S: str


class N(msgspec.Struct, gc=False, frozen=True):
    """A number as its decimal text: what the JSON said is what DynamoDB gets, digit for digit. Handlers may use it too."""

    N: str


class B(msgspec.Struct, gc=False):
    """Bytes; the JSON encoder turns them into base64."""

    B: bytes


class BOOL(msgspec.Struct, gc=False):
    """True or false."""

    BOOL: bool


class NULL(msgspec.Struct, gc=False):
    """The null value."""

    NULL: bool


class M(msgspec.Struct, gc=False):
    """A map."""

    M: dict[str, Any]


class L(msgspec.Struct, gc=False):
    """A list."""

    L: list[Any]


class SS(msgspec.Struct, gc=False):
    """A set of strings."""

    SS: list[str]


class NS(msgspec.Struct, gc=False):
    """A set of numbers, as decimal texts."""

    NS: list[str]


class BS(msgspec.Struct, gc=False):
    """A set of byte strings."""

    BS: list[bytes]


AttributeValue: TypeAlias = S | N | B | BOOL | NULL | M | L | SS | NS | BS


class ItemError(ValueError):
    """An item cannot be written as it is. Names the attribute's path and the type, never the value."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"attribute {path!r}: {problem}")
        self.path = path


decode_payload: Final[Callable[[bytes], dict[str, Any]]] = msgspec.json.Decoder(dict[str, Any], float_hook=N).decode
"""A JSON object as an item: numbers with a fraction or an exponent become `N`, integers stay integers of any size.

Raises `msgspec.DecodeError` for what is no JSON object, UnicodeDecodeError where it is no UTF-8, and RecursionError for
absurd nesting.
"""


_encode = msgspec.json.Encoder().encode


def attributes(item: Mapping[str, Any]) -> dict[str, AttributeValue] | msgspec.Raw:
    """The item as DynamoDB takes it. Raises ItemError for a value that DynamoDB has no type for.

    Also for a number beyond 38 digits or DynamoDB's range. Other limits (400 KB, empty keys) are left to the server. A map's
    keys should be strings; numbers among them become text, as in JSON.
    """
    if type(item) is RenderedItem:
        return msgspec.Raw(item.text)
    try:
        return {name: WRAP[type(value)](value) for name, value in item.items()}
    except (KeyError, ValueError, RecursionError):
        return careful_attributes(item)


def encode_values(values: Iterable[Any]) -> list[bytes]:
    """Each value as DynamoDB takes it, as JSON. Raises KeyError or ValueError for one that has no type there."""
    return [_encode(WRAP[type(value)](value)) for value in values]


def encode_attributes(item: Mapping[str, Any]) -> bytes:
    """`attributes` as JSON. Raises as that."""
    return _encode(attributes(item))


def careful_attributes(item: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """What `attributes` returns, at five times its price: takes subclasses, and finds every fault before encoding.

    Raises ItemError with the place of the first fault, also for text and names that cannot be encoded as JSON.
    """
    return {_name(name, ""): _careful(value, name, 1) for name, value in item.items()}


# --- numbers and sets ------------------------------------------------------------------------------------------------


class _Unfit(ValueError):  # noqa: N818 - an ItemError whose place is not known yet; never leaves this module
    """A value cannot be an attribute value."""


def _weighed(text: str) -> str:
    if not fits(text):
        raise _Unfit(f"a number of more than {MOST_DIGITS} digits, or beyond DynamoDB's range")
    return text


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise _Unfit("DynamoDB has neither NaN nor infinity")
    text = Decimal.__str__(value)
    return _weighed(text) if len(text) > MOST_DIGITS or "E" in text else text


def _float_text(value: float) -> str:
    if not isfinite(value):
        raise _Unfit("DynamoDB has neither NaN nor infinity")
    text = float.__repr__(value)
    return _weighed(text) if "e" in text else text


def _int_text(value: int) -> str:
    try:
        text = int.__repr__(value)
    except ValueError:  # CPython prints at most 4,300 digits
        raise _Unfit(f"an integer of more than {MOST_DIGITS} digits") from None
    return _weighed(text) if len(text) > MOST_DIGITS else text


def _fitting(value: N) -> N:
    text = value.N
    if len(text) > MOST_DIGITS or "e" in text or "E" in text:
        _weighed(text)
    return value


def _plain_text(value: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unfit("text with an unpaired surrogate, which UTF-8 cannot carry") from None
    return text


def _number_text(value: Any) -> str:
    match value:
        case bool():
            raise _Unfit("a set must hold only strings, only numbers or only bytes")
        case N():
            return _fitting(value).N
        case int():
            return _int_text(value)
        case float():
            return _float_text(value)
        case Decimal():
            return _decimal_text(value)
        case _:
            raise _Unfit("a set must hold only strings, only numbers or only bytes")


def _set(members: AbstractSet[Any]) -> SS | NS | BS:
    if not members:
        raise _Unfit("DynamoDB has no empty set; leave the attribute out")
    if all(isinstance(member, str) for member in members):
        return SS([_plain_text(member) for member in members])
    if all(isinstance(member, bytes) for member in members):
        return BS([bytes(member) for member in members])
    return NS([_number_text(member) for member in members])


_EDGE: Final = 10**MOST_DIGITS
"""Integers within it have no more digits than a number may have."""

# --- the table -------------------------------------------------------------------------------------------------------

WRAP: Final[dict[type, Callable[[Any], Any]]] = {
    str: S,
    N: _fitting,
    int: lambda value: N(str(value)) if -_EDGE < value < _EDGE else N(_int_text(value)),
    bool: {True: BOOL(True), False: BOOL(False)}.__getitem__,
    type(None): {None: NULL(True)}.__getitem__,
    dict: lambda value: M({name: WRAP[type(inner)](inner) for name, inner in value.items()}),
    list: lambda value: L([WRAP[type(inner)](inner) for inner in value]),
    tuple: lambda value: L([WRAP[type(inner)](inner) for inner in value]),
    Decimal: lambda value: N(_decimal_text(value)),
    float: lambda value: N(_float_text(value)),
    bytes: B,
    bytearray: lambda value: B(bytes(value)),
    set: _set,
    frozenset: _set,
}
"""Exact type to wrapper: all that the good path knows."""

LEAVES: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...]] = (
    ((bool, type(None)), lambda value: WRAP[type(value)](value)),
    (N, _fitting),
    (str, lambda value: S(_plain_text(value))),
    (int, lambda value: N(_int_text(value))),
    (float, WRAP[float]),
    (Decimal, WRAP[Decimal]),
    ((bytes, bytearray), lambda value: B(bytes(value))),
    ((set, frozenset), _set),
)
"""The same by kind, for enums and other subclasses; the first that fits."""


# --- the careful walk ------------------------------------------------------------------------------------------------


def _careful(value: Any, path: str, depth: int) -> AttributeValue:
    if depth > MAX_DEPTH:
        raise ItemError(path, f"nested deeper than DynamoDB's {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return M({_name(name, path): _careful(inner, f"{path}.{name}", depth + 1) for name, inner in value.items()})
    if isinstance(value, (list, tuple)):
        return L([_careful(inner, f"{path}[{place}]", depth + 1) for place, inner in enumerate(value)])
    try:
        return _leaf(value)
    except _Unfit as fault:
        raise ItemError(path, str(fault)) from None


def _leaf(value: Any) -> AttributeValue:
    for kinds, row in LEAVES:
        if isinstance(value, kinds):
            wrapped: AttributeValue = row(value)
            return wrapped
    name = type(value).__name__
    if isinstance(value, (date, time)):
        raise _Unfit(f"DynamoDB has no type for {name}; choose a format, for instance value.isoformat()")
    raise _Unfit(f"DynamoDB has no type for {name}")


def _name(name: Any, path: str) -> str:
    if isinstance(name, str):
        try:
            return _plain_text(name)
        except _Unfit as fault:
            raise ItemError(path, f"a name in the map is {fault}") from None
    if isinstance(name, (int, float)) and not isinstance(name, bool):
        return _number_text(name)
    raise ItemError(path, f"a name in a map must be str, not {type(name).__name__}")
