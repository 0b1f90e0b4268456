"""What is checked in and follows from something else is what `make render` makes."""

import pytest
from render import manifests, places
from render.__main__ import rendered


@pytest.mark.parametrize("path", rendered(), ids=lambda path: path.name)
def test_a_rendered_file_is_up_to_date(path):
    """Make it with `make render`."""
    assert path.read_text() == rendered()[path]


def test_the_manifests_are_those_of_the_chart():
    """For those who deploy without Helm; the same in all but who fills it in."""
    if not places.HELM.exists():
        pytest.skip("helm is not here: run `make deploy-tools`")
    assert {path.name: path.read_text() for path in places.MANIFESTS.glob("*.yaml")} == manifests.rendered()
