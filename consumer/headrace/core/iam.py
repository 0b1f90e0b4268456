"""The least that an application needs to be allowed, statement by statement.

Which action a call needs is told by the service authorization reference: BatchExecuteStatement by its statements
(PartiQLInsert, PartiQLUpdate), TransactWriteItems by its members (PutItem, UpdateItem, DeleteItem).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, assert_never

from headrace.core.destination import Destination, Kind

READ_STREAM: Final = ("DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards")
FAN_OUT: Final = ("DescribeStreamConsumer", "RegisterStreamConsumer", "SubscribeToShard")
KEEP_LEASES: Final = ("DeleteItem", "DescribeTable", "GetItem", "PartiQLUpdate", "PutItem", "Query", "UpdateItem")
MAKE_TABLE: Final = ("CreateTable", "UpdateContinuousBackups", "UpdateTimeToLive")
WRITE: Final = {
    "put": ("BatchWriteItem", "DescribeTable"),
    "insert": ("DescribeTable", "PartiQLInsert"),
    "latest": ("DescribeTable", "PartiQLInsert", "PartiQLUpdate"),
    "transactional": ("DeleteItem", "DescribeTable", "PutItem", "UpdateItem"),
}
"""What each write mode takes on the serving table."""

LOOK_AT_TABLE: Final = ("DescribeContinuousBackups", "DescribeTable", "DescribeTimeToLive")


@dataclass(frozen=True, slots=True)
class Place:
    """Where ARNs point: `*` for what is not known."""

    region: str = "*"
    account: str = "*"

    @property
    def partition(self) -> str:
        """Of the region."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    def arn(self, service: str, resource: str) -> str:
        """Of a resource there."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True)
class Needs:
    """What the enabled features touch. `stream` is a name or an ARN, `sink` None where a handler writes by itself."""

    stream: str
    lease_table: str
    sink: str | None
    sink_mode: str
    dead_letters: Destination
    spill: Destination | None = None
    makes_tables: bool = True
    fans_out: bool = False
    has_token: bool = False
    """Whether the page may delete a dead letter."""
    kms_key: str | None = None
    """The stream's own key, where it is encrypted with one."""


def worker_policy(needs: Needs, place: Place) -> dict[str, Any]:
    """What `headrace run` needs, and the page that it serves."""
    works = (*_reads(needs, place), *_leases(needs, place), *_writes(needs, place), *_buries(needs, place))
    return _policy([*works, *_shows(needs, place)])


def operator_policy(needs: Needs, place: Place) -> dict[str, Any]:
    """What the other commands need: seek, pause, explain, doctor, redrive and their like."""
    looks = [_tables(name, LOOK_AT_TABLE, [table], place) for name, table in _tables_of(needs)]
    consumers = _allow("LookAtConsumers", "kinesis", ("ListStreamConsumers",), [_stream(needs, place)])
    item = [] if needs.sink is None else [_tables("ExplainItems", ("GetItem",), [needs.sink], place)]
    statements = (*_reads(needs, place), *_leases(needs, place), *_writes(needs, place), *item)
    return _policy([*statements, *_redrives(needs, place), *looks, consumers])


def _tables_of(needs: Needs) -> Iterator[tuple[str, str]]:
    yield "LookAtLeaseTable", needs.lease_table
    if needs.sink is not None:
        yield "LookAtServingTable", needs.sink
    if needs.dead_letters.kind is Kind.DYNAMODB:
        yield "LookAtDeadLetterTable", needs.dead_letters.target


def _reads(needs: Needs, place: Place) -> Iterator[dict[str, Any]]:
    stream = _stream(needs, place)
    yield _allow("ReadStream", "kinesis", READ_STREAM, [stream])
    if needs.fans_out:
        yield _allow("FanOut", "kinesis", FAN_OUT, [stream, f"{stream}/consumer/*"])
    if needs.kms_key is not None:
        yield _allow("DecryptStream", "kms", ("Decrypt",), [needs.kms_key])


