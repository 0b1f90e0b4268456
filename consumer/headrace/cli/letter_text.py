"""Dead letters as a table, as text and as JSON. What quotes the user's data (message, traceback) is for `show` alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.table import Table

from headrace.model import DeadLetter, Record


def as_table(letters: Sequence[DeadLetter]) -> Table:
    """One row each; a sequence number is shown by its last digits, which `show` takes."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("buried at", "shard", "sequence number", "key", "reason", "error"):
        table.add_column(title, overflow="fold")
    table.add_column("attempts", justify="right")
    for letter in letters:
        record = letter.record
        table.add_row(
            _time(letter.buried_at),
            record.shard_id.removeprefix("shardId-"),
            _position(record),
            _printable(record.partition_key),
            letter.reason,
            letter.error,
            str(letter.attempts),
        )
    return table


def as_json(letter: DeadLetter) -> str:
    """One line, without what quotes the user's data."""
    return msgspec.json.encode(_told(letter)).decode() + "\n"


def whole_as_json(letter: DeadLetter, *, payload: bool) -> str:
    """One line with everything; the payload in base64."""
    whole = _told(letter) | {
        "stream_arn": letter.stream_arn,
        "arrival": _time(letter.record.arrival),
        "bytes": len(letter.record.data),
        "message": letter.message,
        "traceback": letter.traceback,
        "handler": letter.handler,
        "request_id": letter.request_id,
        "is_function_error": letter.is_function_error,
        "worker": letter.worker,
        "epoch": letter.epoch,
        "log": [{"at": _time(one.at), "records": one.records, "error": one.error} for one in letter.log],
    }
    if payload:
        whole["payload"] = base64.b64encode(letter.record.data).decode()
    return msgspec.json.encode(whole).decode() + "\n"


def as_text(letter: DeadLetter, *, payload: bool) -> str:
    """Everything, a line for each, then the traceback, then the payload: as text where it is one, else in base64."""
    lines = [f"{name:<16} {value}" for name, value in _facts(letter) if value]
    if letter.traceback:
        lines += ["", letter.traceback.rstrip()]
    if payload:
        lines += ["", _shown(letter.record.data)]
    return "\n".join(lines) + "\n"


def _facts(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    record = letter.record
    yield "stream", letter.stream_arn or letter.stream
    yield "shard", record.shard_id
    yield "sequence number", str(record.sequence_number)
    if record.sub_sequence_number >= 0:
        yield "sub-sequence", str(record.sub_sequence_number)
    yield "partition key", _printable(record.partition_key)
    yield "arrival", _time(record.arrival)
    yield "payload", f"{len(record.data):,} bytes"
    yield "buried at", _time(letter.buried_at)
    yield "reason", letter.reason
    yield "error", letter.error
    yield "message", letter.message
    yield "attempts", str(letter.attempts)
    for one in letter.log:
        yield (
            "failed attempt",
            f"{_time(one.at)}  {one.error}" + (f", {one.records} records" if one.records > 1 else ""),
        )
    yield "handler", letter.handler
    yield "request", letter.request_id
    yield "worker", f"{letter.worker}, epoch {letter.epoch}"


def _told(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    return {
        "stream": letter.stream,
        "shard": record.shard_id,
        "sequence_number": str(record.sequence_number),
        "sub_sequence_number": record.sub_sequence_number,
        "partition_key": record.partition_key,
        "buried_at": _time(letter.buried_at),
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
    }


def _position(record: Record) -> str:
    number = str(record.sequence_number)
    digits = number if len(number) <= 16 else f"\N{HORIZONTAL ELLIPSIS}{number[-16:]}"  # noqa: PLR2004 - tells them apart
    return digits if record.sub_sequence_number < 0 else f"{digits}.{record.sub_sequence_number}"


def _time(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _printable(text: str) -> str:
    """A key may hold what moves a cursor."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def _shown(payload: bytes) -> str:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode()
    return (
        text
        if all(character.isprintable() or character in "\n\t" for character in text)
        else base64.b64encode(payload).decode()
    )
