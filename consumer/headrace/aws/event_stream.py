"""Events as AWS streams them, cut out of the bytes as these come: a payload is read where it lies.

botocore's own buffer copies every event several times over, which costs a Kinesis record more than reading it needs. What is
rare, an event's headers, is botocore's to parse.

Source of the format: Smithy 2.0, "Amazon Event Stream Specification" (`application/vnd.amazon.eventstream`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.eventstream import EventStreamHeaderParser, ParserError

PRELUDE: Final = struct.Struct("!III")
"""Length of the event, length of its headers, CRC32 of these two."""

CRC: Final = struct.Struct("!I")
"""CRC32 of all that is before it."""

LONGEST: Final = 24 * 2**20
"""A payload may have so many bytes at most (the specification); an event that claims more is none."""


class BadEventError(Exception):
    """The bytes are no event."""


class Events:
    """Of one answer."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def cut(self, chunk: bytes) -> Iterator[tuple[Mapping[str, Any], memoryview]]:
        """Headers and payload of every event that `chunk` makes whole. Raises BadEventError.

        A payload is only there until the next event is asked for.
        """
        waiting = self._bytes
        waiting += chunk
        while PRELUDE.size <= len(waiting) and (length := _length(waiting)) <= len(waiting):
            with memoryview(waiting) as whole, whole[:length] as event:
                yield from _opened(event)
            del waiting[:length]


def _length(waiting: bytearray) -> int:
    length, of_headers, crc = PRELUDE.unpack_from(waiting)
    if crc != zlib.crc32(waiting[: PRELUDE.size - CRC.size]):
        raise BadEventError("the CRC of its lengths is wrong")
    if not PRELUDE.size + of_headers + CRC.size <= length <= LONGEST:
        raise BadEventError(f"{length} bytes with {of_headers} of headers")
    return int(length)


def _opened(event: memoryview) -> Iterator[tuple[Mapping[str, Any], memoryview]]:
    (crc,) = CRC.unpack_from(event, len(event) - CRC.size)
    begin = PRELUDE.size + PRELUDE.unpack_from(event)[1]
    with event[: -CRC.size] as checked, event[begin : -CRC.size] as payload:
        if zlib.crc32(checked) != crc:
            raise BadEventError("its CRC is wrong")
        yield _headers(bytes(event[PRELUDE.size : begin])), payload


def _headers(raw: bytes) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = EventStreamHeaderParser().parse(raw)
    except (ParserError, KeyError, ValueError, struct.error) as error:
        raise BadEventError(f"its headers cannot be read: {error!r}") from error
    return found
