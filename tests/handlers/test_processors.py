"""How many processors there are, in a container too."""

from __future__ import annotations

import os

import pytest

from headrace.handlers.processors import processors


@pytest.fixture
def machine(monkeypatch):
    """A machine with eight processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("6400000 100000\n", 8),
        ("max 100000\n", 8),
        ("", 8),
    ],
    ids=["two", "one and a half", "a half", "more than there are", "no limit", "an unknown form"],
)
@pytest.mark.usefixtures("machine")
def test_a_container_s_limit_counts(tmp_path, limit, told):
    """A part of a processor needs a process too, and no limit means the machine's own number."""
    file = tmp_path / "cpu.max"
    file.write_text(limit)

    assert processors(file) == told


@pytest.mark.usefixtures("machine")
def test_outside_of_a_container_the_machine_counts(tmp_path):
    """There is no such file."""
    assert processors(tmp_path / "absent") == 8


def test_a_machine_that_knows_no_affinity_tells_its_processors(tmp_path, monkeypatch):
    """As macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)

    assert processors(tmp_path / "absent") == 3
