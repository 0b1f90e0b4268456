"""Each twin of the compiled transcoder beside its Python one, as outcomes that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from headrace.aws.batch_write import BatchWrites
from headrace.aws.kinesis import KinesisStream
from headrace.aws.statement_call import wrapped, wrapping
from headrace.aws.submission import Write
from headrace.aws.write_request import TableKeys
from headrace.core.items import encode_attributes
from headrace.core.native import Native
from headrace.core.rendered_items import RenderedItem, RenderedValues
from headrace.core.shapes import Layout
from headrace.handlers.mapping import ItemRules, item_mapping
from headrace.model import Page, Record, ShardId
from headrace.operations import Put

Outcome: TypeAlias = tuple[str, Any]
"""What came out, or the class of the error and its text."""

TABLE = "things"
SHARD = ShardId("shardId-000000000001")


def outcome(make: Callable[[], Any]) -> Outcome:
    """What `make` gives, or raises."""
    try:
        return "made", make()
    except Exception as error:  # noqa: BLE001 - whatever it is, the twin must raise the same
        return type(error).__name__, str(error)


@dataclass(frozen=True, slots=True)
class Compared:
    """The outcome of both ways, and whether the transcoder did it itself or declined."""

    python: Outcome
    native: Outcome
    declined: str | None

    @property
    def is_equal(self) -> bool:
        """Byte for byte, or the same error in the same words."""
        return self.python == self.native

    @property
    def is_needless(self) -> bool:
        """The transcoder left to Python what Python takes."""
        return self.declined is not None and self.python[0] == "made"


def declined(native: Native, make: Callable[[], Any]) -> str | None:
    """Why the transcoder left it to Python; None where it did it."""
    try:
        make()
    except native.declined as error:
        return str(error)
    return None


# --- payloads ---------------------------------------------------------------------------------------------------------


class Mappings:
    """The item mapping both ways, in both layouts."""

    def __init__(
        self, native: Native, rules: ItemRules, key_types: Mapping[str, str], order_by: str | None = None
    ) -> None:
        self._native = native
        self._keys = TableKeys(TABLE)
        self._keys[TABLE] = tuple(key_types)
        self._order_by = order_by
        self._plain = item_mapping(rules, key_types, "orders").call
        self._compiled = {
            layout: item_mapping(rules, key_types, "orders", layout=layout, order_by=order_by, native=native).call
            for layout in Layout
        }

    def item(self, record: Record) -> Compared:
        """As one text."""
        made: list[Any] = []
        python = outcome(lambda: self._known(self._plain(record).item, encode_attributes))
        native = outcome(lambda: self._known(self._kept(made, self._compiled[Layout.ITEM](record)), encode_attributes))
        return Compared(python, native, None if made and type(made[0]) is RenderedItem else "not rendered")

    def values(self, record: Record) -> Compared:
        """As names and values."""
        made: list[Any] = []
        python = outcome(lambda: self._known(self._plain(record).item, split))
        native = outcome(lambda: self._known(self._kept(made, self._compiled[Layout.VALUES](record)), split))
        return Compared(python, native, None if made and type(made[0]) is RenderedValues else "not rendered")

    def _kept(self, made: list[Any], put: Any) -> Any:
        made.append(put.item)
        return put.item

    def _known(self, item: Mapping[str, Any], encode: Callable[[Any], Any]) -> Any:
        """Its bytes, and what is looked at before they are sent."""
        looked_at = None if self._order_by is None else _exact(item.get(self._order_by))
        return encode(item), self._keys.key(Put(item)), looked_at


def _exact(value: Any) -> Any:
    """A number by its text: whether an integer came as one or as its text makes no difference to a key."""
    return str(value) if type(value) is int else getattr(value, "N", value)


def split(item: Mapping[str, Any]) -> tuple[tuple[str, ...], list[bytes]]:
    """Names, and values as JSON."""
    names, values = wrapped(item)
    return names, [value if type(value) is bytes else msgspec.json.encode(value) for value in values]


# --- Python values ----------------------------------------------------------------------------------------------------


def encoded(native: Native, item: Mapping[str, Any]) -> Compared:
    """An item as one text."""

    def both() -> bytes:
        try:
            return native.encoder.item(item)
        except native.declined:
            return encode_attributes(item)

    reason = declined(native, lambda: native.encoder.item(item))
    return Compared(outcome(lambda: encode_attributes(item)), outcome(both), reason)


def encoded_values(native: Native, item: Mapping[str, Any]) -> Compared:
    """An item as names and values."""
    wrap = wrapping(native)

    def both() -> tuple[tuple[str, ...], list[bytes]]:
        names, values = wrap(item)
        return names, [value if type(value) is bytes else msgspec.json.encode(value) for value in values]

    reason = declined(native, lambda: native.encoder.values(item))
    return Compared(outcome(lambda: split(item)), outcome(both), reason)


def batch(native: Native | None, items: list[Mapping[str, Any]]) -> Outcome:
    """The body of a request with these items."""
    request = BatchWrites(TableKeys(TABLE), native)
    part: Any = {place: [Write(place, Put(item), None, place)] for place, item in enumerate(items)}  # type: ignore[arg-type]
    return outcome(lambda: request.encode(part))


# --- pages ------------------------------------------------------------------------------------------------------------


class _Events:
    def register(self, *_: Any, **__: Any) -> None:
        """Nothing is sent here."""


class _Client:
    class meta:  # noqa: N801 - botocore's name
        events = _Events()


def pages(native: Native, body: bytes) -> Compared:
    """An answer of GetRecords."""
    python, compiled_too = (KinesisStream(_Client(), "orders", way) for way in (None, native))  # type: ignore[arg-type]
    return Compared(
        outcome(lambda: _facts(python.page(body, SHARD))),
        outcome(lambda: _facts(compiled_too.page(body, SHARD))),
        declined(native, lambda: native.page(body, Record, SHARD)),
    )


def _facts(page: Page) -> Any:
    records = [[getattr(record, name) for name in Record.__struct_fields__] for record in page.records]
    return records, page.next_iterator, page.behind_s, page.size, page.children, page.continuation
