"""Grafana's boards: every expression names what is exposed, and Prometheus understands it."""

import re

import pytest
import yaml
from render import boards

from deploy.expressions import troubles
from deploy.tools import accepted

BOARDS = boards.boards()
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]


def expressions():
    for name, panel in PANELS:
        for target in panel["targets"]:
            yield f"{name}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(
    ("where", "expression"), list(expressions()), ids=lambda text: text if ": " in text[:40] else ""
)
def test_every_expression_names_series_labels_and_values_that_exist(where, expression):
    """A renamed metric leaves a board that is empty and looks calm."""
    assert list(troubles(expression)) == [], where


def test_prometheus_understands_every_expression(tmp_path):
    """With Grafana's own variables filled in."""
    filled = [expression.replace("$__rate_interval", "5m").replace("$__range", "1h") for _, expression in expressions()]
    rules = [{"record": f"board:{number}", "expr": text} for number, text in enumerate(filled)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    assert f"{len(rules)} rules found" in accepted("promtool", "check", "rules", "--lint=none", path)


def test_a_board_works_in_any_grafana():
    """The data source is chosen on the board, the id is fixed, times are relative, variables are declared."""
    assert [board["uid"] for board in BOARDS.values()] == ["headrace-fleet", "headrace-shard"]
    for board in BOARDS.values():
        variables = {one["name"] for one in board["templating"]["list"]}
        assert board["time"] == {"from": "now-1h", "to": "now"}
        used = set(re.findall(r"\$(\w+)", " ".join(t["expr"] for p in board["panels"] for t in p["targets"])))
        assert used - {"__rate_interval", "__range"} <= variables
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] == "${source}"
            assert all(target["datasource"]["uid"] == "${source}" for target in panel["targets"])


def test_panels_neither_overlap_nor_leave_the_grid():
    """24 columns; every panel has a unit and a title of its own."""
    for board in BOARDS.values():
        taken = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
            assert place["x"] + place["w"] <= 24
            assert not cells & taken, panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            taken |= cells
        titles = [panel["title"] for panel in board["panels"]]
        assert len(titles) == len(set(titles))
