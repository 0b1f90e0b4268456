"""The event that a Lambda handler sees, byte for byte, and how large it is before it is made.

Keys, their order and their values are those that AWS sends for a Kinesis stream (recorded): five within `kinesis`, eight
in all, nothing else. The payload is base64 with padding, sequence numbers are strings, for they do not fit a double, and
the arrival is a number of seconds with milliseconds. Written without spaces, text as UTF-8.

Lambda takes an event of at most 6,291,456 bytes, everything counted, and closes a batch before it would grow past that.
A record that is too large for an event of its own never reaches a handler: it goes to the dead letters.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from headrace.model import Record, WindowCall

WINDOW_ROOM: Final = 1_000_512
"""Bytes that an event of a tumbling window may take beside its records: the largest state, and 512 for the other members."""

_HEAD: Final = b'{"Records":['
_TAIL: Final = b"]}"
_KEY: Final = b'{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":'
_NUMBER: Final = b',"sequenceNumber":"'
_DATA: Final = b'","data":"'
_ARRIVAL: Final = b'","approximateArrivalTimestamp":'
_EVENT_ID: Final = b'},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":'

_json: Final = msgspec.json.Encoder().encode


class EventEncoder:
    """Makes the events of one stream. `identity_arn` is shown as the role that calls the handler.

    An event with n records has `overhead` bytes and those of each record, less one: `size_of` counts a comma for every one.
    """

    overhead: Final = len(_HEAD) + len(_TAIL)

    def __init__(self, stream_arn: str, identity_arn: str) -> None:
        source = {
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": identity_arn,
            "awsRegion": stream_arn.split(":")[3],
            "eventSourceARN": stream_arn,
        }
        self._stream_arn = stream_arn
        self._source = b"," + _json(source)[1:]
        self._fixed = 0
        nothing = Record(b"", "", 0, 0.0)
        self._fixed = len(self._encode(nothing)) + len(b",") - self.size_of(nothing)
        """Bytes that every record takes alike."""

    def encode(self, records: Sequence[Record], window: WindowCall | None = None) -> bytes:
        """The event with these records; with a window, its six members follow them."""
        return b"".join([_HEAD, b",".join([self._encode(record) for record in records]), self._tail(window)])

    def size_of(self, record: Record) -> int:
        """Bytes that a record takes, a comma included. Its payload is not encoded for this."""
        number = len(str(record.sequence_number))
        data = (len(record.data) + 2) // 3 * 4
        event_id = len(_json(record.shard_id)) + len(":") + number
        return self._fixed + len(_json(record.partition_key)) + number + data + len(_arrival(record)) + event_id

    def _tail(self, window: WindowCall | None) -> bytes:
        if window is None:
            return _TAIL
        members = {
            "window": {"start": _second(window.start_s), "end": _second(window.end_s)},
            "state": window.state,
            "shardId": window.shard_id,
            "eventSourceARN": self._stream_arn,
            "isFinalInvokeForWindow": window.is_final,
            "isWindowTerminatedEarly": window.is_terminated_early,
        }
        return b"]," + _json(members)[1:]

    def _encode(self, record: Record) -> bytes:
        number = str(record.sequence_number)
        return b"".join(
            [
                _KEY,
                _json(record.partition_key),
                _NUMBER,
                number.encode(),
                _DATA,
                b2a_base64(record.data, newline=False),
                _ARRIVAL,
                _arrival(record),
                _EVENT_ID,
                _json(f"{record.shard_id}:{number}"),
                self._source,
            ]
        )


def _arrival(record: Record) -> bytes:
    return repr(round(record.arrival_s, 3)).encode()


def _second(epoch_s: float) -> str:
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
