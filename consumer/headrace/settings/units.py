"""How settings are written: durations, sizes, instants, choices; and how a value is written back.

Every parser takes what a source gave (text, or a TOML value) and raises `Unfit` with the problem and its mend.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from headrace.model import AtTimestamp, Latest, StartPosition, TrimHorizon

T = TypeVar("T", int, timedelta)

NO_LIMIT: Final = timedelta(seconds=-1)
"""How the ESM writes "no limit" (-1); `total_seconds()` is -1 too."""

_DURATION_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SIZE_UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")
_ISO: Final = re.compile(
    r"P(?=.)(?:(?P<d>\d+(?:\.\d+)?)D)?(?:T(?=.)(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


class Unfit(ValueError):  # noqa: N818 - pydantic carries it; the user sees a SettingsError
    """A value that cannot be taken. `problem` and `mend` are the two halves of the line the user sees."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend


def duration(value: object) -> timedelta:
    """`500ms`, `10s`, `5m`, `1h`, `1d`, several together (`1m30s`), or ISO 8601 (`PT10S`, `P1DT12H`)."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _PART.findall(text) if _WHOLE.fullmatch(text) else _iso_parts(text)
    try:
        if parts:
            return sum((float(number) * _DURATION_UNITS[unit] for number, unit in parts), timedelta())
    except OverflowError:
        pass
    missing = "has no unit" if re.fullmatch(r"-?\d+(\.\d+)?", text) else "is not a duration"
    raise Unfit(missing, "Write it like 10s, 500ms, 5m, 1h or PT10S")


def _iso_parts(text: str) -> list[tuple[str, str]]:
    match = _ISO.fullmatch(text.upper())
    return [(number, unit) for unit, number in match.groupdict().items() if number] if match else []


def duration_or_no_limit(value: object) -> timedelta:
    """A duration, or -1 for no limit."""
    return NO_LIMIT if str(value).strip() == "-1" else duration(value)


def size(value: object) -> int:
    """Bytes from `64MiB`, `1GiB`, `500KB`, `1048576B`."""
    match = _SIZE.fullmatch(str(value).strip())
    units = {unit.lower(): factor for unit, factor in _SIZE_UNITS.items()}
    if match and match[2].lower() in units:
        return int(float(match[1]) * units[match[2].lower()])
    raise Unfit("is not a size", "Write it like 64MiB or 1GiB")


def start_position(value: object) -> StartPosition:
    """TRIM_HORIZON, LATEST, or an ISO 8601 instant with its offset."""
    if isinstance(value, TrimHorizon | Latest | AtTimestamp):
        return value
    named: dict[str, StartPosition] = {"TRIM_HORIZON": TrimHorizon(), "LATEST": Latest()}
    text = str(value).strip()
    return named.get(text.upper()) or AtTimestamp(_instant(text))


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Unfit(
            "is not a starting position", "Set TRIM_HORIZON, LATEST or an instant like 2026-01-31T08:00:00Z"
        ) from None
    if instant.tzinfo is None:
        raise Unfit("has no offset from UTC", f"Write {instant.isoformat()}Z, or the offset that is meant")
    return instant.astimezone(UTC)


def within(low: T, high: T, *, or_no_limit: bool = False) -> Callable[[T], T]:
    """A check that a value lies in [low, high]; with `or_no_limit` -1 passes as well."""
    outside = (-1, NO_LIMIT) if or_no_limit else ()

    def check(value: T) -> T:
        if low <= value <= high or value in outside:
            return value
        raise Unfit("is out of range", f"It may be {written(low)} to {written(high)}{' or -1' if or_no_limit else ''}")

    return check


def choice(*supported: str) -> Callable[[object], str]:
    """A check that the value is one of `supported`."""

    def check(value: object) -> str:
        text = str(value).strip().lower()
        if text in supported:
            return text
        raise Unfit("is not known", f"Set it to {listed(supported)}")

    return check


def listed(words: Iterable[str]) -> str:
    """Words as a person writes them: `a`, `a or b`, `a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def nearest(wrong: str, known: Iterable[str], command: str = "headrace run") -> str:
    """The mend for a wrong name: the nearest known one, where one is near."""
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"`{command} --help` lists every setting"


def written(value: object) -> str:  # noqa: PLR0911 - one answer for each type
    """A value as it would be written in the environment; the inverse of the parsers."""
    match value:
        case None | ():
            return "none"
        case tuple():
            return f"[{', '.join(value)}]"
        case bool():
            return str(value).lower()
        case timedelta():
            return _written_duration(value)
        case TrimHorizon():
            return "TRIM_HORIZON"
        case Latest():
            return "LATEST"
        case AtTimestamp():
            return value.instant.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)


def _written_duration(value: timedelta) -> str:
    if value == NO_LIMIT:
        return "-1"
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(value, _DURATION_UNITS[unit])
        if count and not rest:
            return f"{count}{unit}"
    return f"{value.total_seconds():g}s"


def written_size(value: int) -> str:
    """Bytes as a size with the largest unit that divides it."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit}"
    return f"{value}B"
