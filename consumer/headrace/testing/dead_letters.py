"""Dead letters in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from headrace.errors import AwsError
from headrace.model import DeadLetter, ShardId


def _key(letter: DeadLetter) -> tuple[str, str, int, int]:
    record = letter.record
    return letter.stream, record.shard_id, record.sequence_number, record.sub_sequence_number


class MemoryDeadLetters:
    """Implements `ports.DeadLetterStore`. A letter of the same record replaces the one before."""

    def __init__(self) -> None:
        self._letters: dict[tuple[str, str, int, int], DeadLetter] = {}
        self._failures: deque[AwsError] = deque()

    @property
    def letters(self) -> list[DeadLetter]:
        """All of them, in the order of their first burial."""
        return list(self._letters.values())

    def fail_next(self, error: AwsError, times: int = 1) -> None:
        """The next `times` burials raise `error`, and nothing of them is kept."""
        self._failures.extend([error] * times)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep the letters, or raise what is scripted."""
        await asyncio.sleep(0)
        if self._failures:
            raise self._failures.popleft()
        self._letters.update((_key(letter), letter) for letter in letters)

    async def remove(self, letters: Sequence[DeadLetter]) -> None:
        """Forget them."""
        await asyncio.sleep(0)
        for letter in letters:
            self._letters.pop(_key(letter), None)

    async def read(self, stream: str | None = None, shard: ShardId | None = None) -> AsyncIterator[DeadLetter]:
        """Every letter, those of a stream, or those of one shard in the order of the records."""
        for _, letter in sorted(self._letters.items()):
            if stream in {None, letter.stream} and shard in {None, letter.record.shard_id}:
                yield letter
