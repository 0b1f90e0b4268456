"""One HTTP/1.1 connection: a request goes out, its answer comes back, and then the next.

Whatever ends a call before its answer is whole (the caller leaves, the deadline passes, the server breaks off) ends the
connection with it, so that no answer can meet the wrong request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from headrace.aws.alarm import Alarm
from headrace.aws.answer_reader import AnswerReader
from headrace.aws.wire import Answer, UnansweredError

AT_ONCE: Final = 256 * 2**10
"""Body bytes handed to the transport in one piece. Larger bodies go as the transport has room for them."""


class StaleError(UnansweredError):
    """A connection that had served before was closed without a byte of an answer: most likely it was already closing."""


class Connection(asyncio.Protocol):
    """Serves one request at a time. `lost` is told once, when the connection has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[Connection], None]) -> None:
        self.is_open = False
        """Another request may be sent."""
        self._loop = loop
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._reader = AnswerReader(self._answered)
        self._alarm = Alarm(loop, self._overdue)
        self._waiting: asyncio.Future[Answer] | None = None
        self._has_served = False
        self._unsent = memoryview(b"")
        self._may_send = True

    async def exchange(self, head: bytes, body: bytes, deadline: float) -> Answer:
        """Send a request and wait for its answer until the loop's time is `deadline`. Raises UnansweredError, StaleError."""
        if not self.is_open:
            raise UnansweredError("the connection was closed as soon as it was made")
        waiting: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting = waiting
        self._alarm.set(deadline)
        self._send(head, body)
        try:
            answer = await waiting
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiting = None
        self._has_served = True
        if not self._is_clean:
            self.abort()
        return answer

    def rest(self, until: float) -> None:
        """No request for now; close by yourself when the loop's time is `until`."""
        self._alarm.set(until)

    def abort(self) -> None:
        """Close, whatever is under way; `lost` is told soon."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def _is_clean(self) -> bool:
        """Both sides are done with the request, and the server will take another."""
        transport, reader = self._transport, self._reader
        if transport is None or self._unsent or transport.get_write_buffer_size():
            return False
        return reader.keeps_alive and reader.is_between

    # --- out -----------------------------------------------------------------------------------------------------------

    def _send(self, head: bytes, body: bytes) -> None:
        transport = cast("asyncio.Transport", self._transport)
        if len(body) <= AT_ONCE:
            transport.writelines((head, body))
        else:
            transport.write(head)
            self._unsent = memoryview(body)
            self._send_on()

    def _send_on(self) -> None:
        transport = self._transport
        while self._unsent and self._may_send and transport is not None and not transport.is_closing():
            piece, self._unsent = self._unsent[:AT_ONCE], self._unsent[AT_ONCE:]
            transport.write(piece)

    def pause_writing(self) -> None:
        """The transport holds enough."""
        self._may_send = False

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._may_send = True
        self._send_on()

    # --- in ------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Some of an answer; bytes that nobody asked for end the connection."""
        if self._waiting is None or self._waiting.done():
            self.abort()
            return
        try:
            self._reader.feed(data)
        except UnansweredError as error:
            self._fail(error)

    def eof_received(self) -> None:
        """The server sends no more, so there is nothing to wait for."""
        self._reader.end()
        self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Closed, by either side."""
        self._transport = None
        self._unsent = memoryview(b"")
        self._alarm.stop()
        self._fail(self._verdict(error))
        self._lost(self)

    def _answered(self, answer: Answer) -> None:
        if self._waiting is None or self._waiting.done():
            self.abort()  # one answer too many
        else:
            self._waiting.set_result(answer)

    def _overdue(self) -> None:
        self._fail(UnansweredError("no answer within the time for the call"))

    def _verdict(self, error: Exception | None) -> UnansweredError:
        how = (
            f"the connection was lost ({type(error).__name__} {error})" if error else "the server closed the connection"
        )
        if self._reader.received:
            return UnansweredError(f"{how} in the middle of the answer")
        return (StaleError if self._has_served else UnansweredError)(f"{how} without an answer")

    def _fail(self, error: UnansweredError) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
        self.abort()
