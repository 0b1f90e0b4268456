"""`python -m benchmarks`: headrace beside a stock loop. `... memory`, `profile`, `producer`, `transactional`: more of it.

Exit code 0: every target is met. 1: one is missed. 2: the benchmark could not be run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import consumers, own_time, producing, report, screen
from benchmarks.measure import Measurement, measure
from benchmarks.stage import BenchError, Stage, staged, staged_for_producers, workload_until_now


def compare(options: argparse.Namespace) -> int:
    """Rounds of headrace and of the stock loop in turn, on the same records."""
    if options.stock_rounds and importlib.util.find_spec("boto3") is None:
        raise BenchError(
            "The stock loop needs boto3, a dependency of development (make setup); --stock-rounds 0 leaves it out"
        )
    with _staged(options) as (stage, folder):
        runs = [_run(stage, turn(stage, folder)) for turn in _turns(options.rounds, options.stock_rounds)]
    ours = [run for run in runs if run.consumer == "headrace"]
    targets = report.comparison_targets(ours, [run for run in runs if run.consumer != "headrace"])
    return _finish(f"Whole processes from exec to exit, {_described(stage)}", runs, targets, options)


def memory(options: argparse.Namespace) -> int:
    """A worker whose writes are slower than its reads holds a backlog of many shards: how much memory?"""
    with _staged(options) as (stage, folder):
        run = _run(stage, consumers.headrace(stage, folder))
    title = f"A backlog before writes that take {options.write_delay_ms:g} ms, {_described(stage)}"
    return _finish(title, [run], report.memory_targets(run), options)


def profile(options: argparse.Namespace) -> int:
    """The functions of the worker with the most time of their own, per record."""
    with _staged(options) as (stage, folder):
        samples = folder / "samples"
        run = _run(stage, consumers.headrace(stage, folder, own_time.launcher(samples)))
        for line in own_time.lines(samples, run.cpu_us, options.lines):
            print(line)
    return 0


def transactional(options: argparse.Namespace) -> int:
    """Rounds of mode put and of mode transactional in turn, on the same records."""
    with _staged(options) as (stage, folder):
        turns = (consumers.headrace, consumers.transactional) * options.rounds
        runs = [_run(stage, turn(stage, folder)) for turn in turns]
    targets = report.mode_targets(runs[::2], runs[1::2])
    return _finish(f"Whole processes from exec to exit, {_described(stage)}", runs, targets, options)


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
def _staged(options: argparse.Namespace) -> Iterator[tuple[Stage, Path]]:
    """The servers, and a folder for what the consumers leave behind."""
    workload = workload_until_now(options.shards, options.records)
    screen.say(f"Rendering {workload.total:,} records...")
    with staged(workload, getattr(options, "write_delay_ms", 0.0)) as stage, tempfile.TemporaryDirectory() as name:
        consumers.compile_all(stage, Path(name))
        yield stage, Path(name)


def _turns(rounds: int, stock_rounds: int) -> Iterator[Callable[[Stage, Path], consumers.Consumer]]:
    """One of headrace, one of the stock loop, and so on while there are any left."""
    for turn in range(max(rounds, stock_rounds)):
        if turn < rounds:
            yield consumers.headrace
        if turn < stock_rounds:
            yield consumers.stock


def _run(stage: Stage, consumer: consumers.Consumer) -> Measurement:
    with screen.progress(consumer.name, stage.workload.total) as watch:
        run = measure(stage, consumer, watch)
    screen.say(f"{consumer.name}: {run.cpu_us:.1f} us of CPU per record")
    return run


def _described(stage: Stage) -> str:
    shards = stage.workload.shards
    return f"{stage.workload.total:,} nested records of 1 KB (31 leaves) in {shards} shards"


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
    parser.add_argument("--rounds", type=int, default=2, help="runs of headrace (%(default)s)")
    parser.add_argument("--stock-rounds", type=int, default=1, help="runs of the stock loop (%(default)s)")
    commands = parser.add_subparsers(title="other measurements")
    one = commands.add_parser("memory", help="peak memory with a backlog of many shards", description=memory.__doc__)
    one.set_defaults(act=memory)
    _add_size(one, shards=40, records=5_000)
    one.add_argument("--write-delay-ms", type=float, default=20.0, help="of every batch write (%(default)s)")
    other = commands.add_parser("profile", help="functions by their own time", description=profile.__doc__)
    other.set_defaults(act=profile)
    _add_size(other, shards=8, records=12_500)
    other.add_argument("--lines", type=int, default=own_time.FIRST_LINES, help="functions to show (%(default)s)")
    mode = commands.add_parser("transactional", help="CPU beside mode put", description=transactional.__doc__)
    mode.set_defaults(act=transactional)
    _add_size(mode, shards=8, records=25_000)
    mode.add_argument("--rounds", type=int, default=2, help="of both (%(default)s)")
    third = commands.add_parser("producer", help="CPU per produced record", description=producer.__doc__)
    third.set_defaults(act=producer)
    third.add_argument("--shards", type=int, default=50, help="of the stream (%(default)s)")
    third.add_argument("--records", type=int, default=300_000, help="in all (%(default)s)")
    third.add_argument("--record-bytes", type=int, default=1000, help="of a payload (%(default)s)")
    third.add_argument("--keys", type=int, default=100_000, help="partition keys (%(default)s)")
    third.add_argument("--rounds", type=int, default=3, help="runs of each kind (%(default)s)")
    third.add_argument("--json", action="store_true", help="results as JSON on standard output")
    return parser


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
