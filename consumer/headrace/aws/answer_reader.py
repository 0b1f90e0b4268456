"""Bytes of a connection to answers, one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from headrace.aws.wire import Answer, UnansweredError

MOST_BYTES: Final = 64 * 2**20
"""Of one answer: four times what DynamoDB takes or gives in one call, and a bound to what a stray server can make us hold."""

FIRST_FINAL: Final = 200
"""Statuses below only announce the answer (RFC 9110, 15.2)."""


class AnswerReader:
    """Calls `take` for each whole answer. Interim answers are passed over."""

    def __init__(self, take: Callable[[Answer], None]) -> None:
        self.received = 0
        """Bytes since the last whole answer."""
        self.is_between = True
        """Nothing of a next answer is here."""
        self.keeps_alive = True
        """The server lets the connection be used after the last whole answer."""
        self._take = take
        self._parser = HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._ends_with_connection = False

    def feed(self, data: bytes) -> None:
        """Read on. Raises UnansweredError for what is no HTTP answer, or an endless one."""
        self.received += len(data)
        if self.received > MOST_BYTES:
            raise UnansweredError(f"the answer is longer than {MOST_BYTES:,} bytes")
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise UnansweredError(f"the answer is not HTTP as it was asked for: {error}") from error

    def end(self) -> None:
        """The server has sent all it will: the end of an answer that told no length (RFC 9112, 6.3)."""
        if self._ends_with_connection:
            self.keeps_alive = False
            self._complete(self._parser.get_status_code())

    # --- what the parser calls -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of an answer."""
        self.is_between = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, whole."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The body is next."""
        self._ends_with_connection = self._headers.keys().isdisjoint((b"content-length", b"transfer-encoding"))

    def on_body(self, piece: bytes) -> None:
        """Some of the body, without what chunks are made of."""
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """An answer is whole, or an interim one."""
        status = self._parser.get_status_code()
        if status < FIRST_FINAL:
            self._forget()
            return
        self.keeps_alive = self._parser.should_keep_alive()
        self._complete(status)

    def _complete(self, status: int) -> None:
        headers, pieces = self._headers, self._pieces
        answer = Answer(
            status,
            headers.get(b"date", b"").decode("latin-1"),
            headers.get(b"x-amz-crc32", b"").decode("latin-1"),
            pieces[0] if len(pieces) == 1 else b"".join(pieces),
        )
        self.received, self.is_between = 0, True
        self._forget()
        self._take(answer)

    def _forget(self) -> None:
        self._headers, self._pieces = {}, []
        self._ends_with_connection = False
