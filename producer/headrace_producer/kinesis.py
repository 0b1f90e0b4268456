"""PutRecords through the stock client, with its body made and its answer read by a typed encoder and decoder.

botocore's own validation, serialiser and parser cost some 30 us a record. Endpoint rules, signing and errors stay
botocore's; public events take the body in and the successful answer out: `before-parameter-build` takes the ready body
aside and leaves a record that passes for it, `before-call` puts it in place, `before-parse` keeps the answer as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from headrace.aws.session import translated
from headrace.errors import Denied, NotFound, Rejected, SettingsError, Unavailable
from headrace_producer.put import Answer, Placed
from headrace_producer.workload import Draft

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient

BODY: Final = "Body"
"""Where a rendered request stands among the parameters, and a successful answer's bytes in what the client returns."""

STAND_IN: Final = ({"Data": b"", "PartitionKey": "-"},)
"""What botocore validates and serialises instead of the records."""


class Entry(msgspec.Struct, gc=False):
    """PutRecordsRequestEntry (API reference); the encoder writes bytes as base64, as Kinesis wants them."""

    data: bytes = msgspec.field(name="Data")
    key: str = msgspec.field(name="PartitionKey")


class Result(msgspec.Struct, gc=False):
    """PutRecordsResultEntry (API reference): either the place, or the code."""

    shard: str | None = msgspec.field(name="ShardId", default=None)
    sequence_text: str | None = msgspec.field(name="SequenceNumber", default=None)
    code: str | None = msgspec.field(name="ErrorCode", default=None)


class Results(msgspec.Struct, gc=False):
    """PutRecords' answer."""

    results: list[Result] = msgspec.field(name="Records")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Results).decode


class KinesisWriter:
    """Writes to one stream, named by its name or its ARN."""

    def __init__(self, client: KinesisClient, stream_name_or_arn: str) -> None:
        self.stream = stream_name_or_arn.rpartition(":stream/")[2]
        self._client = client
        # With an ARN both are sent: AWS takes either or both, some local servers know only names.
        arn = {} if self.stream == stream_name_or_arn else {"StreamARN": stream_name_or_arn}
        self._address: dict[str, Any] = {"StreamName": self.stream, **arn}
        for event, react in _REACTIONS.items():
            client.meta.events.register(f"{event}.kinesis.PutRecords", react, unique_id=f"headrace-producer-{event}")

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
        return await self._put([Entry(draft.data, draft.key) for draft in drafts])

    async def put_entries(self, entries: Sequence[tuple[bytes, str]]) -> Sequence[Answer]:
        """The same for pairs of data and partition key."""
        return await self._put([Entry(data, key) for data, key in entries])

    async def _put(self, entries: Sequence[Entry]) -> list[Answer]:
        body = _encode({"Records": entries, **self._address})
        with translated("kinesis", "PutRecords"):
            call: Any = self._client.put_records
            answer = await call(**{BODY: body}, **self._address)
        return _read(cast("Mapping[str, bytes]", answer)[BODY], len(entries))


def _read(body: bytes, asked: int) -> list[Answer]:
    try:
        results = _decode(body).results
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(f"kinesis PutRecords: unreadable answer ({error})") from error
    if len(results) != asked:
        raise Unavailable(f"kinesis PutRecords: {len(results)} answers for {asked} records")
    return [_answer(result) for result in results]


def _answer(result: Result) -> Answer:
    if result.shard is None or result.sequence_text is None or result.code is not None:
        return result.code or "NoPlace"
    return Placed(result.shard, result.sequence_text)


def _set_aside(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context[BODY] = params.pop(BODY)
    params["Records"] = STAND_IN


def _put_in_place(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    params["body"] = context.pop(BODY)


def _keep(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:  # noqa: PLR2004 - HTTP's own number
        customized_response_dict[BODY] = response_dict["body"]
        response_dict["body"] = b"{}"


_REACTIONS: Final[Mapping[str, Callable[..., None]]] = {
    "before-parameter-build": _set_aside,
    "before-call": _put_in_place,
    "before-parse": _keep,
}
