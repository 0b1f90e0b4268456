"""The order and the repeats of dead-letter writes, against a client that plays along."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.aws.dead_letters import PART_BYTES, REQUEST_BYTES, DeadLetterTable
from headrace.errors import Unavailable
from headrace.model import DeadLetter, Record, WorkerId

pytestmark = pytest.mark.looptime

TABLE = "buried"


class Client:
    """Keeps what it is sent; leaves the last `undone[n]` rows of request n unprocessed."""

    def __init__(self, *undone: int) -> None:
        self.undone = list(undone)
        self.requests: list[list[dict[str, Any]]] = []

    async def batch_write_item(self, RequestItems):  # noqa: N803 - botocore's name
        rows = RequestItems[TABLE]
        self.requests.append([row["PutRequest"]["Item"] for row in rows])
        left = rows[len(rows) - (self.undone.pop(0) if self.undone else 0) :]
        return {"UnprocessedItems": {TABLE: left} if left else {}}

    def keys(self) -> list[list[str]]:
        return [[row["sk"]["S"] for row in request] for request in self.requests]


def letter(number: int, size: int = 10) -> DeadLetter:
    record = Record(bytes(size), "key", number, 1.0, "shardId-000000000000")
    return DeadLetter("orders", record, "Rejected", "", "no", 1, datetime(2026, 1, 1, tzinfo=UTC), WorkerId("w"), 1)


async def test_the_parts_of_a_large_payload_are_written_before_the_head_that_counts_them():
    """A reader that finds a head finds the whole payload."""
    client = Client()
    await DeadLetterTable(client, TABLE).bury([letter(1, 3 * PART_BYTES), letter(2)])
    assert client.keys() == [["0011/part-0001", "0011/part-0002"], ["0011/part-0003"], ["0011", "0012"]]
    assert client.requests[-1][0]["parts"] == {"N": "3"}


async def test_rows_left_unprocessed_are_an_error_and_no_head_is_written_before_its_parts():
    """Whoever buries tries again with the whole letter: it writes the same rows."""
    client = Client(1)
    table = DeadLetterTable(client, TABLE)

    with pytest.raises(Unavailable, match="1 of 2 rows left unprocessed"):
        await table.bury([letter(1, 2 * PART_BYTES)])
    assert client.keys() == [["0011/part-0001", "0011/part-0002"]]
    await table.bury([letter(1, 2 * PART_BYTES)])

    assert client.keys()[1:] == [["0011/part-0001", "0011/part-0002"], ["0011"]]


async def test_the_first_record_of_an_aggregate_has_a_row_of_its_own():
    """Its key differs from that of a plain record with the same sequence number."""
    client = Client()
    inside = letter(1)
    inside.record.sub_sequence_number = 0
    await DeadLetterTable(client, TABLE).bury([letter(1), inside])

    assert client.keys() == [["0011", "0011.00000000"]]


async def test_one_record_twice_in_a_burial_is_one_row():
    """BatchWriteItem refuses a request that names a key twice."""
    client = Client()
    await DeadLetterTable(client, TABLE).bury([letter(1), letter(1), letter(2)])
    assert client.keys() == [["0011", "0012"]]


async def test_a_request_stays_within_25_rows_and_the_size_that_does_not_hold_the_loop():
    """60 rows of 40 KB."""
    client = Client()
    await DeadLetterTable(client, TABLE).bury([letter(number, 40_000) for number in range(1, 31)])
    await DeadLetterTable(client, TABLE).bury([letter(number) for number in range(1, 31)])
    sizes = [sum(len(row["payload"]["B"]) for row in request) for request in client.requests]
    assert max(sizes) <= REQUEST_BYTES
    assert [len(request) for request in client.requests] == [17, 13, 25, 5]
