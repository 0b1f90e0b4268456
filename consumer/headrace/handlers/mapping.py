"""Without a handler: a JSON object becomes an item, by settings alone.

The payload is the item. The key attributes come from the payload or from templates; an expiry, the sequence number and
the arrival time are added under names of the user's choice, over what the payload has there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from headrace.core.items import N, decode_payload, encode_attributes, encode_values
from headrace.core.native import Native
from headrace.core.number_range import fits
from headrace.core.rendered_items import RenderedItem, RenderedValues, Whole
from headrace.core.shapes import BETWEEN, Found, Layout, Path, Shapes
from headrace.errors import Reject, SettingsError
from headrace.handlers import templates
from headrace.handlers.compiled_mapping import Rule, added_rules, compiled, payload_rules, template_rules
from headrace.handlers.payloads import json_object, not_json
from headrace.model import Record
from headrace.operations import Put
from headrace.ports import Handler

Step: TypeAlias = Callable[[dict[str, Any], Record], None]
"""Puts one thing into the payload on its way to being the item. Raises Reject."""

NAME: Final = "item mapping"

_KEY: Final = "HEADRACE_ITEM_KEY"
_NUMBER: Final = re.compile(r"-?\d{1,38}(\.\d{1,38})?([eE][+-]?\d{1,3})?")
"""A decimal number."""


@dataclass(frozen=True, slots=True)
class ItemRules:
    """How items are made; the `[item]` settings. `key` holds the templates, None takes the key from the payload."""

    key: str | None = None
    ttl_attribute: str | None = None
    ttl_after_s: float = 0.0
    sequence_attribute: str | None = None
    arrival_attribute: str | None = None


def item_mapping(
    rules: ItemRules,
    key_types: Mapping[str, str],
    stream: str,
    *,
    layout: Layout | None = None,
    order_by: str | None = None,
    native: Native | None = None,
) -> Handler:
    """The handler that makes items of payloads for a table whose key attributes have `key_types` (S, N or B).

    With a `layout` an item is text where it can be, laid out for the sink; `order_by` is a field that the sink looks at.
    Text is made by the compiled transcoder where there is one.
    Raises SettingsError for templates that do not give exactly that key, and for attributes that would overwrite it.
    """
    steps = (*_key_steps(rules, key_types, stream), *_added_steps(rules, key_types))

    def whole(record: Record) -> dict[str, Any]:
        return _completed(_decoded(record), record, steps)

    if layout is None:
        return Handler(name=NAME, call=lambda record: Put(whole(record)))
    added = _added_names(rules, key_types)
    looked_at = [] if order_by is None or order_by in added else [order_by]
    if native is not None and (told := _told(rules, key_types, stream)) is not None:
        with suppress(native.declined):
            return Handler(name=NAME, call=compiled(native, told, looked_at, layout, whole))
    shapes = Shapes(_wanted(rules, key_types, looked_at), added, layout)
    return Handler(name=NAME, call=_rendering(shapes, _ITEM_OF[layout](added), steps, whole))


def _told(rules: ItemRules, key_types: Mapping[str, str], stream: str) -> list[Rule] | None:
    """The rules for the compiled transcoder; None where it does not know them all."""
    key = payload_rules(key_types) if rules.key is None else template_rules(rules.key, key_types, stream)
    if key is None:
        return None
    return [
        *key,
        *added_rules(rules.ttl_attribute, rules.ttl_after_s, rules.sequence_attribute, rules.arrival_attribute),
    ]


def _wanted(rules: ItemRules, key_types: Mapping[str, str], looked_at: Iterable[str]) -> list[Path]:
    """Fields of the payload that are needed beside its text."""
    key = [(name,) for name in key_types] if rules.key is None else templates.paths(rules.key)
    return list(dict.fromkeys((*key, *((name,) for name in looked_at))))


ItemOf: TypeAlias = Callable[[Found, Whole, Record], Mapping[str, Any]]
"""What a shape found in a record, as an item."""


def _rendering(
    shapes: Shapes,
    item_of: ItemOf,
    steps: Sequence[Step],
    whole: Callable[[Record], dict[str, Any]],
) -> Callable[[Record], Put]:
    """The same by the payload's shape, where it has a known one: see `core.shapes`. `whole` is the ordinary way."""

    def call(record: Record) -> Put:
        found = shapes.read(record.data)
        if found is None:
            payload = _decoded(record)
            shapes.learn(record.data, payload)
            return Put(_completed(payload, record, steps))
        for step in steps:
            step(found[0], record)
        return Put(item_of(found, whole, record))

    return call


def _as_item(added: Sequence[str]) -> ItemOf:
    def item_of(found: Found, whole: Whole, record: Record) -> RenderedItem:
        fields, text, _ = found
        if added:
            text = b"%b,%b" % (text, encode_attributes({name: fields[name] for name in added})[1:-1])
        return RenderedItem(fields, whole, record, None, b"{%b}" % text)

    return item_of


def _as_values(added: Sequence[str]) -> ItemOf:
    def item_of(found: Found, whole: Whole, record: Record) -> RenderedValues:
        fields, text, names = found
        values = text.split(BETWEEN)
        values += encode_values([fields[name] for name in added])
        return RenderedValues(fields, whole, record, None, names, values)

    return item_of


