"""The arithmetic of docs/cost.md, done once more from the prices and the CPU that it gives."""

from __future__ import annotations

import re
from math import ceil

import pytest

from docs.pages import ROOT

PAGE = (ROOT / "docs" / "cost.md").read_text()

MONTH_S = 730 * 3600
RATE, SHARDS, RECORD_B, WIRE_B = 5_000, 10, 1_000, 1_500
RECORDS = RATE * MONTH_S


def priced(pattern: str) -> float:
    """A figure that the page itself gives."""
    (found,) = re.findall(pattern, PAGE)
    return float(found)


WRITE, READ = (priced(rf"([\d.]+) per million {kind} units") / 1e6 for kind in ("write", "read"))
SHARD_H = priced(r"provisioned shard \| ([\d.]+) an hour")
FAN_OUT_H, FAN_OUT_GB = SHARD_H, priced(r"shard an hour, ([\d.]+) per GB")
CALL, GB_S = priced(r"([\d.]+) per million calls") / 1e6, priced(r"([\d.]+) per GB-second")
VCPU_H, GB_H = priced(r"([\d.]+) per vCPU and hour"), priced(r"([\d.]+) per GB and hour")
ENDPOINT = priced(r"Interface endpoint \| ([\d.]+) an hour"), priced(r"hour and zone, ([\d.]+) per GB")
NAT = priced(r"NAT gateway \| ([\d.]+) an hour"), priced(r"gateway \| [\d.]+ an hour, ([\d.]+) per GB")
STOCK_S = priced(r"the stock loop's, (\d+) us a record") / 1e6
MAPPED_S = priced(r"\| (\d+) us a record are [\d.]+ vCPU; two workers of 0.5 vCPU and 1 GB") / 1e6


def workers(count: int, vcpus: float, gigabytes: float) -> float:
    return count * (vcpus * VCPU_H + gigabytes * GB_H) * 730


def in_lambda(batch: int) -> tuple[float, float]:
    """Compute and calls: CPU of each record, and 5 ms for every 25 that are written."""
    calls = RECORDS / batch
    duration_s = batch * STOCK_S + ceil(batch / 25) * 0.005
    return calls * duration_s * 1769 / 1024 * GB_S, calls * CALL


def leases(count: int, checkpoints_per_s: float = 1) -> float:
    return (SHARDS * checkpoints_per_s * WRITE + kept_alive(count)) * MONTH_S


def kept_alive(count: int) -> float:
    """Heartbeats every 2 s, a report every 5 s, and a poll each second at half a read unit; USD a second."""
    return count * ((1 / 2 + 1 / 5) * WRITE + 0.5 * READ)


KCL_RENEWALS = SHARDS * 26_118 * 730 / 24 * WRITE
ON_THE_WIRE_GB = RECORDS * WIRE_B / 2**30


def on_one_line(text: str) -> str:
    """However its lines are broken."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("told", "usd"),
    [
        ("the shards cost {} a month", SHARDS * SHARD_H * 730),
        ("the writes {:,}:", RECORDS * WRITE),
        ("at 1,769 MB | {} |", in_lambda(100)[0]),
        ("| 289 | {} | **315** |", in_lambda(100)[1]),
        ("| **{}** |\n| headrace, items", sum(in_lambda(100))),
        ("calls of 500 records cost {},", sum(in_lambda(500))),
        ("one is enough | {} | 19 |", workers(2, 0.5, 1)),
        ("| 36 | {} | **55** |", leases(2)),
        ("| **{}** |\n| headrace, the same", workers(2, 0.5, 1) + leases(2)),
        ("1 vCPU and 2 GB | {} | 23 |", workers(5, 1, 2)),
        ("| 180 | {} | **203** |", leases(5)),
        ("| **{}** |\n| KCL", workers(5, 1, 2) + leases(5)),
        ("and 2 GB | {} | 21 | **64** |", workers(2, 0.5, 2)),
        ("| 43 | {} | **64** |", KCL_RENEWALS + SHARDS * WRITE * MONTH_S),
        ("headrace: {} for a checkpoint a second", SHARDS * WRITE * MONTH_S),
        ("and shard ({} at `HEADRACE_CHECKPOINT_INTERVAL=5s`)", SHARDS / 5 * WRITE * MONTH_S),
        ("KCL: {} for renewing", KCL_RENEWALS),
        ("fan-out is {} for this stream", SHARDS * FAN_OUT_H * 730 + RECORDS * RECORD_B / 2**30 * FAN_OUT_GB),
        ("read {:,} GB a month", ON_THE_WIRE_GB),
        ("{} with two zones", ON_THE_WIRE_GB * ENDPOINT[1] + 2 * 730 * ENDPOINT[0]),
        ("gateway, {}:", ON_THE_WIRE_GB * NAT[1] + 2 * 730 * NAT[0]),
        ("smallest workers ({})", workers(2, 0.25, 0.5)),
        ("and their leases ({})", (2 * WRITE + kept_alive(2)) * MONTH_S),
    ],
)
def test_a_figure_of_the_page_follows_from_its_prices(told, usd):
    """Rounded to the dollar."""
    assert on_one_line(told.format(round(usd))) in on_one_line(PAGE)


def test_the_processors_that_are_reckoned_with_are_enough():
    """For the whole load where one of two is gone, or at the share that is said."""
    assert RATE * MAPPED_S < 0.5
    assert f"{RATE * MAPPED_S:.2f} vCPU" in PAGE
    assert f"{RATE * STOCK_S:.1f} vCPU" in PAGE
    assert RATE * STOCK_S / 0.6 <= 5


def test_little_to_do_is_cheap_in_lambda():
    """Two calls a second of 20 ms at 128 MB."""
    usd = 2 * MONTH_S * (CALL + 0.020 * 128 / 1024 * GB_S)
    assert f"about {usd:.1f} a month in Lambda" in PAGE
