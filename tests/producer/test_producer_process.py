"""headrace-producer as a process, against a real server."""

import asyncio
import json
import os
import signal
import sys
from uuid import uuid4

import pytest

from headrace.core.aggregates import expand
from headrace.core.ledger import FORMAT_WITH_AGGREGATES, digest_of, read_header, read_records
from headrace.model import Record
from headrace_producer.cli import main

pytestmark = [pytest.mark.servers, pytest.mark.process]

BAD_INPUT = [
    ([], "Missing option '--stream'."),
    (["--stream", "s", "--rate", "0"], "--rate = 0.0: is not above 0"),
    (["--stream", "s", "--duration", "5"], "--duration = '5': has no unit"),
    (["--stream", "s", "--workload", "cars"], "--workload = 'cars': is not known"),
    (["--stream", "s", "--keys", "0"], "Invalid value for '--keys'"),
    (["--stream", "s", "--aggregate", "--aggregate-bytes", "10"], "Invalid value for '--aggregate-bytes'"),
    (["--stream", "s", "--speed", "1"], "No such option: --speed"),
]


@pytest.fixture
def stream():
    return f"orders-{uuid4().hex[:8]}"


async def start(server, *options):
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headrace_producer", *map(str, options)),
        env={**os.environ, **server.environment()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(server, *options):
    process = await start(server, *options)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def records_of(kinesis, stream):
    """Every record of the stream as (shard, sequence number, key, data)."""
    found = []
    for shard in (await kinesis.list_shards(StreamName=stream))["Shards"]:
        answer = await kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        records = (await kinesis.get_records(ShardIterator=answer["ShardIterator"], Limit=10_000))["Records"]
        found += [(shard["ShardId"], r["SequenceNumber"], r["PartitionKey"], r["Data"]) for r in records]
    return found


async def contents(kinesis, stream):
    """The same with the digest of the data, as the ledger has it."""
    return {(shard, number, key, digest_of(data)) for shard, number, key, data in await records_of(kinesis, stream)}


def ledger_of(path):
    with path.open("rb") as lines:
        return read_header(lines.readline()), list(read_records(lines))


async def until_noted(path):
    deadline = asyncio.get_running_loop().time() + 30
    while not (path.exists() and len(ledger_of(path)[1])):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


async def test_the_ledger_names_each_record_of_the_stream_and_no_other(ministack, aws, stream, tmp_path):
    """By shard, sequence number, key and content."""
    async with aws(ministack) as clients:
        await clients.kinesis.create_stream(StreamName=stream, ShardCount=3)
        path = tmp_path / "ledger"
        code, out, err = await run(
            ministack,
            *("--stream", stream, "--workload", "orders", "--count", 3000, "--rate", 6000, "--keys", 100),
            *("--skew", 0.5, "--poison-rate", 0.01, "--seed", 4, "--ledger", path, "--json"),
        )
        assert (code, err) == (0, "")
        header, records = ledger_of(path)
        assert header.stream == stream
        assert {(r.shard, r.sequence_text, r.key, r.digest) for r in records} == await contents(clients.kinesis, stream)
        told = json.loads(out)
        assert (told["records"], told["poison"]) == (3000, sum(record.poison for record in records))
        assert told["put_records_p99_ms"] > 0


async def test_the_ledger_names_each_record_inside_of_aggregates_as_well(ministack, aws, stream, tmp_path):
    """What is in the stream, taken apart, is what the ledger says, by sequence and sub-sequence number."""
    async with aws(ministack) as clients:
        await clients.kinesis.create_stream(StreamName=stream, ShardCount=3)
        path = tmp_path / "ledger"
        code, _, err = await run(
            ministack,
            *("--stream", stream, "--workload", "orders", "--count", 3000, "--keys", 100, "--aggregate"),
            *("--aggregate-bytes", 8000, "--seed", 4, "--ledger", path, "--json"),
        )
        assert code == 0, err
        header, noted = ledger_of(path)
        assert header.format == FORMAT_WITH_AGGREGATES
        found = set()
        aggregates = 0
        for shard, number, key, data in await records_of(clients.kinesis, stream):
            users = expand(Record(data, key, int(number), 0.0, shard))
            aggregates += users is not None
            plain = Record(data, key, int(number), 0.0, shard)
            for one in [plain] if users is None else [user.record for user in users]:
                found.add((shard, int(number), one.sub_sequence_number, one.partition_key, digest_of(one.data)))
        assert {(r.shard, *r.position, r.key, r.digest) for r in noted} == found
        assert len(noted) == 3000
        assert 3000 / 30 < aggregates < 3000 / 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_a_ledger_of_all_that_it_put(ministack, aws, stream, tmp_path, number):
    """Exit code 0, and a summary of what was done."""
    async with aws(ministack) as clients:
        await clients.kinesis.create_stream(StreamName=stream, ShardCount=2)
        path = tmp_path / "ledger"
        process = await start(ministack, "--stream", stream, "--rate", 2000, "--ledger", path, "--json")
        await until_noted(path)
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, err.decode()) == (0, "")
        records = ledger_of(path)[1]
        assert json.loads(out)["records"] == len(records) > 0
        assert {(r.shard, r.sequence_text, r.key, r.digest) for r in records} == await contents(clients.kinesis, stream)


@pytest.mark.parametrize(("options", "message"), BAD_INPUT)
def test_bad_input_is_one_line_and_exit_code_2(options, message, capsys):
    """Found before anything is started."""
    assert main(options) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


async def test_a_stream_that_is_not_there_is_one_line_and_exit_code_2(ministack):
    """It names the stream and where it was looked for."""
    code, _, err = await run(ministack, "--stream", "nowhere", "--count", 1)
    assert code == 2
    assert err.startswith("--stream = 'nowhere': there is no such stream in us-east-1 at http://")
    assert err.count("\n") == 1
