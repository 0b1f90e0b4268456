"""The workers' record handler: an item for each record, the latest state of each key, and a line for each call.

The line is written before anything else, so the trace shows poison and repeats as well. A line is one write to a file
that is opened for appending: lines of several processes do not mix, and none is lost when its process is killed.
"""

from __future__ import annotations

import os
import time

import msgspec

from headrace import Put, Record
from headrace.core.ledger import digest_of

TRACE = "CHAOS_TRACE"
"""The environment variable that names the file."""

_encode = msgspec.json.Encoder().encode
_file = os.open(os.environ[TRACE], os.O_WRONLY | os.O_APPEND | os.O_CREAT) if TRACE in os.environ else -1
_pid = os.getpid()


def handle(record: Record) -> list[Put]:
    """Two writes; poison is no JSON, so it fails."""
    sequence = str(record.sequence_number)
    os.write(_file, _encode([time.time(), _pid, record.shard_id, sequence, record.partition_key]) + b"\n")
    payload = record.json()
    row = {
        "pk": record.partition_key,
        "key": payload["key"],
        "n": payload["n"],
        "sequenceNumber": sequence,
        "payload_digest": digest_of(record.data),
    }
    return [Put({**row, "sk": f"{record.sequence_number:056d}"}), Put({**row, "sk": "latest"})]
