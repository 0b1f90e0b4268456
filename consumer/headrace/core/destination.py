"""Where dead letters go, as it is written: `dynamodb:TABLE`, `sqs:URL`, `sns:ARN`, `s3://bucket/prefix`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

FORMS: Final = "Write dynamodb:TABLE, sqs:QUEUE-URL, sns:TOPIC-ARN or s3://bucket/prefix"

_TABLE: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
"""DynamoDB, "Naming rules"."""

_QUEUE: Final = re.compile(r"https?://[^\s/]+/(?:\d{12}/)?(?P<name>[A-Za-z0-9_-]{1,80}(?P<fifo>\.fifo)?)")
"""SQS developer guide, "Queue URLs"; local servers have hosts and ports of their own."""

_TOPIC: Final = re.compile(r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(?P<fifo>\.fifo)?")
"""SNS API reference, CreateTopic."""

_BUCKET: Final = re.compile(
    r"(?!\d+\.\d+\.\d+\.\d+(?:/|$))(?P<bucket>[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9])(?:/(?P<prefix>\S*))?"
)
"""S3 user guide, "Bucket naming rules": no two dots together, and no IP address."""

_REGION: Final = re.compile(
    r"https?://(?:[^/]*\.)?(?P<region>[a-z]{2,3}(?:-[a-z]+)+-\d)\.[^/]*(?:amazonaws\.com|api\.aws)"
)
"""In a queue's URL: `sqs.REGION.amazonaws.com`, or the older `REGION.queue.amazonaws.com`."""


class Kind(StrEnum):
    """The service."""

    DYNAMODB = "dynamodb"
    SQS = "sqs"
    SNS = "sns"
    S3 = "s3"


class NotADestination(ValueError):  # noqa: N818 - the user sees a SettingsError
    """A text that names no destination: the problem and its mend."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Destination:
    """A service and what is addressed there: a table, a queue's URL, a topic's ARN, or a bucket. `prefix` is S3's."""

    kind: Kind
    target: str
    prefix: str = ""

    @property
    def region(self) -> str | None:
        """Where a queue or topic is, as its URL or ARN says; None where nothing says so."""
        match self.kind:
            case Kind.SNS:
                return self.target.split(":")[3]
            case Kind.SQS:
                found = _REGION.match(self.target)
                return found["region"] if found else None
            case Kind.DYNAMODB | Kind.S3:
                return None
            case _:
                assert_never(self.kind)


def parse(text: str) -> Destination:
    """Raises NotADestination."""
    scheme, _, rest = text.partition(":")
    if scheme not in set(Kind):
        raise NotADestination("is not a destination", FORMS)
    kind = Kind(scheme)
    pattern = {Kind.DYNAMODB: _TABLE, Kind.SQS: _QUEUE, Kind.SNS: _TOPIC, Kind.S3: _BUCKET}[kind]
    match = pattern.fullmatch(rest.removeprefix("//") if kind is Kind.S3 and rest.startswith("//") else rest)
    if match is None or (kind is Kind.S3 and not rest.startswith("//")):
        raise NotADestination(f"does not name {_WHAT[kind]}", FORMS)
    if match.groupdict().get("fifo"):
        raise NotADestination(
            "is a FIFO queue or topic, which AWS takes for no failure destination", "Name a standard one"
        )
    if kind is Kind.S3:
        prefix = (match["prefix"] or "").strip("/")
        return Destination(kind, match["bucket"], f"{prefix}/" if prefix else "")
    return Destination(kind, rest)


_WHAT: Final = {Kind.DYNAMODB: "a table", Kind.SQS: "a queue's URL", Kind.SNS: "a topic's ARN", Kind.S3: "a bucket"}
