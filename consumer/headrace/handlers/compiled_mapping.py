"""The item mapping for the compiled transcoder: its rules told in the transcoder's terms.

What comes out is what `handlers.mapping` gives without it. A record that the transcoder declines goes the Python way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from headrace.core.native import Native
from headrace.core.rendered_items import RenderedItem, RenderedValues
from headrace.core.shapes import Layout
from headrace.handlers import templates
from headrace.model import Record
from headrace.operations import Put

Rule: TypeAlias = tuple[str, str, list[templates.Told]]
"""An attribute beside the payload's: its name, the kind of its value, and what that is made of."""

KINDS: Final = {"S": "text", "N": "number"}
"""Of the key attributes that an item by settings may have."""


def payload_rules(key_types: Mapping[str, str]) -> list[Rule]:
    """The key is in the payload."""
    return [(name, f"payload_{KINDS[kind]}", []) for name, kind in key_types.items()]


def template_rules(key: str, key_types: Mapping[str, str], stream: str) -> list[Rule] | None:
    """The key is made by templates. None where one is made of what another made, which only the Python way follows."""
    given = templates.split(key)
    made: set[str] = set()
    for name in key_types:
        if any(path[0] in made for path in templates.paths(f"{name}={given[name]}")):
            return None
        made.add(name)
    return [(name, f"key_{KINDS[kind]}", templates.told(given[name], stream)) for name, kind in key_types.items()]


def added_rules(
    ttl_attribute: str | None, ttl_after_s: float, sequence_attribute: str | None, arrival_attribute: str | None
) -> Iterator[Rule]:
    """Expiry, sequence number and arrival, where they are wanted."""
    if ttl_attribute is not None:
        yield ttl_attribute, "expiry", [("after", ttl_after_s)]
    if sequence_attribute is not None:
        yield sequence_attribute, "text", [("sequence_number", None)]
    if arrival_attribute is not None:
        yield arrival_attribute, "text", [("arrival", None)]


def compiled(
    native: Native,
    rules: Sequence[Rule],
    looked_at: list[str],
    layout: Layout,
    whole: Callable[[Record], dict[str, Any]],
) -> Callable[[Record], Put]:
    """The mapping; `whole` is the Python way. Raises the transcoder's `declined` for rules that it does not take."""
    declined, mapper = native.declined, native.mapper(rules, looked_at)

    def item(record: Record) -> Put:
        try:
            text, key, fields = mapper.item(record)
        except declined:
            return Put(whole(record))
        return Put(RenderedItem(fields, whole, record, key, text))

    def values(record: Record) -> Put:
        try:
            names, values_json, key, fields = mapper.values(record)
        except declined:
            return Put(whole(record))
        return Put(RenderedValues(fields, whole, record, key, names, values_json))

    return item if layout is Layout.ITEM else values
