"""Several records in one, as the Kinesis Producer Library puts them together. Pure.

The format is public (amazon-kinesis-producer, aggregation-format.md): four magic bytes, a protobuf message, and the MD5 of
that message. `AggregatedRecord` has a table of partition keys (1) and the records (3); a record names its key by the place
in the table (1) and has its data (3). Explicit hash keys (2) and tags are optional and not used here.

An aggregate goes to the shard of its own partition key, which is that of its first record; a consumer drops what is in it
for another shard. So records go together by the shard that their key belongs to. The records of one key that are in one
call go into one aggregate: it is stored whole or not at all, and so the order of the key is safe.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import md5
from itertools import groupby
from operator import attrgetter
from typing import Final

from headrace.model import Shard, ShardId
from headrace_producer.workload import Draft

MAGIC: Final = b"\xf3\x89\x9a\xc2"

MOST_BYTES: Final = 2**20
"""Data and partition key of one record of a stream as it is created (API reference, UpdateMaxRecordSize)."""

LEAST_BYTES: Final = 1024
"""Less would hold next to nothing besides a key."""

USUAL_BYTES: Final = 51_200
"""AggregationMaxSize of the Kinesis Producer Library, unless it is configured."""

ENVELOPE: Final = len(MAGIC) + 16
"""Magic bytes and MD5."""

KEY_FRAME: Final = 3
"""Of a key in the table: its tag, and its length in at most two bytes (a key has at most 256 characters)."""

RECORD_FRAME: Final = 14
"""Of a record: three tags, two lengths of at most four bytes, and the place of its key in at most three."""

CACHED: Final = 4096
"""Tags with their numbers that are remembered: lengths and places come again and again."""

_KEY, _RECORD = b"\x0a", b"\x1a"
"""Tags: fields 1 and 3 with a length."""

_INDEX, _DATA = b"\x08", b"\x1a"
"""Tags: field 1 as a number, field 3 with a length."""


def weight(draft: Draft) -> int:
    """What a record adds to an aggregate that has its key, at most, in bytes."""
    return len(draft.data) + RECORD_FRAME


def key_weight(key: str) -> int:
    """What a key adds, in bytes."""
    return len(key.encode()) + KEY_FRAME


def alone(draft: Draft) -> int:
    """The size, at most, of an aggregate of this one record: its key is in the table and the partition key as well."""
    return ENVELOPE + len(draft.key.encode()) + key_weight(draft.key) + weight(draft)


def hash_of(key: str) -> int:
    """The hash key of a partition key (Kinesis developer guide): its MD5 as a number of 128 bits."""
    return int.from_bytes(md5(key.encode(), usedforsecurity=False).digest(), "big")


class Routes:
    """Which shard a key belongs to, as far as the stream's shards are known."""

    def __init__(self, shards: Iterable[Shard]) -> None:
        self._ranges = {shard.shard_id: shard for shard in shards}
        parents = {parent for shard in self._ranges.values() for parent in shard.parents}
        # A shard takes records until it has children (developer guide, "Resharding").
        leaves = (shard for shard in self._ranges.values() if shard.shard_id not in parents)
        self._open = sorted(leaves, key=attrgetter("first_hash_key"))
        self._firsts = [shard.first_hash_key for shard in self._open]
        self._known: dict[str, ShardId] = {}

    def shard_of(self, key: str) -> ShardId:
        """Where the records of this key should go."""
        shard = self._known.get(key)
        if shard is None:
            place = max(0, bisect_right(self._firsts, hash_of(key)) - 1)
            shard = self._known[key] = self._open[place].shard_id
        return shard

    def belongs(self, key: str, shard_id: str) -> bool:
        """Whether a consumer of this shard keeps the records of this key; not of a shard that is not known."""
        shard = self._ranges.get(ShardId(shard_id))
        return shard is not None and shard.first_hash_key <= hash_of(key) <= shard.last_hash_key


@dataclass(slots=True)
class Parcel:
    """What goes into one record: `places` of its drafts in the call."""

    shard: ShardId
    drafts: list[Draft] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    size: int = ENVELOPE

    @property
    def key(self) -> str:
        """Its partition key, which decides on the shard."""
        return self.drafts[0].key

    def add(self, run: Sequence[Draft], first_place: int, size: int) -> None:
        """Take these in; `size` is what they add."""
        if not self.drafts:
            self.size += len(run[0].key.encode())
        self.drafts += run
        self.places += range(first_place, first_place + len(run))
        self.size += size

    def data(self) -> bytes:
        """Its contents; a single record stays as it is."""
        return self.drafts[0].data if len(self.drafts) == 1 else encoded(self.drafts)


def packed(drafts: Sequence[Draft], routes: Routes, most_bytes: int) -> list[Parcel]:
    """The drafts of one call in parcels of one shard each, a key's beside each other in one; none of more than `most_bytes`.

    That is promised for runs of a key that fit (`outbox.CallRules.run_bytes`). A single record may be larger.
    """
    parcels: list[Parcel] = []
    filling: dict[ShardId, Parcel] = {}
    for place, run in _runs(drafts):
        shard = routes.shard_of(run[0].key)
        size = key_weight(run[0].key) + sum(len(draft.data) for draft in run) + RECORD_FRAME * len(run)
        parcel = filling.get(shard)
        if parcel is None or parcel.size + size > most_bytes:
            parcel = filling[shard] = Parcel(shard)
            parcels.append(parcel)
        parcel.add(run, place, size)
    return parcels


def _runs(drafts: Sequence[Draft]) -> Iterator[tuple[int, list[Draft]]]:
    place = 0
    for _, group in groupby(drafts, attrgetter("key")):
        run = list(group)
        yield place, run
        place += len(run)


def encoded(drafts: Sequence[Draft]) -> bytes:
    """One aggregate of these records, in their order."""
    places: dict[str, int] = {}
    pieces: list[bytes] = []
    for draft in drafts:
        data = draft.data
        key = _tagged(_INDEX, places.setdefault(draft.key, len(places)))
        head = _tagged(_DATA, len(data))
        pieces += (_tagged(_RECORD, len(key) + len(head) + len(data)), key, head, data)
    table = [b"%b%b" % (_tagged(_KEY, len(key)), key) for key in map(str.encode, places)]
    message = b"".join((*table, *pieces))
    return b"%b%b%b" % (MAGIC, message, md5(message, usedforsecurity=False).digest())


@lru_cache(CACHED)
def _tagged(tag: bytes, value: int) -> bytes:
    """A tag and a varint: seven bits a byte, the lowest first (protobuf encoding)."""
    digits = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*tag, *digits, value))
