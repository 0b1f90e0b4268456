"""What a handler says that it returns, held against the write mode before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from headrace.core.write_modes import WriteMode
from headrace.errors import SettingsError
from headrace.handlers.returned import check_operations
from headrace.operations import Delete, Effect, Effects, Increment, Put, Update


def bare(record):
    return Increment({}, {})


def puts(record) -> Put | None: ...


def counts(record) -> list[Put | Increment]: ...


def updates(record) -> tuple[Update, ...]: ...


async def deletes(record) -> Sequence[Delete]: ...


def anything(record) -> Effects: ...


def any_effect(record) -> list[Effect]: ...


def unresolvable(record) -> Nowhere: ...  # noqa: F821 - that is the case


def others(record) -> dict[str, Any] | None: ...


class Callable:
    def __call__(self, record) -> Increment: ...


@pytest.mark.parametrize("handler", [bare, puts, anything, any_effect, unresolvable, others])
@pytest.mark.parametrize("mode", list(WriteMode))
def test_what_says_nothing_or_nothing_wrong_is_left_to_the_record(handler, mode):
    """An alias for every operation there is promises none of them."""
    check_operations(handler, "app:handle", mode)


@pytest.mark.parametrize(
    ("handler", "mode", "why"),
    [
        (counts, WriteMode.PUT, "HEADRACE_SINK_MODE=put carries no Increment.*transactional carries it"),
        (Callable(), WriteMode.INSERT, "carries no Increment"),
        (updates, WriteMode.LATEST, "carries no Update"),
        (deletes, WriteMode.INSERT, "carries no Delete.*bring the item back"),
    ],
)
def test_an_operation_that_the_mode_does_not_carry_is_refused_at_the_start(handler, mode, why):
    """The message names the handler, the operation and the mend."""
    with pytest.raises(SettingsError, match=f"HEADRACE_HANDLER = 'app:handle'.*{why}"):
        check_operations(handler, "app:handle", mode)


@pytest.mark.parametrize("handler", [puts, counts, updates, deletes])
def test_mode_transactional_carries_them_all(handler):
    """A record cannot be repeated there."""
    check_operations(handler, "app:handle", WriteMode.TRANSACTIONAL)
