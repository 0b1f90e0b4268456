"""`python -m simulation --runs N --seed S --jobs J`: plays the seeds S, S + 1, ..., S + N - 1.

The same seed is the same run: hashes are not randomised (the process starts itself anew for that). Ends with 1 when an
invariant was broken. `--trace` tells what happens in the first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial

from rich.console import Console

from simulation.campaign import Finding, Tally, in_a_process, play_all, play_one, show, tell
from simulation.faults import DIRECTED, FAULTS
from simulation.fleet import limit_faults, prepare
from simulation.mutations import MUTATIONS
from simulation.operators import OPERATIONS

FAULTS_BY_NAME = {fault.__name__: fault for fault in (*FAULTS, *DIRECTED, *OPERATIONS)}


def main() -> int:
    """Play; the exit code."""
    arguments = _parser().parse_args()
    prepare()
    if arguments.weather:
        limit_faults([FAULTS_BY_NAME[name] for name in arguments.weather])
    if arguments.operators:
        limit_faults([*FAULTS, *OPERATIONS])
    if arguments.leave_out:
        MUTATIONS[arguments.leave_out].apply()
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    if arguments.find or arguments.check_mutations:
        return _judge_mutations(seeds if arguments.find else None, as_json=arguments.json)
    console = Console(stderr=arguments.json)
    if arguments.trace:
        tally = _play_told(arguments.seed, console)
    else:
        tally = play_all(seeds, arguments.jobs, console, to_the_first=arguments.first)
    if arguments.json:
        print(json.dumps(tally.as_json(), indent=1))
    else:
        show(tally, console)
    return 1 if tally.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; default: one per CPU")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    parser.add_argument("--first", action="store_true", help="end with the first violation")
    parser.add_argument("--trace", action="store_true", help="play one seed and tell what happens in it")
    parser.add_argument(
        "--weather",
        action="append",
        choices=sorted(FAULTS_BY_NAME),
        help="a fault to make, and no others but those named",
    )
    parser.add_argument("--operators", action="store_true", help="with operators who seek, skip, pause, drain and move")
    parser.add_argument("--leave-out", choices=sorted(MUTATIONS), help="a rule of the protocol to do without")
    parser.add_argument("--find", action="store_true", help="for each rule, the first seed that notices its absence")
    parser.add_argument("--check-mutations", action="store_true", help="for each rule, what its known seed finds")
    return parser


def _play_told(seed: int, console: Console) -> Tally:
    tally = play_one(seed, print)
    for finding in tally.findings:
        tell(finding, console)
    return tally


def _judge_mutations(seeds: range | None, *, as_json: bool) -> int:
    """Of each rule: which of the seeds, or else whether its known one, notices that it is left out."""
    found: dict[str, Finding | None] = {}
    for rule, mutation in MUTATIONS.items():
        finding = found[rule] = in_a_process(partial(_first_notice, rule, seeds or [mutation.seed]))
        if not as_json:
            told = f"seed {finding.seed}, {finding.text}" if finding else "not noticed"
            print(f"{rule}: {told}", flush=True)
    if as_json:
        print(json.dumps({rule: None if f is None else [f.seed, f.invariant] for rule, f in found.items()}))
    return 0 if all(found.values()) else 1


def _first_notice(rule: str, seeds: range | list[int]) -> Finding | None:
    MUTATIONS[rule].apply()
    findings = (finding for seed in seeds for finding in play_one(seed).findings)
    return next(findings, None)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    sys.exit(main())
