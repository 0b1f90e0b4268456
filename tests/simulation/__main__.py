"""`python -m simulation --runs N --seed S`: plays seeds S, S + 1, ..., S + N - 1; prints the first that fails.

The same seed is the same run: hashes are not randomised (the process starts itself anew for that).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter

from simulation.fleet import simulate
from simulation.mutations import MUTATIONS
from simulation.world import Violation


def main() -> int:
    """Play; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--leave-out", choices=sorted(MUTATIONS), help="a rule of the protocol to do without")
    parser.add_argument("--find", action="store_true", help="for each rule, the first seed that notices its absence")
    arguments = parser.parse_args()
    if arguments.find:
        return find(arguments.seed, arguments.runs)
    if arguments.leave_out:
        MUTATIONS[arguments.leave_out]()
    counts: Counter[str] = Counter()
    began = time.process_time()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        try:
            run = simulate(seed)
        except BaseException as error:  # noqa: BLE001 - whatever ends a run is a finding
            traceback.print_exc(limit=-6)
            print(f"seed {seed}: {type(error).__name__}: {error}")
            return 1
        counts += run.counts + run.table.counts
        counts["records"] += len(run.ledger.key)
    print(f"{arguments.runs} runs, {time.process_time() - began:.0f} s of CPU, 0 violations")
    print(", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    return 0


def find(seed: int, runs: int) -> int:
    """Each rule in a process of its own: what was patched stays patched."""
    for rule in MUTATIONS:
        child = os.fork()
        if not child:
            MUTATIONS[rule]()
            os._exit(_first_caught(rule, range(seed, seed + runs)))
        os.waitpid(child, 0)
    return 0


def _first_caught(rule: str, seeds: range) -> int:
    for seed in seeds:
        try:
            simulate(seed)
        except Violation as error:
            print(f'    "{rule}": {seed},  # {type(error).__name__}: {error}', flush=True)
            return 0
    print(f"    # {rule}: not noticed in {len(seeds)} runs", flush=True)
    return 1


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    sys.exit(main())
