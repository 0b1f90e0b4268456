"""A TCP proxy whose links can be cut, or stalled in either direction, each by itself.

A cut link resets its connections and refuses new ones. A stalled direction holds what is sent that way; once it is freed
that comes late, or never: its connection is reset then, for TCP cannot leave bytes out. What a client sent before it gave
up still arrives: the server's end stays open for a moment longer than the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from enum import StrEnum

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
LINGER_S = 1.0
"""How long the server's end outlives a client's that went away: until then the server may work on what was sent."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends RST (socket(7))."""

SINK_WRITE = b"DynamoDB_20120810.BatchWriteItem"
"""In the head of each request that writes to a serving table; nothing else of a worker uses this operation."""


TARGET = re.compile(rb"(?:Kinesis|DynamoDB)_\d+\.(\w+)")
"""The operation, in the head of each request to either service."""


class Direction(StrEnum):
    """Which way bytes go."""

    OUT = "to the server"
    BACK = "from the server"


class Fate(StrEnum):
    """What becomes of bytes that were held."""

    LATE = "late"
    DROPPED = "dropped"


@dataclass(eq=False)
class Gate:
    """One direction of one link."""

    free: asyncio.Event = field(default_factory=asyncio.Event)
    held: set[Connection] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.free.set()

    async def pass_through(self, connection: Connection) -> bool:
        """Wait until bytes may go this way; whether they had to."""
        if self.free.is_set():
            return False
        self.held.add(connection)
        await self.free.wait()
        return True


@dataclass(eq=False)
class Connection:
    """A client's connection and the one to the server that belongs to it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    asked: tuple[str, float] | None = None
    """The operation that is to be answered, and when the request went on to the server."""

    def reset(self) -> None:
        """Break both ends off."""
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


@dataclass(frozen=True)
class SinkWrite:
    """A request that writes to the serving table: when the worker sent it, and when it went on to the server."""

    sent: float
    delivered: float


@dataclass(frozen=True)
class Answer:
    """How long the server took from a request to the first bytes of its answer: stalls of the link are not in it."""

    operation: str
    at: float
    seconds: float


class Link:
    """One client's way to one server. `sink_writes` notes, by wall-clock time, the requests to the serving table."""

    def __init__(self, host: str, port: int) -> None:
        self.sink_writes: list[SinkWrite] = []
        self.answers: list[Answer] = []
        self.gates = {direction: Gate() for direction in Direction}
        self._to = (host, port)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        # Bound for good and never listening: the port stays ours while the link is cut and connections are refused.
        self._reservation = _bound(0)
        self.port: int = self._reservation.getsockname()[1]

    @property
    def url(self) -> str:
        """The endpoint a client is given."""
        return f"http://{LOOPBACK}:{self.port}"

    async def open(self) -> None:
        """Accept connections (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=_bound(self.port))

    async def cut(self) -> None:
        """Reset every connection and refuse new ones, until `open`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.reset()

    def stall(self, direction: Direction) -> None:
        """Hold what is sent this way, until `unstall`."""
        self.gates[direction].free.clear()

    def unstall(self, direction: Direction, fate: Fate) -> None:
        """Let what was held go on, or reset the connections it was on."""
        gate = self.gates[direction]
        if fate is Fate.DROPPED:
            for connection in gate.held:
                connection.reset()
        gate.held.clear()
        gate.free.set()

    async def close(self) -> None:
        """For good."""
        await self.cut()
        for gate in self.gates.values():
            gate.free.set()
        for pump in list(self._pumps):
            pump.cancel()
        if self._pumps:
            await asyncio.wait(self._pumps)
        self._reservation.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.CancelledError, OSError):
            writer.transport.abort()
        finally:
            self._pumps.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._to)
        connection = Connection(writer, to_server)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as both:
                back = both.create_task(self._pump(from_server, writer, Direction.BACK, connection))
                await self._pump(reader, to_server, Direction.OUT, connection)
                await asyncio.wait([back], timeout=LINGER_S)
                back.cancel()
        finally:
            self._connections.discard(connection)
            for end in (writer, to_server):
                end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction, connection: Connection
    ) -> None:
        gate, tail = self.gates[direction], b""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                sent = time.time()
                if direction is Direction.BACK:
                    self._note_answer(connection, sent)
                await gate.pass_through(connection)
                if writer.transport.is_closing():
                    break
                if direction is Direction.OUT:
                    self._note(tail + chunk, sent)
                    self._note_question(connection, chunk)
                    tail = chunk[-len(SINK_WRITE) + 1 :]
                writer.write(chunk)
                await writer.drain()
        if direction is Direction.BACK:
            connection.client.close()  # the server hung up, or a reset: so is the client's end

    def _note(self, text: bytes, sent: float) -> None:
        self.sink_writes += [SinkWrite(sent, time.time())] * text.count(SINK_WRITE)

    def _note_question(self, connection: Connection, chunk: bytes) -> None:
        if found := TARGET.search(chunk):
            connection.asked = (found[1].decode(), time.time())

    def _note_answer(self, connection: Connection, now: float) -> None:
        if connection.asked is not None:
            operation, asked = connection.asked
            self.answers.append(Answer(operation, asked, now - asked))
            connection.asked = None


def _bound(port: int) -> socket.socket:
    """A socket at this port of the loopback, which others of ours may share (SO_REUSEADDR, none of them listening)."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((LOOPBACK, port))
    bound.setblocking(False)
    return bound
