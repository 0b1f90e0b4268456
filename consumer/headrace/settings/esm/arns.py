"""What the ARNs of a mapping name: its stream, its function, its on-failure destination. Raises Unfit for any other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from headrace.settings.units import Unfit

_ARN: Final = re.compile(r"arn:(?P<partition>[a-z0-9-]+):(?P<service>[a-z0-9-]+):(?P<region>[a-z0-9-]*):(?P<account>\d*):(?P<name>.+)", re.DOTALL)  # fmt: skip
_STREAM: Final = re.compile(r"stream/[A-Za-z0-9_.-]{1,128}")
_CONSUMER: Final = re.compile(
    r"(?P<stream>stream/[A-Za-z0-9_.-]{1,128})/consumer/(?P<consumer>[A-Za-z0-9_.-]{1,128}):\d+"
)
_FUNCTION: Final = re.compile(r"function:(?P<name>[A-Za-z0-9_-]{1,140})(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?")
_QUEUE: Final = re.compile(r"[A-Za-z0-9_-]{1,80}(\.fifo)?")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_SOURCES: Final = {
    "sqs": "an SQS queue",
    "dynamodb": "a DynamoDB stream",
    "kafka": "an MSK cluster",
    "mq": "an Amazon MQ broker",
    "rds": "a DocumentDB cluster",
}
"""Other sources of event source mappings (Lambda API reference, CreateEventSourceMapping, EventSourceArn)."""

_DNS_SUFFIX: Final = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}
"""botocore's endpoints.json."""


@dataclass(frozen=True, slots=True)
class Source:
    """The stream a mapping reads; `consumer` names its enhanced fan-out consumer, if it reads through one."""

    arn: str
    region: str
    consumer: str | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """The function a mapping calls."""

    name: str
    qualifier: str | None = None


def source(arn: str) -> Source:
    """The stream or stream consumer behind an EventSourceArn."""
    parts = _parts(arn)
    if parts["service"] != "kinesis":
        what = _SOURCES.get(parts["service"], f"of {parts['service']}")
        raise Unfit(f"is {what}, and headrace reads Kinesis streams only", "Take a mapping of a Kinesis stream")
    if not re.fullmatch(r"\d{12}", parts["account"]) or not parts["region"]:
        raise Unfit("has no region or account", "Take the document as AWS prints it")
    if _STREAM.fullmatch(parts["name"]):
        return Source(arn, parts["region"])
    if found := _CONSUMER.fullmatch(parts["name"]):
        return Source(arn[: arn.index("/consumer/")], parts["region"], found["consumer"])
    raise Unfit("is neither a stream nor a stream consumer", "Take the document as AWS prints it")


def function(arn: str) -> Function:
    """The function behind a FunctionArn."""
    parts = _parts(arn)
    found = _FUNCTION.fullmatch(parts["name"])
    if parts["service"] != "lambda" or not found:
        raise Unfit("is no function", "Take the document as AWS prints it")
    return Function(found["name"], found["qualifier"])


def destination(target: str) -> str:
    """An OnFailure destination as `dead_letters.destination` writes it."""
    if target.startswith("kafka://"):
        mend = (
            "Put the ARN of an SQS queue, SNS topic or S3 bucket in its place, or remove it: a DynamoDB table is used"
        )
        raise Unfit("is a Kafka topic, and headrace sends no dead letters there", mend)
    parts = _parts(target)
    match parts["service"]:
        case "sqs" if _QUEUE.fullmatch(parts["name"]):
            return f"sqs:{_queue_url(parts)}"
        case "sns":
            return f"sns:{target}"
        case "s3" if _BUCKET.fullmatch(parts["name"]):
            return f"s3://{parts['name']}"
    raise Unfit("is neither a queue, a topic nor a bucket", "Put the ARN of an SQS queue, SNS topic or S3 bucket in its place, or remove it")  # fmt: skip


def _queue_url(parts: dict[str, str]) -> str:
    suffix = _DNS_SUFFIX.get(parts["partition"])
    if suffix is None:
        raise Unfit(f"is in a partition that is not known, {parts['partition']}", "Remove it, and set dead_letters.destination by hand")  # fmt: skip
    return f"https://sqs.{parts['region']}.{suffix}/{parts['account']}/{parts['name']}"


def _parts(arn: str) -> dict[str, str]:
    found = _ARN.fullmatch(arn)
    if not found:
        raise Unfit("is no ARN", "Take the document as AWS prints it")
    return found.groupdict()
