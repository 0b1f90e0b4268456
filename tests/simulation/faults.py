"""What may go wrong in a simulated fleet. Durations are drawn in lease durations: the protocol has no other measure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from headrace.errors import IteratorExpired, Throttled
from simulation.process import Process

if TYPE_CHECKING:
    from simulation.fleet import Fleet

MOST_WORKERS = 8
MOST_SHARDS = 8

# --- processes --------------------------------------------------------------------------------------------------------


async def kill(fleet: Fleet) -> None:
    """A process is gone; often another takes its place."""
    if (process := fleet.somebody()) is not None:
        fleet.forget(process)
        await process.kill()
    if len(fleet.processes) < 4 and fleet.chance.random() < 0.8:
        fleet.start()


async def join(fleet: Fleet) -> None:
    """One more."""
    if len(fleet.processes) < MOST_WORKERS:
        fleet.start()


async def deploy(fleet: Fleet) -> None:
    """One is told to stop, another starts."""
    process = fleet.somebody()
    if process is not None and not process.is_stopped:
        process.stop.set()
        fleet.start(new_version=True)


async def pause(fleet: Fleet) -> None:
    """SIGSTOP, SIGCONT."""
    if (process := _running(fleet)) is not None:
        process.stop_all()
        fleet.later(_silence_s(fleet), process.resume_all)


async def suspension(fleet: Fleet) -> None:
    """A machine sleeps: its timers stand still, and CLOCK_BOOTTIME goes on."""
    if (process := _running(fleet)) is not None:
        process.stop_all()
        if not process.clock.counts_suspension():
            process.clock.stand_still()
        fleet.later(_silence_s(fleet), lambda: process.resume_all(True))


async def hypervisor_stop(fleet: Fleet) -> None:
    """A machine is stopped from outside: all its clocks stand still but the time of day, which the host corrects."""
    if (process := _running(fleet)) is not None:
        _stop_with_its_clock(fleet, process)


def _stop_with_its_clock(fleet: Fleet, process: Process) -> None:
    """Often for less than the clocks may disagree."""
    process.stop_all()
    if process.clock.is_right(fleet.unit_s):
        process.clock.stand_still()
    for_s = fleet.chance.choice([fleet.chance.uniform(0.05, 0.99), fleet.unit_s * fleet.chance.uniform(0.01, 2.0)])
    fleet.later(for_s, lambda: process.resume_all(True))


async def clock_step(fleet: Fleet) -> None:
    """Somebody sets the time of day, but not within a lease of a stop that the time of day alone can tell."""
    if (process := fleet.somebody()) is not None:
        by_s = fleet.chance.choice([-5.0, -0.9, 0.9, 5.0])
        if process.clock.is_right(fleet.unit_s):
            process.clock.step(by_s)


async def hang(fleet: Fleet) -> None:
    """The main loop stands still, and the heartbeat's thread does not."""
    if (process := _running(fleet)) is not None:
        fleet.loop.stop_line(process.main)
        fleet.later(_silence_s(fleet), process.resume_all)


async def stuck_heart(fleet: Fleet) -> None:
    """The heartbeat's thread stands still, and the main loop does not."""
    if (process := _running(fleet)) is not None:
        fleet.loop.stop_line(process.heart)
        fleet.later(_silence_s(fleet), process.resume_all)


def _silence_s(fleet: Fleet) -> float:
    """Any time, or just about the time after which a worker is declared dead."""
    chance = fleet.chance
    return fleet.unit_s * chance.choice([chance.uniform(0.05, 4.0), chance.uniform(0.8, 1.6)])


def _running(fleet: Fleet) -> Process | None:
    process = fleet.somebody()
    return None if process is None or process.is_stopped else process


async def wish(fleet: Fleet) -> None:
    """One wants a lease that another holds, as the plan would have it for the sake of balance."""
    process = _running(fleet)
    incarnation: Any = None if process is None else process.worker.incarnation
    if process is None or incarnation is None or not incarnation.ready or incarnation._holdings.wished:
        return
    others = [x for x in fleet.table.leases.values() if x.owner not in {None, incarnation.me} and not x.done]
    if others:
        lease = fleet.chance.choice(others)
        process.on_main(lambda: incarnation._handoffs.wish(lease))


# --- the network of one worker, or of all -------------------------------------------------------------------------------


async def partition(fleet: Fleet) -> None:
    """Nothing reaches the table."""
    _one(fleet, lose=1.0)


async def one_way(fleet: Fleet) -> None:
    """Requests reach the table, answers are lost."""
    _one(fleet, mute=1.0)


async def flaky(fleet: Fleet) -> None:
    """A bit of everything."""
    _one(fleet, lose=0.2, mute=0.2, throttle=0.1, repeat=0.3)


async def late_writes(fleet: Fleet) -> None:
    """Some writes apply when their caller has given them up, maybe after another's write."""
    _one(fleet, late=0.3, repeat=0.2)


async def slow_requests(fleet: Fleet) -> None:
    """Requests take long, some longer than the caller waits."""
    _one(fleet, slow_there_s=_slow(fleet))


async def slow_answers(fleet: Fleet) -> None:
    """Answers take long, some longer than the caller waits."""
    _one(fleet, slow_back_s=_slow(fleet))


async def slow_table(fleet: Fleet) -> None:
    """The table is slow for everybody."""
    _all(fleet, 1.0, slow_there_s=_slow(fleet), slow_back_s=_slow(fleet))


async def outage(fleet: Fleet) -> None:
    """The table is away for everybody."""
    _all(fleet, 2.5, lose=1.0)


