"""What the list of values under one key of a filter pattern accepts: literals and the operators.

A JSON value is held as `str`, `int`, `bool`, `None`, or, for every number with a fraction or an exponent, its own text as
`bytes`: plain numbers are compared by their text, so 300, 300.0 and 3.0e2 are three values [guide].

Where the rules come from:
  [esm]     Lambda developer guide, invocation-eventfiltering: the operators of an event source mapping.
  [guide]   EventBridge user guide, eb-create-pattern (considerations) and eb-create-pattern-operators.
  [ruler]   github.com/aws/event-ruler, AWS's own matcher: JsonRuleCompiler, ComparableNumber, EqualsIgnoreCaseParser.
  [golden]  LocalStack's event_pattern_templates, each recorded against AWS's TestEventPattern.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any, Final, TypeAlias

Predicate: TypeAlias = Callable[[Any], bool]

Accepts: TypeAlias = dict[type, list[Predicate]]
"""By the class of a value: it is accepted when one of these holds."""

SCALARS: Final = (str, int, bytes, bool, NoneType)
"""Every class of a JSON value that is neither an object nor an array."""

INVALID: Final = "Invalid filter pattern definition."
"""AWS's words for every mistake in a pattern (recorded)."""


LONGEST: Final = 200
"""Characters of each part of a message: a pattern's keys and values may be thousands long."""


class FilterPatternError(ValueError):
    """A filter pattern that can't be used: `at` which place, what the `problem` is, and how to `mend` it."""

    def __init__(self, at: str, problem: str, mend: str) -> None:
        super().__init__(f"{at[:LONGEST]}: {problem[:LONGEST]}. {mend[:LONGEST]} ({INVALID})")
        self.at = at
        self.problem = problem
        self.mend = mend


def accepts_of(conditions: Sequence[Any], at: str) -> tuple[Accepts, bool]:
    """What a list of values accepts, and whether it accepts that nothing is there; its values are ORed [esm].

    Raises FilterPatternError.
    """
    if not conditions:  # refused by AWS [golden]
        raise FilterPatternError(at, "an empty list can match nothing", "Name at least one value")
    accepts: Accepts = {kind: [] for kind in SCALARS}
    _add(accepts, _literals([value for value in conditions if not isinstance(value, dict)], at))
    absence = False
    for condition in conditions:
        if isinstance(condition, dict):
            name, operand = _sole_item(condition, at)
            _add(accepts, _operator(name, at)(operand, f"{at}, {name}"))
            absence |= name == "exists" and operand is False
    return accepts, absence


def any_of(predicates: Sequence[Predicate]) -> Predicate:
    """One predicate that holds when one of these does."""
    if always in predicates:
        return always
    if len(predicates) == 1:
        return predicates[0]
    return lambda value: any(holds(value) for holds in predicates)


def always(_value: Any) -> bool:
    """Accepts whatever it is asked about."""
    return True


def _add(accepts: Accepts, more: Accepts) -> None:
    for kind, predicates in more.items():
        accepts[kind] += predicates


def _sole_item(condition: dict[str, Any], at: str) -> tuple[str, Any]:
    if len(condition) != 1:
        mend = 'One operator to an object, objects in the list: [{"prefix": "a"}, {"suffix": "z"}]'
        raise FilterPatternError(at, f"{len(condition)} operators in one object", mend)
    return next(iter(condition.items()))


def _operator(name: str, at: str) -> Callable[[Any, str], Accepts]:
    if name not in _OPERATORS:
        known = ", ".join(sorted(_OPERATORS))
        raise FilterPatternError(at, f"{name!r} is no operator of an event source mapping", f"There are {known}")
    return _OPERATORS[name]


