"""`python -m chaos --minutes 30 --workers 4 --shards 8 --seed 7`: a fleet of real processes under seeded faults.

Exit code 0 when every rule holds; else 1, with a line for each rule that is broken. docs/chaos.md tells more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from rich.console import Console

from chaos import report
from chaos.plan import Kind
from chaos.run import Order, play
from chaos.stage import Size, kinesis_of
from chaos.verdict import Findings
from headrace.settings.units import Unfit, duration

RATES = {"kinesis-local": 60.0, "kinesalite": 200.0, "ministack": 200.0}
"""Records a second that each server carries beside everything else on two cores."""


def main() -> int:
    """Play; the exit code."""
    arguments = _parser().parse_args()
    order = _order(arguments)
    findings, folder = asyncio.run(play(order))
    data = report.as_data(findings, seed=order.seed, folder=str(folder))
    (folder / "result.json").write_text(json.dumps(data, indent=1, default=str))
    if arguments.json:
        print(json.dumps(data, default=str))
    else:
        _show(findings, order, folder)
    return 1 if data["broken"] else 0


def _show(findings: Findings, order: Order, folder: Path) -> None:
    console = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 160)
    report.show(findings, console)
    broken = findings.broken()
    for rule in broken:
        console.print(f"BROKEN: {rule}", markup=False, highlight=False)
    console.print(f"{'FAILED' if broken else 'OK'}: seed {order.seed}; everything is in {folder}", highlight=False)


def _order(arguments: argparse.Namespace) -> Order:
    kinds = frozenset(Kind(name) for name in arguments.only.split(",")) if arguments.only else frozenset(Kind)
    rolling = arguments.order if arguments.scenario == "rolling" else None
    kinesis = kinesis_of(arguments.kinesis, reshard=rolling is None and Kind.RESHARD in kinds)
    if kinesis == "ministack":  # it deletes a parent with its records
        kinds -= {Kind.RESHARD}
    rate = RATES[kinesis] if arguments.rate is None else arguments.rate
    settings = tuple((_variable(name), value) for name, _, value in (text.partition("=") for text in arguments.set))
    size = Size(arguments.workers, arguments.shards, rate, arguments.lease, kinesis, settings=settings)
    return Order(size, arguments.seed, arguments.minutes, kinds, rolling)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chaos", description="A fleet of real processes under seeded faults.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults go on (default: 5)")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease", type=_seconds, default=3.0, help="lease duration, like 3s (the default)")
    parser.add_argument("--rate", type=float, help="records a second (default: what the Kinesis server carries)")
    parser.add_argument("--only", help=f"some of {','.join(Kind)}")
    parser.add_argument("--kinesis", choices=sorted(RATES), help="ministack: no reshards (default: kinesis-local)")
    parser.add_argument("--scenario", choices=["chaos", "rolling"], default="chaos")
    parser.add_argument("--order", choices=["before", "after"], default="before", help="of the rolling scenario")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of every worker")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    return parser


def _variable(name: str) -> str:
    """`stream.poll_interval` is HEADRACE_STREAM_POLL_INTERVAL; names in capitals stand for themselves."""
    return name if name.isupper() else f"HEADRACE_{name.replace('.', '_').upper()}"


def _seconds(text: str) -> float:
    try:
        return duration(text).total_seconds()
    except Unfit as error:
        raise argparse.ArgumentTypeError(f"{error.problem}. {error.mend}") from None


if __name__ == "__main__":
    sys.exit(main())
