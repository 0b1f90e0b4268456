"""The document that goes to an on-failure destination: the event source mapping's, and what it leaves out.

Fields, order and forms of the first part are those of AWS (recorded). `responseContext` is there only when a call decided,
so not with RecordAgeExceeded. `functionError` is "Unhandled" when the handler raised, crashed or ran out of time, and null
when its answer said that the record failed. One document stands for one record (`batchSize` 1): AWS may put several into
one, of which some were good. An S3 object also has AWS's `payload`: the event with the record, as a JSON text in the JSON.

The member `headrace` holds the rest: which record of which key, why it failed and where, and its payload, so that it can be
delivered again from the document alone, long after the stream has forgotten it.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from headrace.core.lambda_event import EventEncoder
from headrace.core.verdict import RECORD_AGE_EXCEEDED
from headrace.model import DeadLetter, FailedAttempt, Record, WorkerId

_NAMES: Final = uuid.UUID("6b1f1a3c-54a5-5c0e-9d51-3f2b0c9a7e10")
"""Our own namespace for identifiers that are made from others."""

_NO_XML: Final = {b"\xef\xbf\xbe": b"\\ufffe", b"\xef\xbf\xbf": b"\\uffff"}
"""Two characters of Unicode that SQS takes in no message (SQS quotas, message content), and how JSON spells them."""


@dataclass(frozen=True, slots=True)
class Inline:
    """The payload is in the document."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The payload is an S3 object: `s3://bucket/key`."""

    location: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The payload is too large for the destination, and nothing says where else to put it."""


Payload: TypeAlias = Inline | Elsewhere | Cut


def identity_of(letter: DeadLetter) -> uuid.UUID:
    """The same for the same record, whenever it is buried."""
    record = letter.record
    return uuid.uuid5(
        _NAMES, f"{letter.stream}/{record.shard_id}/{record.sequence_number}/{record.sub_sequence_number}"
    )


def mapping_id(application: str, stream: str) -> uuid.UUID:
    """What stands for the event source mapping's UUID: the same for the same application and stream."""
    return uuid.uuid5(_NAMES, f"{application}/{stream}")


def object_key(application: str, letter: DeadLetter) -> str:
    """The key of the document's S3 object, in AWS's form (recorded).

    The time in it is the record's arrival and its last part the record's identity, where AWS takes the moment of the
    failure and a random one: the same letter, stored again, is the same object.
    """
    arrival = letter.record.arrival
    day, second = f"{arrival:%Y/%m/%d}", f"{arrival:%Y-%m-%dT%H.%M.%S}"
    mapping = mapping_id(application, letter.stream)
    return f"aws/lambda/{mapping}/{letter.record.shard_id}/{day}/{second}-{identity_of(letter)}"


def failure_document(letter: DeadLetter, payload: Payload, *, with_event: bool = False) -> bytes:
    """The document as JSON, UTF-8; `with_event` adds AWS's `payload`, as S3 objects have it."""
    record = letter.record
    request = {
        "requestId": letter.request_id or str(identity_of(letter)),
        "functionArn": _function_arn(letter),
        "condition": letter.reason,
        "approximateInvokeCount": max(1, letter.attempts),
    }
    document: dict[str, Any] = {"requestContext": request}
    if letter.reason != RECORD_AGE_EXCEEDED and letter.attempts:
        error = "Unhandled" if letter.is_function_error else None
        document["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": error}
    document["version"] = "1.0"
    document["timestamp"] = _instant(letter.buried_at)
    document["KinesisBatchInfo"] = {
        "shardId": record.shard_id,
        "startSequenceNumber": str(record.sequence_number),
        "endSequenceNumber": str(record.sequence_number),
        "approximateArrivalOfFirstRecord": _instant(record.arrival),
        "approximateArrivalOfLastRecord": _instant(record.arrival),
        "batchSize": 1,
        "streamArn": letter.stream_arn,
    }
    if with_event:
        document["payload"] = _event(letter).decode()
    document["headrace"] = _more(letter, payload)
    encoded = msgspec.json.encode(document)
    for character, spelled in _NO_XML.items():
        encoded = encoded.replace(character, spelled)
    return encoded


def letter_of(document: bytes, payload: bytes | None = None) -> DeadLetter:
    """The letter that a document tells; `payload` is what was found elsewhere. Raises ValueError for any other text."""
    parsed = _parsed(document)
    try:
        return _letter(parsed, _payload(parsed.headrace) if payload is None else payload)
    except ValueError as error:
        raise ValueError(f"not a dead letter of headrace: {error}") from error


