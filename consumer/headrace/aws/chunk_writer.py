"""One chunk of writes until every one is durable, refused, or no longer wanted.

The happy path is one request. Everything else is a loop over what is left of the chunk: what was left undone and failed
requests are sent again after a backoff; a request that DynamoDB rejects is halved until the culprit stands alone. How to
ask and how to read the answer is the write mode's: `write_request`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from itertools import islice

from headrace.aws.channel import Poster
from headrace.aws.patience import Patience
from headrace.aws.submission import Submission
from headrace.aws.under_way import UnderWay
from headrace.aws.write_counts import WriteCounts
from headrace.aws.write_request import ALL_DONE, Answered, WriteRequest, Writes
from headrace.errors import AwsError, LeaseLost, Rejected, Throttled
from headrace.model import Permit


class ChunkWriter:
    """Sends chunks; `release` is told the keys that are finished with."""

    def __init__(
        self,
        channel: Poster,
        request: WriteRequest,
        patience: Patience,
        counts: WriteCounts,
        release: Callable[[Iterable[Hashable]], None],
        under_way: UnderWay,
    ) -> None:
        self._channel = channel
        self._request = request
        self._patience = patience
        self._counts = counts
        self._release = release
        self._under_way = under_way

    async def write(self, chunk: Writes) -> None:
        """See the chunk through."""
        for line in chunk.values():
            if len(line) > 1:
                self._request.arrange(line)
        parts, failures = [chunk], 0
        while parts:
            part = parts.pop()
            try:
                answered = await self._attempt(part)
            except LeaseLost:
                parts.extend(self._drop_unwanted(part))
                continue
            except Rejected as error:
                parts.extend(self._narrow(part, str(error)))
                continue
            except AwsError as error:
                self._note(error)
                failures += 1
                later = part
            else:
                if answered is ALL_DONE:
                    continue
                later = self._sorted_out(part, answered, parts)
                failures = 1 if len(later) < len(part) else failures + 1
            if later:
                parts.append(later)
                await self._patience.wait(failures)

    async def _attempt(self, part: Writes) -> Answered:
        """One request; what it settled whole is settled."""
        body = self._encode(part)
        if not part:
            return ALL_DONE
        counts = self._counts
        counts.requests += 1
        counts.request_bytes += len(body)
        submissions = {line[-1].submission for line in part.values()}
        permits = {submission.permit for submission in submissions}
        with self._under_way.request(permits, _permit(submissions, permits)) as permit:
            answer = await self._channel.post(self._request.target, body, permit)
        answered = self._request.read(part, answer)
        if answered is ALL_DONE:
            self._settle(part)
        return answered

    def _sorted_out(self, part: Writes, answered: Answered, parts: list[Writes]) -> Writes:
        """Settle what is durable, refuse what is refused; what is left goes to `parts`, or is returned to wait first."""
        for key, reason in answered.refused.items():
            self._refuse(part, key, reason)
        at_once = answered.at_once | answered.refused.keys()
        open_keys = at_once | answered.later
        self._settle({key: line for key, line in part.items() if key not in open_keys})
        if next_ones := {key: line for key, line in part.items() if key in at_once}:
            parts.append(next_ones)
        self._counts.unprocessed += len(answered.later)
        if answered.trouble is not None:
            self._patience.complain(answered.trouble)
        return {key: line for key, line in part.items() if key in answered.later}

    def _settle(self, part: Writes) -> None:
        written = 0
        for line in part.values():
            written += len(line)
            for write in line:
                write.submission.settle()
        self._counts.written += written
        self._counts.folded += written - len(part)
        self._release(part)

    # --- what does not go well -----------------------------------------------------------------------------------------

    def _encode(self, part: Writes) -> bytes:
        """The body; writes that cannot be encoded are refused and leave `part`, which may then be empty."""
        while part:
            try:
                return self._request.encode(part)
            except (TypeError, ValueError, RecursionError):
                faults = {key: self._request.fault(line[-1]) for key, line in part.items()}
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


def _permit(submissions: Iterable[Submission], permits: Iterable[Permit]) -> Permit:
    """May all of this be sent now? Each permit is asked once, however many submissions came with it."""

    def all_may() -> bool:
        return all(permit() for permit in permits) and not any(submission.future.done() for submission in submissions)

    return all_may
