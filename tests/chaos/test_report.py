"""What people and programs are shown of a run."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from chaos import report
from chaos.plan import Kind
from chaos.proxy import Answer
from chaos.scene import Scene


@pytest.fixture
def scene(tmp_path):
    """w1 is killed at 10 s; w2 takes its shard at 13.2 s and reads it at 13.5 s."""
    made = Scene(tmp_path)
    made.worker("w1").takes("a", 1, 1.0, read=1.1)
    made.worker("w2").takes("a", 2, 13.2, read=13.5)
    made.kills("w1", 10.0)
    return made


def shown(findings) -> list[str]:
    """The lines, with borders and runs of blanks taken out."""
    console = Console(file=io.StringIO(), width=200)
    report.show(findings, console)
    text = console.file.getvalue().replace("│", " ")
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_takeover_is_shown_with_its_share_before_the_lease_was_taken_and_with_what_is_promised(scene):
    """Count, p50, p99, longest, bound."""
    lines = shown(scene.judged())

    assert "kill -9 to the next owner's first page 1 3.50 3.50 3.50 4.33" in lines
    assert "until it had the lease 1 3.20 3.20 3.20" in lines
    assert "longest: 3.50 s, a of w1 (killed)" in lines


def test_a_wait_beside_another_fault_has_a_line_of_its_own(scene):
    """And is shown with that fault among the longest."""
    scene.plays(Kind.CUT, 11.0, 12.0, "w2", "both")

    lines = shown(scene.judged())

    assert "kill -9 to the next owner's first page 0 4.33" in lines
    assert "beside another fault 1 3.50 3.50 3.50" in lines
    assert "longest: 3.50 s, a of w1 (killed), beside cut both w2" in lines


def test_pauses_and_rolling_restarts_are_shown_only_where_there_were_any(scene):
    """Each with a row."""
    assert not any("Rolling" in line or "Stopped" in line for line in shown(scene.judged()))
    scene.plays(Kind.ROLLING, 30.0, 40.0, variant="before")
    scene.plays(Kind.PAUSE, 50.0, 55.0, "w2")
    scene.worker("w2").says(55.1, "worker_fenced").says(55.25, "worker_registered")

    lines = shown(scene.judged())

    assert "before 10.0" in lines
    assert "w2 5.0 yes 0.25 0 0" in lines


def test_the_servers_own_share_is_shown_by_operation(scene):
    """How long they took to answer, stalls of the links left out."""
    scene.answers["w1"] = [Answer("GetRecords", 2.0, 0.01), Answer("GetShardIterator", 1.0, 0.2)]
    scene.answers["w2"] = [Answer("GetRecords", 20.0, 0.4)]

    lines = shown(scene.judged())

    assert "GetRecords 2 0.01 0.40 0.40" in lines
    assert "GetShardIterator 1 0.20 0.20 0.20" in lines


def test_programs_get_the_servers_share_as_well(scene):
    """The same figures."""
    scene.answers["w1"] = [Answer("GetRecords", 2.0, 0.25)]

    answers = report.as_data(scene.judged(), seed=1, folder="")["answers"]

    assert answers == {"GetRecords": {"count": 1, "p50": 0.25, "p99": 0.25, "longest": 0.25}}


def test_a_wait_that_never_ended_is_null_for_programs(scene, tmp_path):
    """Infinity is no JSON."""
    (tmp_path / "other").mkdir()
    endless = Scene(tmp_path / "other")
    endless.worker("w1").takes("a", 1, 1.0, read=1.1)
    endless.kills("w1", 10.0)

    data = json.loads(json.dumps(report.as_data(endless.judged(), seed=1, folder=""), allow_nan=False))

    assert data["ok"] is False
    assert data["broken"] == [
        "takeovers after a kill: p99 inf s of 1, promised 4.33 s",
        "a was never read again after w1 (killed)",
    ]
    assert data["waits"][0]["p99"] is None


def test_programs_get_every_sample(scene):
    """To look for what they have in common."""
    data = report.as_data(scene.judged(), seed=7, folder="/somewhere")

    assert (data["ok"], data["seed"]) == (True, 7)
    assert [(s["shard"], s["began"], s["ended"], s["opened"]) for s in data["samples"]] == [("a", 10.0, 13.5, 13.2)]
