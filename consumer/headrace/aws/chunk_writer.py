"""One chunk of writes until every one is durable, refused, or no longer wanted.

The happy path is one request. Everything else is a loop over what is left of the chunk: unprocessed items and failed
requests are sent again after a backoff; a request that DynamoDB rejects is halved until the culprit stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from headrace.aws.batch_write import TARGET, BatchWrites
from headrace.aws.channel import Poster
from headrace.aws.patience import Patience
from headrace.aws.submission import Write
from headrace.core.write_queue import Chunk
from headrace.errors import AwsError, LeaseLost, Rejected, Throttled
from headrace.model import Permit

Writes: TypeAlias = Chunk[Write]


@dataclass(slots=True)
class WriteCounts:
    """What a sink has done since it was made, for the metrics."""

    requests: int = 0
    request_bytes: int = 0
    written: int = 0
    """Durable writes, with those that a later write of their key replaced before they were sent."""
    refused: int = 0
    throttled: int = 0
    """Requests refused as a whole for rate or capacity."""
    unprocessed: int = 0
    """Writes that came back in UnprocessedItems."""
    failed: int = 0
    """Requests that failed for any other reason and are tried again."""


class ChunkWriter:
    """Sends chunks; `release` is told the keys that are finished with."""

    def __init__(
        self,
        channel: Poster,
        batches: BatchWrites,
        patience: Patience,
        counts: WriteCounts,
        release: Callable[[Iterable[Hashable]], None],
    ) -> None:
        self._channel = channel
        self._batches = batches
        self._patience = patience
        self._counts = counts
        self._release = release

    async def write(self, chunk: Writes) -> None:
        """See the chunk through."""
        parts, failures = [chunk], 0
        while parts:
            part = parts.pop()
            try:
                left = await self._attempt(part)
            except LeaseLost:
                parts.extend(self._drop_unwanted(part))
                continue
            except Rejected as error:
                parts.extend(self._narrow(part, str(error)))
                continue
            except AwsError as error:
                self._note(error)
                left, failures = part, failures + 1
            else:
                failures = 1 if len(left) < len(part) else failures + 1
            if left:
                parts.append(left)
                await self._patience.wait(failures)

    async def _attempt(self, part: Writes) -> Writes:
        """One request; returns what it left undone and settles the rest."""
        body = self._encode(part)
        if not part:
            return part
        counts = self._counts
        counts.requests += 1
        counts.request_bytes += len(body)
        answer = await self._channel.post(TARGET, body, _permit(part))
        undone = self._batches.unprocessed(answer)
        if not undone:
            self._settle(part)
            return {}
        counts.unprocessed += len(undone)
        left = {key: line for key, line in part.items() if key in undone}
        if len(left) < len(undone):  # keys that were never sent: trust nothing of this answer
            return part
        self._settle({key: line for key, line in part.items() if key not in undone})
        return left

    def _settle(self, part: Writes) -> None:
        written = 0
        for line in part.values():
            written += len(line)
            for write in line:
                write.submission.settle()
        self._counts.written += written
        self._release(part)

    # --- what does not go well -----------------------------------------------------------------------------------------

    def _encode(self, part: Writes) -> bytes:
        """The body; writes that cannot be encoded are refused and leave `part`, which may then be empty."""
        while part:
            try:
                return self._batches.encode([line[-1].effect for line in part.values()])
            except (TypeError, ValueError, RecursionError):
                faults = {key: self._batches.fault(line[-1].effect) for key, line in part.items()}
                if not any(faults.values()):
                    raise
            for key, reason in faults.items():
                if reason is not None:
                    self._refuse(part, key, reason)
        return b""

    def _narrow(self, part: Writes, reason: str) -> list[Writes]:
        """DynamoDB rejected these writes together: halve them, or refuse the one."""
        if len(part) > 1:
            lines, half = iter(part.items()), len(part) // 2
            return [dict(islice(lines, half)), dict(lines)]
        for key in tuple(part):
            self._refuse(part, key, reason)
        return [part] if part else []

    def _refuse(self, part: Writes, key: Hashable, reason: str) -> None:
        """Refuse the write that was sent for `key`; one that it would have replaced takes its place."""
        line = part[key]
        write = line.pop()
        self._counts.refused += 1
        write.submission.refuse(write.index, reason)
        if not line:
            del part[key]
            self._release((key,))

    def _drop_unwanted(self, part: Writes) -> list[Writes]:
        """Forget the writes whose permit is gone or whose waiter has left."""
        for line in part.values():
            while line and not line[-1].submission.may_write():
                line.pop()
        gone = [key for key, line in part.items() if not line]
        for key in gone:
            del part[key]
        self._release(gone)
        return [part] if part else []

    def _note(self, error: AwsError) -> None:
        if isinstance(error, Throttled):
            self._counts.throttled += 1
        else:
            self._counts.failed += 1
        self._patience.complain(error)


def _permit(part: Writes) -> Permit:
    """May all of this be sent now? Each permit is asked once, however many submissions came with it."""
    submissions = {line[-1].submission for line in part.values()}
    permits = {submission.permit for submission in submissions}

    def all_may() -> bool:
        return all(permit() for permit in permits) and not any(submission.future.done() for submission in submissions)

    return all_may
