"""Writes the ledger: what the stream acknowledged, whole lines, on their way to the disk before they are counted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from headrace.core.ledger import Header, digest_of
from headrace.errors import SettingsError
from headrace_producer.put import Keeper, Placed
from headrace_producer.workload import Draft

_encoder = msgspec.json.Encoder()


class FileLedger:
    """A ledger in a file. Each `record` is one write to the system: a killed producer loses nothing that it counted."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._write(_encoder.encode(header) + b"\n")

    def record(self, acknowledged: Sequence[tuple[Draft, Placed]]) -> None:
        """Add records. Raises OSError when the disk is full or gone."""
        self._write(_encoder.encode_lines([_line(draft, placed) for draft, placed in acknowledged]))

    def _write(self, lines: bytes) -> None:
        self._file.write(lines)
        self._file.flush()


class NoLedger:
    """Keeps nothing."""

    def record(self, acknowledged: Sequence[tuple[Draft, Placed]]) -> None:
        """Forget them."""


def _line(draft: Draft, placed: Placed) -> tuple[str | int | bool, ...]:
    """The fields of `core.ledger.Acknowledged`; the last only for a record in an aggregate."""
    shard, number, sub = placed
    line = (shard, number, draft.key, draft.n, draft.poison, len(draft.data), digest_of(draft.data))
    return line if sub < 0 else (*line, sub)


@contextmanager
def open_ledger(path: Path | None, header: Header) -> Iterator[Keeper]:
    """A new ledger at `path`, on the disk when the context ends; one that forgets when there is no path.

    Raises SettingsError when the file is there already (a ledger is a proof, never overwritten) or cannot be made.
    """
    if path is None:
        yield NoLedger()
        return
    with _create(path) as file:
        try:
            yield FileLedger(file, header)
        finally:
            os.fsync(file.fileno())


def _create(path: Path) -> BinaryIO:
    try:
        return path.open("xb")
    except FileExistsError as error:
        raise SettingsError("--ledger", str(path), "exists already", "Name another file, or remove it") from error
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        raise SettingsError("--ledger", str(path), problem, "Name a file that can") from error
