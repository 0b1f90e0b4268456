"""`python -m benchmarks`: write modes beside stock loops. `... handlers` (and more, see `--help`): other measurements.

Exit code 0: every target is met. 1: one is missed. 2: the benchmark could not be run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks import consumers, own_time, producing, report, screen, throttling
from benchmarks.measure import Measurement, measure
from benchmarks.records import Size
from benchmarks.stage import BenchError, Stage, staged, staged_for_producers, workload_until_now

Turn = Callable[[Stage, Path], consumers.Consumer]


def compare(options: argparse.Namespace) -> int:
    """Rounds of the write modes and of the stock loops in turn, on the same records."""
    if options.stock_rounds and importlib.util.find_spec("boto3") is None:
        raise BenchError(
            "The stock loops need boto3, a dependency of development (make setup); --stock-rounds 0 leaves them out"
        )
    with _staged(options) as (stage, folder):
        runs = [_run(stage, turn(stage, folder)) for turn in _turns(options)]
    return _finish(
        f"Whole processes from exec to exit, {_described(stage)}", runs, report.comparison_targets(runs), options
    )


def handlers(options: argparse.Namespace) -> int:
    """Rounds of each kind of handler, and of items by settings."""
    return _beside(options, consumers.HANDLERS)


def processes(options: argparse.Namespace) -> int:
    """One process and two on the same records: CPU per record of all, and records per second."""
    return _beside(options, (consumers.PUT, consumers.TWO_PROCESSES))


def sizes(options: argparse.Namespace) -> int:
    """Modes put and insert and the stock loop on records of 100 B, 1 KB and 10 KB (a tenth as many)."""
    missed = 0
    for size, records in (
        (Size.SMALL, options.records),
        (Size.NESTED, options.records),
        (Size.LARGE, options.records // 10),
    ):
        told = argparse.Namespace(**{**vars(options), "records": records, "size": size})
        missed |= _beside(told, (consumers.PUT, consumers.INSERT), also=(consumers.stock,))
    return missed


def _beside(options: argparse.Namespace, kinds: Iterable[consumers.Kind], also: Iterable[Turn] = ()) -> int:
    turns: list[Turn] = [*(partial(consumers.headrace, kind=kind) for kind in kinds), *also]
    with _staged(options) as (stage, folder):
        runs = [_run(stage, turn(stage, folder)) for _ in range(options.rounds) for turn in turns]
    return _finish(
        f"Whole processes from exec to exit, {_described(stage)}", runs, report.presence_targets(runs), options
    )


def memory(options: argparse.Namespace) -> int:
    """A worker whose writes are slower than its reads holds a backlog of many shards: how much memory?"""
    with _staged(options, {"write-delay-ms": options.write_delay_ms}) as (stage, folder):
        run = _run(stage, consumers.headrace(stage, folder))
    title = f"A backlog before writes that take {options.write_delay_ms:g} ms, {_described(stage)}"
    return _finish(title, [run], report.memory_targets(run), options)


def throttled(options: argparse.Namespace) -> int:
    """Half of the writes are refused for a minute: nothing is lost, and the rate recovers."""
    spell = throttling.Spell(options.begins_s, options.lasts_s)
    with _staged(options, {**spell.options, "write-delay-ms": options.write_delay_ms}) as (stage, folder):
        run = _run(stage, consumers.headrace(stage, folder))
        found = throttling.outcome(spell, stage.stats())
    print(
        f"records/s: {found.before:,.0f} before, {found.during:,.0f} while writes were refused ({found.refused:,} were), {found.after:,.0f} after"
    )
    return _finish(
        f"Half of the writes refused for {spell.lasts_s} s, {_described(stage)}",
        [run],
        list(throttling.targets(run, found)),
        options,
    )


def profile(options: argparse.Namespace) -> int:
    """The functions of the worker with the most time of their own, per record."""
    with _staged(options) as (stage, folder):
        samples = folder / "samples"
        run = _run(stage, consumers.headrace(stage, folder, _kinds()[options.kind], own_time.launcher(samples)))
        for line in own_time.lines(samples, run.cpu_us, options.lines):
            print(line)
    return 0


def producer(options: argparse.Namespace) -> int:
    """Rounds of `headrace-producer` with plain records and with aggregates in turn, each with a ledger."""
    load = producing.Load(options.records, options.record_bytes, options.keys)
    with staged_for_producers(options.shards) as stage, tempfile.TemporaryDirectory() as name:
        consumers.compile_all(stage, Path(name))
        runs = []
        for words in ((), ("--aggregate",)) * options.rounds:
            screen.say(" ".join(("headrace-producer", *words)))
            runs.append(producing.produce(stage, Path(name), load, words))
    targets = list(producing.targets(runs))
    title = f"Whole processes from exec to exit, {load.records:,} records of {load.record_bytes:,} bytes, {load.keys:,} keys, {options.shards} shards"
    if options.json:
        print(json.dumps(producing.as_json(runs, targets), indent=2))
    else:
        screen.show_rows(title, producing.COLUMNS, [run.row() for run in runs], targets)
    return 0 if all(target.met for target in targets) else 1


# --- parts ------------------------------------------------------------------------------------------------------------


@contextmanager
def _staged(
    options: argparse.Namespace, writes: Mapping[str, float] = MappingProxyType({})
) -> Iterator[tuple[Stage, Path]]:
    """The servers, which take writes as `writes` says, and a folder for what the consumers leave behind."""
    workload = workload_until_now(options.shards, options.records, getattr(options, "size", Size.NESTED))
    screen.say(f"Rendering {workload.total:,} records...")
    with staged(workload, writes) as stage, tempfile.TemporaryDirectory() as name:
        consumers.compile_all(stage, Path(name))
        yield stage, Path(name)


def _turns(options: argparse.Namespace) -> Iterator[Turn]:
    """One of each mode, one of the stock loop, and so on while there are any left; the conditional loop once, it takes minutes."""
    for turn in range(max(options.rounds, options.stock_rounds)):
        if turn < options.rounds:
            yield from (partial(consumers.headrace, kind=kind) for kind in consumers.MAIN)
        if turn < options.stock_rounds:
            yield consumers.stock
    if options.stock_rounds:
        yield partial(consumers.stock, conditional=True)


def _run(stage: Stage, consumer: consumers.Consumer) -> Measurement:
    with screen.progress(consumer.name, stage.workload.total) as watch:
        run = measure(stage, consumer, watch)
    screen.say(f"{consumer.name}: {run.cpu_us:.1f} us of CPU per record")
    return run


def _described(stage: Stage) -> str:
    workload = stage.workload
    nested = " (31 leaves)" if workload.size is Size.NESTED else ""
    return f"{workload.total:,} records of {workload.size}{nested} in {workload.shards} shards"


def _finish(
    title: str, runs: Sequence[Measurement], targets: Sequence[report.Target], options: argparse.Namespace
) -> int:
    if options.json:
        print(json.dumps(report.as_json(runs, targets), indent=2))
    else:
        screen.show(title, runs, targets)
    return 0 if all(target.met for target in targets) else 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=compare.__doc__)
    parser.set_defaults(act=compare)
    _add_size(parser, shards=8, records=25_000)
    parser.add_argument("--rounds", type=int, default=2, help="runs of each mode (%(default)s)")
    parser.add_argument("--stock-rounds", type=int, default=1, help="runs of the stock loop (%(default)s); 0: none")
    commands = parser.add_subparsers(title="other measurements")
    for act in (handlers, sizes, processes):
        command = commands.add_parser(
            act.__name__, help=(act.__doc__ or "").partition("\n")[0], description=act.__doc__
        )
        command.set_defaults(act=act)
        _add_size(command, shards=8, records=25_000)
        command.add_argument("--rounds", type=int, default=2, help="runs of each (%(default)s)")
    one = commands.add_parser("memory", help="peak memory with a backlog of many shards", description=memory.__doc__)
    one.set_defaults(act=memory)
    _add_size(one, shards=40, records=5_000)
    one.add_argument("--write-delay-ms", type=float, default=20.0, help="of every batch write (%(default)s)")
    fourth = commands.add_parser(
        "throttled", help="half of the writes refused for a minute", description=throttled.__doc__
    )
    fourth.set_defaults(act=throttled)
    _add_size(fourth, shards=8, records=60_000)
    fourth.add_argument("--begins-s", type=int, default=10, help="seconds after the first write (%(default)s)")
    fourth.add_argument("--lasts-s", type=int, default=60, help="seconds (%(default)s)")
    fourth.add_argument(
        "--write-delay-ms", type=float, default=80.0, help="of every write, for a steady rate (%(default)s)"
    )
    other = commands.add_parser("profile", help="functions by their own time", description=profile.__doc__)
    other.set_defaults(act=profile)
    _add_size(other, shards=8, records=12_500)
    other.add_argument("--kind", default="put", choices=_kinds(), help="what runs (%(default)s)")
    other.add_argument("--lines", type=int, default=own_time.FIRST_LINES, help="functions to show (%(default)s)")
    third = commands.add_parser("producer", help="CPU per produced record", description=producer.__doc__)
    third.set_defaults(act=producer)
    third.add_argument("--shards", type=int, default=50, help="of the stream (%(default)s)")
    third.add_argument("--records", type=int, default=300_000, help="in all (%(default)s)")
    third.add_argument("--record-bytes", type=int, default=1000, help="of a payload (%(default)s)")
    third.add_argument("--keys", type=int, default=100_000, help="partition keys (%(default)s)")
    third.add_argument("--rounds", type=int, default=3, help="runs of each kind (%(default)s)")
    third.add_argument("--json", action="store_true", help="results as JSON on standard output")
    return parser


def _kinds() -> dict[str, consumers.Kind]:
    return {kind.name: kind for kind in (*consumers.MAIN, *consumers.HANDLERS)}


def _add_size(parser: argparse.ArgumentParser, shards: int, records: int) -> None:
    parser.add_argument("--shards", type=int, default=shards, help="of the stream (%(default)s)")
    parser.add_argument("--records", type=int, default=records, help="in each shard (%(default)s)")
    parser.add_argument("--json", action="store_true", help="results as JSON on standard output")


def main() -> int:
    """Run one benchmark; its exit code."""
    options = _arguments().parse_args()
    try:
        return int(options.act(options))
    except BenchError as error:
        screen.say(str(error))
        return 2
    except KeyboardInterrupt:
        screen.say("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