async def throttling(fleet: Fleet) -> None:
    """The table takes only some of the calls."""
    _all(fleet, 1.0, throttle=fleet.chance.uniform(0.1, 0.9))


def _slow(fleet: Fleet) -> float:
    return fleet.unit_s * fleet.chance.choice([0.05, 0.1, 0.2, 0.4])


async def gray(fleet: Fleet) -> None:
    """Hardly anything works, and then nothing: the last success may be that of a try whose forerunner had applied."""
    if (process := fleet.somebody()) is not None:
        for_s = fleet.unit_s * fleet.chance.uniform(0.3, 0.9)
        fleet.set_weather(process, for_s, {"lose": 0.5, "mute": 0.4})
        fleet.later(for_s, lambda: _fall_silent(fleet, process))


async def silence_in_slowness(fleet: Fleet) -> None:
    """While requests take long one worker falls silent: how long, the others must not begin to count too early."""
    if (process := _running(fleet)) is not None:
        for_s, slow_s = fleet.unit_s * fleet.chance.uniform(0.5, 0.8), fleet.unit_s * fleet.chance.choice([0.1, 0.15])
        for other in fleet.living():
            if other is not process:
                fleet.set_weather(other, for_s, {"slow_there_s": slow_s})
        fleet.after(0.2, 0.4, lambda: _fall_silent(fleet, process))


def _one(fleet: Fleet, **weather: float) -> None:
    """A spell of one worker; troubles come in rows: often another follows, before it could recover."""
    if (process := fleet.somebody()) is None:
        return
    for_s = fleet.unit_s * fleet.chance.choice([fleet.chance.uniform(0.1, 1.0), fleet.chance.uniform(0.1, 2.5)])
    fleet.set_weather(process, for_s, weather)
    if fleet.chance.random() < 0.4:
        fleet.later(for_s + fleet.unit_s * fleet.chance.uniform(0, 0.15), lambda: _fall_silent(fleet, process))


def _fall_silent(fleet: Fleet, process: Process) -> None:
    """For about as long as others wait."""
    if process.is_stopped or not process.link.is_up:
        return
    if fleet.chance.random() < 0.7:
        fleet.set_weather(process, fleet.unit_s * fleet.chance.uniform(0.8, 1.6), {"lose": 1.0})
        if fleet.chance.random() < 0.3:
            fleet.after(0.0, 0.9, lambda: process.is_stopped or _stop_with_its_clock(fleet, process))
    else:
        process.stop_all()
        fleet.after(0.8, 1.6, process.resume_all)


def _all(fleet: Fleet, longest: float, **weather: float) -> None:
    until_s = fleet.unit_s * fleet.chance.uniform(0.1, longest)
    for process in fleet.living():
        fleet.set_weather(process, until_s, weather)


# --- Kinesis and the sink -----------------------------------------------------------------------------------------------


async def blindness(fleet: Fleet) -> None:
    """One worker cannot reach Kinesis."""
    if (process := fleet.somebody()) is not None:
        process.weather.blind = True
        fleet.after(0.1, 1.5, lambda: setattr(process.weather, "blind", False))


async def expiry(fleet: Fleet) -> None:
    """Iterators are too old."""
    fleet.stream.fail_next("get_records", IteratorExpired("expired"), times=fleet.chance.randint(1, 5))


async def read_throttle(fleet: Fleet) -> None:
    """Others read the same shards."""
    fleet.stream.fail_next("get_records", Throttled("slow down"), times=fleet.chance.randint(1, 20))


async def slow_sink(fleet: Fleet) -> None:
    """Every call takes about as long as a call may."""
    fleet.sink.mean_s = fleet.sink.longest_s
    fleet.after(0.3, 3.0, fleet.sink_is_fast)


async def split(fleet: Fleet) -> None:
    """A shard becomes two."""
    open_shards = [log.shard.shard_id for log in fleet.stream._open]
    if len(open_shards) < MOST_SHARDS:
        fleet.stream.split(fleet.chance.choice(open_shards))


async def merge(fleet: Fleet) -> None:
    """Two shards become one."""
    open_shards = [log.shard.shard_id for log in fleet.stream._open]
    if len(open_shards) > 1:
        at = fleet.chance.randrange(len(open_shards) - 1)
        fleet.stream.merge(open_shards[at], open_shards[at + 1])


async def reshard_storm(fleet: Fleet) -> None:
    """Several generations at once."""
    for _ in range(fleet.chance.randint(2, 6)):
        await fleet.chance.choice([split, merge])(fleet)


async def halting_start(fleet: Fleet) -> None:
    """One that starts after a reshard makes only some of the new rows, and then another starts. Not among all the others."""
    while len(fleet.processes) > 2 and (process := fleet.somebody()) is not None:
        fleet.forget(process)
        await process.kill()
    if len(fleet.stream._logs) < 2 * MOST_SHARDS:
        await reshard_storm(fleet)
        fleet.start()
        fleet.set_weather(fleet.living()[-1], 0.4 * fleet.unit_s, {"throttle": 0.6})
        fleet.after(0.0, 0.2, fleet.start)


Fault = Callable[[Any], Awaitable[None]]

DIRECTED: tuple[Fault, ...] = (halting_start,)
"""Made only where they are asked for by name."""

FAULTS: tuple[Fault, ...] = (
    *(kill, join, deploy, pause, suspension, hypervisor_stop, clock_step, hang, stuck_heart),
    *(wish, wish, wish),
    *(partition, one_way, flaky, late_writes, slow_requests, slow_answers, slow_table, outage, throttling),
    *(gray, gray, silence_in_slowness, silence_in_slowness),
    *(blindness, expiry, read_throttle, slow_sink, slow_sink, slow_sink, split, merge, reshard_storm),
)
