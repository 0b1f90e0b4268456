"""Items that are text already: made by a payload's shape, sent as they are, and read as a dict only by whoever looks inside."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

Whole: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""From a record to its item as a dict."""


class _Meta(msgspec.StructMeta, ABCMeta):
    """Of a Struct that is a Mapping: one is made for each record, at less than half of a class's price."""


class Rendered(msgspec.Struct, Mapping[str, Any], metaclass=_Meta, gc=False, eq=False):
    """An item whose text is there before anybody asked for its values: read as a dict, it makes them with `whole`.

    `fields` is what is known of it without that: its key at least, unless `key` is what `item_keys.key_of` would make of that.
    """

    fields: Mapping[str, Any]
    whole: Whole
    record: Any
    key: tuple[Any, ...] | None

    def get(self, name: str, default: Any = None) -> Any:
        """The value of one attribute."""
        return self.fields[name] if name in self.fields else self.whole(self.record).get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self.whole(self.record)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole(self.record))

    def __len__(self) -> int:
        return len(self.whole(self.record))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment] # as a dict


class RenderedItem(Rendered, gc=False, eq=False):
    """`text` is its JSON as DynamoDB takes it."""

    text: bytes


class RenderedValues(Rendered, gc=False, eq=False):
    """`names` are its attributes' and `values_json` the JSON of each, for a statement with values beside it."""

    names: tuple[str, ...]
    values_json: Sequence[bytes]

    def __contains__(self, name: object) -> bool:
        return name in self.names
