"""Does what the plan says, to whichever workers are there when it is due, and notes what was done to whom and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from chaos.fleet import SERVICES, Fleet, Worker
from chaos.plan import Fault, Kind
from chaos.proxy import Direction, Fate
from chaos.stage import NAME, Stage

FEWEST = 2
"""Workers that are left running whatever the plan says: takeovers need someone to take over."""


@dataclass
class Played:
    """A fault that took place, by wall-clock time. `ended` is None while it lasts."""

    kind: Kind
    variant: str
    worker: str | None
    began: float
    ended: float | None = None


class Mischief:
    """Plays faults against a fleet. `tell` gets a line for the timeline."""

    def __init__(self, stage: Stage, fleet: Fleet, tell: Callable[[str], None]) -> None:
        self.played: list[Played] = []
        self._stage = stage
        self._fleet = fleet
        self._tell = tell
        self._stalls: dict[tuple[str, str, Direction], int] = {}
        self._cuts: dict[tuple[str, str], int] = {}

    async def run(self, faults: list[Fault]) -> None:
        """All of them, each at its time; returns when the last one is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, fault in enumerate(faults):
                await asyncio.sleep(began + fault.at_s - time.monotonic())
                tasks.create_task(self.play(fault), name=f"{number}-{fault.kind}")

    async def play(self, fault: Fault) -> None:
        """One fault from its beginning to its end."""
        match fault.kind:
            case Kind.ROLLING:
                await self.roll(before=fault.variant == "before")
            case Kind.SCALE:
                await self._scale(fault)
            case Kind.RESHARD:
                try:
                    await self._reshard(fault)
                except (ClientError, ReadTimeoutError, ConnectTimeoutError) as error:  # a refused connection is its end
                    self._tell(f"reshard: the server did not do it ({error})")
                    for note in self.played:  # else all that follows would seem to be beside it
                        if note.kind is Kind.RESHARD and note.ended is None:
                            self._end(note)
            case _:
                await self._hurt(fault)

    # --- one worker ----------------------------------------------------------------------------------------------------

    async def _hurt(self, fault: Fault) -> None:
        victim = self._victim(fault)
        if victim is None:
            return
        note = self._begin(fault.kind, fault.variant, victim, f"for {fault.lasts_s:.1f} s")
        match fault.kind:
            case Kind.KILL:
                victim.kill()
                note.began = victim.killed or note.began
                await asyncio.sleep(fault.lasts_s)
                await self._fleet.registered(await self._fleet.start())
            case Kind.PAUSE:
                await self._pause(victim, fault.lasts_s)
            case Kind.CUT:
                services = SERVICES if fault.variant == "both" else (fault.variant,)
                await asyncio.gather(*(self._cut(victim, service, fault.lasts_s) for service in services))
            case _:
                await self._stall(victim, fault)
        self._end(note)

    def _victim(self, fault: Fault) -> Worker | None:
        running = [w for w in self._fleet.running if w.is_registered and not w.paused]
        if not running or (fault.kind is Kind.KILL and len(running) < FEWEST):
            self._tell(f"{fault.kind}: no worker to spare, left out")
            return None
        holders = [w for w in running if w.holds] if fault.kind in {Kind.KILL, Kind.PAUSE} else []
        among = holders or running
        return among[int(fault.victim * len(among))]

    async def _pause(self, victim: Worker, lasts_s: float) -> None:
        victim.pause()
        await asyncio.sleep(lasts_s)
        if victim.ended is None:
            victim.resume()

    async def _cut(self, victim: Worker, service: str, lasts_s: float) -> None:
        """Cuts of one link may overlap: the last to end mends it."""
        link, key = victim.links[service], (victim.name, service)
        self._cuts[key] = self._cuts.get(key, 0) + 1
        await link.cut()
        await asyncio.sleep(lasts_s)
        self._cuts[key] -= 1
        if not self._cuts[key]:
            await link.open()

    async def _stall(self, victim: Worker, fault: Fault) -> None:
        service, way, fate = fault.variant.split()
        direction = Direction.OUT if way == "out" else Direction.BACK
        link, key = victim.links[service], (victim.name, service, direction)
        self._stalls[key] = self._stalls.get(key, 0) + 1
        link.stall(direction)
        await asyncio.sleep(fault.lasts_s)
        self._stalls[key] -= 1
        if not self._stalls[key]:
            link.unstall(direction, Fate(fate))

    # --- the fleet -----------------------------------------------------------------------------------------------------

    async def roll(self, *, before: bool) -> None:
        """Replace every worker by one of the next rollout, one at a time."""
        self._fleet.rollout += 1
        old = self._fleet.running
        note = self._begin(Kind.ROLLING, "before" if before else "after", None, f"of {len(old)} workers")
        for worker in old:
            new = await self._fleet.start() if before else None
            if new is not None:
                await self._fleet.registered(new)
            if worker.is_running:
                worker.terminate()
            await self._fleet.gone(worker)
            if new is None:
                await self._fleet.registered(await self._fleet.start())
        self._end(note)

    async def _scale(self, fault: Fault) -> None:
        size, running = self._stage.size.workers, self._fleet.running
        grow = len(running) <= FEWEST or (fault.variant == "out" and len(running) < size + 2)
        if grow:
            note = self._begin(Kind.SCALE, "out", None, f"to {len(running) + 1} workers")
            await self._fleet.registered(await self._fleet.start())
        else:
            among = [worker for worker in running if worker.holds] or running
            leaver = among[int(fault.victim * len(among))]
            note = self._begin(Kind.SCALE, "in", leaver, f"to {len(running) - 1} workers")
            leaver.terminate()
            await self._fleet.gone(leaver)
        self._end(note)

    async def _reshard(self, fault: Fault) -> None:
        size, shards = self._stage.size.shards, _open(await self._stage.shards())
        split = len(shards) <= size or (fault.variant == "split" and len(shards) < size * 1.5)
        pairs = [(a, b) for a, b in pairwise(shards) if _last(a) + 1 == _first(b)]
        if split:
            parent = shards[int(fault.victim * len(shards))]
            note = self._begin(Kind.RESHARD, "split", None, f"of {parent['ShardId']}")
            await self._stage.clients.kinesis.split_shard(
                StreamName=NAME,
                ShardToSplit=parent["ShardId"],
                NewStartingHashKey=str((_first(parent) + _last(parent)) // 2 + 1),
            )
        else:
            one, other = pairs[int(fault.victim * len(pairs))]
            note = self._begin(Kind.RESHARD, "merge", None, f"of {one['ShardId']} and {other['ShardId']}")
            await self._stage.clients.kinesis.merge_shards(
                StreamName=NAME, ShardToMerge=one["ShardId"], AdjacentShardToMerge=other["ShardId"]
            )
        await self._stage.active()
        self._end(note)

    # --- notes ---------------------------------------------------------------------------------------------------------

    def _begin(self, kind: Kind, variant: str, worker: Worker | None, what: str) -> Played:
        note = Played(kind, variant, worker.name if worker else None, time.time())
        self.played.append(note)
        self._tell(f"{_label(note)} {what}")
        return note

    def _end(self, note: Played) -> None:
        note.ended = time.time()
        self._tell(f"    over: {_label(note)}, after {note.ended - note.began:.1f} s")


def _label(note: Played) -> str:
    return " ".join(filter(None, [note.kind, note.variant, note.worker]))


def _open(shards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((s for s in shards if not s["SequenceNumberRange"].get("EndingSequenceNumber")), key=_first)


def _first(shard: dict[str, Any]) -> int:
    return int(shard["HashKeyRange"]["StartingHashKey"])


def _last(shard: dict[str, Any]) -> int:
    return int(shard["HashKeyRange"]["EndingHashKey"])