_ITEM_OF: Final = {Layout.ITEM: _as_item, Layout.VALUES: _as_values}


def _completed(item: dict[str, Any], record: Record, steps: Iterable[Step]) -> dict[str, Any]:
    for step in steps:
        step(item, record)
    return item


def _decoded(record: Record) -> dict[str, Any]:
    try:
        return decode_payload(record.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_object(record, error) from None


def _added_names(rules: ItemRules, key_types: Mapping[str, str]) -> tuple[str, ...]:
    """Attributes that are made and not taken from the payload."""
    made = (rules.ttl_attribute, rules.sequence_attribute, rules.arrival_attribute)
    return (*(key_types if rules.key is not None else ()), *(name for name in made if name is not None))


def _no_object(record: Record, error: Exception) -> Reject:
    """Why the payload is no JSON object; takes the slow way, for records that are rejected anyway."""
    try:
        json_object(record)
    except Reject as reason:
        return reason
    return not_json(error)


def _key_steps(rules: ItemRules, key_types: Mapping[str, str], stream: str) -> list[Step]:
    _refuse_binary(rules, key_types)
    if rules.key is None:
        return [_from_payload(name, kind) for name, kind in key_types.items()]
    try:
        return _template_steps(rules.key, key_types, stream)
    except templates.BadTemplate as error:
        mend = "Give a template for each key attribute, like pk={device_id}#{arrival:%Y-%m-%dT%H} sk={sequence_number}"
        raise SettingsError(_KEY, rules.key, str(error), mend) from None


def _template_steps(key: str, key_types: Mapping[str, str], stream: str) -> list[Step]:
    given = templates.split(key)
    if set(given) != set(key_types):
        raise templates.BadTemplate(f"gives {', '.join(given)}, but the table's key is {_shown(key_types)}")
    if not any(list(templates.fields(template)) for template in given.values()):
        raise templates.BadTemplate("gives every record the same key")
    return [_from_template(name, given[name], kind, stream) for name, kind in key_types.items()]


def _refuse_binary(rules: ItemRules, key_types: Mapping[str, str]) -> None:
    binary = [name for name, kind in key_types.items() if kind == "B"]
    if binary:
        problem = f"the table's key attribute {binary[0]!r} is binary, which JSON has no value for"
        raise SettingsError(_KEY, rules.key, problem, "Use a handler for this table")


def _shown(key_types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in key_types.items())


def _from_payload(name: str, kind: str) -> Step:
    if kind == "N":

        def check_number(item: dict[str, Any], _: Record) -> None:
            if type(item.get(name)) not in {int, N}:
                raise _not_a_key(item.get(name), name, "number")

        return check_number

    def check_text(item: dict[str, Any], _: Record) -> None:
        if type(item.get(name)) is not str:
            raise _not_a_key(item.get(name), name, "text")

    return check_text


def _not_a_key(value: Any, name: str, wanted: str) -> Reject:
    if value is None:
        return Reject(f"the payload has no field {name!r}, which is the item's key")
    return Reject(f"the field {name!r} is not a {wanted}, as the item's key must be")


def _from_template(name: str, template: str, kind: str, stream: str) -> Step:
    part = templates.compiled(template, stream)
    if kind == "N":
        if "sequence_number" in templates.fields(template):
            raise templates.BadTemplate(f"sequence_number has 56 digits, but {name} is a number, which holds 38")

        def put_number(item: dict[str, Any], record: Record) -> None:
            item[name] = _number(part(item, record), name)

        return put_number

    def put_text(item: dict[str, Any], record: Record) -> None:
        item[name] = part(item, record)

    return put_text


def _number(text: str, name: str) -> N:
    if _NUMBER.fullmatch(text) and fits(text):
        return N(text)
    raise Reject(f"the template of {name!r} gives no number, as the item's key must be")


def _added_steps(rules: ItemRules, key_types: Mapping[str, str]) -> list[Step]:
    makers: dict[str, tuple[str | None, Callable[[str], Step]]] = {
        "HEADRACE_ITEM_TTL_ATTRIBUTE": (rules.ttl_attribute, lambda name: _expiry(name, rules.ttl_after_s)),
        "HEADRACE_ITEM_SEQUENCE_ATTRIBUTE": (rules.sequence_attribute, _sequence),
        "HEADRACE_ITEM_ARRIVAL_ATTRIBUTE": (rules.arrival_attribute, _arrival),
    }
    taken = dict.fromkeys(key_types, "the table's key")
    steps: list[Step] = []
    for setting, (attribute, make) in makers.items():
        if attribute is None:
            continue
        if attribute in taken:
            raise SettingsError(setting, attribute, f"is {taken[attribute]} as well", "Name another attribute")
        taken[attribute] = f"the attribute of {setting}"
        steps.append(make(attribute))
    return steps


def _expiry(name: str, after_s: float) -> Step:
    def put(item: dict[str, Any], record: Record) -> None:
        item[name] = int(record.arrival_s + after_s)

    return put


def _sequence(name: str) -> Step:
    def put(item: dict[str, Any], record: Record) -> None:
        item[name] = str(record.sequence_number) if record.sub_sequence_number < 0 else record.position

    return put


def _arrival(name: str) -> Step:
    iso = templates.iso_milliseconds()

    def put(item: dict[str, Any], record: Record) -> None:
        item[name] = iso(record.arrival_s)

    return put
