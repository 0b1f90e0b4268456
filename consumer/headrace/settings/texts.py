"""Checks of settings that are texts: names of tables, streams and workers, destinations, filter patterns."""

from __future__ import annotations

import os
import re
from typing import Final

import msgspec

from headrace.core.destination import NotADestination, parse
from headrace.core.filters import FilterPatternError, compile_filters
from headrace.settings.units import Unfit

_TABLE: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
"""DynamoDB, "Naming rules"."""

_STREAM: Final = re.compile(
    r"[A-Za-z0-9_.-]{1,128}|arn:[a-z0-9-]+:kinesis:[a-z0-9-]+:\d{12}:stream/[A-Za-z0-9_.-]{1,128}"
)
"""Kinesis API reference, CreateStream and StreamARN."""

_CONSUMER: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""Kinesis API reference, RegisterStreamConsumer."""

_WORKER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""Printable without quoting in a table row, a log line and a label."""


def text(value: object) -> str:
    """Text without surrounding blanks; never empty."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise Unfit("is not a text", "Give it a value, or leave it out")


def or_none(value: object) -> object:
    """None for the word `none` or nothing; anything else as it is."""
    return None if isinstance(value, str) and value.strip().lower() in {"", "none"} else value


def optional_text(value: object) -> str | None:
    """Text, or None for the word `none`."""
    given = or_none(value)
    return None if given is None else text(given)


def table_name(value: object) -> str:
    """The name of a DynamoDB table."""
    return _matching(_TABLE, value, "is not a table name", "Use 3 to 255 letters, digits, '_', '-' and '.'")


REQUIRED: Final = object()
"""Stands for a value that is required by what other settings say."""


def sink_table(value: object) -> str | None:
    """The name of a table, or None for the word `none`."""
    if value is REQUIRED:
        raise Unfit("is required", "")
    given = or_none(value)
    return None if given is None else table_name(given)


MOST_PROCESSES: Final = 256


def processes(value: object) -> int:
    """A number of processes; 0 stands for one for each processor."""
    given = str(value).strip().lower()
    if given == "auto":
        return 0
    if given.isascii() and given.isdigit() and int(given) <= MOST_PROCESSES:
        return int(given)
    raise Unfit("is no number of processes", f"Write 1 to {MOST_PROCESSES}, or auto")


def application(value: object) -> str:
    """The consumer group; it names the tables, so it must be good for a table name with a suffix."""
    mend = "Use 3 to 200 letters, digits, '_', '-' and '.': it names the lease table"
    name = _matching(_TABLE, value, "is not a good name for an application", mend)
    if len(name) > 200:  # noqa: PLR2004 - leaves room for suffixes in DynamoDB's 255
        raise Unfit("is too long", mend)
    return name


def stream_name(value: object) -> str:
    """The name or ARN of a stream."""
    return _matching(_STREAM, value, "is neither a stream name nor a stream ARN", "Use the stream's name, or arn:aws:kinesis:REGION:ACCOUNT:stream/NAME")  # fmt: skip


def consumer_name(value: object) -> str:
    """The name of a stream consumer (Kinesis API reference, RegisterStreamConsumer)."""
    mend = "Use 1 to 128 letters, digits, '_', '-' and '.'"
    return _matching(_CONSUMER, value, "is not a name for a stream consumer", mend)


SHORTEST_SECRET: Final = 16
"""Characters; fewer can be guessed over the network."""


def secret(value: object) -> str | None:
    """A text that is hard to guess and that a header can carry, or None for the word `none`."""
    given = optional_text(value)
    if given is None:
        return None
    mend = "Take what `openssl rand -hex 24` prints"
    if len(given) < SHORTEST_SECRET:
        raise Unfit(f"is shorter than {SHORTEST_SECRET} characters", mend)
    if not (given.isascii() and given.isprintable()):
        raise Unfit("holds what a header cannot carry", mend)
    return given


def worker_id(value: object) -> str:
    """The name of a worker."""
    return _matching(_WORKER, value, "is not a worker id", "Use 1 to 128 letters, digits, '_', '.', ':' and '-'")


def fresh_worker_id() -> str:
    """Host name and a random part: unique in the fleet, and readable."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", os.uname().nodename) or "worker"
    return f"{host[:100]}-{os.urandom(4).hex()}"


def destination(value: object) -> str:
    """Where dead letters go."""
    given = text(value)
    try:
        parse(given)
    except NotADestination as error:
        raise Unfit(error.problem, error.mend) from error
    return given


def bucket_or_none(value: object) -> str | None:
    """A place in S3, or None for the word `none`."""
    given = optional_text(value)
    if given is not None and not given.startswith("s3://"):
        raise Unfit("is no place in S3", "Write s3://bucket/prefix")
    return None if given is None else destination(given)


def filter_patterns(value: object) -> tuple[str, ...]:
    """One filter pattern, a JSON array of them, or a list of them as text; all are compiled once, to see that they can."""
    patterns = _patterns(value)
    try:
        compile_filters(patterns, "drop")
    except FilterPatternError as error:
        raise Unfit(f"{error.at}: {error.problem}", error.mend) from error
    return patterns


def _patterns(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(str(pattern) for pattern in value)
    given = text(value)
    if given.lower() == "none":
        return ()
    if not given.startswith("["):
        return (given,)
    try:
        return tuple(bytes(raw).decode() for raw in msgspec.json.decode(given, type=list[msgspec.Raw]))
    except msgspec.DecodeError as error:
        raise Unfit(
            f"is no JSON array of patterns: {error}", 'Write {"data": {...}} or [{"data": ...}, ...]'
        ) from error


def _matching(pattern: re.Pattern[str], value: object, problem: str, mend: str) -> str:
    given = value.strip() if isinstance(value, str) else ""
    if pattern.fullmatch(given):
        return given
    raise Unfit(problem, mend)
