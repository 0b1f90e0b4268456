"""The producer's ledger, as text: what a stream acknowledged, in the order in which it did.

JSON Lines. The first line is an object that says where the records went and what made them (`Header`). Every other line
is an array, one for each acknowledged record (`Acknowledged`):

    ["shardId-000000000002","49651...906","device-000017",3,false,412,"9f2c41d0a7be3355"]

shard, sequence number (as text: it has 56 digits), partition key, n (the record's place within its key, from 1), whether
it is poison, size of the payload in bytes, and the first 16 hexadecimal digits of the payload's SHA-256. A last line that
was cut off by a crash is no record: nothing was counted before its line was whole.

Of a record inside an aggregate of the Kinesis Producer Library an eighth field tells its sub-sequence number, from 0; all
of one aggregate share the sequence number. A ledger that may have such lines is of format 2, any other of format 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

FORMAT: Final = 1
FORMAT_WITH_AGGREGATES: Final = 2
DIGEST_DIGITS: Final = 16
"""64 bits tell a damaged payload from the right one; they are no protection against a forger."""


class Position(NamedTuple):
    """Of a record in the stream; the second number is -1 for a record that is in no aggregate."""

    sequence_number: int
    sub_sequence_number: int = -1


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. `shape` is the workload with everything that decides its records."""

    format: int = FORMAT
    stream: str
    shape: dict[str, str | int | float] = {}


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line: a record that the stream has."""

    shard: str
    sequence_text: str
    key: str
    n: int
    poison: bool
    size: int
    digest: str
    sub_sequence_number: int = -1

    @property
    def sequence_number(self) -> int:
        """The sequence number, for comparing."""
        return int(self.sequence_text)

    @property
    def position(self) -> Position:
        """What tells the record from all others of the stream, and orders those of a key."""
        return Position(self.sequence_number, self.sub_sequence_number)


class LedgerError(ValueError):
    """The ledger cannot be read. The message names the line."""


_header = msgspec.json.Decoder(Header)
_line = msgspec.json.Decoder(Acknowledged)


def digest_of(data: bytes) -> str:
    """What the ledger keeps of a payload."""
    return sha256(data).hexdigest()[:DIGEST_DIGITS]


def read_header(line: bytes) -> Header:
    """The first line. Raises LedgerError when it is none of a ledger's, or of one that is newer than this program."""
    try:
        header = _header.decode(line)
    except msgspec.DecodeError as error:
        raise LedgerError(f"line 1 is not a ledger's first line: {error}") from error
    if header.format not in {FORMAT, FORMAT_WITH_AGGREGATES}:
        raise LedgerError(f"its format is {header.format}; this version reads up to {FORMAT_WITH_AGGREGATES}")
    return header


def read_records(lines: Iterable[bytes]) -> Iterator[Acknowledged]:
    """The records, from the second line on; a last line without its end is left out. Raises LedgerError."""
    for number, line in enumerate(lines, start=2):
        if not line.endswith(b"\n"):
            return
        try:
            yield _line.decode(line)
        except msgspec.DecodeError as error:
            raise LedgerError(f"line {number} is not a record of a ledger: {error}") from error