def payload_of(document: bytes) -> Payload:
    """Where the payload of a document is. Raises ValueError for any other text."""
    more = _parsed(document).headrace
    if more.payload_object is not None:
        return Elsewhere(more.payload_object)
    return Cut() if more.payload_cut else Inline()


def _more(letter: DeadLetter, payload: Payload) -> dict[str, Any]:
    record = letter.record
    more: dict[str, Any] = {
        "stream": letter.stream,
        "partitionKey": record.partition_key,
        "subSequenceNumber": record.sub_sequence_number,
        "arrival": record.arrival_s,
        "attempts": letter.attempts,
        "error": valid(letter.error),
        "message": valid(letter.message),
        "traceback": valid(letter.traceback),
        "handler": valid(letter.handler),
        "requestId": letter.request_id,
        "isFunctionError": letter.is_function_error,
        "log": [{"at": _instant(one.at), "records": one.records, "error": valid(one.error)} for one in letter.log],
        "worker": letter.worker,
        "epoch": letter.epoch,
        "generation": letter.generation,
        "replay": letter.replay,
    }
    match payload:
        case Inline():
            more["payload"] = base64.b64encode(record.data).decode()
        case Elsewhere(location):
            more["payloadObject"] = location
        case Cut():
            more |= {"payloadCut": True, "payloadBytes": len(record.data)}
    return more


def valid(text: str) -> str:
    """Text that UTF-8 has; errors may quote half a character, for which a question mark stands."""
    return text.encode(errors="replace").decode()


def _function_arn(letter: DeadLetter) -> str:
    """The handler as an ARN beside the stream; Lambda's names have no colon, so `module:function` gets a dot."""
    if letter.handler.startswith("arn:") or not letter.stream_arn:
        return valid(letter.handler)
    _, partition, _, region, account, *_ = letter.stream_arn.split(":")
    return f"arn:{partition}:lambda:{region}:{account}:function:{valid(letter.handler).replace(':', '.')}"


def _event(letter: DeadLetter) -> bytes:
    arn = letter.stream_arn or f"arn:aws:kinesis:::stream/{letter.stream}"
    return EventEncoder(arn, _function_arn(letter)).encode([letter.record])


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- and back ---


_Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class _Request(msgspec.Struct):
    condition: str


class _Batch(msgspec.Struct, rename="camel"):
    shard_id: str
    start_sequence_number: str
    stream_arn: str


class _Attempt(msgspec.Struct):
    at: _Time
    records: int
    error: str


class _More(msgspec.Struct, rename="camel", kw_only=True):
    stream: str
    partition_key: str
    sub_sequence_number: int
    arrival: float
    attempts: int
    error: str
    message: str
    traceback: str
    handler: str
    request_id: str
    is_function_error: bool
    log: list[_Attempt]
    worker: str
    epoch: int
    generation: int
    replay: int = 0
    payload: str | None = None
    payload_object: str | None = None
    payload_cut: bool = False


class _Document(msgspec.Struct):
    request: _Request = msgspec.field(name="requestContext")
    timestamp: _Time
    batch: _Batch = msgspec.field(name="KinesisBatchInfo")
    headrace: _More


_decode: Final = msgspec.json.Decoder(_Document).decode


def _parsed(document: bytes) -> _Document:
    try:
        return _decode(document)
    except (ValueError, RecursionError) as error:  # msgspec's own are ValueErrors
        raise ValueError(f"not a dead letter of headrace: {error}") from error


def _payload(more: _More) -> bytes:
    if more.payload is None:
        raise ValueError("its payload is not in it")
    return base64.b64decode(more.payload, validate=True)


def _letter(parsed: _Document, payload: bytes) -> DeadLetter:
    batch, more = parsed.batch, parsed.headrace
    number = int(batch.start_sequence_number)
    return DeadLetter(
        stream=more.stream,
        record=Record(payload, more.partition_key, number, more.arrival, batch.shard_id, more.sub_sequence_number),
        reason=parsed.request.condition,
        error=more.error,
        message=more.message,
        attempts=more.attempts,
        buried_at=parsed.timestamp,
        worker=WorkerId(more.worker),
        epoch=more.epoch,
        generation=more.generation,
        replay=more.replay,
        stream_arn=batch.stream_arn,
        handler=more.handler,
        traceback=more.traceback,
        request_id=more.request_id,
        is_function_error=more.is_function_error,
        log=tuple(FailedAttempt(one.at, one.records, one.error) for one in more.log),
    )
