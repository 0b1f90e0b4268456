"""Which numbers DynamoDB takes: 38 digits, from 1E-130 to 9.99...E+125 (developer guide, "Naming rules and data types").

Asked here, an unfit number costs its own record and is named by its place; DynamoDB would refuse the whole request.
"""

from __future__ import annotations

import re
from typing import Final

MOST_DIGITS: Final = 38
_LEAST: Final = -130
_MOST: Final = 125
_LONGEST_EXPONENT: Final = 9
"""An exponent of more digits is out of range whatever stands before it."""

_NUMBER: Final = re.compile(r"[-+]?([0-9]*)\.?([0-9]*)(?:[eE]([-+]?)([0-9]+))?")


def fits(text: str) -> bool:
    """Whether DynamoDB takes a number of this text. A text that is no number is left to the server to refuse."""
    if len(text) <= MOST_DIGITS and "e" not in text and "E" not in text:
        return True
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        return True
    digits = (match[1] + match[2]).lstrip("0")
    if not digits:
        return True
    exponent = (match[4] or "").lstrip("0")
    if len(exponent) > _LONGEST_EXPONENT:
        return False
    power = int(match[3] + (exponent or "0")) if match[4] else 0
    first = len(digits) - 1 - len(match[2]) + power
    return len(digits.rstrip("0")) <= MOST_DIGITS and _LEAST <= first <= _MOST
