"""Items that are text already: made by a payload's shape, sent as they are, and read as a dict only by whoever looks inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Rendered(Mapping[str, Any]):
    """An item whose text is there before anybody asked for its values: read as a dict, it makes them.

    `fields` is what is known of it without that, the key at least.
    """

    __slots__ = ("_fields", "_make")

    def __init__(self, fields: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> None:
        self._fields = fields
        self._make = make

    def get(self, name: str, default: Any = None) -> Any:
        """The value of one attribute."""
        return self._fields[name] if name in self._fields else self._make().get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self._make()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())


class RenderedItem(Rendered):
    """`text` is its JSON as DynamoDB takes it."""

    __slots__ = ("text",)

    def __init__(self, text: bytes, fields: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> None:
        self._fields = fields  # not by way of `super`, which costs as much again: one is made for each record
        self._make = make
        self.text = text


class RenderedValues(Rendered):
    """`names` are its attributes' and `values` the JSON of each, for a statement with values beside it."""

    __slots__ = ("names", "values_json")

    def __init__(
        self,
        names: tuple[str, ...],
        values_json: list[bytes],
        fields: Mapping[str, Any],
        make: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._fields = fields
        self._make = make
        self.names = names
        self.values_json = values_json

    def __contains__(self, name: object) -> bool:
        return name in self.names
