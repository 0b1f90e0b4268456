"""Workers that are replaced, that hang, and that are merely busy."""

from __future__ import annotations

import signal
from datetime import datetime

import pytest
from process.conftest import Process, Stage, until

pytestmark = [pytest.mark.process, pytest.mark.servers]

HANG_HANDLER = """
import os, time
from pathlib import Path
from headrace import Put, Record

def handle(record: Record) -> Put:
    if Path(os.environ["HANG"]).exists():
        Path("hung").touch()
        time.sleep(float(os.environ["HANG_S"]))
    return Put({"pk": str(record.sequence_number), "n": record.json()["n"]})
"""


def at(event: dict) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def gaps(processes: list[Process]) -> list[float]:
    """From each lease that was passed on to the first page its next owner read."""
    passed = {(e["shard"], e["epoch"]): at(e) for p in processes for e in p.events("lease_passed_on")}
    began = {(e["shard"], e["epoch"]): at(e) for p in processes for e in p.events("reading_began")}
    return [began[shard, epoch + 1] - when for (shard, epoch), when in passed.items() if (shard, epoch + 1) in began]


async def test_a_rolling_restart_under_load_leaves_no_shard_unread_and_repeats_nothing(stage):
    """Each worker is replaced, the new one first; what one released another reads within a second."""
    async with stage(shards=8) as s:
        old = [s.start(HEADRACE_LEASE_DEPLOYMENT="v1") for _ in range(2)]
        for worker in old:
            await worker.ready()
        await until(lambda: sum(len(w.events("reading_began")) for w in old) == 8, 20)
        sent = 0
        for worker in old:
            new = s.start(HEADRACE_LEASE_DEPLOYMENT="v2")
            await new.ready()
            await until(lambda new=new: _has_seen_the_fleet(s, new), 10)
            await s.put(sent, 1000)
            sent += 1000
            worker.send(signal.SIGTERM)
            assert await worker.exit_code(within_s=10) == 0
        await s.all_written(sent)
        await until(lambda: len(gaps(s.processes)) >= 8, 10)

        assert max(gaps(s.processes)) < 1.0
        assert len(s.calls()) == sent
        moves = [row for row in await s.leases() if int(row["ep"]["N"]) > 3]
        assert moves == [], "each lease moved twice at most"


def _has_seen_the_fleet(s: Stage, new: Process) -> bool:
    """A poll period after its registration it takes part in the plan of the others."""
    (registered,) = new.events("worker_registered")
    return s.now() - at(registered) > 1.0


async def test_a_worker_whose_handler_hangs_loses_its_leases_and_another_goes_on(stage):
    """Its heartbeat's thread is well, which says nothing about the work."""
    async with stage(shards=2) as s:
        (s.folder / "hang_handler.py").write_text(HANG_HANDLER)
        flag = s.folder / "flag"
        flag.touch()
        common = {"HEADRACE_HANDLER": "hang_handler:handle", "HANG_S": "3600"}
        hanging = s.start(**common, HANG=str(flag))
        await hanging.ready()
        await s.put(0, 10)
        await until((s.folder / "hung").exists, 20)
        other = s.start(**common, HANG=str(s.folder / "no such flag"))
        await s.all_written(10, within_s=20)

        assert hanging.events("heartbeat_withheld")
        assert {e["transition"] for e in other.events("lease_opened")} <= {"taken", "claimed"}


async def test_a_worker_whose_handler_is_slow_keeps_its_leases(stage):
    """Calls of a plain handler hold the main loop for most of a heartbeat's period, one after the other."""
    async with stage(shards=1) as s:
        (s.folder / "hang_handler.py").write_text(HANG_HANDLER)
        flag = s.folder / "flag"
        flag.touch()
        common = {"HEADRACE_HANDLER": "hang_handler:handle", "HANG": str(flag), "HANG_S": "0.7"}
        slow = s.start(**common)
        await slow.ready()
        await until(lambda: slow.events("reading_began"), 10)
        other = s.start(**common)
        await other.ready()
        await s.put(0, 12)
        await s.all_written(12, within_s=30)

        assert slow.events("worker_fenced") == []
        assert slow.events("lease_lost") == []
        assert other.events("lease_opened") == []


async def test_a_stop_ends_in_time_although_the_main_loop_is_blocked(stage):
    """The handler computes for ever: after the shutdown timeout the process ends, non-zero, nothing lost."""
    async with stage(shards=1) as s:
        (s.folder / "hang_handler.py").write_text(HANG_HANDLER)
        flag = s.folder / "flag"
        flag.touch()
        common = {"HEADRACE_HANDLER": "hang_handler:handle", "HANG_S": "3600"}
        stuck = s.start(**common, HANG=str(flag), HEADRACE_SHUTDOWN_TIMEOUT="1s")
        await stuck.ready()
        await s.put(0, 40)
        await until((s.folder / "hung").exists, 20)
        stuck.send(signal.SIGTERM)
        assert await stuck.exit_code(within_s=12) == 1

        await s.start(**common, HANG=str(s.folder / "no such flag")).ready()
        await s.all_written(40, within_s=20)