def _literals(values: list[Any], at: str) -> Accepts:
    """Character by character, without case folding; null, "" and "not there" are three different things [guide]."""
    if any(isinstance(value, list) for value in values):
        raise FilterPatternError(at, "a list within the list of values", "List the values themselves")
    by_kind = {kind: [value for value in values if type(value) is kind] for kind in SCALARS}  # True is no 1 in JSON
    return {kind: [frozenset(wanted).__contains__] for kind, wanted in by_kind.items() if wanted}


def _exists(operand: Any, at: str) -> Accepts:
    """Any leaf, null included; `false` accepts no value at all, only that there is none [guide][ruler]."""
    if type(operand) is not bool:
        raise FilterPatternError(at, "neither true nor false", 'Write {"exists": true} or {"exists": false}')
    return {kind: [always] for kind in SCALARS} if operand else {}


# --- text: only strings have a beginning, an end or a case [ruler] -----------------------------------------------------


def _prefix(operand: Any, at: str) -> Accepts:
    """`{"prefix": "a"}`, or `{"prefix": {"equals-ignore-case": "a"}}` [guide]."""
    if isinstance(operand, dict):
        return {str: [_matches(re.compile(_either_case(_ignoring_case(operand, at))).match)]}
    return {str: [_begins(_text(operand, at))]}


def _suffix(operand: Any, at: str) -> Accepts:
    """`{"suffix": "z"}`, or `{"suffix": {"equals-ignore-case": "z"}}` [guide]."""
    if isinstance(operand, dict):
        return {str: [_matches(re.compile(rf"(?:{_either_case(_ignoring_case(operand, at))})\Z").search)]}
    return {str: [_ends(_text(operand, at))]}


def _equals_ignore_case(operand: Any, at: str) -> Accepts:
    return {str: [_equals_blind(_text(operand, at))]}


def _begins(start: str) -> Predicate:
    return lambda value: bool(value.startswith(start))


def _ends(end: str) -> Predicate:
    return lambda value: bool(value.endswith(end))


def _equals_blind(text: str) -> Predicate:
    return _matches(re.compile(_either_case(text)).fullmatch)


def _matches(match: Callable[[str], re.Match[str] | None]) -> Predicate:
    return lambda value: match(value) is not None


def _either_case(text: str) -> str:
    """A regular expression for the lower or the upper case of each character, on its own, by the root locale [ruler].

    So a German sharp s takes "ss" in upper case only, and no rule looks at a character's neighbours.
    """
    return "".join(f"(?:{re.escape(char.lower())}|{re.escape(char.upper())})" for char in text)


def _ignoring_case(operand: dict[str, Any], at: str) -> str:
    if list(operand) != ["equals-ignore-case"]:
        mend = 'Within it only {"equals-ignore-case": "text"} is possible'
        raise FilterPatternError(at, f"an object with {', '.join(map(repr, operand)) or 'nothing'}", mend)
    return _text(operand["equals-ignore-case"], at)


def _text(operand: Any, at: str) -> str:
    if not isinstance(operand, str):
        raise FilterPatternError(at, f"takes a string, not {_named(operand)}", 'Put the text in quotes: "text"')
    return operand


# --- numbers: compared by value, exactly ------------------------------------------------------------------------------

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def _numeric(operand: Any, at: str) -> Accepts:
    """One comparison, or a lower bound followed by an upper one [ruler]; only JSON numbers match, no text [guide].

    AWS compares within +-5.0e9 and six decimals only [ruler]; here any number is compared exactly.
    """
    bounds = _bounds(operand, at)

    def holds(number: int | Decimal) -> bool:
        return all(compare(number, bound) for compare, bound in bounds)

    return {int: [holds], bytes: [lambda text: holds(_value(text))]}


