"""BatchWriteItem: effects to a request body, and an answer to the keys that it left undone.

AWS's rules (API reference, BatchWriteItem): at most 25 puts and deletes of distinct items in a call, over any number of
tables, 16 MB in all; what it could not process comes back in `UnprocessedItems`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final

import msgspec

from headrace.aws.statement_call import fault_of
from headrace.aws.submission import Submission, Write
from headrace.aws.write_request import ALL_DONE, Answered, TableKeys, Writes
from headrace.core.item_keys import stored_key
from headrace.core.items import attributes, careful_attributes
from headrace.core.native import Native
from headrace.core.rendered_items import RenderedItem
from headrace.core.write_modes import WriteMode, insist
from headrace.core.write_queue import Line
from headrace.errors import Unavailable
from headrace.operations import Effect, Put

TARGET: Final = "DynamoDB_20120810.BatchWriteItem"
MOST_WRITES: Final = 25
ALL_WRITTEN: Final = frozenset({b'{"UnprocessedItems":{}}', b'{"UnprocessedItems": {}}', b"{}"})
"""Answers that leave nothing unprocessed, and need not be parsed. Any other text must say so itself: a proxy's page is
no proof that something was written."""


class Item(msgspec.Struct, gc=False):
    """The inside of a PutRequest."""

    Item: dict[str, Any] | msgspec.Raw


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


class BatchWrites:
    """Implements `write_request.WriteRequest` for mode `put`."""

    target = TARGET
    is_ordered = False

    def __init__(self, keys: TableKeys, native: Native | None = None) -> None:
        self._keys = keys
        self._native = native

    def write(self, index: int, effect: Effect, submission: Submission, order: str) -> Write:  # noqa: ARG002 - the protocol's
        """One put or delete. Raises UnknownTableError, ItemError, NotCarried."""
        if type(effect) is not Put or effect.condition is not None:
            insist(effect, WriteMode.PUT)
        elif type(effect.item) is RenderedItem and effect.table is None and effect.item.key is not None:
            return Write(effect.item.key, effect, submission, index)
        return Write(self._keys.key(effect), effect, submission, index)

    def arrange(self, line: Line[Write]) -> None:
        """The last one replaces what the others would have left."""

    def encode(self, part: Writes) -> bytes:
        """The request body. Raises ValueError, TypeError or RecursionError when a write cannot be encoded: see `fault`."""
        effects = [line[-1].effect for line in part.values()]
        if self._native is not None and (body := self._compiled(effects, self._native)) is not None:
            return body
        try:
            return _encode(self._batch(effects, attributes))
        except (TypeError, ValueError, RecursionError):
            return _encode(self._batch(effects, careful_attributes))

    def _compiled(self, effects: list[Effect], native: Native) -> bytes | None:
        """The same by the transcoder; None where it declines, or where there are other writes than puts into the sink's table."""
        items = [
            effect.item.text if type(effect.item) is RenderedItem else effect.item
            for effect in effects
            if type(effect) is Put and effect.table is None
        ]
        if len(items) < len(effects):
            return None
        try:
            return native.encoder.puts(self._keys.default, items)
        except native.declined:
            return None

    def fault(self, write: Write) -> str | None:
        """Why this write cannot be encoded, without any value of it; None if it can."""
        return fault_of(lambda: self._batch([write.effect], careful_attributes))

    def read(self, part: Writes, answer: bytes) -> Answered:
        """What has to be sent again. Raises Unavailable for an answer that makes no sense."""
        if answer in ALL_WRITTEN:
            return ALL_DONE
        undone = self._unprocessed(answer)
        if not undone.issubset(part):  # keys that were never sent: nothing of this answer is to be trusted
            return Answered(later=part.keys())
        return Answered(later=undone)

    def _unprocessed(self, answer: bytes) -> set[Hashable]:
        try:
            return {
                self._stored(table, undone)
                for table, several in _decode_answer(answer).UnprocessedItems.items()
                for undone in several
            }
        except (msgspec.DecodeError, LookupError, ValueError, ArithmeticError) as error:
            raise Unavailable(f"BatchWriteItem: the answer makes no sense: {type(error).__name__}") from error

    def _batch(self, effects: Iterable[Effect], wrap: Callable[[Mapping[str, Any]], Any]) -> Batch:
        tables: dict[str, list[PutRequest | DeleteRequest]] = {}
        for effect in effects:
            requests = tables.setdefault(effect.table or self._keys.default, [])
            if isinstance(effect, Put):
                requests.append(PutRequest(Item(wrap(effect.item))))
            else:
                requests.append(DeleteRequest(Key(wrap(effect.key))))
        return Batch(tables)

    def _stored(self, table: str, undone: Undone) -> Hashable:
        key = stored_key(undone.attributes, self._keys[table])
        return key if table == self._keys.default else (table, key)
