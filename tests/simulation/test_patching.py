"""A mutation of code that is not there any more must be noticed, not pass for a rule that nobody needs."""

from __future__ import annotations

import pytest

from simulation.patching import StalePatch, patch


class Code:
    """Something to patch."""

    LIMIT = 3

    def act(self, what: str, *, soon: bool) -> None: ...

    async def wait(self) -> None: ...


async def waits(self) -> None: ...


def acts(self, what: str) -> None: ...


@pytest.mark.parametrize(
    ("name", "replacement", "complaint"),
    [
        ("run", waits, "no Code.run"),
        ("act", acts, "takes"),
        ("act", waits, "coroutine"),
        ("wait", lambda self: None, "coroutine"),
        ("LIMIT", "3", "is a int"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(name, replacement, complaint):
    """The name must be there, and take the same."""
    with pytest.raises(StalePatch, match=complaint):
        patch(Code, name, replacement)


def test_a_patch_that_fits_takes_the_place():
    """By name and shape."""

    def act(self, what: str, *, soon: bool) -> str:
        return what

    patch(Code, "act", act)
    patch(Code, "LIMIT", 4)

    assert (Code().act("done", soon=True), Code.LIMIT) == ("done", 4)
