"""What becomes of each field of a Lambda event source mapping: one function each, in the order of the settings.

Names, ranges and defaults are those of the Lambda API reference (EventSourceMappingConfiguration). A field that is absent or
null has the mapping's default, not headrace's, so that a file made from an old or sparse answer means what the mapping did.
Every function raises Unfit for a value that cannot be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from headrace.core.filters import FilterPatternError, compile_filters
from headrace.settings.esm import arns
from headrace.settings.model import Path
from headrace.settings.units import Unfit, start_position, written

Toml: TypeAlias = str | int | bool | tuple[str, ...]
Document: TypeAlias = Mapping[str, Any]

NO_LIMIT: Final = -1

_OLD_NO_RETRY_LIMIT: Final = 10_000
_OLD_NO_AGE_LIMIT: Final = 604_800
"""How older answers of AWS showed "no limit" (Lambda developer guide of 2022)."""

_SHORTEST_APPLICATION: Final = 3
"""DynamoDB, "Naming rules": the application names tables."""

_AS_PRINTED: Final = "Take the document as AWS prints it"


@dataclass(frozen=True, slots=True)
class Line:
    """A field with its value in the mapping, the setting that it becomes (None: nothing is needed), and why.

    `becomes` is the setting's value, or None where headrace's own default stands and the file only tells so.
    `instead` says what to do where this version of headrace does not take the setting.
    """

    field: str
    value: object
    setting: Path | None = None
    becomes: Toml | None = None
    remark: str = ""
    instead: str = ""


Take: TypeAlias = Callable[[str, Any, Document], Iterator[Line]]
"""From a field's name, its value (None: absent) and the whole document to lines."""


def _source(field: str, value: Any, _: Document) -> Iterator[Line]:
    found = arns.source(_text(value))
    yield Line(field, value, ("stream", "name"), found.arn, f"run it with AWS_REGION={found.region}")
    if found.consumer is not None:
        remark = f"the mapping reads through the consumer {found.consumer} (enhanced fan-out); headrace registers one of its own"
        instead = "Put the stream's ARN in its place to poll the stream"
        yield Line(field, value, ("stream", "consumer"), "fan-out", remark, instead)


def _function(field: str, value: Any, _: Document) -> Iterator[Line]:
    found = arns.function(_text(value))
    application = found.name if len(found.name) >= _SHORTEST_APPLICATION else f"{found.name}-consumer"
    yield Line(field, value, ("application",), application, "named after the function; it names the tables")
    version = f"; deploy the code of {found.qualifier}" if found.qualifier else ""
    yield Line(field, value, ("handler_kind",), "lambda", f"called with event and context as before{version}")
    remark = "what context.function_name and AWS_LAMBDA_FUNCTION_NAME say; idempotency keys may depend on it"
    yield Line(field, value, ("handler_name",), found.name, remark)


def _position(field: str, value: Any, document: Document) -> Iterator[Line]:
    setting = ("stream", "starting_position")
    caution = "the mapping's own position cannot be read: to go on where it ends, put an instant before it here"
    match value:
        case None:
            yield Line(field, None, setting, "TRIM_HORIZON", f"not in the document; {caution}")
        case "TRIM_HORIZON":
            yield Line(field, value, setting, value, f"reads again all that the stream still has; {caution}")
        case "LATEST":
            yield Line(field, value, setting, value, f"loses what arrives before the first start; {caution}")
        case "AT_TIMESTAMP":
            instant = _instant(document.get("StartingPositionTimestamp"))
            yield Line(field, value, setting, instant, f"with StartingPositionTimestamp; {caution}")
        case _:
            raise Unfit("is not a starting position", "Set TRIM_HORIZON, LATEST or AT_TIMESTAMP")


