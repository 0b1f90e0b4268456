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
        self._parts: list[bytes] = []
        """What came of the event that is not whole yet, put together once it is."""
        self._held = 0
        self._wanted = PRELUDE.size

    def cut(self, chunk: bytes) -> Iterator[tuple[Mapping[str, Any], memoryview]]:
        """Headers and payload of every event that `chunk` makes whole, to be taken to the last. Raises BadEventError.

        A payload is only there until the next event is asked for.
        """
        self._parts.append(chunk)
        self._held += len(chunk)
        if self._held < self._wanted:
            return
        data, place = b"".join(self._parts), 0
        with memoryview(data) as whole:
            while (length := self._length(whole[place:])) <= len(data) - place:
                with whole[place : place + length] as event:
                    yield from _opened(event)
                place += length
        self._parts = [data[place:]]
        self._held = len(data) - place
        self._wanted = length

    @staticmethod
    def _length(waiting: memoryview) -> int:
        if len(waiting) < PRELUDE.size:
            return PRELUDE.size
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
