"""The alerts: accepted by promtool, tried in both directions, each with a runbook."""

import re

import pytest
import yaml
from render import alerts

from deploy.expressions import troubles
from deploy.tools import ROOT, accepted, run
from headrace.ops.catalogue import CATALOGUE
from headrace.settings.names import known_names

CASES = ROOT / "tests" / "deploy" / "alerts_test.yml"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
RULES = alerts.rules()
NAMES = [rule["alert"] for rule in RULES]


def test_promtool_accepts_the_rules():
    """As docker compose mounts them."""
    assert f"{len(RULES)} rules found" in accepted("promtool", "check", "rules", "docker/prometheus/alerts.yml")


def test_each_alert_fires_and_stays_quiet_where_it_should(tmp_path):
    """Prometheus itself plays the cases."""
    (tmp_path / "alerts.yml").write_text(alerts.filled())
    (tmp_path / "cases.yml").write_text(CASES.read_text())
    assert "SUCCESS" in accepted("promtool", "test", "rules", tmp_path / "cases.yml")


def test_the_cases_notice_an_alert_that_never_fires(tmp_path):
    """A test of rules that cannot fail proves nothing: with every threshold out of reach, each firing case is reported."""
    broken = yaml.safe_load(alerts.filled())
    for group in broken["groups"]:
        for rule in group["rules"]:
            rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(broken))
    cases = yaml.safe_load(CASES.read_text())
    cases["tests"] = [case for case in cases["tests"] if ": fires" in case["name"]]
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases))
    done = run("promtool", "test", "rules", tmp_path / "cases.yml")
    assert done.returncode == 1
    for name in NAMES:
        assert f'alertname=\\"{name}\\"' in done.stderr or f'alertname="{name}"' in done.stderr, name


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet():
    """Neither alone says anything."""
    cases = yaml.safe_load(CASES.read_text())["tests"]
    for name in NAMES:
        mine = [case for case in cases if case["name"].startswith(f"{name}: ")]
        assert any(": fires" in case["name"] and wants(case, name) for case in mine), name
        assert any(": quiet" in case["name"] and not wants(case, name) for case in mine), name


def wants(case, name):
    """Whether a case expects the alert in any of its questions."""
    asked = [one for one in case["promql_expr_test"] if f'alertname="{name}"' in one["expr"]]
    assert asked, case["name"]
    return any(one["exp_samples"] for one in asked)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_says_what_it_is_about_with_figures_and_where_to_read_on(rule):
    """Severity, summary, description, and a section of the runbooks that exists."""
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in {"page", "warning", "info"}
    assert told["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"
    assert told["description"].endswith(".")
    assert list(troubles(rule["expr"])) == []


def test_every_series_of_an_alert_is_limited_to_its_own_release():
    """Two releases in one Prometheus must not call for each other's shards."""
    for rule in yaml.safe_load(alerts.places.ALERTS.read_text())["groups"][0]["rules"]:
        selectors = re.findall(r"\{([^{}]*)\}", rule["expr"])
        series = re.findall(r"\bheadrace_\w+(?!\w)(?=\{)", rule["expr"])
        assert len(series) + rule["expr"].count("{__name__") == len(selectors)
        assert all("@selector@" in selector for selector in selectors), rule["alert"]


def test_the_runbooks_have_a_section_for_each_alert_and_for_nothing_else():
    """Each tells what it means, what to look at and what to do."""
    sections = re.split(r"^## ", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    by_name = {section.split("\n", 1)[0].strip(): section for section in sections}
    assert [name for name in by_name if name.startswith("Headrace")] == NAMES
    for name in NAMES:
        for part in ("**Means**", "**Look at**", "**Do**"):
            assert part in by_name[name], (name, part)


def test_the_runbooks_name_metrics_and_settings_that_exist():
    """A name that was renamed since is of no use at night."""
    text = RUNBOOKS.read_text()
    assert list(troubles(text)) == []
    for name in re.findall(r"\bHEADRACE_[A-Z_]+[A-Z]", text):
        assert name in {known.env for known in known_names().values()}, name


def test_the_runbooks_name_events_that_are_logged():
    """What somebody searches the log for must be there."""
    source = "".join(path.read_text() for path in (ROOT / "consumer").rglob("*.py"))
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", RUNBOOKS.read_text()))
    assert len(words) > 10
    for word in words - {metric.name for metric in CATALOGUE}:
        assert f'"{word}"' in source or f"{word}=" in source, word
