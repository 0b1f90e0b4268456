"""`headrace verify` against a real table."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from headrace.aws.dead_letters import DeadLetterTable
from headrace.aws.tables import ensure_table
from headrace.cli.demo.handler import handle
from headrace.cli.verify import examine, verify
from headrace.core.ledger import Acknowledged, Header, digest_of
from headrace.core.verification import Design
from headrace.errors import SettingsError
from headrace.model import DeadLetter, Record
from headrace.settings import load

pytestmark = pytest.mark.servers

KEY = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
TYPES = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]


class Case:
    """A ledger of records, and a table to write what is to be found of them."""

    def __init__(self, clients, folder):
        self.clients = clients
        self.table = f"items-{uuid4().hex[:8]}"
        self.ledger = folder / "ledger"
        self.application = f"app-{uuid4().hex[:8]}"
        self.records = []

    @property
    def settings(self):
        options = {
            "HEADRACE_APPLICATION": self.application,
            "HEADRACE_STREAM_NAME": "orders",
            "HEADRACE_SINK_TABLE": self.table,
        }
        return load([], options)

    def produce(self, keys):
        counts = dict.fromkeys(keys, 0)
        for index, key in enumerate(keys):
            counts[key] += 1
            amounts = {"total": 1, "currency": "EUR"}
            order = {
                "key": key,
                "n": counts[key],
                "order_id": f"o-{index}",
                "amounts": amounts,
                "lines": [],
                "paid": True,
            }
            self.records.append(Record(msgspec.json.encode(order), key, 10**20 + index, 1.0, "shard-0"))
        lines = [
            Acknowledged("shard-0", f"{r.sequence_number:030d}", r.partition_key, r.json()["n"], False, len(r.data), digest_of(r.data))
            for r in self.records
        ]  # fmt: skip
        header = Header(stream="orders")
        self.ledger.write_bytes(msgspec.json.encode(header) + b"\n" + msgspec.json.Encoder().encode_lines(lines))

    async def make_table(self):
        await self.clients.dynamodb.create_table(
            TableName=self.table, KeySchema=KEY, AttributeDefinitions=TYPES, BillingMode="PAY_PER_REQUEST"
        )

    async def write(self, record, *, own=True, state=True):
        for item, wanted in zip(handle(record), (own, state), strict=True):
            typed = {
                name: {"S": value} if isinstance(value, str) else {"N": str(int(value))} for name, value in item.items()
            }
            if wanted:
                await self.clients.dynamodb.put_item(TableName=self.table, Item=typed)


@pytest.fixture
async def case(ministack, aws, tmp_path, monkeypatch):
    for name, value in ministack.environment().items():
        monkeypatch.setenv(name, value)
    async with aws(ministack) as clients:
        case = Case(clients, tmp_path)
        await case.make_table()
        yield case


async def test_what_the_demo_handler_writes_is_recognised_and_holds(case):
    """Own items and states in one table, told apart by their keys; more of them than one page."""
    case.produce("ab" * 30)
    for record in case.records:
        await case.write(record)
    report = await examine(case.settings, case.ledger)
    assert report.design is Design.BOTH
    assert (report.produced, report.written, report.missing, report.misordered) == (60, 60, 0, 0)
    assert report.holds


async def test_what_is_missing_and_what_was_overtaken_is_named(case):
    """A record that was never written, and a state that an older record took back."""
    case.produce("aab")
    await case.write(case.records[1])
    await case.write(case.records[0])
    report = await examine(case.settings, case.ledger)
    assert [lost.key for lost in report.lost] == ["b"]
    assert [(key.key, key.last_n, key.found_n) for key in report.overtaken] == [("a", 2, 1)]
    assert not report.holds


async def test_a_dead_letter_accounts_for_its_record(case):
    """As the worker writes it, in the table named after the application."""
    case.produce("a")
    table = case.settings.dead_letters.table
    await ensure_table(case.clients.dynamodb, table, setting="X", create=True)
    letter = DeadLetter("orders", case.records[0], "Rejected", "E", "m", 1, datetime(2026, 1, 1, tzinfo=UTC), "w", 1)
    await DeadLetterTable(case.clients.dynamodb, table).bury([letter])
    report = await examine(case.settings, case.ledger)
    assert (report.dead_lettered, report.healthy_dead_lettered, report.missing) == (1, 1, 0)


async def test_a_ledger_of_another_stream_is_refused(case):
    """Everything would be missing, and nothing would be wrong."""
    case.produce("a")
    case.ledger.write_bytes(case.ledger.read_bytes().replace(b'"orders"', b'"clicks"'))
    with pytest.raises(SettingsError, match="is of stream clicks, not of orders"):
        await examine(case.settings, case.ledger)


async def test_a_table_that_is_not_there_is_refused(case):
    """By the name of its setting."""
    case.produce("a")
    case.table = "nowhere"
    with pytest.raises(SettingsError, match=r"HEADRACE_SINK_TABLE.*no such table"):
        await examine(case.settings, case.ledger)


async def test_items_without_a_sequence_number_are_refused_and_not_called_missing(case):
    """A handler that does not write it: what its items are of cannot be told."""
    case.produce("a")
    await case.clients.dynamodb.put_item(
        TableName=case.table, Item={name["AttributeName"]: {"S": "o-0"} for name in TYPES}
    )
    with pytest.raises(SettingsError, match=r"'sequenceNumber': no item of .* carries this attribute"):
        await examine(case.settings, case.ledger)


@pytest.mark.parametrize("content", [None, b"", b"not a ledger\n"])
async def test_a_file_that_is_no_ledger_is_refused(case, content):
    """Or not there at all."""
    if content is not None:
        case.ledger.write_bytes(content)
    with pytest.raises(SettingsError, match="--ledger"):
        await examine(case.settings, case.ledger)


async def test_the_exit_code_and_the_json_say_whether_it_holds(case, capsys):
    """0 for nothing missing; 1 else."""
    case.produce("ab")
    codes = []
    for record in case.records:
        await case.write(record)
        codes.append(await asyncio.to_thread(verify, case.settings, ledger=case.ledger, as_json=True))
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert codes == [1, 0]
    assert (first["ok"], first["missing"], first["lost"][0]["key"]) == (False, 1, "b")
    assert (second["ok"], second["missing"], second["misordered"]) == (True, 0, 0)
