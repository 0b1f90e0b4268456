"""The seam below the channel: a signed request goes out, an answer comes back, and nothing is known of what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from headrace.errors import LeaseLost
from headrace.model import Permit


class Answer(NamedTuple):
    """What came back: the status, two headers (empty text without them) and the body."""

    status: int
    date: str
    crc32: str
    body: bytes


class UnansweredError(Exception):
    """No whole answer came: a broken connection, a deadline, or bytes that are no HTTP. The request may have been applied."""


class Wire(Protocol):
    """Carries requests to one endpoint, several at once."""

    async def exchange(self, headers: Mapping[str, str], body: bytes, permit: Permit) -> Answer:
        """Post the body under these headers, which lack only its length, and wait for the answer.

        `permit` is asked right before bytes go out, each time that they do. Raises LeaseLost without it, UnansweredError.
        """


def require(permit: Permit) -> None:
    """Raises LeaseLost without the permit."""
    if not permit():
        raise LeaseLost("the permit to write ended before the request was sent")
