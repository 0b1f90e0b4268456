"""Handlers that a user would write for the benchmark's records: each makes the items that settings alone make of them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from headrace import Record


def of_record(record: Record) -> dict[str, Any]:
    """One record to its item."""
    item: dict[str, Any] = record.json()
    item["pk"] = item["device_id"]
    item["sk"] = item["reading_id"]
    item["sequenceNumber"] = str(record.sequence_number)
    arrival = record.arrival.astimezone(UTC).isoformat(timespec="milliseconds")
    item["approximateArrivalTimestamp"] = arrival.replace("+00:00", "Z")
    return item


async def of_record_async(record: Record) -> dict[str, Any]:
    """The same as a coroutine, which has nothing to wait for."""
    return of_record(record)


def of_batch(batch: list[Record]) -> list[dict[str, Any]]:
    """A batch to its items."""
    return [of_record(record) for record in batch]


class _Seen:
    """Tells the benchmark's server which records came, since a Lambda handler's own writes are its own."""

    def __init__(self) -> None:
        self._server = http.client.HTTPConnection(urlsplit(os.environ["AWS_ENDPOINT_URL_KINESIS"]).netloc, timeout=30)

    def tell(self, names: list[str]) -> None:
        self._server.request("POST", "/seen", ",".join(name.removeprefix("r") for name in names))
        with contextlib.closing(self._server.getresponse()) as answer:
            answer.read()


_seen: list[_Seen] = []


def of_event(event: dict[str, Any], context: Any) -> None:  # noqa: ARG001 - Lambda's signature
    """A Lambda handler that reads every record of its event."""
    readings = [json.loads(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]]
    if not _seen:
        _seen.append(_Seen())
    _seen[0].tell([reading["reading_id"] for reading in readings])
