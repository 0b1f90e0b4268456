"""Enhanced fan-out from the benchmark's server: events cut out of a shard's rendered text, as fast as the client takes them.

Frames are `application/vnd.amazon.eventstream` (Smithy) in HTTP/1.1 chunks. A shard that was sent to its end stays open and
gets an empty event every 5 s, as from AWS.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.fake_kinesis import ARN, STREAM, BadRequestError, Body, FakeKinesis

CONSUMER: Final = f"{ARN}/consumer/bench:1"
EVENT_RECORDS: Final = 250
"""In one event: a quarter of what a shard takes in a second. The service does not say how much it sends at once; the fewer,
the dearer for the client, and a reader at the tip gets fewer."""

EMPTY_EVERY_S: Final = 5.0

HEAD: Final = (
    b"HTTP/1.1 200 -\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Push:
    """One subscription, on a connection of its own."""

    def __init__(self, kinesis: FakeKinesis, request: dict[str, Any], transport: asyncio.Transport) -> None:
        self._transport = transport
        self._events = _events(kinesis, request)
        self._is_paused = False
        self._is_closed = False
        transport.write(HEAD)
        self._send("initial-response", [b"{}"])
        self._go_on()

    def pause(self) -> None:
        """The client reads more slowly than this writes."""
        self._is_paused = True

    def resume(self) -> None:
        """There is room again."""
        self._is_paused = False
        self._go_on()

    def close(self) -> None:
        """The connection is gone."""
        self._is_closed = True

    def _go_on(self) -> None:
        while not (self._is_paused or self._is_closed):
            body, is_idle = next(self._events)
            if is_idle:
                self._is_paused = True
                asyncio.get_running_loop().call_later(EMPTY_EVERY_S, self._send_idle, body)
            else:
                self._send("SubscribeToShardEvent", body)

    def _send_idle(self, body: Body) -> None:
        if not self._is_closed:
            self._send("SubscribeToShardEvent", body)
            self.resume()

    def _send(self, kind: str, body: Body) -> None:
        frame = _framed(kind, body)
        self._transport.writelines([b"%x\r\n" % sum(map(len, frame)), *frame, b"\r\n"])


def consumer() -> Body:
    """DescribeStreamConsumer."""
    found = {
        "ConsumerName": STREAM,
        "ConsumerARN": CONSUMER,
        "ConsumerStatus": "ACTIVE",
        "ConsumerCreationTimestamp": 1.0,
        "StreamARN": ARN,
    }
    return [json.dumps({"ConsumerDescription": found}).encode()]


def _events(kinesis: FakeKinesis, request: dict[str, Any]) -> Iterator[tuple[Body, bool]]:
    """Event after event, and with each whether it is one of those that only say that there is nothing."""
    start = request["StartingPosition"]
    shard = int(request["ShardId"].rpartition("-")[2])
    if request["ConsumerARN"] != CONSUMER:
        raise BadRequestError("ResourceNotFoundException", "no such consumer")
    first, per_shard = kinesis.place(shard, start["Type"], start.get("SequenceNumber")), kinesis.workload.per_shard
    while True:
        last = min(first + EVENT_RECORDS, per_shard)
        reached = kinesis.sequence_number(shard, max(0, last - 1))
        rest = f'],"ContinuationSequenceNumber":"{reached}","MillisBehindLatest":{kinesis.behind_ms(shard, last)}}}'
        yield [b'{"Records":[', kinesis.records(shard, first, last), rest.encode()], first == last
        first = last


def _framed(kind: str, body: Body) -> Body:
    """Two lengths and their CRC, headers of text (type 7), payload, CRC of all."""
    headers = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(text)) + text.encode()
        for name, text in headers.items()
    )
    lengths = struct.pack("!II", 16 + len(head) + sum(map(len, body)), len(head))
    before = lengths + struct.pack("!I", zlib.crc32(lengths)) + head
    crc = zlib.crc32(before)
    for part in body:
        crc = zlib.crc32(part, crc)
    return [before, *body, struct.pack("!I", crc)]
