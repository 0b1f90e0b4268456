"""The documentation of the metrics is the catalogue itself."""

from pathlib import Path

from headrace.ops.catalogue import CATALOGUE
from headrace.ops.catalogue_page import markdown

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_in_docs_is_the_one_made_from_the_catalogue():
    """Make it with `python -m headrace.ops.catalogue_page > docs/metrics.md`."""
    assert PAGE.read_text() == markdown()


def test_the_page_tells_every_metric_once():
    """One table in one place."""
    for metric in CATALOGUE:
        assert markdown().count(f"| `{metric.name}` |") == 1, metric.name
