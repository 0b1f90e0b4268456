"""BatchWriteItem: effects to a request body, and an answer to the keys that it left undone.

AWS's rules (API reference, BatchWriteItem): at most 25 puts and deletes of distinct items in a call, over any number of
tables, 16 MB in all; what it could not process comes back in `UnprocessedItems`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core.item_keys import key_of, stored_key
from headrace.core.items import ItemError, attributes, careful_attributes
from headrace.errors import Unavailable
from headrace.model import Effect, Put

TARGET: Final = "DynamoDB_20120810.BatchWriteItem"
MOST_WRITES: Final = 25
ALL_DONE: Final = frozenset({b'{"UnprocessedItems":{}}', b'{"UnprocessedItems": {}}', b"{}"})
"""Answers that leave nothing unprocessed, and need not be parsed. Any other text must say so itself: a proxy's page is
no proof that something was written."""


class Item(msgspec.Struct, gc=False):
    """The inside of a PutRequest."""

    Item: dict[str, Any]


class Key(msgspec.Struct, gc=False):
    """The inside of a DeleteRequest."""

    Key: dict[str, Any]


class PutRequest(msgspec.Struct, gc=False):
    """One put."""

    PutRequest: Item


class DeleteRequest(msgspec.Struct, gc=False):
    """One delete."""

    DeleteRequest: Key


class Batch(msgspec.Struct, gc=False):
    """The whole request."""

    RequestItems: dict[str, list[PutRequest | DeleteRequest]]


class Undone(msgspec.Struct, gc=False):
    """One write that came back."""

    PutRequest: dict[str, dict[str, Any]] = {}
    DeleteRequest: dict[str, dict[str, Any]] = {}

    @property
    def attributes(self) -> dict[str, Any]:
        """The item of a put, the key of a delete, in DynamoDB's JSON."""
        return self.PutRequest.get("Item") or self.DeleteRequest.get("Key") or {}


class Answer(msgspec.Struct, gc=False):
    """What BatchWriteItem says."""

    UnprocessedItems: dict[str, list[Undone]]


_encode = msgspec.json.Encoder().encode
_decode_answer = msgspec.json.Decoder(Answer).decode


class UnknownTableError(LookupError):
    """The key attributes of a table have to be learned first."""


class TableKeys(dict[str, tuple[str, ...]]):
    """Key attributes by table."""

    def __missing__(self, table: str) -> tuple[str, ...]:
        raise UnknownTableError(table)


class BatchWrites:
    """Writes to `table`, and to whatever other tables effects name. `keys` holds the key attributes of known tables."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.keys = TableKeys()

    def key(self, effect: Effect) -> Hashable:
        """Equal for effects on one item. Raises ItemError when it has no key, UnknownTableError."""
        item = effect.item if isinstance(effect, Put) else effect.key
        if effect.table is None or effect.table == self.table:
            return key_of(item, self.keys[self.table])
        return effect.table, key_of(item, self.keys[effect.table])

    def encode(self, effects: Sequence[Effect]) -> bytes:
        """The request body. Raises ValueError, TypeError or RecursionError when an effect cannot be encoded: see `fault`."""
        try:
            return self._render(effects, attributes)
        except (TypeError, ValueError, RecursionError):
            return self._render(effects, careful_attributes)

    def fault(self, effect: Effect) -> str | None:
        """Why this effect cannot be encoded, without any value of it; None if it can."""
        try:
            self._render([effect], careful_attributes)
        except ItemError as error:
            return str(error)
        except (TypeError, ValueError, RecursionError) as error:
            return f"the item cannot be encoded ({type(error).__name__})"
        return None

    def unprocessed(self, answer: bytes) -> set[Hashable]:
        """The keys of what has to be sent again. Raises Unavailable for an answer that makes no sense."""
        if answer in ALL_DONE:
            return set()
        try:
            return {
                self._stored(table, undone)
                for table, several in _decode_answer(answer).UnprocessedItems.items()
                for undone in several
            }
        except (msgspec.DecodeError, LookupError, ValueError, ArithmeticError) as error:
            raise Unavailable(f"BatchWriteItem: the answer makes no sense: {type(error).__name__}") from error

    def _render(self, effects: Iterable[Effect], wrap: Callable[[Mapping[str, Any]], dict[str, Any]]) -> bytes:
        tables: dict[str, list[PutRequest | DeleteRequest]] = {}
        for effect in effects:
            requests = tables.setdefault(effect.table or self.table, [])
            if isinstance(effect, Put):
                requests.append(PutRequest(Item(wrap(effect.item))))
            else:
                requests.append(DeleteRequest(Key(wrap(effect.key))))
        return _encode(Batch(tables))

    def _stored(self, table: str, undone: Undone) -> Hashable:
        key = stored_key(undone.attributes, self.keys[table])
        return key if table == self.table else (table, key)
