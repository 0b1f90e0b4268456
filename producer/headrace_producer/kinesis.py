"""PutRecords through the stock client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.aws.session import translated
from headrace.errors import Denied, NotFound, Rejected, SettingsError
from headrace_producer.put import Answer, Placed
from headrace_producer.workload import Draft

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient


class KinesisWriter:
    """Writes to one stream, named by its name or its ARN."""

    def __init__(self, client: KinesisClient, stream_name_or_arn: str) -> None:
        self.stream = stream_name_or_arn.rpartition(":stream/")[2]
        self._client = client
        # With an ARN both are sent: AWS takes either or both, some local servers know only names.
        arn = {} if self.stream == stream_name_or_arn else {"StreamARN": stream_name_or_arn}
        self._address: dict[str, Any] = {"StreamName": self.stream, **arn}

    async def check(self) -> None:
        """See that the stream is there and may be used. Raises SettingsError if not, Throttled, Unavailable."""
        try:
            with translated("kinesis", "DescribeStreamSummary"):
                await self._client.describe_stream_summary(**self._address)
        except NotFound as error:
            place = f"there is no such stream in {self._client.meta.region_name} at {self._client.meta.endpoint_url}"
            raise SettingsError("--stream", self.stream, place, "Create it, or name another") from error
        except (Denied, Rejected) as error:
            mend = "It needs kinesis:DescribeStreamSummary and kinesis:PutRecords"
            raise SettingsError("--stream", self.stream, str(error), mend) from error

    async def put(self, drafts: Sequence[Draft]) -> Sequence[Answer]:
        """One PutRecords call. Its two error codes, throttling and an internal failure, are both worth another try."""
        records: Any = [{"Data": draft.data, "PartitionKey": draft.key} for draft in drafts]
        with translated("kinesis", "PutRecords"):
            answer = await self._client.put_records(Records=records, **self._address)
        return [_answer(result) for result in answer["Records"]]


def _answer(result: Any) -> Answer:
    code: str | None = result.get("ErrorCode")
    return code or Placed(result["ShardId"], result["SequenceNumber"])
