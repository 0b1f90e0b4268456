"""The compiled transcoder, where it is installed: twins of the hot functions, with the same result byte for byte.

The Python way is the reference, and does everything where there is no transcoder. A twin takes what it can do exactly and
raises `declined` for the rest, be it wrong or only rare: then the Python way is asked, which takes it or says in its own
words why not. So an error reads the same with and without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from headrace.core.items import N
from headrace.model import Record

if TYPE_CHECKING:
    from headrace_native import Encoder, ItemMapper

CompiledPage: TypeAlias = tuple[list[Record], str | None, float | None, bytes | None, int | None, int]
"""GetRecords' answer: records, next iterator, milliseconds behind, the children's JSON, continuation, payload bytes in all."""

INTERFACE: Final = 1
"""The crate's signatures that are known here."""


PLAIN: Final = frozenset({list, tuple})
"""What values stand in that are not the transcoder's."""


class CompiledValues(Protocol):
    """Values that the transcoder made: each is JSON already, and all are in one piece. See the crate's stub."""

    def listed(self, more: tuple[str | bytes, ...]) -> bytes:
        """A list of them, with `more` behind."""

    def arranged(self, places: bytes, more: tuple[str | bytes, ...]) -> bytes:
        """The same in another order."""


def compiled_values(values: Any) -> CompiledValues | None:
    """The values, where the transcoder made them."""
    return None if type(values) in PLAIN else values


@dataclass(frozen=True, slots=True)
class Native:
    """The twins. `version` is the crate's."""

    version: str
    encoder: Encoder
    mapper: Callable[[Any, list[str]], ItemMapper]
    """Rules and looked-at names to what maps records: see `handlers.compiled_mapping`."""
    page: Callable[[bytes, type[Record], str], CompiledPage]
    declined: type[ValueError]


@cache
def installed() -> Native | None:
    """The transcoder; None where it is not installed, or is of another version of headrace."""
    try:
        import headrace_native as crate  # noqa: PLC0415 - an extra, which need not be there
    except ImportError:
        return None
    if crate.INTERFACE != INTERFACE:
        return None
    return Native(
        version=crate.__version__,
        encoder=crate.Encoder(N, Decimal),
        mapper=lambda rules, looked_at: crate.ItemMapper(rules, looked_at, N, Decimal),
        page=crate.decode_page,
        declined=crate.Declined,
    )
