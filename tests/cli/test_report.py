"""What the user reads at the end."""

import json
from dataclasses import replace

from headrace.cli.report import as_json, as_text
from headrace.core.verification import Design, Lost, Overtaken, Report

GOOD = Report(
    design=Design.BOTH,
    produced=40_000,
    written=39_960,
    overwritten=0,
    dead_lettered=40,
    healthy_dead_lettered=0,
    missing=0,
    duplicated=0,
    also_written=0,
    damaged=0,
    foreign=0,
    keys=1000,
    misordered=0,
)


def changed(**values):
    return replace(GOOD, **values)


def test_a_good_result_says_so_and_hides_what_did_not_happen():
    """Seven figures and a verdict."""
    text = as_text(GOOD)
    assert text.endswith("OK: nothing is missing, every key in order.\n")
    assert "damaged" not in text
    assert "not in ledger" not in text


def test_a_bad_result_names_what_to_look_for():
    """The first records and keys, and how many more there are."""
    lost = Lost("shard-1", "495", "device-7", 3)
    text = as_text(changed(missing=12, lost=(lost,) * 10, misordered=1, overtaken=(Overtaken("a", 5, None),)))
    assert "  missing: shard-1 495, key device-7, n 3\n" in text
    assert "  and 2 more\n" in text
    assert "  misordered: key a, last n 5, no state\n" in text
    assert "FAILED" in text


def test_order_that_a_table_cannot_show_is_not_claimed():
    """Neither in words nor as a 0."""
    report = changed(design=Design.RECORDS, misordered=None)
    assert "every key in order" not in as_text(report)
    assert "can't show it" in as_text(report)
    assert json.loads(as_json(report))["misordered"] is None


def test_json_is_one_line_with_every_figure():
    """For programs."""
    line = as_json(GOOD)
    assert line.count("\n") == 1
    told = json.loads(line)
    assert (told["ok"], told["design"], told["produced"], told["written"]) == (True, "both", 40_000, 39_960)
