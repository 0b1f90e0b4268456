"""What a handler's answer asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from headrace.operations import Condition, Delete, Effect, Increment, Put, Update

KINDS: Final = (Put, Delete, Update, Increment)


def is_writes(answer: Any) -> bool:
    """Whether a batch handler's answer asks for writes: an operation, or a list of what `effects_of` takes."""
    return isinstance(answer, KINDS) or (isinstance(answer, Sequence) and not isinstance(answer, str | bytes))


def effects_of(answer: Any) -> Iterator[Effect]:
    """The writes in a handler's answer, in order. Raises TypeError for what no handler may return."""
    if answer is None:
        return
    if isinstance(answer, KINDS):
        _check(answer)
        yield answer
    elif isinstance(answer, Mapping):
        yield Put(answer)
    elif isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
        for part in answer:
            yield from effects_of(part)
    else:
        raise TypeError(
            "a handler returns Put, Delete, Update, Increment, a dict, a list of these, or None; "
            f"this one returned {type(answer).__name__}"
        )


def _check(effect: Effect) -> None:
    """Whether its parts are what they should be: users' code need not have been type-checked. Raises TypeError."""
    for name, kind, what in PARTS[type(effect)]:
        part = getattr(effect, name)
        if not isinstance(part, kind):
            raise TypeError(f"{type(effect).__name__} takes {what} as {name}; this one has {type(part).__name__}")
    if isinstance(effect, Update):
        _check_changes(effect)
    if isinstance(effect, Increment) and not effect.by:
        raise TypeError("Increment changes nothing: give it by")


def _check_changes(update: Update) -> None:
    names = [*update.assign, *update.increment, *update.remove]
    if not names:
        raise TypeError("Update changes nothing: give it assign, increment or remove")
    if len(set(names)) < len(names):
        raise TypeError("Update names an attribute twice: assign it, increment it or remove it")


_DICT: Final = (Mapping, "a dict of attributes")
_TABLE: Final = ("table", str | None, "the name of a table")
_CONDITION: Final = ("condition", Condition | None, "a Condition")

PARTS: Final[Mapping[type, Sequence[tuple[str, Any, str]]]] = {
    Put: [("item", *_DICT), _TABLE, _CONDITION],
    Delete: [("key", *_DICT), _TABLE, _CONDITION],
    Update: [
        ("key", *_DICT),
        ("assign", *_DICT),
        ("increment", *_DICT),
        ("remove", list | tuple, "a list of names"),
        _TABLE,
        _CONDITION,
    ],
    Increment: [("key", *_DICT), ("by", *_DICT), _TABLE],
}
"""What each operation is made of."""
