"""The production readiness checklist, judged: facts that were asked for in, a line with a word and its mend out.

What could not be asked is UNKNOWN, never OK. FAIL is what loses data, stops the application or breaks its leases; WARN is
what a person should have decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from headrace.model import Lease, WorkerRow

DAY_S: Final = 86_400.0

SKEW_WARN_S: Final = 2.0
"""The service's clock is told in whole seconds."""

SKEW_FAIL_S: Final = 60.0
"""Requests are refused from five minutes on (Signature Version 4); times of day that are stored are wrong long before."""

MOST_CONSUMERS: Final = 20
"""Enhanced fan-out consumers of a stream (Kinesis quotas; 50 with On-demand Advantage)."""

QUEUE_KEEPS_S: Final = 14 * DAY_S
"""The longest that SQS keeps a message (SetQueueAttributes, API reference)."""


class Word(StrEnum):
    """What a line of the checklist comes to."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `mend` says what to do; empty where there is nothing."""

    check: str
    word: Word
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class NotTold:
    """It could not be asked, and why. `is_needed`: a worker has to ask the same, so that it will fail too."""

    why: str
    is_needed: bool = False
    is_missing: bool = False
    """It is not there."""

    def line(self, check: str) -> Line:
        """As a line."""
        word = Word.FAIL if self.is_needed else Word.UNKNOWN
        mend = "Create it, or mend the name" if self.is_missing else "Allow it: `headrace iam` prints what is needed"
        return Line(check, word, self.why, mend)


# --- stream -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What DescribeStreamSummary says; `retention_s` in seconds."""

    status: str
    mode: str
    retention_s: float
    encryption: str
    fan_out_consumers: int
    open_shards: int
    keeps_key_order: bool


