"""Reading a whole table, for those who judge what is in it: items as Python values instead of DynamoDB's notation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from headrace.aws.session import translated

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


async def scan(
    client: DynamoDBClient,
    table: str,
    *,
    attributes: Collection[str] = (),
    segment: int = 0,
    segments: int = 1,
) -> AsyncIterator[dict[str, Any]]:
    """Every item of a table, or of one of its `segments`, strongly consistent; only these attributes if any are named.

    Values are str, Decimal, bytes, bool, None, and lists, dicts and sets of them. One page of at most 1 MB is held at a
    time, and segments may be read in parallel (API reference, Scan). Raises Throttled, Unavailable, Denied, NotFound.
    """
    names = {f"#{number}": name for number, name in enumerate(sorted(attributes))}  # any name may be a reserved word
    request: dict[str, Any] = {
        "TableName": table,
        "ConsistentRead": True,
        "Segment": segment,
        "TotalSegments": segments,
    }
    if names:
        request |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    while True:
        with translated("dynamodb", "Scan"):
            page = await client.scan(**request)
        for item in page["Items"]:
            yield {name: python_value(value) for name, value in item.items()}
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def python_value(attribute_value: Mapping[str, Any]) -> Any:
    """One attribute value, {"N": "1.10"}, as a Python value, Decimal("1.10"). Numbers keep every digit."""
    ((kind, value),) = attribute_value.items()
    if (convert := _CONVERT.get(kind)) is None:
        raise ValueError(f"DynamoDB has a type of attribute that headrace does not know: {kind}")
    return convert(value)


def _as_it_is(value: Any) -> Any:
    return value


_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    "S": _as_it_is,
    "N": Decimal,
    "B": _as_it_is,
    "BOOL": _as_it_is,
    "NULL": lambda _: None,
    "L": lambda elements: [python_value(element) for element in elements],
    "M": lambda elements: {name: python_value(element) for name, element in elements.items()},
    "SS": set,
    "NS": lambda numbers: set(map(Decimal, numbers)),
    "BS": set,
}
"""By descriptor (API reference, AttributeValue)."""
