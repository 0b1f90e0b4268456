"""A whole table as Python values."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from headrace.aws.scan import python_value, scan
from headrace.errors import NotFound, Throttled

VALUES = [
    ({"S": "Zoë"}, "Zoë"),
    ({"N": "1.10"}, Decimal("1.10")),
    ({"N": "12345678901234567890123456789012345678"}, Decimal(12345678901234567890123456789012345678)),
    ({"B": b"\x00"}, b"\x00"),
    ({"BOOL": False}, False),
    ({"NULL": True}, None),
    ({"L": [{"S": "a"}, {"L": []}, {"M": {}}]}, ["a", [], {}]),
    ({"M": {"deep": {"M": {"n": {"N": "-1E+2"}}}}}, {"deep": {"n": Decimal(-100)}}),
    ({"SS": ["a", "b"]}, {"a", "b"}),
    ({"NS": ["1", "2.5"]}, {Decimal(1), Decimal("2.5")}),
    ({"BS": [b"a"]}, {b"a"}),
]


@pytest.mark.parametrize(("stored", "value"), VALUES)
def test_each_type_has_its_python_value(stored, value):
    """No digit is lost, and a number is never a float."""
    found = python_value(stored)
    assert found == value
    assert type(found) is type(value)


def test_a_type_that_nobody_knows_is_an_error():
    """Rather than a value that is silently not there."""
    with pytest.raises(ValueError, match="SDK_UNKNOWN_MEMBER"):
        python_value({"SDK_UNKNOWN_MEMBER": {"name": "X"}})


class PagedClient:
    """Answers Scan with these pages, the last one without a key to go on from."""

    def __init__(self, *pages: list[int] | Exception) -> None:
        self.pages = list(pages)
        self.requests: list[dict] = []

    async def scan(self, **request) -> dict:
        self.requests.append(request)
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        more = {"LastEvaluatedKey": {"pk": {"S": f"after {page}"}}} if self.pages else {}
        return {"Items": [{"n": {"N": str(number)}} for number in page], **more}


async def numbers(client, **options) -> list[Decimal]:
    return [item["n"] async for item in scan(client, "things", **options)]


async def test_pages_follow_each_other_to_the_end_of_the_table():
    """Empty ones too: a filter of the service's own, like a deleted range, leaves such."""
    client = PagedClient([1, 2], [], [3])
    assert await numbers(client) == [1, 2, 3]
    assert [request.get("ExclusiveStartKey") for request in client.requests] == [
        None,
        {"pk": {"S": "after [1, 2]"}},
        {"pk": {"S": "after []"}},
    ]


async def test_only_the_attributes_that_are_named_are_asked_for():
    """Under other names, for `key` and many more are reserved words."""
    client = PagedClient([1])
    await numbers(client, attributes={"key", "n"}, segment=2, segments=4)
    assert client.requests == [
        {
            "TableName": "things",
            "ConsistentRead": True,
            "Segment": 2,
            "TotalSegments": 4,
            "ProjectionExpression": "#0, #1",
            "ExpressionAttributeNames": {"#0": "key", "#1": "n"},
        }
    ]


async def test_trouble_in_the_middle_is_of_the_family():
    """What was read so far has been given out already."""
    trouble = ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "Scan")
    items = scan(PagedClient([1], trouble), "things")
    assert await anext(items) == {"n": Decimal(1)}
    with pytest.raises(Throttled):
        await anext(items)


async def test_an_error_of_the_reader_is_its_own():
    """It happens between two pages, where nothing is AWS's."""
    items = scan(PagedClient([1], [2]), "things")
    await anext(items)
    with pytest.raises(TimeoutError):
        await items.athrow(TimeoutError())


@pytest.mark.servers
async def test_a_table_is_read_whole_in_segments(ministack, aws):
    """Every item once, of every type, whatever the number of segments."""
    async with aws(ministack) as clients:
        table = f"scanned-{uuid4()}"
        await clients.dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for number, (stored, _) in enumerate(VALUES):
            await clients.dynamodb.put_item(TableName=table, Item={"key": {"S": str(number)}, "v": stored, "w": stored})
        found = {}
        for segment in range(3):
            async for item in scan(clients.dynamodb, table, attributes=["key", "v"], segment=segment, segments=3):
                assert item.keys() == {"key", "v"}
                assert item["key"] not in found
                found[item["key"]] = item["v"]
        assert found == {str(number): value for number, (_, value) in enumerate(VALUES)}
        with pytest.raises(NotFound):
            await anext(scan(clients.dynamodb, "no-such-table"))
