"""Dead letters in an S3 bucket: one object a record, the event source mapping's document with what it leaves out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import structlog

from headrace.aws.session import translated
from headrace.core.failure_document import Inline, failure_document, letter_of, mapping_id, object_key
from headrace.errors import NotFound
from headrace.model import DeadLetter, ShardId
from headrace.tasks import all_of

log = structlog.get_logger(__name__)

AT_ONCE: Final = 8
"""Objects that are written at the same time: a batch may have 10,000 letters, and each takes some 30 ms."""


class LetterBucket:
    """Implements `ports.DeadLetterStore`; `prefix` is empty or ends with a slash. The same letter is the same object."""

    def __init__(self, client: Any, bucket: str, prefix: str, application: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._application = application

    async def check(self) -> None:
        """Whether it is there. Raises NotFound, Denied."""
        with translated("s3", "HeadBucket"):
            await self._client.head_bucket(Bucket=self._bucket)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Durable when it returns; the same letter again writes the same object."""
        objects = list({self._key(letter): letter for letter in letters}.items())
        for start in range(0, len(objects), AT_ONCE):
            async with all_of() as tasks:
                for key, letter in objects[start : start + AT_ONCE]:
                    tasks.create_task(self._put(key, letter), name="dead-letter")

    async def _put(self, key: str, letter: DeadLetter) -> None:
        document = failure_document(letter, Inline(), with_event=True)
        with translated("s3", "PutObject"):
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=document, ContentType="application/json")

    async def read(self, stream: str | None = None, shard: ShardId | None = None) -> AsyncIterator[DeadLetter]:
        """Every letter of this application, of a stream, or of one shard of it, by shard and arrival.

        What others keep beside them, like the event source mappings of AWS, is left alone.
        """
        prefix = f"{self._prefix}aws/lambda/"
        if stream is not None:
            prefix += f"{mapping_id(self._application, stream)}/" + ("" if shard is None else f"{shard}/")
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with translated("s3", "ListObjectsV2"):
            async for page in pages:
                for found in page.get("Contents", []):
                    letter = await self._letter(found["Key"])
                    if letter is not None and shard in {None, letter.record.shard_id}:
                        yield letter

    async def _letter(self, key: str) -> DeadLetter | None:
        try:
            letter = letter_of(await self._get(key))
        except NotFound:
            return None  # removed since it was listed
        except ValueError as error:
            log.warning("dead_letter_not_readable", key=key, error=str(error))
            return None
        return letter if self._key(letter) == key else None

    async def _get(self, key: str) -> bytes:
        with translated("s3", "GetObject"):
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            async with answer["Body"] as body:
                return bytes(await body.read())

    async def remove(self, letters: Sequence[DeadLetter]) -> None:
        """Delete their objects; one that is gone is no error."""
        for letter in letters:
            with translated("s3", "DeleteObject"):
                await self._client.delete_object(Bucket=self._bucket, Key=self._key(letter))

    def _key(self, letter: DeadLetter) -> str:
        return f"{self._prefix}{object_key(self._application, letter)}"
