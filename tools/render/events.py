"""docs/events.md: every event that headrace logs, with its level and fields out of the sources, and what it says."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from render import places

SOURCES = (places.ROOT / "consumer" / "headrace", places.ROOT / "producer" / "headrace_producer")
LEVELS = ("debug", "info", "warning", "error", "exception")

INTRODUCTION = """\
# Events

What a worker logs, one JSON object a line (`HEADRACE_LOG_FORMAT`); the name stands in `event` and stays what it is. Every line has `timestamp`,
`level`, `event` and `logger`, and within a shard's life `stream`, `shard` and `epoch`. No line ever has a payload. This page is made by
`make render`; what to do at night is in the [runbooks](runbooks.md), and what counts is a [metric](metrics.md) as well.
"""

MEANINGS = {
    "A worker's life": {
        "setting_without_effect": "A setting that changes nothing with this handler, and why.",
        "table_created": "The lease table or the dead-letter table was missing, and was made.",
        "table_without_expiry": "A table of ours has no time to live set: rows that have expired stay.",
        "table_without_recovery": "A table of ours has no point-in-time recovery.",
        "destination_not_checked": "The dead-letter destination could not be looked at; it shows with the first burial.",
        "dead_letters_expire": "The queue for dead letters forgets them after so many days.",
        "worker_started": "Everything is checked and ready; the port is open.",
        "worker_registered": "It has a row in the lease table and takes part.",
        "application_began": "The first start of the application on this stream, and where it begins.",
        "stop_requested": "A signal came: no more fetching.",
        "worker_stopping": "It tells the others that it leaves, and how many leases it holds.",
        "drain_timed_out": "What was in flight in a shard did not end within its time; it comes again.",
        "worker_stopped": "Everything is handed over.",
        "stop_overdue": "The stop took longer than HEADRACE_SHUTDOWN_TIMEOUT: ended at once.",
        "leave_unannounced": "The others do not know yet that it leaves; its next heartbeat says it too.",
        "goodbye_unanswered": "Its row may stay as that of a live worker until it is silent for long.",
        "worker_fenced": "Another worker declared this one dead. It drops everything and begins anew.",
        "supervisor_started": "The process that keeps several workers (HEADRACE_PROCESSES) is ready.",
        "process_started": "One of its workers is.",
        "process_ended": "One of them ended, and is replaced.",
        "process_hung": "One of them gave no sign of life for long, and is killed.",
        "child_fenced": "One that ended was fenced at once, so that its leases need not wait.",
        "child_not_fenced": "That could not be done: its silence will do it.",
    },
    "Heartbeats and leases": {
        "heartbeat_unanswered": "A heartbeat got no answer in time; the next one follows.",
        "heartbeat_refused": "The lease table refuses heartbeats for another reason than a fence.",
        "heartbeat_withheld": "The main loop stands still for too long: the worker will lose its leases, as it should.",
        "peer_fenced": "This worker declared a silent one dead, and takes its leases.",
        "lease_opened": "A shard is this worker's from now on; `transition` says how it came.",
        "lease_passed_on": "A shard was given up with its final checkpoint, by release or handoff.",
        "lease_gone": "It should have been given up, and was another's already.",
        "lease_lost": "A shard is not this worker's any more; its work is dropped.",
        "lease_rested": "A shard that an operator paused, or put elsewhere, is given up in peace.",
        "lease_asked_for": "Another worker asked for a lease, and this one hands it over.",
        "wish_withdrawn": "A lease that was asked for did not come in time.",
        "handoff_unanswered": "A wish for a lease, or its withdrawal, got no answer.",
        "lease_unanswered": "Whether a lease was taken is not known; the rows will tell.",
        "lease_forgotten": "The row of a shard that was read to its end is not needed any more.",
        "release_unanswered": "Whether a lease was released is not known; it is tried again alone.",
        "round_cut_short": "The lease table did not answer within a round of the lease loop.",
        "round_failed": "It refused: a right is missing, or the table is gone.",
        "nudge_unanswered": "Another worker's port does not answer; it finds out by polling.",
    },
    "Reading": {
        "shard_discovered": "A shard is new to the application; `parents` go before it.",
        "discovery_failed": "The stream's shards could not be listed; tried again within the minute.",
        "reading_began": "The first page of a lease.",
        "fetch_failed": "A read failed for a reason that waiting does not cure, such as a right that is missing.",
        "foreign_records_left_out": "Records of an aggregate belong to another shard, where the producer sends them again.",
        "fan_out_awaited": "Enhanced fan-out is not to be had yet, and why; shards are polled meanwhile.",
        "fan_out_began": "The consumer is active.",
        "subscription_taken": "Somebody subscribed to a shard a moment ago; it is polled meanwhile.",
        "subscription_dropped": "There was no room for what a subscription brings; polled as room comes.",
        "subscription_failed": "A subscription keeps failing, said once; polled meanwhile. `needs` names a right that is missing.",
        "subscription_resumed": "It works again.",
        "shard_finished": "A closed shard was read to its end; its children begin.",
        "shard_stalled": "A shard has work and settled nothing for HEADRACE_LEASE_STALL.",
        "stalled_shard_given_up": "It is left to a worker whose own shards all move.",
    },
    "Records, batches and writes": {
        "record_failed": "A record's attempt failed; it is tried again in `next_attempt_s`.",
        "batch_failed": "A call with several records failed; it is made again, split where that is on.",
        "record_buried": "A record was given up: its dead letter is stored before the checkpoint passes it.",
        "key_parked": "Later records of a buried record's key follow it into the dead letters from now on.",
        "key_released": "Nothing of a parked key is left: its records are handled again.",
        "window_not_ended": "The last call of a tumbling window failed; its shard waits until it succeeds.",
        "call_failed": "A call that must not be given up failed, and is tried again: `call` says which (`bury`: a dead letter).",
        "sink_write_failed": "The serving table does not take writes; said once a minute for each kind of error.",
        "checkpoint_unanswered": "Whether a checkpoint was stored is not known; the next one follows.",
        "checkpoint_refused": "The lease table refuses checkpoints for another reason than a lost lease.",
        "commit_found_applied": "A transaction whose answer was lost had taken place.",
        "lambda_process_started": "A process of a Lambda or batch handler is ready.",
        "lambda_process_ended": "One ended within a call or beside one, and is replaced.",
        "lambda_process_not_started": "No process can be made; nothing is called, and no attempt is spent.",
        "lambda_handler_unusable": "The handler cannot be loaded any more; likewise.",
    },
    "Dead letters": {
        "dead_letter_payload_cut": "A payload did not fit into a message, and HEADRACE_DEAD_LETTERS_SPILL is not set.",
        "dead_letter_without_payload": "Such a letter was read: its record can be had from the stream only.",
        "dead_letter_payload_gone": "A payload that was stored beside its letter is there no more.",
        "dead_letter_not_readable": "A message or object is no letter of ours; it is left alone.",
        "letter_found_redriven": "A record's letter was redriven before; in mode transactional it does not count again.",
        "redrive_failed": "A redriven letter failed again, and stays.",
        "dead_letter_discarded": "Somebody deleted a letter on the page.",
    },
    "Loss": {
        "loss_found": "Records, or their order, may be lost: which way, what is done, and between which moments.",
        "shard_halted": "A shard is held for that reason, said each minute, with the mend.",
        "stream_replaced": "The stream was made anew under its name, and HEADRACE_STREAM_ON_LOSS lets the worker go on with it.",
        "stream_not_seen": "The stream could not be described or listed just now.",
    },
    "The page": {
        "admin_token_refused": "A request with a wrong token.",
        "fleet_not_read": "The lease table could not be read; the page shows what it had.",
        "screen_not_answered": "A request of the page was not answered, and why.",
        "report_failed": "What this worker tells the page could not be written.",
    },
    "The producer": {
        "put_failed": "A call got no answer; its records are sent again.",
        "shards_listed_anew": "The stream was resharded; aggregates are made for its shards as they are now.",
        "shards_not_listed": "Its shards could not be listed; tried again.",
    },
}
"""What each event says. An event that is not here has an empty line on the page, which a test does not let pass."""


@dataclass
class Event:
    """How an event is logged; `...` among the fields stands for those that something else brings along."""

    levels: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)


@cache
def events(sources: tuple[Path, ...] = SOURCES) -> dict[str, Event]:
    """Every event that the sources log."""
    found: dict[str, Event] = {}
    for source in sources:
        for path in sorted(source.rglob("*.py")):
            for name, levels, fields in _logged(path):
                event = found.setdefault(name, Event())
                event.levels += [level for level in levels if level not in event.levels]
                event.fields += [one for one in fields if one not in event.fields]
    return found


def _logged(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    text = path.read_text()
    if "structlog" not in text:
        return
    tree = ast.parse(text)
    texts = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in [node.target]
        if isinstance(target, ast.Name)
    }
    chosen = {  # tell = log.error if loud else log.info
        target.id: levels
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and (levels := _levels(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            levels = chosen.get(node.func.id, []) if isinstance(node.func, ast.Name) else _levels(node.func)
            first = node.args[0]
            name = texts.get(first.id) if isinstance(first, ast.Name) else getattr(first, "value", None)
            if levels and isinstance(name, str):
                yield name, levels, [keyword.arg or "..." for keyword in node.keywords]


def _levels(node: ast.expr) -> list[str]:
    """The levels of `log.level`, alone or as one of two."""
    if isinstance(node, ast.IfExp):
        return _levels(node.body) + _levels(node.orelse)
    is_level = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"log", "_log"}
    return [node.attr] if is_level and node.attr in LEVELS else []


def markdown() -> str:
    """The page."""
    there = events()
    told = {name for meanings in MEANINGS.values() for name in meanings}
    sections = {**MEANINGS, "Not told yet": dict.fromkeys(sorted(there.keys() - told), "")}
    lines = [INTRODUCTION]
    for title, meanings in sections.items():
        rows = [_row(name, there[name], meaning) for name, meaning in meanings.items() if name in there]
        if rows:
            lines += [
                f"## {title}\n",
                "| event | level | fields | what it says |",
                "| --- | --- | --- | --- |",
                *rows,
                "",
            ]
    return "\n".join(lines)


def _row(name: str, event: Event, meaning: str) -> str:
    levels = " or ".join("error" if level == "exception" else level for level in event.levels)
    fields = ", ".join(one if one == "..." else f"`{one}`" for one in event.fields)
    return f"| `{name}` | {levels} | {fields} | {meaning} |"
