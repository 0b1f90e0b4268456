"""docs/events.md tells what there is: in the log, on the page, and in the log of acts."""

import ast
import re

import pytest
from ops.log_events import LOGGERS, ROOT, calls, in_trees, logged, sources

from headrace.ops import catalogue
from headrace.ops.actions import DISCARDED

PAGE = (ROOT / "docs" / "events.md").read_text()
ROW = re.compile(r"^\| `(?P<event>[a-z_]+)` \| (?P<second>[^|]*) \|", re.MULTILINE)


def rows(heading: str) -> list[tuple[str, str]]:
    """The first two columns of the tables under a heading."""
    _, found, rest = PAGE.partition(f"\n## {heading}\n")
    assert found, heading
    return [(row["event"], row["second"]) for row in ROW.finditer(rest.partition("\n## ")[0])]


def test_every_event_of_the_log_has_one_row_with_its_levels_and_no_row_tells_of_one_that_is_gone():
    """Whoever greps for a name, or alerts on it, can rely on the page."""
    told = [(event, set(levels.split(", "))) for event, levels in rows("The log")]
    assert len(told) == len(dict(told)), "an event has two rows"
    assert dict(told) == logged()


def test_every_event_of_the_page_has_a_row():
    """What the tally notes of its own, and every way a lease comes or goes."""
    tree = ast.parse((ROOT / "consumer/headrace/ops/tally.py").read_text())
    noted = {
        call.args[0].value for call in calls(tree) if named(call) == "note" and isinstance(call.args[0], ast.Constant)
    }
    assert {event for event, _ in rows("The page")} == noted | {f"lease_{how}" for how in catalogue.TRANSITIONS.values}


def test_every_act_of_an_operator_has_a_row():
    """They are what `headrace events` shows."""
    acts = {
        call.args[0].value
        for path in sources()
        for call in calls(ast.parse(path.read_text()))
        if named(call) == "carry_out" and isinstance(call.args[0], ast.Constant)
    }
    assert {act for act, _ in rows("`headrace events`")} == acts | {DISCARDED}


def named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def test_every_logger_is_known_by_a_name_that_is_looked_for():
    """One called otherwise would log events that nobody finds here."""
    for path in sources():
        for name in re.findall(r"^(\w+)\s*=.*get_logger\(", path.read_text(), re.MULTILINE):
            assert name in LOGGERS, path


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('log.info("one", shard=1)', {"one": {"info"}}),
        ('(log.error if bad else log.info)("two")', {"two": {"error", "info"}}),
        ('tell = _log.warning if bad else _log.error\ntell("three")', {"three": {"warning", "error"}}),
        ('GONE: Final = "four"\nlog.exception(GONE)', {"four": {"error"}}),
        ('math.log("five")\nconsole.info("six")', {}),
    ],
)  # fmt: skip
def test_an_event_is_found_however_it_is_logged(code, found):
    """A way that is not seen would let an event be left out of the page."""
    assert in_trees([ast.parse(code)]) == found


def test_an_event_without_a_name_of_its_own_is_refused():
    """Names that are put together cannot be looked up."""
    with pytest.raises(LookupError):
        in_trees([ast.parse('log.info(f"lease_{transition}")')])
