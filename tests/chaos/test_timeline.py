"""The lines that tell what happened when."""

from __future__ import annotations

import re

from chaos.timeline import Timeline


def test_a_line_begins_with_the_seconds_since_the_start_of_the_run(capsys):
    """On standard error: standard output is for the result. Brackets are no markup."""
    Timeline().tell("kill [w1]")

    out, err = capsys.readouterr()

    assert re.fullmatch(r" +\d+\.\d s  kill \[w1\]\n", err)
    assert not out


def test_progress_is_only_for_terminals(capsys):
    """A log of a run has no use for it."""
    timeline = Timeline()
    timeline.show(3, 100, 2)
    timeline.close()

    assert capsys.readouterr().err == ""


def test_a_quiet_run_says_nothing(capsys):
    """As the one among the tests."""
    Timeline(quiet=True).tell("kill w1")

    assert capsys.readouterr().err == ""
