"""The compiled transcoder of headrace. Every function raises `Declined` for what it leaves to its Python twin."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, TypeVar, overload

_R = TypeVar("_R")

__version__: Final[str]
INTERFACE: Final[int]
"""Grows when a signature here changes: headrace uses the crate only where it is the one it knows."""

class Declined(ValueError):  # noqa: N818 - nothing is wrong: the Python way is asked
    """Left to the Python way, which takes it or says why not; the text names the place."""

class Values(Sequence[bytes]):
    """The values of an item, each as JSON, in one piece."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...
    def listed(self, more: tuple[str | bytes, ...]) -> bytes:
        """A list of all of them, with `more` behind: texts, and bytes that are JSON already."""

    def arranged(self, places: bytes, more: tuple[str | bytes, ...]) -> bytes:
        """The same in another order: `places` are numbers of two bytes, the least significant first; `more` follow the values."""

class Encoder:
    """Items to request bodies: the twin of `headrace.core.items.encode_attributes` and of what sends its results."""

    def __new__(cls, number: type, decimal: type) -> Self:
        """`number` is the class of numbers that are text, `decimal` is decimal.Decimal."""

    def item(self, item: Mapping[str, Any]) -> bytes:
        """The item as DynamoDB's JSON."""

    def values(self, item: Mapping[str, Any]) -> tuple[tuple[str, ...], Values]:
        """The names of an item's attributes, and the JSON of the value of each."""

    def puts(self, table: str, items: list[Any]) -> bytes:
        """The body of a BatchWriteItem that puts these items into one table. Bytes are items as JSON already."""

class ItemMapper:
    """Payloads to items: the twin of `headrace.handlers.mapping`."""

    def __new__(
        cls,
        rules: Sequence[tuple[str, str, Sequence[tuple[str, Any]]]],
        looked_at: Sequence[str],
        number: type,
        decimal: type,
    ) -> Self:
        """`rules` are the attributes beside the payload's: name, kind and parts. `looked_at` are told beside the key.

        The classes are those of `Encoder`.
        """

    def item(self, record: Any) -> tuple[bytes, tuple[Any, ...], dict[str, Any]]:
        """The item of a record as JSON, its key as `headrace.core.item_keys.key_of` has it, and what is looked at."""

    def values(self, record: Any) -> tuple[tuple[str, ...], Values, tuple[Any, ...], dict[str, Any]]:
        """The names of the item's attributes, the JSON of each value, its key and what is looked at."""

def decode_page(
    body: bytes, record: type[_R], shard: str
) -> tuple[list[_R], str | None, float | None, bytes | None, int | None, int]:
    """GetRecords' answer: records, next iterator, milliseconds behind, the children's JSON, continuation, bytes in all.

    `record` is called with payload, partition key, sequence number, arrival and shard.
    """