def _instant(value: Any) -> str:
    """An instant as AWS tools print it (epoch seconds, or ISO 8601), as the setting is written."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return written(start_position(datetime.fromtimestamp(value, UTC).isoformat()))
        return written(start_position(_text(value)))
    except (ValueError, OverflowError, OSError):
        mend = "Write it like 2026-01-31T08:00:00Z, or set StartingPosition to TRIM_HORIZON"
        raise Unfit("comes without a StartingPositionTimestamp that is an instant", mend) from None


def _position_timestamp(field: str, value: Any, document: Document) -> Iterator[Line]:
    if value is not None:
        is_used = document.get("StartingPosition") == "AT_TIMESTAMP"
        yield Line(
            field, value, None, None, "see StartingPosition" if is_used else "has no meaning without AT_TIMESTAMP"
        )


def _whole(setting: Path, default: int, remark: str = "") -> Take:
    def take(field: str, value: Any, _: Document) -> Iterator[Line]:
        number = _number(value, default)
        yield Line(field, value, setting, number, "" if number == default else remark)

    return take


def _seconds(setting: Path, remark: str = "") -> Take:
    def take(field: str, value: Any, _: Document) -> Iterator[Line]:
        seconds = _number(value, 0)
        yield Line(field, value, setting, _duration(seconds), remark if seconds else "")

    return take


def _attempts(field: str, value: Any, _: Document) -> Iterator[Line]:
    count = _number(value, NO_LIMIT)
    remark = {
        NO_LIMIT: "no limit: one record that always fails stops its shard until it expires; 5 would bury it",
        _OLD_NO_RETRY_LIMIT: "older answers of AWS say 10000 for no limit: one record that always fails then stops its shard",
    }
    yield Line(field, value, ("retry", "maximum_attempts"), count, remark.get(count, f"{1 + count} calls in all, as before"))  # fmt: skip


def _age(field: str, value: Any, _: Document) -> Iterator[Line]:
    age = _number(value, NO_LIMIT)
    remark = "older answers of AWS say 604800 for no limit" if age == _OLD_NO_AGE_LIMIT else ""
    yield Line(field, value, ("retry", "maximum_record_age"), NO_LIMIT if age == NO_LIMIT else _duration(age), remark)


def _bisect(field: str, value: Any, _: Document) -> Iterator[Line]:
    if value is not None and not isinstance(value, bool):
        raise Unfit("is neither true nor false", "Write true or false")
    remark = (
        "" if value else "a batch with a record that always fails is buried whole; true would bury that record alone"
    )
    yield Line(field, value, ("retry", "bisect"), bool(value), remark)


def _response_types(field: str, value: Any, _: Document) -> Iterator[Line]:
    if value not in (None, [], ["ReportBatchItemFailures"]):
        raise Unfit("is not known", 'Write ["ReportBatchItemFailures"] or []')
    remark = "the answer names the records that failed" if value else "nobody looks at the answer, as before"
    yield Line(field, value, ("retry", "report_batch_item_failures"), "true" if value else "false", remark)


def _filters(field: str, value: Any, document: Document) -> Iterator[Line]:
    if error := document.get("FilterCriteriaError"):
        raise Unfit(f"could not be decrypted ({_code(error)})", _DECRYPT)
    if value is None and document.get("KMSKeyArn"):
        raise Unfit("is encrypted with KMSKeyArn, and the document does not show it", _DECRYPT)
    patterns = tuple(_patterns({} if value is None else value))
    if patterns:
        remark = "what is no JSON is dropped, as before, but counted (filter.non_json)"
        yield Line(field, value, ("filter", "patterns"), patterns, remark)
    elif value is not None:
        yield Line(field, value, None, None, "no filters")


_DECRYPT: Final = "Get the mapping with get-event-source-mapping and a role that may kms:Decrypt with its key"


def _code(error: Any) -> str:
    code = error.get("ErrorCode") if isinstance(error, dict) else None
    return code if isinstance(code, str) and code else "FilterCriteriaError"


def _patterns(criteria: Any) -> Iterator[str]:
    filters = criteria.get("Filters") or [] if isinstance(criteria, dict) else None
    if not isinstance(filters, list):
        raise Unfit("is no object with a list of Filters", _AS_PRINTED)
    for place, one in enumerate(filters):
        pattern = one.get("Pattern") if isinstance(one, dict) else None
        if not isinstance(pattern, str):
            raise Unfit(f"Filters[{place}] has no Pattern", _AS_PRINTED)
        yield pattern
    try:
        compile_filters([one["Pattern"] for one in filters], "drop")
    except FilterPatternError as error:
        raise Unfit(_printable(f"{error.at}: {error.problem}"), _printable(error.mend)) from error


def _printable(text: str) -> str:
    """Text that is safe on a terminal; keys of a pattern may be anything."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _destinations(field: str, value: Any, _: Document) -> Iterator[Line]:
    if value is not None and not isinstance(value, dict):
        raise Unfit("is no object", _AS_PRINTED)
    config = value or {}
    setting = ("dead_letters", "destination")
    if _target(config, "OnSuccess"):
        raise Unfit("has an OnSuccess destination, which no mapping of a stream has", "Remove OnSuccess")
    if not (target := _target(config, "OnFailure")):
        remark = "none: AWS discards what it gives up; headrace keeps it, in dynamodb:<application>-dead-letters"
        yield Line(field, value, setting, None, remark)
        return
    place = arns.destination(target)
    remark = "the document as before, with payload, error and attempts"
    cut = "" if place.startswith("s3:") else "; a payload too large for a message is cut unless dead_letters.spill names a bucket"  # fmt: skip
    yield Line(f"{field}.OnFailure.Destination", target, setting, place, remark + cut)


