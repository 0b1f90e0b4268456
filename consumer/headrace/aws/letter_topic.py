"""Dead letters to an SNS topic: one message a record. A topic keeps nothing, so it cannot be read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.aws.letter_messages import Message, Packer, batches
from headrace.aws.session import translated
from headrace.errors import Rejected, Unavailable
from headrace.model import DeadLetter


class LetterTopic:
    """Implements `ports.DeadLetters`. A repeated burial is delivered again."""

    def __init__(self, client: Any, arn: str, packer: Packer) -> None:
        self._client = client
        self._arn = arn
        self._packer = packer

    async def check(self) -> None:
        """Whether it is there. Raises NotFound, Denied."""
        with translated("sns", "GetTopicAttributes"):
            await self._client.get_topic_attributes(TopicArn=self._arn)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Accepted by SNS when it returns. Raises Unavailable where it took some and not others: all are sent again."""
        messages = [await self._packer.pack(letter) for letter in letters]
        for batch in batches(messages):
            await self._publish(batch)

    async def _publish(self, batch: Sequence[Message]) -> None:
        entries = [
            {"Id": str(number), "Message": message.body, "MessageAttributes": message.attributes}
            for number, message in enumerate(batch)
        ]
        with translated("sns", "PublishBatch"):
            answer = await self._client.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=entries)
        if failed := answer.get("Failed"):
            told = f"sns PublishBatch: {len(failed)} of {len(batch)} not taken: {failed[0].get('Code', '')}"
            raise Rejected(told) if all(one.get("SenderFault") for one in failed) else Unavailable(told)
