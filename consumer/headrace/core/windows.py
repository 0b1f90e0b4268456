"""Tumbling windows of one shard: a state that a Lambda handler carries from call to call, and a last call for each window.

A record belongs to a window by its arrival time. Calls for a window get its bounds and the state that the call before
returned; when the window is over, one call more says so (`isFinalInvokeForWindow`), and the state is dropped. The shapes
are AWS's (developer guide, "Tumbling windows"). What AWS leaves open or does worse is decided here:

- a window is over when a record of a later one comes, or once the shard was read up to GRACE_S past its end;
- a record that comes when its window is over counts into the window that is open, or into the next: none is opened twice;
- the state stands beside the checkpoint, written with it in one transaction: a restart or a takeover goes on with the
  state that belongs to the position it goes on from. AWS keeps it in memory only;
- at the end of a shard its window gets its last call, early or not, and the children begin windows of their own;
- a state above LARGEST_STATE ends the window early (`isWindowTerminatedEarly`), as in AWS, and the next state is empty.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from headrace.model import Checkpoint, Record, ShardId, WindowCall, WorkerId
from headrace.rows import Key, PutRow, Row, Value

GRACE_S: Final = 2.0
"""A record may be read a while after its arrival time (Kinesis documents about 200 ms of propagation)."""

LARGEST_STATE: Final = 1_000_000
"""Bytes of JSON (developer guide: 1 MB per shard)."""

LARGEST_STORED: Final = 300_000
"""Bytes of the stored form, compressed: an item may have 400 KB (DynamoDB quotas)."""


@dataclass(frozen=True, slots=True)
class Open:
    """A window that had its first call or will have it: where it begins (epoch seconds) and the state so far."""

    start_s: int
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """What has to be known of a shard's windows to go on from a position: the one that is open, and up to where all are over."""

    open: Open | None = None
    over_up_to_s: int = 0

    def stored(self) -> str:
        """As text, compressed."""
        content = msgspec.json.encode([self.over_up_to_s, self.open and [self.open.start_s, self.open.state]])
        return base64.b64encode(zlib.compress(content)).decode()

    @classmethod
    def restored(cls, text: str) -> Kept:
        """The inverse of `stored`."""
        over, opened = msgspec.json.decode(zlib.decompress(base64.b64decode(text)))
        return cls(None if opened is None else Open(*opened), over)


class Windows:
    """The windows of one shard, one open at a time."""

    def __init__(self, shard: ShardId, length_s: int) -> None:
        self._shard = shard
        self._length_s = length_s
        self._kept = Kept()
        self._stored: str | None = None
        self._is_overfull: bool | None = None

    @property
    def kept(self) -> Kept:
        """What has to be known to go on."""
        return self._kept

    @kept.setter
    def kept(self, kept: Kept) -> None:
        self._kept = kept
        self._stored = self._is_overfull = None

    @property
    def stored(self) -> str:
        """The same as text; made once for each state, which may be large."""
        if self._stored is None:
            self._stored = self._kept.stored()
        return self._stored

    def start_of(self, record: Record) -> int:
        """Where the window begins that a record counts into."""
        own = int(record.arrival_s // self._length_s) * self._length_s
        return max(own, self.kept.over_up_to_s if self.kept.open is None else self.kept.open.start_s)

    def is_over(self, read_up_to_s: float) -> bool:
        """Whether no record of the open window can come any more, as far as reading up to this time of day tells."""
        return self.kept.open is not None and read_up_to_s >= self.kept.open.start_s + self._length_s + GRACE_S

    @property
    def is_overfull(self) -> bool:
        """Whether the state is too large to be carried on; found out once for each."""
        if self._is_overfull is None:
            opened = self._kept.open
            large = opened is not None and len(msgspec.json.encode(opened.state)) > LARGEST_STATE
            self._is_overfull = large or (opened is not None and len(self.stored) > LARGEST_STORED)
        return self._is_overfull

    def begin(self, start_s: int) -> None:
        """Open a window with an empty state."""
        self.kept = replace(self.kept, open=Open(start_s, {}))

    def carry(self, state: Mapping[str, Any]) -> None:
        """A call for the open window returned this state."""
        if self.kept.open is not None:
            self.kept = replace(self.kept, open=replace(self.kept.open, state=state))

    def end(self, *, early: bool) -> None:
        """The last call succeeded. One that was early leaves the window open to further records, with an empty state."""
        if self.kept.open is None:
            return
        start_s = self.kept.open.start_s
        self.kept = Kept(None, start_s if early else start_s + self._length_s)

    def call(self, *, is_final: bool = False, is_early: bool = False) -> WindowCall:
        """What a call is told about the open window. Raises ValueError where none is."""
        if self.kept.open is None:
            raise ValueError("no window is open")
        start_s = self.kept.open.start_s
        return WindowCall(self._shard, start_s, start_s + self._length_s, self.kept.open.state, is_final, is_early)


# --- rows -------------------------------------------------------------------------------------------------------------


def window_key(stream: str, shard: ShardId) -> Key:
    """Where the windows of a shard are kept: beside its lease, so that the planner's queries don't read them."""
    return Key(f"T#{stream}", shard)


KEPT_S: Final = 30 * 86_400
"""After so long without a write the row expires: its windows are long over. A shard that was finished leaves one behind."""


def keep(stream: str, shard: ShardId, me: WorkerId, reached: Checkpoint, kept: str, wall_s: float) -> PutRow:
    """To be written in one transaction with the checkpoint it belongs to, whose conditions guard it."""
    row: dict[str, Value] = {"ck": reached.encode(), "win": kept, "own": me, "exp": int(wall_s) + KEPT_S}
    return PutRow(window_key(stream, shard), row)


def kept_at(row: Row | None, checkpoint: Checkpoint) -> Kept | None:
    """What was kept at this checkpoint; None where nothing was, or at another one."""
    if row is None or row["ck"] != checkpoint.encode():
        return None
    return Kept.restored(str(row["win"]))
