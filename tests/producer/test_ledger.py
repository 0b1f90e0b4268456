"""The file that proves what was produced."""

import pytest

from headrace.core.ledger import FORMAT_WITH_AGGREGATES, Header, digest_of, read_header, read_records
from headrace.errors import SettingsError
from headrace_producer.ledger import open_ledger
from headrace_producer.put import Placed
from headrace_producer.workload import Draft

HEADER = Header(stream="orders", shape={"workload": "iot", "seed": 7})
DRAFT = Draft("a", 1, b"payload", poison=True)
PLACED = Placed("shard-1", "000000017955545858830000000011")


def read(path):
    with path.open("rb") as lines:
        return read_header(lines.readline()), list(read_records(lines))


def test_what_is_written_is_what_is_read(tmp_path):
    """Header and records; the sequence number keeps the padding that it came with."""
    with open_ledger(tmp_path / "ledger", HEADER) as ledger:
        ledger.record([(DRAFT, PLACED)])
    header, (record,) = read(tmp_path / "ledger")
    assert header == HEADER
    assert (record.shard, record.sequence_text, record.sequence_number) == (*PLACED[:2], 17955545858830000000011)
    assert (record.key, record.n, record.poison) == ("a", 1, True)
    assert (record.size, record.digest) == (7, digest_of(b"payload"))


def test_a_line_of_a_plain_record_is_what_it_always_was(tmp_path):
    """Seven fields, in a ledger of format 1: older versions read it."""
    with open_ledger(tmp_path / "ledger", HEADER) as ledger:
        ledger.record([(DRAFT, PLACED)])
    header, line = (tmp_path / "ledger").read_bytes().splitlines()
    assert header.startswith(b'{"format":1,')
    assert line == (b'["shard-1","000000017955545858830000000011","a",1,true,7,"%b"]' % digest_of(b"payload").encode())


def test_the_place_inside_an_aggregate_is_kept(tmp_path):
    """Two records share a sequence number, and stay two."""
    header = Header(format=FORMAT_WITH_AGGREGATES, stream="orders")
    with open_ledger(tmp_path / "ledger", header) as ledger:
        ledger.record([(DRAFT, PLACED._replace(sub=sub)) for sub in (0, 1)])
    number = int(PLACED.sequence_text)
    assert [record.position for record in read(tmp_path / "ledger")[1]] == [(number, 0), (number, 1)]


def test_records_are_readable_as_soon_as_they_are_noted(tmp_path):
    """A producer that is killed then has lost none of them."""
    with open_ledger(tmp_path / "ledger", HEADER) as ledger:
        ledger.record([(DRAFT, PLACED)] * 3)
        assert len(read(tmp_path / "ledger")[1]) == 3


def test_a_call_that_placed_nothing_adds_nothing(tmp_path):
    """Not even an empty line, which no reader would take."""
    with open_ledger(tmp_path / "ledger", HEADER) as ledger:
        ledger.record([])
    assert read(tmp_path / "ledger")[1] == []


def test_a_ledger_is_never_overwritten(tmp_path):
    """It is the only proof of an earlier run."""
    (tmp_path / "ledger").write_text("mine")
    with pytest.raises(SettingsError, match="exists already"), open_ledger(tmp_path / "ledger", HEADER):
        pass
    assert (tmp_path / "ledger").read_text() == "mine"


def test_a_ledger_in_a_folder_that_is_not_there_is_refused(tmp_path):
    """One line that names the file."""
    with pytest.raises(SettingsError, match=r"--ledger.*cannot be written"), open_ledger(tmp_path / "no" / "x", HEADER):
        pass


def test_without_a_file_nothing_is_kept():
    """A load test may not want one."""
    with open_ledger(None, HEADER) as ledger:
        ledger.record([(DRAFT, PLACED)])
