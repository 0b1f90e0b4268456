"""What pages name is there: settings, metrics, files, tests, events and whatever else looks like a name."""

from __future__ import annotations

import re
import subprocess
from functools import cache

import pytest
from render import alerts

from docs.pages import OTHERS, PAGES, ROOT, name_of, spans
from headrace.core.tenure import LeaseTiming
from headrace.ops.catalogue import CATALOGUE, TRANSITIONS
from headrace.settings.names import known_names

EVERY = [*PAGES, *OTHERS]
ENVIRONMENT = {name.env for name in known_names().values()} | {"HEADRACE_CONFIG"}
METRICS = {metric.name for metric in CATALOGUE}
OF_OTHERS = {"amazon_kclpy"}
"""Names of other products, which nothing here calls."""
PUT_TOGETHER = {f"lease_{transition}" for transition in TRANSITIONS.values}
"""Events of the page that no source spells out."""

SUFFIXES = re.compile(r"_(bucket|sum|count|total|created)$")


@cache
def words() -> frozenset[str]:
    """Every name in the sources, the chart, the tools and the tests: not in pages, which would vouch for themselves."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = {word for name in listed for word in re.findall(r"\w+", name)}
    for name in listed:
        file = ROOT / name
        if file.suffix in {".py", ".js", ".yaml", ".yml", ".toml", ".tpl", ".json", ".sh", ""} and file.is_file():
            found |= set(re.findall(r"\w+", file.read_text(errors="replace")))
    return frozenset(found)


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_setting_that_a_page_names_exists(page):
    """By its environment variable."""
    text = page.read_text()
    assert sorted(set(re.findall(r"HEADRACE_[A-Z_]*[A-Z]", text)) - ENVIRONMENT) == []


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_metric_that_a_page_names_exists(page):
    """As Prometheus shows it."""
    named = set(re.findall(r"\bheadrace_[a-z_]+[a-z]\b", page.read_text())) - {"headrace_producer"}
    assert sorted(name for name in named if name not in METRICS and SUFFIXES.sub("", name) not in METRICS) == []


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_file_that_a_page_names_is_there(page):
    """In the repository, or in the package that most of them stand in."""
    homes = [ROOT, ROOT / "consumer" / "headrace", ROOT / "producer"]
    wrong = []
    for span in spans(page):
        path = span.text.partition("::")[0]
        names_one = re.fullmatch(r"(?:[\w.-]+/)+[\w.*-]+\.(?:py|yml|yaml|md|sh|json|toml)", path)
        if names_one and not any(list(home.glob(path)) for home in homes):
            wrong.append(f"{span.where}: {span.text}")
    assert wrong == []


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_test_that_a_page_names_is_there(page):
    """`test_file.py::test_name`: what a page claims can be run."""
    wrong = []
    for file, name in re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)::(test_\w+)`", page.read_text()):
        found = list((ROOT / "tests").glob(f"**/{file}"))
        if not any(f"def {name}(" in one.read_text() for one in found):
            wrong.append(f"{file}::{name}")
    assert wrong == []


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_name_with_underscores_is_one_in_the_sources(page):
    """Events, functions, fields: what is renamed there is found here."""
    ours = [span.text for span in spans(page) if not span.text.startswith("/")]
    named = {name for text in ours for name in re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", text)}
    assert sorted(named - words() - OF_OTHERS - PUT_TOGETHER) == []


def test_every_line_of_the_failure_table_names_a_test_and_its_bounds_are_those_of_the_protocol():
    """A line without a test is a wish; the seconds follow from the lease duration."""
    text = (ROOT / "docs" / "failures.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| what", "| ---"))]
    assert len(lines) > 25
    assert [line for line in lines if not re.search(r"`test_\w+\.py::test_\w+` \|$", line)] == []
    timing = LeaseTiming.derived(known_names()["lease", "duration"].field.default.total_seconds())
    takeover_s = timing.duration_s * 1.01 + timing.poll_period_s + 1
    assert f"{takeover_s:.1f} s until another reads" in text
    assert f"withholds the heartbeat after {timing.longest_stall_s:.2f} s" in text
    assert f"| {timing.longest_stall_s + timing.duration_s * 1.01 + 4:.1f} s | `test_failure_detection.py" in text
    assert f"past its trust window, {timing.trust_window_s:.2f} s after" in text
    assert f"| {timing.heartbeat_period_s:g} s | `test_failure_detection.py::test_a_time_of_day" in text


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_alert_that_a_page_names_is_one(page):
    """Whoever reads of it can look for it."""
    known = {rule["alert"] for rule in alerts.rules()}
    assert sorted(set(re.findall(r"\bHeadrace[A-Z][A-Za-z]+", page.read_text())) - known) == []
