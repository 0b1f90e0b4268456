"""Events as they are on the wire, written by hand: what the product reads is not written by what reads it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any


def event(body: Mapping[str, Any], kind: str = "SubscribeToShardEvent") -> bytes:
    """One event of a subscription."""
    return frame({":message-type": "event", ":event-type": kind}, json.dumps(body).encode())


def exception(code: str, message: str = "") -> bytes:
    """An error that comes in place of an event."""
    return frame({":message-type": "exception", ":exception-type": code}, json.dumps({"message": message}).encode())


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Smithy, application/vnd.amazon.eventstream: two lengths and their CRC, headers of text (type 7), payload, CRC of all."""
    head = b"".join(
        bytes([len(name.encode())]) + name.encode() + b"\x07" + struct.pack("!H", len(text.encode())) + text.encode()
        for name, text in headers.items()
    )
    lengths = struct.pack("!II", 4 + 4 + 4 + len(head) + len(payload) + 4, len(head))
    message = lengths + struct.pack("!I", zlib.crc32(lengths)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))
