"""`headrace dead-letters` against a real table, and what it says to mistakes."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from headrace.aws.dead_letters import DeadLetterTable
from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.tables import ensure_table
from headrace.cli import main
from headrace.core import parked_keys
from headrace.model import Checkpoint, DeadLetter, FailedAttempt, Record, ShardId, WorkerId

SECRET = "only with --payload"
NUMBER = 49590338271490256608559692538361571095921575989136588000
SHARD = ShardId("shardId-000000000000")
KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}]


class Case:
    """An application with letters in its table, and its commands."""

    def __init__(self, clients, name):
        self.clients, self.name = clients, name

    @property
    def letters(self):
        return DeadLetterTable(self.clients.dynamodb, f"{self.name}-dead-letters")

    @property
    def table(self):
        return DynamoLeaseTable(self.clients.leases, self.name)

    def letter(self, n, key="k1", reason="RetryAttemptsExhausted", ago=timedelta(0), data=None):
        payload = json.dumps({"pk": key, "n": n, "note": SECRET}).encode() if data is None else data
        record = Record(payload, key, NUMBER + n, 1_700_000_000.5, SHARD)
        now = datetime.now(UTC)
        return DeadLetter(
            self.name, record, reason, "ValueError", f"quotes {SECRET}", 6, now - ago, WorkerId("w-1"), 3,
            handler="app:handle", traceback="Traceback: here", log=(FailedAttempt(now, 1, "ValueError"),),
        )  # fmt: skip

    async def bury(self, *letters):
        await self.letters.bury(letters)

    async def park(self, letter):
        place = Checkpoint.of(letter.record)
        row = parked_keys.ParkedKey(letter.record.partition_key, SHARD, place, place)
        await self.table.apply(parked_keys.park(self.name, row))

    async def left(self):
        return [one.record.sequence_number - NUMBER async for one in self.letters.read(self.name, SHARD)]

    async def run(self, *words):
        return await asyncio.to_thread(main, ["dead-letters", *words])


@pytest.fixture
async def case(ministack, aws, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("headrace.cli.redrive._listen_for_signals", lambda _: None)  # not on a thread
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    name = f"app{uuid4().hex[:8]}"
    for variable, value in ministack.environment().items():
        monkeypatch.setenv(variable, value)
    for variable, value in {"APPLICATION": name, "STREAM_NAME": name, "SINK_TABLE": f"{name}-items"}.items():
        monkeypatch.setenv(f"HEADRACE_{variable}", value)
    async with aws(ministack) as clients:
        case = Case(clients, name)
        await clients.kinesis.create_stream(StreamName=name, ShardCount=1)
        for table in (name, f"{name}-dead-letters"):
            await ensure_table(clients.dynamodb, table, setting="X", create=True)
        await clients.dynamodb.create_table(
            TableName=f"{name}-items",
            KeySchema=KEYS,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield case


@pytest.mark.servers
async def test_a_list_shows_where_and_why_and_never_what_was_in_it(case, capsys):
    """As a table, and as lines of JSON."""
    await case.bury(case.letter(2, "b\x1b[31m", "NotJson"), case.letter(1, "a"))
    assert await case.run("list") == 0
    assert await case.run("list", "--json") == 0
    out = capsys.readouterr().out
    title, first, second, *lines = out.splitlines()
    assert title.split() == ["buried", "at", "shard", "sequence", "number", "key", "reason", "error", "attempts"]
    assert first.split()[1:] == ["000000000000", "\u2026" + str(NUMBER + 1)[-16:], "a", "RetryAttemptsExhausted", "ValueError", "6"]  # fmt: skip
    assert "b\\x1b[31m" in second
    assert [json.loads(line)["sequence_number"] for line in lines] == [str(NUMBER + 1), str(NUMBER + 2)]
    assert SECRET not in out
    assert "\x1b" not in out


@pytest.mark.servers
async def test_filters_choose_by_key_reason_and_time_of_burial(case, capsys):
    """A time is an instant, or how long ago."""
    day = timedelta(days=1)
    await case.bury(case.letter(1, "a", ago=day), case.letter(2, "b", "NotJson"), case.letter(3, "b"))
    noon = (datetime.now(UTC) - day / 2).isoformat()
    for words, expected in [
        (["--key", "b"], [2, 3]),
        (["--reason", "notjson"], [2]),
        (["--since", "2h ago"], [2, 3]),
        (["--until", noon], [1]),
        (["--since", "3d", "--until", "12h"], [1]),
        (["--shard", "shardId-000000000001"], []),
        (["--shard", "1"], []),
        (["--shard", "0"], [1, 2, 3]),
        (["--limit", "2"], [1, 2]),
    ]:
        assert await case.run("list", "--json", *words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [int(json.loads(line)["sequence_number"]) - NUMBER for line in lines] == expected, words


@pytest.mark.servers
async def test_show_tells_everything_and_the_payload_only_when_asked(case, capsys):
    """By the whole number, or its last digits where these are enough."""
    await case.bury(case.letter(101), case.letter(201, data=b"\xff\x00"))
    assert await case.run("show", str(NUMBER + 101)) == 0
    out = capsys.readouterr().out
    for words in ("ValueError", "app:handle", "Traceback: here", "w-1, epoch 3", "2023-11-14T22:13:20.500Z"):
        assert words in out
    assert "note" not in out
    assert await case.run("show", "8101", "--payload", "--batch.size", "5") == 0
    assert '"note": "only with --payload"' in capsys.readouterr().out
    assert await case.run("show", "8201", "--payload", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["payload"], shown["bytes"], shown["log"][0]["error"]) == ("/wA=", 2, "ValueError")
    assert await case.run("show", "01") == 2
    assert "2 dead letters end with it" in capsys.readouterr().err
    assert await case.run("show", "77") == 2
    assert "no dead letter ends with it" in capsys.readouterr().err


@pytest.mark.servers
async def test_a_redrive_writes_what_goes_through_and_keeps_what_does_not(case, capsys):
    """By the item mapping, for there is no handler; a key behind a failure stays parked, one that is done is released."""
    letters = [case.letter(1, "a"), case.letter(2, "b", data=b"no JSON"), case.letter(3, "a"), case.letter(4, "b")]
    await case.bury(*letters)
    await case.park(letters[2])
    await case.park(letters[3])

    assert await case.run("redrive", "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert result == {"redriven": 2, "failed": 1, "kept_back": 1, "released": 1, "still_parked": 1, "stopped": False}
    assert await case.left() == [2, 4]
    items = await case.clients.dynamodb.scan(TableName=f"{case.name}-items")
    assert [(item["pk"]["S"], item["n"]["N"]) for item in items["Items"]] == [("a", "3")]
    (stays, _) = [one async for one in case.letters.read(case.name, SHARD)]
    assert (stays.attempts, stays.epoch) == (7, 3)


@pytest.mark.servers
async def test_a_dry_run_changes_nothing(case, capsys):
    """It tells what would be tried, and what is kept back."""
    await case.bury(case.letter(1, "a", "NotJson"), case.letter(2, "a"), case.letter(3, "b"))
    assert await case.run("redrive", "--dry-run", "--reason", "RetryAttemptsExhausted") == 0
    out = capsys.readouterr().out
    assert out == (
        "1 letters of 1 keys would be redriven, 1 kept back: earlier letters of their keys are not selected.\n"
    )
    assert await case.left() == [1, 2, 3]


@pytest.mark.servers
async def test_a_purge_deletes_what_is_selected_and_releases_keys_that_have_none_left(case, capsys):
    """For good; off a terminal only with --yes."""
    letters = [case.letter(1, "a"), case.letter(2, "b"), case.letter(3, "a")]
    await case.bury(*letters)
    await case.park(letters[2])
    await case.park(letters[1])
    assert await case.run("purge") == 2
    assert await case.left() == [1, 2, 3]
    assert await case.run("purge", "--key", "a", "--yes") == 0
    assert "2 letters deleted. 1 parked keys with none left released." in capsys.readouterr().out
    assert await case.left() == [2]
    rows = await case.table.query(parked_keys.parked_partition(case.name))
    assert [row["sk"] for row in rows] == ["b"]


@pytest.mark.servers
async def test_without_any_letter_or_table_there_is_nothing_to_do(case, capsys, monkeypatch):
    """The first worker makes the table; another application's leases are not there."""
    assert await case.run("redrive", "--json") == 0
    assert json.loads(capsys.readouterr().out)["redriven"] == 0
    monkeypatch.setenv("HEADRACE_APPLICATION", "another")
    assert await case.run("list") == 0
    assert capsys.readouterr().out == "No dead letters.\n"
    assert await case.run("list", "--key", "nobody") == 0
    assert capsys.readouterr().out == "No dead letters match these options.\n"
    assert await case.run("redrive") == 2
    assert "HEADRACE_LEASE_TABLE = 'another': there is no such table" in capsys.readouterr().err


