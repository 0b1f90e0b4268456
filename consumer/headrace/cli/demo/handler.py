"""The demo's record handler: an item for each order, and the latest state of each customer.

Together they prove the demo: the first that no order was lost, the second that none overtook another of its customer.
"""

from __future__ import annotations

from typing import Any

from headrace.core.ledger import digest_of
from headrace.model import Record


def handle(record: Record) -> list[dict[str, Any]]:
    """Two writes. A poison record is no JSON, so `json()` raises: it is tried again, and given up in the end."""
    order = record.json()
    row = {
        "pk": record.partition_key,
        "order_id": order["order_id"],
        "total": order["amounts"]["total"],
        "currency": order["amounts"]["currency"],
        "lines": len(order["lines"]),
        "paid": order["paid"],
        "key": order["key"],
        "n": order["n"],
        "sequenceNumber": str(record.sequence_number),
        "payload_digest": digest_of(record.data),
    }
    return [{**row, "sk": f"order#{record.sequence_number:056d}"}, {**row, "sk": "latest"}]
