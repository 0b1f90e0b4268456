"""What a handler's answer asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.model import Delete, Effect, Put


def effects_of(answer: Any) -> Iterator[Effect]:
    """The writes in a handler's answer, in order. Raises TypeError for what no handler may return."""
    if answer is None:
        return
    if isinstance(answer, Put | Delete):
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
