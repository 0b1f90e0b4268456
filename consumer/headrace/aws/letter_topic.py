"""Dead letters to an SNS topic: one message a record. A topic keeps nothing, so it cannot be read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.aws.letter_messages import Message, Packer, batches, insist_on_all, insist_on_size
from headrace.aws.session import translated
from headrace.model import DeadLetter


class LetterTopic:
    """Implements `ports.DeadLetters`. A repeated burial is delivered again."""

    def __init__(self, client: Any, arn: str, packer: Packer) -> None:
        self._client = client
        self._arn = arn
        self._packer = packer

    async def check(self) -> None:
        """Whether it is there and takes our messages. Raises NotFound, Denied, Rejected."""
        with translated("sns", "GetTopicAttributes"):
            answer = await self._client.get_topic_attributes(TopicArn=self._arn)
        insist_on_size("sns", answer.get("Attributes", {}))

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Accepted by SNS when it returns. Raises Unavailable where it took some and not others: all are sent again."""
        async for batch in batches(self._packer, letters):
            await self._publish(batch)

    async def _publish(self, batch: Sequence[Message]) -> None:
        entries = [
            {"Id": str(number), "Message": message.body, "MessageAttributes": message.attributes}
            for number, message in enumerate(batch)
        ]
        with translated("sns", "PublishBatch"):
            answer = await self._client.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=entries)
        insist_on_all("sns PublishBatch", answer, len(batch))