def _bounds(operand: Any, at: str) -> list[tuple[Callable[[Any, Any], bool], int | Decimal]]:
    mend = 'Write an operator out of = > >= < <= and a number, or a range: ["=", 5] or [">", 0, "<=", 100]'
    if not isinstance(operand, list) or len(operand) not in {2, 4}:
        raise FilterPatternError(at, "takes a list of an operator and a number, or of two such pairs", mend)
    signs, numbers = operand[::2], operand[1::2]
    if any(not isinstance(sign, str) or sign not in _COMPARISONS for sign in signs):
        raise FilterPatternError(at, f"no such operator among {', '.join(map(str, signs))}", mend)
    if not all(_is_number(number) for number in numbers):
        raise FilterPatternError(at, "compares with something that is no number", mend)
    bounds = [_value(number) for number in numbers]
    if len(signs) == 2 and not (signs[0] in {">", ">="} and signs[1] in {"<", "<="} and bounds[0] < bounds[1]):
        raise FilterPatternError(at, "a range goes from a lower bound to a higher one", mend)
    return [(_COMPARISONS[sign], bound) for sign, bound in zip(signs, bounds, strict=True)]


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is bytes  # a bool is an int only to Python


def _value(number: int | bytes) -> int | Decimal:
    if isinstance(number, int):
        return number
    try:
        return Decimal(number.decode())
    except InvalidOperation:  # an exponent of 19 digits: beyond what Decimal holds, so past every bound
        return _beyond(number)


def _beyond(number: bytes) -> Decimal:
    """Zero for a vanishing number, an infinity of its sign for an immense one."""
    digits, _, exponent = number.lower().partition(b"e")
    if exponent.startswith(b"-") or not digits.strip(b"-0."):
        return Decimal(0)
    return Decimal("-Infinity" if digits.startswith(b"-") else "Infinity")


# --- anything but ------------------------------------------------------------------------------------------------------


def _anything_but(operand: Any, at: str) -> Accepts:
    """A value there is, of whatever type, null too, that is none of these [golden]; numbers by value [ruler]."""
    if isinstance(operand, dict):
        return _but_text(_sole_item(operand, at), at)
    values = operand if isinstance(operand, list) else [operand]
    if values and all(isinstance(value, str) for value in values):
        return _others({str: frozenset(values).__contains__})
    if values and all(_is_number(value) for value in values):
        numbers = frozenset(map(_value, values))
        return _others({int: numbers.__contains__, bytes: lambda text: _value(text) in numbers})
    mend = 'Write {"anything-but": "a"}, {"anything-but": 1} or a list of either'
    raise FilterPatternError(at, "takes strings or numbers, not both, nor anything else, nor nothing", mend)


def _but_text(form: tuple[str, Any], at: str) -> Accepts:
    """The forms within: prefix, suffix and equals-ignore-case, of a string or a list of them [guide][golden]."""
    name, operand = form
    if name not in _BUT_FORMS:
        mend = f"Within it there are {', '.join(sorted(_BUT_FORMS))}"
        raise FilterPatternError(at, f"{name!r} is not possible within it", mend)
    texts = [_text(text, f"{at}, {name}") for text in (operand if isinstance(operand, list) else [operand])]
    if not texts or ("" in texts and name != "equals-ignore-case"):  # refused by AWS [golden]
        raise FilterPatternError(at, f"an empty {name} excludes every string", "Name at least one character")
    return _others({str: any_of([_BUT_FORMS[name](text) for text in texts])})


def _others(excluded: dict[type, Predicate]) -> Accepts:
    return {kind: [_unless(excluded[kind]) if kind in excluded else always] for kind in SCALARS}


def _unless(excluded: Predicate) -> Predicate:
    return lambda value: not excluded(value)


def _named(value: Any) -> str:
    names: Iterable[tuple[type, str]] = (
        (dict, "an object"),
        (list, "a list"),
        (bool, "true or false"),
        (NoneType, "null"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "a number")


_BUT_FORMS: Final[dict[str, Callable[[str], Predicate]]] = {
    "prefix": _begins,
    "suffix": _ends,
    "equals-ignore-case": _equals_blind,
}

_OPERATORS: Final[dict[str, Callable[[Any, str], Accepts]]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
}
