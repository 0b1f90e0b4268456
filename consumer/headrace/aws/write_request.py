"""What a write mode has to know for its writes to be sent in chunks: how to ask, and how to read the answer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from headrace.aws.submission import Submission, Write
from headrace.core.item_keys import key_of
from headrace.core.rendered_items import RenderedItem, RenderedValues
from headrace.core.write_queue import Chunk, Line
from headrace.errors import AwsError
from headrace.operations import Effect, Put
from headrace.transactions import UnknownTableError

Writes: TypeAlias = Chunk[Write]
"""Lines by key; of each line the last write is the one that is sent."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer left of a chunk, by key; whatever is not named is durable."""

    later: AbstractSet[Hashable] = frozenset()
    """To be sent again after a pause."""
    at_once: AbstractSet[Hashable] = frozenset()
    """To be sent again now: the answer told how."""
    refused: Mapping[Hashable, str] = field(default_factory=dict)
    """Will never be taken, and why."""
    trouble: AwsError | None = None
    """What kept some of `later` from being taken, for the log."""


ALL_DONE: Final = Answered()


class WriteRequest(Protocol):
    """How one write mode speaks to DynamoDB."""

    target: str
    """The operation, as the header X-Amz-Target names it."""
    is_ordered: bool
    """Whether it needs the place of each record among those of its key."""

    def write(self, index: int, effect: Effect, submission: Submission, order: str) -> Write:
        """A write of a submission. Raises UnknownTableError, and ItemError for what this mode will never write."""

    def arrange(self, line: Line[Write]) -> None:
        """Bring the write that stands for all of a line to its end."""

    def encode(self, part: Writes) -> bytes:
        """The body. Raises ValueError, TypeError or RecursionError where a write cannot be encoded: see `fault`."""

    def fault(self, write: Write) -> str | None:
        """Why this write cannot be encoded, without any value of it; None if it can."""

    def read(self, part: Writes, answer: bytes) -> Answered:
        """What the answer says. Raises Unavailable for one that makes no sense."""


class TableKeys(dict[str, tuple[str, ...]]):
    """Key attributes by table, partition key first. `default` is the table of effects that name none."""

    def __init__(self, default: str) -> None:
        super().__init__()
        self.default = default

    def __missing__(self, table: str) -> tuple[str, ...]:
        raise UnknownTableError(table)

    def key(self, effect: Effect) -> Hashable:
        """Equal for effects on one item. Raises ItemError when it has no key, UnknownTableError."""
        item = effect.item if isinstance(effect, Put) else effect.key
        if effect.table is None or effect.table == self.default:
            if (type(item) is RenderedItem or type(item) is RenderedValues) and item.key is not None:
                return item.key
            return key_of(item, self[self.default])
        return effect.table, key_of(item, self[effect.table])
