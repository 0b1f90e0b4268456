"""One filter pattern, compiled once into a tree of closures over a parsed payload.

A test answers MISS, ABSENCE or HIT, not just yes or no. In an array of objects one element has to satisfy all keys of the
pattern [ruler]; "exists: false" then holds for the element that other keys chose, and for all of them when none did: that
some element lacks the key says nothing.

A dot joins the names of nested keys: {"a": {"b": ...}} and {"a.b": ...} are the same pattern, and either matches the data
{"a": {"b": 1}} and {"a.b": 1} [guide].

Where the rules come from:
  [esm]     Lambda developer guide, invocation-eventfiltering and with-kinesis-filtering.
  [guide]   EventBridge user guide, eb-create-pattern (considerations) and eb-create-pattern-operators.
  [ruler]   github.com/aws/event-ruler, AWS's own matcher: JsonRuleCompiler, Event, ACFinder, NameState.
  [golden]  LocalStack's event_pattern_templates, each recorded against AWS's TestEventPattern.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from msgspec import UNSET

from headrace.core.filter_operators import SCALARS, FilterPatternError, accepts_of, any_of

MISS: Final = 0
ABSENCE: Final = 1
"""It matches, but only by what is not there."""
HIT: Final = 2

Test: TypeAlias = Callable[[Any], int]
"""Asked about a value; `UNSET` stands for none."""

Wanted: TypeAlias = "dict[str, Wanted] | None"
"""What a pattern looks at: some keys of an object, or (None) a value whole."""

MAX_LENGTH: Final = 4096
"""Characters of a pattern [esm]."""

MAX_DEPTH: Final = 64
"""Levels of keys in a pattern: our own bound, for the stack's sake. AWS publishes none."""

OR: Final = "$or"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A test and the part of the value it looks at."""

    test: Test
    wanted: Wanted


def parse_pattern(text: str, at: str) -> dict[str, Any]:
    """A pattern's JSON, numbers with a fraction or an exponent as their text. Raises FilterPatternError."""
    if len(text) > MAX_LENGTH:
        raise FilterPatternError(
            at, f"{len(text)} characters, above the {MAX_LENGTH} of AWS", "Split it in two filters"
        )

    def only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """AWS silently takes the last of two [guide][golden]; what is dropped silently later is named early here."""
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FilterPatternError(
                at, f"the key {twice!r} stands twice in one object", "AWS would heed the last only"
            )
        return found

    def no_constant(name: str) -> Any:
        raise FilterPatternError(at, f"{name} is not JSON", "Write a number, true, false or null")

    try:
        pattern = json.loads(text, parse_float=str.encode, parse_constant=no_constant, object_pairs_hook=only_once)
    except json.JSONDecodeError as error:
        raise FilterPatternError(at, f"not JSON ({error})", 'Write an object: {"data": {"type": ["buy"]}}') from error
    except RecursionError as error:
        raise _too_deep(at) from error
    if not isinstance(pattern, dict):
        raise FilterPatternError(at, "not an object", 'Write an object: {"data": {"type": ["buy"]}}')
    return pattern


def compile_value(pattern: Any, at: str, depth: int = 0) -> Compiled:
    """The test of what stands at one key: of a list of values, or of an object of further keys.

    Raises FilterPatternError.
    """
    if depth > MAX_DEPTH:
        raise _too_deep(at)
    if isinstance(pattern, list):
        return Compiled(compile_leaf(pattern, at), None)
    if isinstance(pattern, dict):
        return _compile_object(pattern, at, depth)
    mend = f"Put the values in a list: [{json.dumps(pattern) if not isinstance(pattern, bytes) else pattern.decode()}]"
    raise FilterPatternError(at, "neither a list of values nor an object", mend)  # refused by AWS [golden]


def branches_of(pattern: Any, at: str) -> list[dict[str, Any]]:
    """The objects under `$or`: two or more [ruler]. Raises FilterPatternError."""
    if not isinstance(pattern, list) or len(pattern) < 2 or not all(isinstance(branch, dict) for branch in pattern):
        mend = f'Write {{"{OR}": [{{"a": [1]}}, {{"b": [2]}}]}}'
        raise FilterPatternError(at, "takes a list of two or more objects", mend)
    return pattern