@pytest.mark.servers
@pytest.mark.process
async def test_on_a_terminal_a_person_is_asked_first(case):
    """No is an answer."""
    await case.bury(case.letter(1, "a"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "headrace", "dead-letters", "redrive"]
    os.write(ours, b"n\n")
    done = await asyncio.to_thread(
        subprocess.run, command, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60, check=False
    )
    os.close(theirs)
    assert done.returncode == 1
    assert b"Redrive 1 letters of 1 keys? [y/N]" in os.read(ours, 10_000)
    os.close(ours)
    assert await case.left() == [1]


@pytest.mark.servers
@pytest.mark.process
async def test_ctrl_c_ends_a_redrive_after_the_call_under_way_and_the_next_one_goes_on(case):
    """What went through is written and gone, the rest is as it was."""
    await case.bury(*(case.letter(n, f"k{n % 3}") for n in range(60)))
    command = [sys.executable, "-m", "headrace", "dead-letters", "redrive", "--rate", "10", "--json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    async with asyncio.timeout(60):
        while len(await case.left()) > 57:  # noqa: ASYNC110 - the condition is of the outside world
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    result = json.loads(out)
    assert (process.returncode, result["stopped"], result["failed"]) == (1, True, 0)
    assert b"Stopping after the calls under way" in err
    assert await case.left() == list(range(result["redriven"], 60))
    assert await case.run("redrive") == 0
    assert await case.left() == []


LEAST = {"HEADRACE_APPLICATION": "orders", "HEADRACE_STREAM_NAME": "orders", "HEADRACE_SINK_TABLE": "items"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("list --since soon", "--since = 'soon': is neither a time nor a duration. Write 2h, 30m, 1d, or an instant"),
        ("list --until 2026-01-31T08:00:00", "--until = '2026-01-31T08:00:00': has no offset from UTC."),
        ("purge --since 9999999d --yes", "--since = '9999999d': is too long ago."),
        ("redrive --reason Bored", "--reason = 'Bored': is not known. Write RetryAttemptsExhausted, RecordAgeExceeded"),
        ("redrive --batch.tumbling_window 60s --handler a.b", "HEADRACE_BATCH_TUMBLING_WINDOW"),
        ("show", "SEQUENCE: is no sequence number."),
        ("show --batch.size 5 abc", "SEQUENCE = 'abc': is no sequence number."),
        ("list --batch.size 0", "--batch.size = '0': is out of range"),
        ("list stray", "stray: is not an option"),
        ("redrive --rate 0", "Invalid value for '--rate'"),
        ("list --limit 0", "Invalid value for '--limit'"),
        ("purge", "--yes: is missing."),
        ("mend", "No such command 'mend'"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_exits_with_2(words, line, capsys, monkeypatch, tmp_path):
    """Nothing is asked of AWS, and nothing is changed."""
    monkeypatch.chdir(tmp_path)
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)
    assert main(["dead-letters", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert line in err
    assert "Traceback" not in err
    assert not out
