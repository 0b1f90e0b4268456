"""How a write finds its way to an item that only a newer record may replace (mode `latest`).

PartiQL has no upsert and no OR, so a guarded write is a short walk: an UPDATE that asks for an older order in the item; an
INSERT where the update met no item; an UPDATE again where the insert met one. An UPDATE leaves attributes behind that the
new item does not have; they are taken away by a second one. What each refusal means is decided here, from the item that
the statement met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from headrace.core.item_keys import key_of
from headrace.core.items import ItemError, N, S

Stored: TypeAlias = Mapping[str, Mapping[str, Any]]
"""An item in DynamoDB's own JSON."""


class Form(Enum):
    """What is asked next."""

    REPLACE = auto()
    """UPDATE where the item is still what was written last, which is older and had the same attributes."""
    UPDATE = auto()
    """UPDATE where the stored order is older, and tell what was there."""
    INSERT = auto()
    """INSERT: there is no such item."""
    ADOPT = auto()
    """UPDATE where the item has no order yet: it was written by something else."""
    TIE = auto()
    """UPDATE where the user's order is the same and the record's is older."""
    TRIM = auto()
    """Take away what the item before had and this one does not, if the item is still this one."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What a write is compared by: the record's order, and before it a value of the item where `by` names one."""

    own_attribute: str
    by_attribute: str | None = None

    @property
    def first(self) -> str:
        """The attribute that is compared first."""
        return self.by_attribute or self.own_attribute

    def value_of(self, item: Mapping[str, Any]) -> S | N | None:
        """The user's value, as it is written. Raises ItemError where there is none that can be compared."""
        if self.own_attribute in item:
            problem = "stands for the order of records; name another with HEADRACE_SINK_ORDER_ATTRIBUTE"
            raise ItemError(self.own_attribute, problem)
        if self.by_attribute is None:
            return None
        try:
            (value,) = key_of(item, (self.by_attribute,))
        except ItemError:
            raise ItemError(self.by_attribute, _NO_ORDER) from None
        if isinstance(value, str):
            return S(value)
        if isinstance(value, Decimal):
            return N(str(value))
        raise ItemError(self.by_attribute, _NO_ORDER)


_NO_OWN_ORDER: Final = (
    "the stored item has something else there than the order of a record; "
    "name another attribute with HEADRACE_SINK_ORDER_ATTRIBUTE"
)
_NO_ORDER: Final = "HEADRACE_SINK_ORDER_BY names it, so it must be there, as text or a number"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send it again in this form."""

    form: Form


@dataclass(frozen=True, slots=True)
class Stale:
    """A newer one is there."""


@dataclass(frozen=True, slots=True)
class Same:
    """This very write is there already."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """It can never be compared."""

    reason: str


Step: TypeAlias = Ask | Stale | Same | Refuse


def met(stored: Stored | None, guard: Guard, order: str, by: S | N | None) -> Step:
    """What to do when an update was refused: `stored` is the item it met, None where there was none."""
    if not stored:
        return Ask(Form.INSERT)
    if guard.first not in stored:
        return Ask(Form.ADOPT)
    if by is None:
        return _by_record(stored, guard, order, older=Form.UPDATE)
    there = stored[guard.first]
    if by.__struct_fields__[0] not in there:
        return Refuse(f"attribute {guard.first!r}: the stored item has another type there, so neither is newer")
    before, mine = _comparable(there), _comparable({by.__struct_fields__[0]: by.S if isinstance(by, S) else by.N})
    if before == mine:
        return _by_record(stored, guard, order, older=Form.TIE)
    return Stale() if before > mine else Ask(Form.UPDATE)


def _by_record(stored: Stored, guard: Guard, order: str, *, older: Form) -> Step:
    if guard.own_attribute not in stored:
        return Stale()  # written by something else with the same value of the user's: it was first
    there = stored[guard.own_attribute].get("S")
    if there is None:
        return Refuse(f"attribute {guard.own_attribute!r}: {_NO_OWN_ORDER}")
    if there == order:
        return Same()
    return Stale() if there > order else Ask(older)


def _comparable(value: Mapping[str, Any]) -> Any:
    return Decimal(value["N"]) if "N" in value else str(value["S"]).encode()


def rank(order: str, by: S | N | None) -> tuple[str, Any, str]:
    """By which writes of one item are sorted before any is sent."""
    if by is None:
        return "", 0, order
    return ("S", by.S.encode(), order) if isinstance(by, S) else ("N", Decimal(by.N), order)
