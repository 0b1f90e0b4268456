"""What a handler's answer asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.operations import Delete, Effect, Put


def is_writes(answer: Any) -> bool:
    """Whether a batch handler's answer asks for writes: Put, Delete, or a list of what `effects_of` takes."""
    return isinstance(answer, Put | Delete) or (isinstance(answer, Sequence) and not isinstance(answer, str | bytes))


def effects_of(answer: Any) -> Iterator[Effect]:
    """The writes in a handler's answer, in order. Raises TypeError for what no handler may return."""
    if answer is None:
        return
    if isinstance(answer, Put | Delete):
        _check(answer)
        yield answer
    elif isinstance(answer, Mapping):
        yield Put(answer)
    elif isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
        for part in answer:
            yield from effects_of(part)
    else:
        raise TypeError(
            f"a handler returns Put, Delete, a dict, a list of these, or None; this one returned {type(answer).__name__}"
        )


def _check(effect: Effect) -> None:
    content = effect.item if isinstance(effect, Put) else effect.key
    if not isinstance(content, Mapping):
        raise TypeError(f"{type(effect).__name__} takes a dict of attributes; this one holds {type(content).__name__}")
    if effect.table is not None and not isinstance(effect.table, str):
        raise TypeError(
            f"{type(effect).__name__} takes the name of a table; this one has {type(effect.table).__name__}"
        )
