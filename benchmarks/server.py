"""The benchmark's server: Kinesis and DynamoDB on one port, in a process of its own whose CPU is not counted.

It reads HTTP/1.1 with a parser that knows only what SDK clients send, answers reads out of rendered text, writes of items
and PutRecords at once, and hands every other DynamoDB call on. `GET /stats`, `/intake`, `/sample` and `POST /reset` are the
runner's; `POST /seen` is for a handler that writes no items.

    python -m benchmarks.server --port 4600 --upstream 4566 --first-arrival 1764000000000 [--shards 8 --records 25000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import re
import sys
import zlib
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final, cast

import uvloop

from benchmarks.arrivals import ALL_PROCESSED, MOST, MOST_WRITES, NOTHING, Items, brings_items
from benchmarks.fake_fan_out import Push, consumer
from benchmarks.fake_intake import Intake, IntakeError
from benchmarks.fake_kinesis import BadRequestError, Body, FakeKinesis
from benchmarks.records import Size, Workload
from benchmarks.tally import Tally
from benchmarks.upstream import Upstream

LOOPBACK: Final = "127.0.0.1"
TYPE: Final = "application/x-amz-json-1.1"

_TARGET: Final = re.compile(rb"\r\nx-amz-target: *([\w.]+)", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Throttle:
    """Refuses a share of the writes from `begins_s` after the first one on, for `lasts_s`."""

    share: float
    begins_s: float
    lasts_s: float

    def refuses(self, since_first_s: float) -> bool:
        """Whether this write is refused."""
        return self.begins_s <= since_first_s < self.begins_s + self.lasts_s and random.random() < self.share


@dataclass(slots=True)
class Site:
    """What all connections share."""

    kinesis: FakeKinesis
    intake: Intake
    tally: Tally
    items: Items
    upstream_port: int
    write_delay_s: float
    throttle: Throttle
    tasks: asyncio.TaskGroup

    def reset(self) -> None:
        """Forget what arrived."""
        self.tally = Tally(self.kinesis.workload.total)
        self.items = Items()
        self.intake = Intake(self.kinesis.workload.shards)


class Connection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._missing = 0
        """Bytes that the request at the front of the buffer still lacks, as far as is known."""
        self._push: Push | None = None
        self._upstream = Upstream(LOOPBACK, site.upstream_port, self._write, self._abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._upstream.close()
        if self._push is not None:
            self._push.close()

    def pause_writing(self) -> None:
        if self._push is not None:
            self._push.pause()

    def resume_writing(self) -> None:
        if self._push is not None:
            self._push.resume()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._missing -= len(data)
        while self._buffer and self._missing <= 0:
            if not self._take_request():
                return

    def _take_request(self) -> bool:
        """Answer the request at the front of the buffer; False while it is not whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end])
        length = int(found[1]) if (found := _LENGTH.search(head)) else 0
        self._missing = end + 4 + length - len(self._buffer)
        if self._missing > 0:
            return False
        body = bytes(memoryview(self._buffer)[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        self._missing = 0
        self._answer(head, body)
        return True

    # --- answer --------------------------------------------------------------------------------------------------------

    def _answer(self, head: bytes, body: bytes) -> None:
        found = _TARGET.search(head)
        if found is None:
            self._control(head.split(b" ", 2)[:2], body)
            return
        service, _, operation = found[1].decode().partition(".")
        self._site.tally.count_request(operation)
        if operation == "PutRecords":
            self._put(body)
        elif service.startswith("Kinesis"):
            self._read(operation, body)
        elif brings_items(operation, body):
            self._take_in(operation, body)
        else:
            self._upstream.send(b"%b\r\n\r\n%b" % (head, body), self._site.tasks)

    def _read(self, operation: str, body: bytes) -> None:
        try:
            match operation:
                case "SubscribeToShard" if self._transport is not None:
                    self._push = Push(self._site.kinesis, json.loads(body), self._transport)
                case "DescribeStreamConsumer":
                    self._respond(200, consumer())
                case _:
                    self._respond(200, self._site.kinesis.answer(operation, json.loads(body)))
        except BadRequestError as error:
            self._refuse(error)

    def _put(self, body: bytes) -> None:
        try:
            self._respond(200, [self._site.intake.take(body)])
        except IntakeError as error:
            self._refuse(BadRequestError("InvalidArgumentException", str(error)))

    def _take_in(self, operation: str, body: bytes) -> None:
        arrived = self._site.items.take(operation, body)
        most = MOST.get(operation, MOST_WRITES)
        if not 1 <= arrived.writes <= most:
            self._refuse(BadRequestError("ValidationException", f"1 to {most} items, each with a record's name"))
            return
        if self._site.throttle.refuses(self._site.tally.since_first_write_s):
            self._site.tally.throttled += 1
            self._refuse(
                BadRequestError("ProvisionedThroughputExceededException", "half of all writes are refused now")
            )
            return
        self._site.tally.count_writes(operation, body, arrived)
        answer = _WRITTEN.get(arrived.answer) or _written(arrived.answer)
        if self._site.write_delay_s:
            asyncio.get_running_loop().call_later(self._site.write_delay_s, self._write, answer)
        else:
            self._write(answer)

    def _control(self, request: list[bytes], body: bytes) -> None:
        match request:
            case [b"POST", b"/seen"]:
                self._site.tally.count(map(int, body.split(b",")))
                self._respond(200, [b"{}"])
            case [b"GET", b"/stats"]:
                self._respond(200, [json.dumps(self._site.tally.stats()).encode()])
            case [b"GET", b"/sample"]:
                self._respond(200, [json.dumps(self._site.tally.sample).encode()])
            case [b"GET", b"/intake"]:
                self._respond(200, [json.dumps(self._site.intake.stats()).encode()])
            case [b"POST", b"/reset"]:
                self._site.reset()
                self._respond(200, [b"{}"])
            case _:
                self._respond(404, [b"{}"])

    def _refuse(self, error: BadRequestError) -> None:
        self._respond(400, [json.dumps({"__type": error.code, "message": str(error)}).encode()])

    def _respond(self, status: int, body: Body) -> None:
        head = _head(status, sum(map(len, body)), f"Date: {formatdate(usegmt=True)}\r\n")
        if self._transport is not None:
            self._transport.writelines([head, *body])

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _head(status: int, length: int, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} -\r\nContent-Type: {TYPE}\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def _written(answer: bytes) -> bytes:
    return _head(200, len(answer), f"x-amz-crc32: {zlib.crc32(answer)}\r\n") + answer


_WRITTEN: Final = {answer: _written(answer) for answer in (ALL_PROCESSED, NOTHING)}


# --- process ----------------------------------------------------------------------------------------------------------


async def _serve(options: argparse.Namespace) -> None:
    workload = Workload(options.shards, options.records, options.first_arrival, Size(options.size))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, stop.set)
    kinesis = FakeKinesis(workload)
    gc.freeze()
    async with asyncio.TaskGroup() as tasks:
        site = Site(
            kinesis,
            Intake(workload.shards),
            Tally(workload.total),
            Items(),
            options.upstream,
            options.write_delay_ms / 1000,
            Throttle(options.throttled_share, options.throttled_from, options.throttled_for),
            tasks,
        )
        server = await loop.create_server(lambda: Connection(site), LOOPBACK, options.port, backlog=256)
        await stop.wait()
        loop.remove_reader(sys.stdin)
        server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description="Kinesis and DynamoDB for benchmarks, on a loopback port.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True, help="port of the server for all other DynamoDB calls")
    parser.add_argument("--first-arrival", type=int, required=True, help="epoch milliseconds")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--records", type=int, default=25_000, help="in each shard")
    parser.add_argument("--size", default=Size.NESTED, choices=list(Size), help="of a record (%(default)s)")
    parser.add_argument("--write-delay-ms", type=float, default=0.0)
    parser.add_argument("--throttled-share", type=float, default=0.0, help="of the writes (%(default)s)")
    parser.add_argument("--throttled-from", type=float, default=0.0, help="seconds after the first write")
    parser.add_argument("--throttled-for", type=float, default=0.0, help="seconds")
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
