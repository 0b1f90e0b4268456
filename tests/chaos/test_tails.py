"""Files that other processes go on writing."""

from __future__ import annotations

import pytest

from chaos.scene import line
from chaos.tails import Log, Tail


def test_each_line_is_read_once_and_only_when_it_is_whole(tmp_path):
    """A process may be killed in the middle of a line, or be about to write the rest of it."""
    path = tmp_path / "trace"
    tail = Tail(path)
    assert list(tail.lines()) == []

    path.write_bytes(b"one\ntw")
    assert list(tail.lines()) == [b"one\n"]

    path.write_bytes(b"one\ntwo\n")
    assert list(tail.lines()) == [b"two\n"]


def test_a_log_gives_events_with_their_time_as_a_number_and_keeps_the_rest_apart(tmp_path):
    """Whatever is no JSON object was not logged but spilt."""
    path = tmp_path / "w1.log"
    path.write_text(f"{line(12.25, 'lease_opened', shard='a')}\n\nTraceback\n{line(13.0, 'lease_lost')}\n")
    log = Log(path)

    (opened,) = log.events("lease_opened")

    assert opened["at"] == pytest.approx(12.25)
    assert [event["event"] for event in log.events()] == ["lease_opened", "lease_lost"]
    assert log.foreign == ["Traceback"]
