"""What a handler is called with, by the annotation of its first parameter.

A payload that does not fit never will, so it is rejected at once. The reason names the field and the type, never a value;
the validator's own error, which may quote the payload, is not chained to it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, MutableMapping
from decimal import Decimal
from typing import Any, Final, TypeAlias, get_origin

import msgspec

from headrace.errors import Reject
from headrace.model import Record

Reader: TypeAlias = Callable[[Record], Any]

_AS_IT_IS: Final = (inspect.Parameter.empty, Record, Any, object)
_OBJECTS: Final = (dict, Mapping, MutableMapping)

_PLACE: Final = re.compile(r"^(?P<text>.*?)(?: - at `(?P<place>[^`]*)`)?$", re.DOTALL)
_SAFE: Final = re.compile(
    r"Expected `[^`]*`(, got `[^`]*`| of length .*| [<>]=? .*)?|Object missing required field `[^`]*`"
)
"""The messages of msgspec that hold names and types of the model only; others quote the payload."""


class Unsupported(TypeError):  # noqa: N818 - translated where the setting is known
    """No payload can be read as this annotation."""


def reader(annotation: Any) -> Reader | None:
    """From the record to the handler's argument; None where that is the record itself. Raises Unsupported."""
    kind = get_origin(annotation) or annotation
    if any(kind is as_it_is for as_it_is in _AS_IT_IS):
        return None
    if kind is bytes:
        return _data
    if kind in _OBJECTS:
        return json_object
    if isinstance(kind, type) and hasattr(kind, "__pydantic_validator__"):
        return _pydantic_reader(kind)
    if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)):
        return _msgspec_reader(annotation)
    raise Unsupported


def _data(record: Record) -> bytes:
    return record.data


def json_object(record: Record) -> dict[str, Any]:
    """The payload, which must be a JSON object. Raises Reject."""
    try:
        payload = record.json()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None
    if isinstance(payload, dict):
        return payload
    raise Reject(f"the payload is a JSON {_JSON_NAMES.get(type(payload), 'number')}, not an object")


_JSON_NAMES: Final = {list: "array", str: "string", bool: "boolean", type(None): "null", Decimal: "number"}


def not_json(error: Exception) -> Reject:
    """Why bytes are not JSON, with the place and without the bytes."""
    if isinstance(error, RecursionError):
        return Reject("the payload is not JSON: nested too deeply")
    known = isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError)
    return Reject(f"the payload is not JSON: {error}" if known else "the payload is not JSON: not UTF-8")


def _msgspec_reader(annotation: Any) -> Reader:
    try:
        decode = msgspec.json.Decoder(annotation, float_hook=Decimal).decode
    except (TypeError, NameError) as error:
        raise Unsupported(str(error)) from error

    def read(record: Record) -> Any:
        try:
            return decode(record.data)
        except msgspec.ValidationError as error:
            raise Reject(f"the payload does not fit: {_without_values(str(error))}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(error) from None

    return read


def _without_values(message: str) -> str:
    match = _PLACE.fullmatch(message)
    text, place = (match["text"], match["place"]) if match else ("", None)
    return f"{text if _SAFE.fullmatch(text) else 'not valid'} at {place or '$'}"


def _pydantic_reader(kind: Any) -> Reader:
    # The user's module has imported pydantic already: nobody else pays for it.
    from pydantic_core import ValidationError  # noqa: PLC0415 - see above

    validate = kind.__pydantic_validator__.validate_json

    def read(record: Record) -> Any:
        try:
            return validate(record.data)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            places = [f"{'.'.join(['$', *map(str, one['loc'])])} ({one['type']})" for one in details]
            raise Reject(f"the payload does not fit: {', '.join(places)}") from None

    return read
