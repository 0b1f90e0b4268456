"""A handler's items become text as it returns them, where the compiled transcoder is there to do it.

The many small objects of an item are then gone while it waits for its request, and are read while they are still in the
processor's caches. What the transcoder declines, and what has no key, stays as it is: the sink says why it cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.core.item_keys import key_of
from headrace.core.item_text import item_of_text
from headrace.core.items import ItemError
from headrace.core.native import Native
from headrace.core.rendered_items import RenderedItem
from headrace.model import Record
from headrace.operations import Put


def early(call: Callable[[Record], Any], key_attributes: tuple[str, ...], native: Native) -> Callable[[Record], Any]:
    """The handler's function, for the table with this key; for a mode that takes items whole."""
    encode, declined = native.encoder.item, native.declined

    def called(record: Record) -> Any:
        answer = call(record)
        if type(answer) is dict:
            item = answer
        elif type(answer) is Put and type(answer.item) is dict and answer.table is None and answer.condition is None:
            item = answer.item
        else:
            return answer
        try:
            text = encode(item)
            return Put(RenderedItem({}, item_of_text, text, key_of(item, key_attributes), text))
        except (declined, ItemError):
            return answer

    return called
