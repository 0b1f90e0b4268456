"""What a worker and the processes of its handler say to each other, over one socket pair each.

A frame is the length of a message in four bytes, and the message in MessagePack. The child is told first what to load
(Load) and says Ready or Unusable; from then on each Call is answered by one of `outcomes`. The end of the stream
tells the child to end. Standard input, output and error belong to the user's code.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import msgspec

from headrace.handlers.outcomes import Raised, Returned, Unserializable, Wrote

LENGTH: Final = struct.Struct(">I")

LARGEST: Final = 256 * 1024**2
"""Bytes of a message that can be meant: batches and answers are limited to far less. More is a torn stream."""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Import this handler; `function_arn` is what its contexts show."""

    handler: str
    function_arn: str
    takes_batches: bool = False


class Call(msgspec.Struct, frozen=True, tag="call"):
    """Call the handler with this event (JSON, UTF-8); `limit_s` seconds are left from now on."""

    request_id: str
    limit_s: float
    event: bytes


class BatchCall(msgspec.Struct, frozen=True, tag="batch"):
    """Call the batch handler with these records, pickled: their numbers are larger than MessagePack's."""

    request_id: str
    limit_s: float
    records: bytes


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The handler is loaded."""


class Unusable(msgspec.Struct, frozen=True, tag="unusable"):
    """The handler cannot be loaded, for a reason and a remedy in the words of a SettingsError."""

    problem: str
    mend: str


ToChild: TypeAlias = Load | Call | BatchCall
FromChild: TypeAlias = Ready | Unusable | Returned | Wrote | Raised | Unserializable

to_child: Final = msgspec.msgpack.Decoder(Load | Call | BatchCall)
from_child: Final[msgspec.msgpack.Decoder[FromChild]] = msgspec.msgpack.Decoder(
    Ready | Unusable | Returned | Wrote | Raised | Unserializable
)
"""Both raise `msgspec.DecodeError` for anything else."""

_encoder: Final = msgspec.msgpack.Encoder()


def frame(message: ToChild | FromChild) -> bytes:
    """A message, ready to be sent. Raises ValueError for one that is larger than LARGEST."""
    body = _encoder.encode(message)
    if len(body) > LARGEST:
        raise ValueError(f"a message of {len(body)} bytes, more than {LARGEST}")
    return LENGTH.pack(len(body)) + body


def length_of(prefix: bytes | bytearray) -> int:
    """The length that the first four bytes of a frame tell. Raises ValueError for one that cannot be meant."""
    (length,) = LENGTH.unpack(prefix)
    if length > LARGEST:
        raise ValueError(f"a message of {length} bytes")
    return int(length)
