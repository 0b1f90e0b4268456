"""What a handler asks to be written: the operations on items of the sink's table, or of another one they name.

Keys and items are plain dicts; values may be what JSON has, and Decimal, bytes and sets. Which operations a write mode
carries is told by `core.write_modes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec


class Put(msgspec.Struct, frozen=True, gc=False):
    """Write `item`, replacing what has the same key. `table` is the sink table unless named."""

    item: Mapping[str, Any]
    table: str | None = None


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Delete the item with `key` (all key attributes). Deleting what is not there is a success."""

    key: Mapping[str, Any]
    table: str | None = None


Effect: TypeAlias = Put | Delete
"""One write that a record asks for."""

Effects: TypeAlias = Effect | Mapping[str, Any] | Sequence[Any] | None
"""What a record handler may return: a mapping is short for `Put`; a sequence holds several; None asks for nothing."""