def judge_stream(stream: StreamFacts, *, needs_order: bool) -> Iterator[Line]:
    """Mode, retention, encryption, consumers."""
    ok = stream.status in ("ACTIVE", "UPDATING")
    mend = "" if ok else "Nothing can be read from it: wait, or name another one"
    yield Line("stream", Word.OK if ok else Word.FAIL, f"{stream.status}, {stream.open_shards} open shards", mend)
    mend = (
        "" if stream.mode == "ON_DEMAND" else "Reshard by hand or by an autoscaler before 1 MB/s per shard is reached"
    )
    yield Line("stream mode", Word.OK, stream.mode, mend)
    hours = stream.retention_s / 3600
    if stream.retention_s <= DAY_S:
        mend = "Raise it to 168 h: an outage over a weekend must not outlive it"
        yield Line("stream retention", Word.WARN, f"{hours:g} h", mend)
    else:
        yield Line("stream retention", Word.OK, f"{hours:g} h")
    if stream.encryption == "NONE":
        yield Line("stream encryption", Word.WARN, "none", "Turn on server-side encryption (KMS)")
    else:
        yield Line("stream encryption", Word.OK, stream.encryption)
    if not stream.keeps_key_order:
        word = Word.FAIL if needs_order else Word.WARN
        yield Line("stream order", word, "AUTO distribution keeps no order by key", "Set USER_PARTITION_KEY")
    crowded = stream.fan_out_consumers >= MOST_CONSUMERS - 1
    mend = "Deregister what nobody uses: 20 is the limit" if crowded else ""
    found = f"{stream.fan_out_consumers} of {MOST_CONSUMERS} fan-out consumers"
    yield Line("stream consumers", Word.WARN if crowded else Word.OK, found, mend)


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What DescribeTable and its like say; None where that could not be asked."""

    name: str
    status: str
    billing: str
    is_protected: bool
    replicas: int
    local_indexes: int
    ttl_attribute: str | NotTold | None
    """None where expiry is off."""
    has_recovery: bool | NotTold
    has_customer_key: bool


def judge_table(role: str, table: TableFacts, *, ttl: str | None, holds_leases: bool = False) -> Iterator[Line]:
    """Of one table; `ttl` is the attribute that should expire items, None for any or none."""
    ok = table.status in ("ACTIVE", "UPDATING")
    mend = "" if ok else "It takes no writes: wait, or mend what made it so"
    yield Line(role, Word.OK if ok else Word.FAIL, f"{table.name} is {table.status}", mend)
    if table.billing == "PAY_PER_REQUEST":
        yield Line(f"{role} mode", Word.OK, "on demand")
    else:
        mend = (
            "Use on-demand mode, or alarm on throttling: a throttled heartbeat costs leases"
            if holds_leases
            else ("Use on-demand mode, or autoscale well above the peak: throttling is lag")
        )
        yield Line(f"{role} mode", Word.WARN, "provisioned", mend)
    yield _expiry(role, table, ttl)
    yield _recovery(role, table)
    yield Line(
        f"{role} encryption", Word.OK, "customer key" if table.has_customer_key else "key owned by AWS or DynamoDB"
    )
    if not table.is_protected:
        yield Line(f"{role} protection", Word.WARN, "can be deleted by one call", "Turn on deletion protection")
    if holds_leases and table.local_indexes:
        yield Line(
            f"{role} indexes", Word.WARN, "has local indexes", "Make it anew: they keep a partition from splitting"
        )
    if holds_leases and table.replicas:
        mend = "Use a table of one Region: conditions hold on one replica only"
        yield Line(f"{role} replicas", Word.FAIL, f"a global table with {table.replicas} replicas", mend)


def _expiry(role: str, table: TableFacts, wanted: str | None) -> Line:
    check, found = f"{role} expiry", table.ttl_attribute
    if isinstance(found, NotTold):
        return found.line(check)
    if wanted is None:
        return Line(check, Word.OK, f"by {found}" if found else "off, and nothing asks for it")
    if found == wanted:
        return Line(check, Word.OK, f"by {found}")
    mend = f"Turn on time to live with the attribute {wanted}: without it nothing ever expires"
    return Line(check, Word.WARN, f"by {found}" if found else "off", mend)


def _recovery(role: str, table: TableFacts) -> Line:
    check = f"{role} recovery"
    if isinstance(table.has_recovery, NotTold):
        return table.has_recovery.line(check)
    if table.has_recovery:
        return Line(check, Word.OK, "point-in-time recovery is on")
    return Line(check, Word.WARN, "no point-in-time recovery", "Turn it on (UpdateContinuousBackups)")


# --- keys -------------------------------------------------------------------------------------------------------------


def judge_key(partition_fields: Iterable[str], attribute: str) -> Line:
    """Whether the template of the partition key spreads writes: a partition takes 1,000 write units a second."""
    check, fields = "key design", set(partition_fields)
    few = fields <= {"arrival", "stream"}
    if few:
        what = "of nothing but time" if fields else "constant"
        mend = "Put a field of many values in front of it: one partition takes 1,000 writes a second"
        return Line(check, Word.WARN, f"{attribute} is {what}: all records of a moment go to one partition", mend)
    if fields == {"shard_id"}:
        mend = "A shard takes 1,000 records a second, as many as a partition: mind records above 1 KB"
        return Line(check, Word.WARN, f"{attribute} is the shard's id", mend)
    return Line(check, Word.OK, f"{attribute} is made of {', '.join(sorted(fields))}")


# --- the running fleet ------------------------------------------------------------------------------------------------


def judge_fleet(
    leases: Iterable[Lease], workers: Mapping[str, WorkerRow], now_s: float, retention_s: float | None
) -> Iterator[Line]:
    """Owners, pauses, drained and silent workers, and how far behind the rows say that reading is."""
    read = [lease for lease in leases if not lease.done and not lease.pending]
    unowned = [lease.shard_id for lease in read if lease.owner not in workers and lease.paused_by is None]
    paused = [lease.shard_id for lease in read if lease.paused_by is not None]
    if not workers:
        yield Line("workers", Word.FAIL, "none is alive", "Start some, and look at their first lines")
    else:
        drained = [worker for worker, row in workers.items() if row.drained_by is not None]
        mend = "`headrace drain WORKER --undo`, when they are wanted again" if drained else ""
        found = f"{len(workers)} alive" + (f", {len(drained)} drained" if drained else "")
        yield Line("workers", Word.WARN if drained else Word.OK, found, mend)
    if unowned:
        yield Line(
            "shards", Word.FAIL, f"nobody owns {_some(unowned)}", "Look at the workers' logs: who should take them?"
        )
    elif paused:
        yield Line("shards", Word.WARN, f"{_some(paused)} are paused", "`headrace resume` when they are to be read")
    else:
        yield Line("shards", Word.OK, f"{len(read)} read")
    yield from _lag(read, now_s, retention_s)
    stalled = sum(row.stalled for row in workers.values())
    if stalled:
        yield Line("progress", Word.FAIL, f"{stalled} shards make none", "`headrace explain` their oldest open record")


def _lag(read: list[Lease], now_s: float, retention_s: float | None) -> Iterator[Line]:
    """A row is brought up to date with its checkpoint, and once an hour where nothing arrives."""
    known = [lease for lease in read if lease.up_to_s > 0]
    if not known:
        return
    worst = min(known, key=lambda lease: lease.up_to_s)
    lag_s = max(0.0, now_s - worst.up_to_s)
    found = f"at most {lag_s / 60:.0f} min, {worst.shard_id}, as its row tells (an idle shard's once an hour)"
    if retention_s is not None and lag_s > retention_s / 2:
        yield Line("lag", Word.FAIL, found, "Half of the retention is used up: raise it now, then look for the cause")
    elif lag_s > 2 * 3600:
        yield Line("lag", Word.WARN, found, "Add workers, or look for what holds the shard: `headrace explain`")
    else:
        yield Line("lag", Word.OK, found)


def judge_clock(skew_s: float) -> Line:
    """How far this machine's time of day is from the service's."""
    word = Word.FAIL if abs(skew_s) > SKEW_FAIL_S else Word.WARN if abs(skew_s) > SKEW_WARN_S else Word.OK
    mend = "" if word is Word.OK else "Run NTP (chrony) on this machine"
    return Line("clock", word, f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the service's", mend)


def judge_versions(told: Mapping[str, str | NotTold], own: str) -> Line:
    """The versions that workers run, and the one that asks."""
    known = {version for version in told.values() if isinstance(version, str)}
    silent = [worker for worker, version in told.items() if isinstance(version, NotTold)]
    if not known:
        return Line("versions", Word.UNKNOWN, "no worker can be asked from here", "Run it where workers are reached")
    found = ", ".join(sorted(known)) + (f"; {len(silent)} could not be asked" if silent else "")
    if known | {own} != {own}:
        return Line("versions", Word.WARN, f"{found}; this is {own}", "Finish the rollout, or take it back")
    return Line("versions", Word.UNKNOWN if silent else Word.OK, found)


def judge_letters(count: int, oldest_age_s: float | None, destination: str) -> Line:
    """How many wait for a person, and for how long."""
    if not count:
        return Line("dead letters", Word.OK, f"none in {destination}")
    age = "" if oldest_age_s is None else f", the oldest {oldest_age_s / 3600:.1f} h old"
    mend = "`headrace dead-letters list`, mend the cause, `headrace dead-letters redrive`"
    return Line("dead letters", Word.WARN, f"{count} in {destination}{age}", mend)


def judge_queue(messages: int, kept_s: float, destination: str) -> Iterator[Line]:
    """A queue tells how many it holds, about, and how long it keeps them; not since when."""
    yield judge_letters(messages, None, destination)
    days = kept_s / DAY_S
    mend = (
        "" if kept_s >= QUEUE_KEEPS_S else "Keep messages for 14 days, the most there is: what expires is lost for good"
    )
    yield Line("dead letters kept", Word.WARN if mend else Word.OK, f"for {days:g} days", mend)


def judge_rights(denied: Iterable[str] | NotTold) -> Line:
    """Actions that the policy needs and the credentials are not allowed."""
    if isinstance(denied, NotTold):
        return Line("permissions", Word.UNKNOWN, denied.why, "Allow iam:SimulatePrincipalPolicy to whoever runs this")
    missing = sorted(denied)
    if missing:
        return Line("permissions", Word.FAIL, f"not allowed: {', '.join(missing)}", "`headrace iam` prints the policy")
    return Line("permissions", Word.OK, "everything that `headrace iam` lists is allowed")


def _some(names: list[Any]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