def compile_leaf(conditions: list[Any], at: str) -> Test:
    """The test of a list of values: of a leaf, or of any one leaf of an array [guide]. Raises FilterPatternError."""
    accepts, absence = accepts_of(conditions, at)
    by_class = {kind: any_of(accepts[kind]) for kind in SCALARS}
    nothing = ABSENCE if absence else MISS

    def test(value: Any) -> int:
        holds = by_class.get(value.__class__)
        if holds is not None:
            return HIT if holds(value) else MISS
        if value.__class__ is list:
            return in_array(value)
        return nothing  # an object is no leaf: as if nothing were there [ruler][golden]

    def in_array(values: list[Any]) -> int:
        result = nothing
        for value in _elements(values):
            holds = by_class.get(value.__class__)
            if holds is not None:
                if holds(value):
                    return HIT
                result = MISS
        return result

    return test


def _compile_object(pattern: dict[str, Any], at: str, depth: int) -> Compiled:
    if not pattern:  # refused by AWS [ruler]
        raise FilterPatternError(at, "an empty object asks for nothing", "Name a key, or leave this one out")
    tests: list[Test] = []
    wanted: dict[str, Wanted] = {}
    for key, value in pattern.items():
        if key == OR:
            branches = [_compile_object(branch, f"{at}.{OR}", depth + 1) for branch in branches_of(value, f"{at}.{OR}")]
            tests.append(_one_of([branch.test for branch in branches]))
            parts = [branch.wanted for branch in branches]
        else:
            compiled = _compile_key(key, value, at, depth)
            tests.append(compiled.test)
            parts = [compiled.wanted]
        for part in parts:
            wanted = merged(wanted, part) or {}
    return Compiled(_through_arrays(all_of(tests)), wanted)


def _compile_key(key: str, pattern: Any, at: str, depth: int) -> Compiled:
    """The test of an object by one of its keys; a dotted one is the first of a path."""
    first, dot, rest = key.partition(".")
    below = {rest: pattern} if dot else pattern
    compiled = compile_value(below, f"{at}.{first}", depth + 1)
    joined = tuple(f"{first}.{name}" for name in compiled.wanted or ())
    return Compiled(_at_key(first, joined, compiled.test), {first: compiled.wanted} | dict.fromkeys(joined))


def merged(one: Wanted, other: Wanted) -> Wanted:
    """What two patterns look at together."""
    if one is None or other is None:
        return None
    both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys()}
    return one | other | both


def _at_key(key: str, joined: tuple[str, ...], test: Test) -> Test:
    def leaf(node: dict[str, Any]) -> int:
        return test(node.get(key, UNSET))

    def path(node: dict[str, Any]) -> int:
        below = node.get(key, UNSET)
        apart = {name[len(key) + 1 :]: node[name] for name in joined if name in node}
        return test(_together(below, apart) if apart else below)

    return path if joined else leaf


def _together(below: Any, apart: dict[str, Any]) -> Any:
    """An object's keys found in two places, nested and joined by dots, as one object."""
    if isinstance(below, list):
        return [*below, apart]
    if not isinstance(below, dict):
        return apart
    return below | {key: [below[key], value] if key in below else value for key, value in apart.items()}


def all_of(tests: Sequence[Test]) -> Test:
    """The keys of an object are ANDed [esm]."""
    if len(tests) == 1:
        return tests[0]

    def test(node: Any) -> int:
        result = ABSENCE
        for holds in tests:
            answer = holds(node)
            if answer == MISS:
                return MISS
            result = max(result, answer)
        return result

    return test


def _one_of(tests: Sequence[Test]) -> Test:
    return lambda node: max(test(node) for test in tests)


def _through_arrays(in_object: Test) -> Test:
    """The test of any value where the pattern has an object: arrays, nested ones too, stand for their elements [ruler]."""
    empty = in_object({})

    def test(node: Any) -> int:
        if node.__class__ is dict:
            return in_object(node)
        return in_array(node) if node.__class__ is list else empty

    def in_array(nodes: list[Any]) -> int:
        result = empty
        for node in _elements(nodes):
            answer = in_object(node) if node.__class__ is dict else empty
            if answer == HIT:
                return HIT
            result = min(result, answer)
        return result

    return test


def _elements(values: list[Any]) -> Iterator[Any]:
    """The elements of an array and of the arrays in it, however deep, without recursion."""
    pending = values[::-1]
    while pending:
        value = pending.pop()
        if value.__class__ is list:
            pending.extend(reversed(value))
        else:
            yield value


def _too_deep(at: str) -> FilterPatternError:
    return FilterPatternError(at, f"nested deeper than {MAX_DEPTH} levels", "Match on fewer levels")