def _target(config: Document, name: str) -> str:
    target = config.get(name) or {}
    if not isinstance(target, dict) or not isinstance(target.get("Destination") or "", str):
        raise Unfit(f"has no text as {name}.Destination", _AS_PRINTED)
    return target.get("Destination") or ""


def _not_needed(remark: str) -> Take:
    def take(field: str, value: Any, _: Document) -> Iterator[Line]:
        if value not in (None, ""):
            yield Line(field, value, None, None, remark)

    return take


TAKES: Final[dict[str, Take]] = {
    "FunctionArn": _function,
    "EventSourceArn": _source,
    "StartingPosition": _position,
    "StartingPositionTimestamp": _position_timestamp,
    "BatchSize": _whole(("batch", "size"), 100),
    "MaximumBatchingWindowInSeconds": _seconds(("batch", "window"), "counted from a batch's first record on"),
    "ParallelizationFactor": _whole(
        ("batch", "parallelization_factor"), 1, "lanes of a shard; order per partition key"
    ),
    "TumblingWindowInSeconds": _seconds(("batch", "tumbling_window"), "the state outlives restarts and takeovers"),
    "FilterCriteria": _filters,
    "MaximumRetryAttempts": _attempts,
    "MaximumRecordAgeInSeconds": _age,
    "BisectBatchOnFunctionError": _bisect,
    "FunctionResponseTypes": _response_types,
    "DestinationConfig": _destinations,
    "KMSKeyArn": _not_needed("it encrypts the filters; they stand in the file as they are"),
    "FilterCriteriaError": _not_needed("see FilterCriteria"),
    "MetricsConfig": _not_needed("every metric is on"),
    "State": _not_needed("disable the mapping before the first start: update-event-source-mapping --no-enabled"),
    "Enabled": _not_needed("disable the mapping before the first start: update-event-source-mapping --no-enabled"),
    "StateTransitionReason": _not_needed("tells of the mapping's past"),
    "LastModified": _not_needed("tells of the mapping's past"),
    "LastProcessingResult": _not_needed("tells of the mapping's past"),
    "UUID": _not_needed("names the mapping"),
    "EventSourceMappingArn": _not_needed("names the mapping"),
    "ResponseMetadata": _not_needed("is of the call that read the mapping"),
}
"""Every field of a Kinesis mapping."""

OTHER_SOURCES: Final = frozenset(
    {
        "AmazonManagedKafkaEventSourceConfig",
        "DocumentDBEventSourceConfig",
        "LoggingConfig",
        "ProvisionedPollerConfig",
        "Queues",
        "ScalingConfig",
        "SelfManagedEventSource",
        "SelfManagedKafkaEventSourceConfig",
        "SourceAccessConfigurations",
        "Topics",
    }
)
"""Fields of mappings whose source is not a Kinesis stream."""


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise Unfit("is missing" if value in (None, "") else "is not a text", _AS_PRINTED)


def _number(value: Any, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Unfit("is not a whole number", "Write a whole number")


def _duration(seconds: int) -> str:
    if seconds < 0:
        raise Unfit("is below zero", "Write a number of seconds")
    try:
        return written(timedelta(seconds=seconds))
    except OverflowError:
        raise Unfit("is out of range", "Write a number of seconds as AWS prints it") from None