def _leases(needs: Needs, place: Place) -> Iterator[dict[str, Any]]:
    yield _tables("KeepLeases", KEEP_LEASES, [needs.lease_table], place)
    if needs.makes_tables:
        made = [needs.lease_table]
        if needs.dead_letters.kind is Kind.DYNAMODB:
            made.append(needs.dead_letters.target)
        yield _tables("MakeTables", MAKE_TABLE, made, place)


def _writes(needs: Needs, place: Place) -> Iterator[dict[str, Any]]:
    if needs.sink is not None:
        yield _tables("WriteItems", WRITE[needs.sink_mode], [needs.sink], place)


def _buries(needs: Needs, place: Place) -> Iterator[dict[str, Any]]:
    to = needs.dead_letters
    match to.kind:
        case Kind.DYNAMODB:
            yield _tables("Bury", ("BatchWriteItem", "DescribeTable"), [to.target], place)
        case Kind.SQS:
            yield _allow("Bury", "sqs", ("GetQueueAttributes", "SendMessage"), [_queue(to, place)])
        case Kind.SNS:
            yield _allow("Bury", "sns", ("GetTopicAttributes", "Publish"), [to.target])
        case Kind.S3:
            yield from _bucket("Bury", ("PutObject",), to, place)
        case _:
            assert_never(to.kind)
    if needs.spill is not None:
        yield from _bucket("Spill", ("PutObject",), needs.spill, place)


def _shows(needs: Needs, place: Place) -> Iterator[dict[str, Any]]:
    """The page's list of dead letters; queues and topics are not looked at."""
    to = needs.dead_letters
    if to.kind is Kind.DYNAMODB:
        actions = ("Query", "Scan", *(("DeleteItem",) if needs.has_token else ()))
        yield _tables("ShowDeadLetters", actions, [to.target], place)
    elif to.kind is Kind.S3:
        yield from _bucket("ShowDeadLetters", ("GetObject", *(("DeleteObject",) if needs.has_token else ())), to, place)


def _redrives(needs: Needs, place: Place) -> Iterator[dict[str, Any]]:
    to = needs.dead_letters
    match to.kind:
        case Kind.DYNAMODB:
            actions = ("BatchWriteItem", "DeleteItem", "GetItem", "Query", "Scan")
            yield _tables("Redrive", actions, [to.target], place)
        case Kind.SQS:
            actions = (
                "ChangeMessageVisibility",
                "DeleteMessage",
                "GetQueueAttributes",
                "ReceiveMessage",
                "SendMessage",
            )
            yield _allow("Redrive", "sqs", actions, [_queue(to, place)])
        case Kind.SNS:
            yield _allow("Bury", "sns", ("GetTopicAttributes", "Publish"), [to.target])
        case Kind.S3:
            yield from _bucket("Redrive", ("DeleteObject", "GetObject", "PutObject"), to, place)
        case _:
            assert_never(to.kind)
    if needs.spill is not None:
        yield from _bucket("Spill", ("DeleteObject", "GetObject", "PutObject"), needs.spill, place)


def _bucket(name: str, actions: tuple[str, ...], to: Destination, place: Place) -> Iterator[dict[str, Any]]:
    bucket = f"arn:{place.partition}:s3:::{to.target}"
    yield _allow(f"{name}Objects", "s3", actions, [f"{bucket}/{to.prefix}*"])
    yield _allow(f"{name}Bucket", "s3", ("ListBucket",), [bucket])


def _stream(needs: Needs, place: Place) -> str:
    return needs.stream if needs.stream.startswith("arn:") else place.arn("kinesis", f"stream/{needs.stream}")


def _queue(to: Destination, place: Place) -> str:
    *_, owner, name = to.target.split("/")
    account = owner if owner.isdecimal() else place.account
    return f"arn:{place.partition}:sqs:{to.region or place.region}:{account}:{name}"


def _tables(name: str, actions: tuple[str, ...], tables: list[str], place: Place) -> dict[str, Any]:
    return _allow(name, "dynamodb", actions, [place.arn("dynamodb", f"table/{table}") for table in tables])


def _allow(name: str, service: str, actions: tuple[str, ...], resources: list[str]) -> dict[str, Any]:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": resources,
    }


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
