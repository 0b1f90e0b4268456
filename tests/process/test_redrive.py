"""Dead letters from their burial to the end of their redrive: a real worker, the real commands, local servers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import pytest
from process.conftest import Stage, until

from headrace.core.ledger import read_header, read_records

pytestmark = [pytest.mark.process, pytest.mark.servers]

MENDABLE = '''
"""Does not take the 17th order of a customer, until it is mended."""
from pathlib import Path
from headrace import Record, Reject
from headrace.cli.demo.handler import handle as write

def handle(record: Record):
    if Path("broken").exists() and record.json()["n"] == 17:
        raise Reject("no such customer")
    return write(record)
'''


class Shop:
    """A stage with one stream and two applications: one whose handler is broken, and one that never fails."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ledger = stage.folder / "ledger"
        self.broken = stage.folder / "broken"
        self.healthy = {
            "HEADRACE_APPLICATION": f"{stage.stream}-healthy",
            "HEADRACE_SINK_TABLE": f"{stage.table}-healthy",
        }
        self.failing = {"HEADRACE_SINK_TABLE": f"{stage.table}-orders", "HEADRACE_RETRY_ON_EXHAUSTED": "park_key"}
        for environment in (self.healthy, self.failing):
            environment["HEADRACE_STREAM_NAME"] = stage.stream

    async def prepare(self) -> None:
        (self.stage.folder / "mendable.py").write_text(MENDABLE)
        (self.stage.folder / "orders.py").write_text("from headrace.cli.demo.handler import handle\n")
        names = ("pk", "sk")
        for table in (self.healthy["HEADRACE_SINK_TABLE"], self.failing["HEADRACE_SINK_TABLE"]):
            await self.stage.clients.dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in zip(names, ("HASH", "RANGE"), strict=True)],
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
                BillingMode="PAY_PER_REQUEST",
            )

    async def produce(self, count: int) -> None:
        words = ["--stream", self.stage.stream, "--workload", "orders", "--count", str(count), "--keys", "30"]
        words += ["--skew", "0", "--ledger", str(self.ledger), "--json"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace_producer", *words),
            env=self.stage.environment,
            cwd=self.stage.folder,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()

    def records(self):
        with self.ledger.open("rb") as lines:
            read_header(lines.readline())
            return list(read_records(lines))

    async def letters(self, *words: str, code: int = 0) -> str:
        """`headrace dead-letters ...` of the failing application."""
        done = await self.stage.command("dead-letters", *words, **self.failing, HEADRACE_HANDLER="mendable:handle")
        assert done.code == code, done.err + done.out
        return done.out

    async def items(self, environment: dict[str, str]) -> dict[tuple[str, str], dict]:
        found = {}
        pages = self.stage.clients.dynamodb.get_paginator("scan")
        async for page in pages.paginate(TableName=environment["HEADRACE_SINK_TABLE"]):
            found |= {(item["pk"]["S"], item["sk"]["S"]): item for item in page["Items"]}
        return found

    async def agree(self, items: int) -> None:
        """Both tables hold the same, so many of them; the healthy application may need a while."""
        deadline = asyncio.get_running_loop().time() + 30
        while True:
            mine, theirs = await self.items(self.failing), await self.items(self.healthy)
            if mine == theirs and len(mine) == items:
                return
            assert asyncio.get_running_loop().time() < deadline, f"{len(mine)} and {len(theirs)} of {items} items"
            await asyncio.sleep(0.2)


async def test_a_thousand_dead_letters_redriven_leave_each_key_as_if_nothing_had_failed(stage):
    """Buried by a broken handler, looked at, redriven by the mended one beside the running worker; order is kept."""
    async with stage(shards=2) as s:
        shop = Shop(s)
        await shop.prepare()
        shop.broken.touch()
        await shop.produce(1600)
        worker = s.start(**shop.failing, HEADRACE_HANDLER="mendable:handle")
        s.start(**shop.healthy, HEADRACE_HANDLER="orders:handle")
        counts = Counter(record.key for record in shop.records())
        expected = sum(count - 16 for count in counts.values() if count > 16)
        assert expected > 1000
        await until(lambda: len(worker.events("record_buried")) == expected, 60, worker.log.read_text)

        listed = [json.loads(line) for line in (await shop.letters("list", "--json")).splitlines()]
        assert len(listed) == expected
        assert Counter(one["reason"] for one in listed) == {
            "Rejected": len(counts),
            "KeyParked": expected - len(counts),
        }
        table = await shop.letters("list", "--reason", "rejected", "--limit", "2")
        assert [line.split()[-2:] for line in table.splitlines()[1:]] == [["Reject", "1"]] * 2
        number = table.splitlines()[1].split()[2]
        shown = await shop.letters("show", number.lstrip("\u2026"), "--payload")
        assert "no such customer" in shown
        assert '"n":17' in shown

        failed_again = json.loads(await shop.letters("redrive", "--json", "--limit", "40", code=1))
        assert (failed_again["redriven"], failed_again["failed"]) == (0, 30)
        plan = json.loads(await shop.letters("redrive", "--dry-run", "--json"))
        assert (plan["letters"], plan["keys"], plan["parked_keys"]) == (expected, len(counts), len(counts))

        shop.broken.unlink()
        done = json.loads(await shop.letters("redrive", "--json"))
        assert (done["redriven"], done["failed"], done["released"]) == (expected, 0, len(counts))
        assert await shop.letters("list") == "No dead letters.\n"

        await shop.agree(1600 + len(counts))
        report = (await s.command("verify", "--ledger", str(shop.ledger), **shop.failing)).out
        assert "OK: nothing is missing, every key in order." in report

        shop.ledger.unlink()
        await shop.produce(300)
        await shop.agree(1900 + len(counts))
        assert await shop.letters("list") == "No dead letters.\n"
