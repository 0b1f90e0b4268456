"""Filter criteria: what the event source mapping keeps and drops, and what goes beyond it."""

import contextlib
import dataclasses
import itertools
import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.filters import MAX_FILTERS, Drop, FilterPatternError, Keep, NotJson, compile_filters
from headrace.model import Record

SEQUENCE = 49590338271490256608559692538361571095921575989136588898
ARRIVAL_S = 1545084650.987


def record(data, arrival_s=ARRIVAL_S):
    data = data if isinstance(data, bytes) else data.encode()
    return Record(data, "order-7", SEQUENCE, arrival_s, shard_id="shardId-000000000006")


def on_data(pattern):
    return f'{{"data": {pattern}}}'


def verdict(pattern, data, non_json="drop", arrival_s=ARRIVAL_S):
    """What becomes of a record with this payload text under one filter."""
    return compile_filters([pattern], non_json).verdict(record(data, arrival_s))


# --- the operators, and the traps of each -----------------------------------------------------------------------------

KEPT, DROPPED = Keep(), Drop()

NOTHING = None


def case(situation, pattern, data, expected):
    return pytest.param(on_data(pattern), data, expected, id=situation)


def value(situation, conditions, found, expected):
    return case(situation, f'{{"v": {conditions}}}', "{}" if found is NOTHING else f'{{"v": {found}}}', expected)


ON_ONE_KEY = [
    value("null is null", "[null]", "null", KEPT),
    value("null is not the empty string", "[null]", '""', DROPPED),
    value("null is not absence", "[null]", NOTHING, DROPPED),
    value("null is not an empty array", "[null]", "[]", DROPPED),
    value("empty is the empty string", '[""]', '""', KEPT),
    value("empty is not null", '[""]', "null", DROPPED),
    value("equal text", '["buy"]', '"buy"', KEPT),
    value("equality does not fold case", '["buy"]', '"Buy"', DROPPED),
    value("equality does not normalise unicode", '["\u00e9"]', '"e\u0301"', DROPPED),
    value("one value of several", '["buy", "sell"]', '"sell"', KEPT),
    value("true is true", "[true]", "true", KEPT),
    value("true is not 1", "[true]", "1", DROPPED),
    value("1 is not true", "[1]", "true", DROPPED),
    value("false is not 0", "[false]", "0", DROPPED),
    value("text is not a number", '["300"]', "300", DROPPED),
    value("300 is 300", "[300]", "300", KEPT),
    value("300 is not 300.0", "[300]", "300.0", DROPPED),
    value("300.0 is not 3.0e2", "[300.0]", "3.0e2", DROPPED),
    value("3.0e2 is 3.0e2", "[3.0e2]", "3.0e2", KEPT),
    value("3.0e2 is not 3.0E2", "[3.0e2]", "3.0E2", DROPPED),
    value("1.10 keeps its zero", "[1.10]", "1.1", DROPPED),
    value("a number beyond a double", "[9007199254740993]", "9007199254740992", DROPPED),
    value("a number of 40 digits", f"[{'9' * 40}]", "9" * 40, KEPT),
    value("ignoring case", '[{"equals-ignore-case": "aLiCe"}]', '"AlIcE"', KEPT),
    value("ignoring case of the whole", '[{"equals-ignore-case": "alice"}]', '"alices"', DROPPED),
    value("ignoring case of the empty", '[{"equals-ignore-case": ""}]', '""', KEPT),
    value("ignoring case with accents", '[{"equals-ignore-case": "\u00e9t\u00e9"}]', '"\u00c9T\u00c9"', KEPT),
    value("sharp s in upper case", '[{"equals-ignore-case": "stra\u00dfe"}]', '"STRASSE"', KEPT),
    value("ignoring case is no pattern", '[{"equals-ignore-case": "a.c"}]', '"abc"', DROPPED),
    value("prefix", '[{"prefix": "eu-"}]', '"eu-west-1"', KEPT),
    value("prefix elsewhere", '[{"prefix": "eu-"}]', '"my-eu-west"', DROPPED),
    value("prefix of a number", '[{"prefix": "1"}]', "12", DROPPED),
    value("prefix folds no case", '[{"prefix": "eu-"}]', '"EU-west"', DROPPED),
    value("prefix ignoring case", '[{"prefix": {"equals-ignore-case": "EU-"}}]', '"eu-w"', KEPT),
    value("prefix ignoring case elsewhere", '[{"prefix": {"equals-ignore-case": "EU"}}]', '"weu"', DROPPED),
    value("suffix", '[{"suffix": ".png"}]', '"a.png"', KEPT),
    value("suffix elsewhere", '[{"suffix": ".png"}]', '"a.png.bak"', DROPPED),
    value("suffix ignoring case", '[{"suffix": {"equals-ignore-case": ".png"}}]', '"a.PNG"', KEPT),
    value("suffix ignoring case, line end", '[{"suffix": {"equals-ignore-case": "a"}}]', '"a\\n"', DROPPED),
    value("anything but, another", '[{"anything-but": "init"}]', '"run"', KEPT),
    value("anything but, the same", '[{"anything-but": "init"}]', '"init"', DROPPED),
    value("anything but, null", '[{"anything-but": "init"}]', "null", KEPT),
    value("anything but, nothing there", '[{"anything-but": "init"}]', NOTHING, DROPPED),
    value("anything but, an object", '[{"anything-but": "init"}]', '{"a": 1}', DROPPED),
    value("anything but text, a number", '[{"anything-but": "1"}]', "1", KEPT),
    value("anything but a list", '[{"anything-but": ["a", "b"]}]', '"b"', DROPPED),
    value("anything but numbers", '[{"anything-but": [100, 200]}]', "300", KEPT),
    value("anything but a number, by value", '[{"anything-but": 300}]', "3.0e2", DROPPED),
    value("anything but 1, true", '[{"anything-but": 1}]', "true", KEPT),
    value("anything but 0", '[{"anything-but": 0}]', "0", DROPPED),
    value("anything but a prefix", '[{"anything-but": {"prefix": "in"}}]', '"init"', DROPPED),
    value("anything but a prefix, a number", '[{"anything-but": {"prefix": "in"}}]', "12", KEPT),
    value("anything but prefixes", '[{"anything-but": {"prefix": ["a", "b"]}}]', '"bc"', DROPPED),
    value("anything but a suffix", '[{"anything-but": {"suffix": ".tx"}}]', '"a.txt"', KEPT),
    value("anything but ignoring case", '[{"anything-but": {"equals-ignore-case": ["Init"]}}]', '"INIT"', DROPPED),
    value("numeric equality is by value", '[{"numeric": ["=", 300]}]', "3.0e2", KEPT),
    value("numeric takes no text", '[{"numeric": ["=", 300]}]', '"300"', DROPPED),
    value("numeric takes no true", '[{"numeric": ["=", 1]}]', "true", DROPPED),
    value("above an open bound", '[{"numeric": [">", 0]}]', "0", DROPPED),
    value("at a closed bound", '[{"numeric": [">=", 0]}]', "-0.0", KEPT),
    value("below an open bound", '[{"numeric": ["<", 10]}]', "9.999999999999999999", KEPT),
    value("at the top of a range", '[{"numeric": [">", 0, "<=", 5]}]', "5", KEPT),
    value("above a range", '[{"numeric": [">", 0, "<=", 5]}]', "5.0000000001", DROPPED),
    value("decimals are exact", '[{"numeric": ["=", 0.3]}]', "0.30000000000000004", DROPPED),
    value("a time in milliseconds", '[{"numeric": [">", 1545084650987]}]', "1545084650988", KEPT),
    value("an immense exponent", '[{"numeric": [">", 0]}]', "1e9999999999999999999", KEPT),
    value("an immense negative", '[{"numeric": [">", 0]}]', "-1e9999999999999999999", DROPPED),
    value("a vanishing number", '[{"numeric": ["<=", 0]}]', "1e-9999999999999999999", KEPT),
    value("exists", '[{"exists": true}]', "0", KEPT),
    value("null exists", '[{"exists": true}]', "null", KEPT),
    value("nothing exists", '[{"exists": true}]', NOTHING, DROPPED),
    value("exists looks at leaves only", '[{"exists": true}]', '{"a": 1}', DROPPED),
    value("an object is no leaf, so absent", '[{"exists": false}]', '{"a": 1}', KEPT),
    value("an empty array has no leaf", '[{"exists": false}]', "[]", KEPT),
    value("absent", '[{"exists": false}]', NOTHING, KEPT),
    value("not absent", '[{"exists": false}]', "null", DROPPED),
    value("an array with leaves is not absent", '[{"exists": false}]', '["x"]', DROPPED),
    value("absent, or something else listed after", '[{"exists": false}, {"prefix": "a"}]', NOTHING, KEPT),
    value("absent or something else", '[{"exists": false}, "a"]', '"a"', KEPT),
    value("operators in one list are ORed", '[{"prefix": "a"}, {"numeric": ["<", 0]}, 5]', "-1", KEPT),
    value("wildcards are ordinary text", '["a*"]', '"abc"', DROPPED),
]


DEEP = "[" * 200 + "1" + "]" * 200


def nested(innermost, levels):
    return '{"a":' * levels + innermost + "}" * levels


ON_STRUCTURE = [
    case("key names do not fold case", '{"v": ["buy"]}', '{"V": "buy"}', DROPPED),
    case("absent under an absent parent", '{"p": {"v": [{"exists": false}]}}', "{}", KEPT),
    case("keys are ANDed", '{"a": [1], "b": [2]}', '{"a": 1, "b": 2}', KEPT),
    case("one of the keys misses", '{"a": [1], "b": [2]}', '{"a": 1, "b": 3}', DROPPED),
    case("a nested object", '{"o": {"type": ["buy"]}}', '{"o": {"type": "buy", "n": 1}}', KEPT),
    case("a key at the wrong level", '{"type": ["buy"]}', '{"o": {"type": "buy"}}', DROPPED),
    case("JSON within a string", '{"o": {"type": ["buy"]}}', '{"o": "{\\"type\\": \\"buy\\"}"}', DROPPED),
    case("$or, one holds", '{"$or": [{"a": [1]}, {"b": [2]}]}', '{"a": 0, "b": 2}', KEPT),
    case("$or, none holds", '{"$or": [{"a": [1]}, {"b": [2]}]}', '{"a": 2, "b": 1}', DROPPED),
    case("$or beside a key", '{"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}', '{"a": 1, "c": 4}', DROPPED),
    case("$or in $or", '{"$or": [{"a": [1]}, {"$or": [{"b": [2]}, {"c": [3]}]}]}', '{"c": 3}', KEPT),
    case("$or within an object", '{"o": {"$or": [{"a": [1]}, {"b": [2]}]}}', '{"o": {"b": 2}}', KEPT),
    case("any element of an array", '{"v": ["a"]}', '{"v": ["x", "a"]}', KEPT),
    case("no element of an array", '{"v": ["a"]}', '{"v": ["x", ["y"]]}', DROPPED),
    case("arrays within arrays", '{"v": ["a"]}', '{"v": ["x", [["a"]]]}', KEPT),
    case("anything but, in an array: any other", '{"v": [{"anything-but": "a"}]}', '{"v": ["a", "b"]}', KEPT),
    case("anything but, in an array of it", '{"v": [{"anything-but": "a"}]}', '{"v": ["a", "a"]}', DROPPED),
    case("one element has all keys", '{"e": {"a": [1], "b": [2]}}', '{"e": [{"a": 1, "b": 2}]}', KEPT),
    case("two elements share the keys", '{"e": {"a": [1], "b": [2]}}', '{"e": [{"a": 1}, {"b": 2}]}', DROPPED),
    case("objects in arrays in arrays", '{"e": {"a": [1]}}', '{"e": [[{"a": 0}], [{"a": 1}]]}', KEPT),
    case("absent from one element of two", '{"e": {"a": [{"exists": false}]}}', '{"e": [{"a": 1}, {}]}', DROPPED),
    case("absent from each element", '{"e": {"a": [{"exists": false}]}}', '{"e": [{"b": 1}, 5]}', KEPT),
    case(
        "absent from the element chosen",
        '{"e": {"a": [{"exists": false}], "b": [1]}}',
        '{"e": [{"a": 1}, {"b": 1}]}',
        KEPT,
    ),
    case("an array as the whole payload", '{"a": [1]}', '[{"a": 0}, {"a": 1}]', KEPT),
    case("a payload that is a string", '["hello"]', '"hello"', KEPT),
    case("a number where an object is looked for", '{"o": {"a": [1]}}', '{"o": 1e999}', DROPPED),
    case("dots join keys in the pattern", '{"o.type": ["buy"]}', '{"o": {"type": "buy"}}', KEPT),
    case("dots join keys in the data", '{"o": {"type": ["buy"]}}', '{"o.type": "buy"}', KEPT),
    case("dotted on both sides", '{"service.name": ["a"]}', '{"service.name": "a"}', KEPT),
    case("dotted data is there", '{"o": {"type": [{"exists": false}]}}', '{"o": {}, "o.type": 1}', DROPPED),
    case("nested and dotted, the nested one", '{"o": {"a": [1]}}', '{"o": {"a": 1}, "o.a": 2}', KEPT),
    case("nested and dotted, the dotted one", '{"o": {"a": [1]}}', '{"o": {"a": 2}, "o.a": 1}', KEPT),
    case("in an array and dotted", '{"o": {"a": [1]}}', '{"o": [{"a": 1}], "o.a": 2}', KEPT),
    case("partly dotted", '{"o": {"a": [1], "b": [2]}}', '{"o": {"a": 1}, "o.b": 2}', KEPT),
    case("escapes in the pattern", '{"\\u0076": ["b\\u0075y"]}', '{"v": "buy"}', KEPT),
    case("escapes in the data", '{"v": ["\u00e9\U0001f600"]}', '{"\\u0076": "\\u00e9\\ud83d\\ude00"}', KEPT),
    case("the last of duplicate keys", '{"v": [2]}', '{"v": 1, "v": 2}', KEPT),
    case("not the first of duplicate keys", '{"v": [1]}', '{"v": 1, "v": 2}', DROPPED),
    case("deeply nested data", '{"v": [1]}', f'{{"x": {DEEP}, "v": 1}}', KEPT),
    case("deeply nested leaves", '{"v": [1]}', f'{{"v": {DEEP}}}', KEPT),
    case("64 levels", nested("[1]", 64), nested("1", 64), KEPT),
    case("white space around", '{"v": [1]}', ' \n{"v": 1}\t\n', KEPT),
    case("a key with a quote", '{"a\\"b": [1]}', '{"a\\"b": 1}', KEPT),
    case("an empty key", '{"": [1]}', '{"": 1}', KEPT),
]


@pytest.mark.parametrize(("pattern", "data", "expected"), ON_ONE_KEY + ON_STRUCTURE)
def test_a_filter_matches_as_event_bridge_does(pattern, data, expected):
    """One line per operator and per trap."""
    assert verdict(pattern, data) == expected


# --- against a slow matcher that follows the rules to the letter --------------------------------------------------------


class Num(str):
    """A number's own text."""

    __slots__ = ()


def parsed(text):
    return json.loads(text, parse_int=Num, parse_float=Num)


def leaves(node, path=(), where=()):
    """Every leaf of a document with its joined path and the (array, index) it lies in."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key), where)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, path, (*where, (id(node), index)))
    else:
        yield ".".join(path), node, dict(where)


def ways(pattern, path=()):
    """Every AND of (path, conditions) that a pattern amounts to."""
    alternatives = [
        [way for branch in value for way in ways(branch, path)]
        if key == "$or"
        else (ways(value, (*path, key)) if isinstance(value, dict) else [[(".".join((*path, key)), value)]])
        for key, value in pattern.items()
    ]
    return [list(itertools.chain(*choice)) for choice in itertools.product(*alternatives)]


def holds(condition, value):
    if not isinstance(condition, dict):
        return type(condition) is type(value) and condition == value
    ((name, operand),) = condition.items()
    number = Decimal(value) if isinstance(value, Num) else None
    text = value if type(value) is str else None
    match name:
        case "exists":
            return operand
        case "prefix":
            return text is not None and text.startswith(operand)
        case "numeric":
            signs = {"=": "__eq__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}
            pairs = zip(operand[::2], operand[1::2], strict=True)
            return number is not None and all(getattr(number, signs[sign])(Decimal(bound)) for sign, bound in pairs)
        case _:
            barred = operand if isinstance(operand, list) else [operand]
            if type(barred[0]) is Num:
                return number is None or number not in [Decimal(other) for other in barred]
            return text is None or text not in barred


def consistent(one, other):
    return all(other.get(array, index) == index for array, index in one.items())


def satisfied(todo, document, where=None, absent=()):
    """Choose a leaf, or absence, for every path; no two leaves out of different elements of one array."""
    where = where or {}
    if not todo:
        return not any(path in absent and consistent(at, where) for path, _, at in document)
    (path, conditions), *rest = todo
    if {"exists": False} in conditions and satisfied(rest, document, where, (*absent, path)):
        return True
    return any(
        satisfied(rest, document, where | at, absent)
        for found, value, at in document
        if found == path and consistent(at, where) and any(holds(condition, value) for condition in conditions)
    )


def reference(pattern, data):
    document = list(leaves(parsed(data)))
    return any(satisfied(way, document) for way in ways(parsed(pattern)))


NUMBERS = st.sampled_from(["0", "1", "1.0", "1e0", "10", "-3.5", "2.50"])
TEXTS = st.sampled_from(["", "a", "ab", "b", "1"])
OTHERS = st.sampled_from(["null", "true", "false"])
SCALARS = st.one_of(NUMBERS, TEXTS.map(json.dumps), OTHERS)


def object_of(keys, values, least=0):
    pairs = st.dictionaries(st.sampled_from(keys), values, min_size=least, max_size=3)
    return pairs.map(lambda found: f"{{{', '.join(f'{json.dumps(key)}: {text}' for key, text in found.items())}}}")


def array_of(values, least=0, most=3):
    return st.lists(values, min_size=least, max_size=most).map(lambda found: f"[{', '.join(found)}]")


OPERATORS = st.one_of(
    SCALARS,
    SCALARS,
    TEXTS.map('{{"prefix": "{}"}}'.format),
    st.one_of(NUMBERS, TEXTS.map(json.dumps)).map('{{"anything-but": {}}}'.format),
    array_of(NUMBERS, 1).map('{{"anything-but": {}}}'.format),
    array_of(TEXTS.map(json.dumps), 1).map('{{"anything-but": {}}}'.format),
    st.builds('{{"numeric": ["{}", {}]}}'.format, st.sampled_from(["=", "<", "<=", ">", ">="]), NUMBERS),
    st.builds(
        '{{"numeric": ["{}", -1, "{}", {}]}}'.format,
        st.sampled_from([">", ">="]),
        st.sampled_from(["<", "<="]),
        NUMBERS,
    ).filter(lambda text: "-3.5" not in text),
    st.sampled_from(['{"exists": true}', '{"exists": false}']),
)
CONDITIONS = array_of(OPERATORS, 1)


def patterns(keys, depth=2):
    below = CONDITIONS if depth == 0 else st.one_of(CONDITIONS, patterns(keys, depth - 1))
    plain = object_of(keys, below, 1)
    if depth == 0:
        return plain
    branches = array_of(object_of(["p", "q"], CONDITIONS, 1), 2)
    with_or = st.builds(lambda text, either: f'{text[:-1]}, "$or": {either}}}', plain, branches)
    return st.one_of(plain, plain, with_or)


def documents(keys, arrays):
    def extend(inner):
        objects = object_of([*keys, "p", "q"], inner)
        return st.one_of(objects, objects, array_of(inner)) if arrays else objects

    return object_of([*keys, "p", "q"], st.recursive(SCALARS, extend, max_leaves=12))


@given(patterns(["a", "b", "c"]), documents(["a", "b", "c"], arrays=True))
@example('{"a": {"b": [{"exists": false}], "c": ["a"]}}', '{"a": [{"b": 1}, {"c": "a"}]}')
@example('{"a": {"b": {"c": [{"exists": false}]}, "c": [1]}}', '{"a": [{"b": [{"c": 1}, {}], "c": 1}]}')
def test_any_pattern_on_any_document_is_judged_as_the_reference_judges_it(pattern, data):
    """Equality, AND, OR, $or, anything-but, numeric, prefix and exists, through objects and arrays of any shape."""
    expected = KEPT if reference(pattern, data) else DROPPED
    assert verdict(on_data(pattern), data) == expected


@given(patterns(["a", "a.b", "b", "b.a"], depth=1), documents(["a", "a.b", "b", "b.a"], arrays=False))
def test_dotted_keys_are_judged_as_the_reference_judges_them(pattern, data):
    """A dot joins the names of nested keys, in patterns and in documents."""
    expected = KEPT if reference(pattern, data) else DROPPED
    assert verdict(on_data(pattern), data) == expected


@given(st.lists(patterns(["a", "b"], depth=1), min_size=1, max_size=4), documents(["a", "b"], arrays=True))
def test_a_record_is_kept_when_any_filter_matches(several, data):
    """Filters are ORed, whatever else they look at in the payload."""
    filters = compile_filters([on_data(pattern) for pattern in several], "drop")
    expected = KEPT if any(reference(pattern, data) for pattern in several) else DROPPED
    assert filters.verdict(record(data)) == expected


# --- metadata, and payloads that are not JSON ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param('{"partitionKey": [{"prefix": "order-"}]}', KEPT, id="partition key"),
        pytest.param('{"partitionKey": ["order-8"]}', DROPPED, id="another partition key"),
        pytest.param(f'{{"sequenceNumber": ["{SEQUENCE}"]}}', KEPT, id="sequence number as text"),
        pytest.param(f'{{"sequenceNumber": [{SEQUENCE}]}}', DROPPED, id="sequence number is no number"),
        pytest.param('{"shardId": [{"suffix": "06"}]}', KEPT, id="shard"),
        pytest.param('{"approximateArrivalTimestamp": [{"numeric": [">=", 1545084650]}]}', KEPT, id="arrival above"),
        pytest.param(
            '{"approximateArrivalTimestamp": [{"numeric": [">", 1545084650.987]}]}', DROPPED, id="arrival, exact"
        ),
        pytest.param('{"approximateArrivalTimestamp": [1545084650.987]}', KEPT, id="arrival, equal"),
        pytest.param('{"partitionKey": [{"exists": false}]}', DROPPED, id="metadata is always there"),
        pytest.param('{"$or": [{"shardId": ["x"]}, {"partitionKey": ["order-7"]}]}', KEPT, id="or between metadata"),
        pytest.param(
            '{"$or": [{"data": {"v": [1]}}, {"partitionKey": ["order-7"]}]}', KEPT, id="or with data, not needed"
        ),
    ],
)
def test_metadata_is_matched_without_a_look_at_the_payload(pattern, expected):
    """The payload here is not JSON; with this policy a look at it would show."""
    assert verdict(pattern, "not JSON", non_json="dead_letter") == expected


def test_a_whole_second_of_arrival_is_a_whole_number():
    """An arrival without a fraction equals the number without one."""
    assert verdict('{"approximateArrivalTimestamp": [1545084650]}', "", arrival_s=1545084650.0) == KEPT


@pytest.mark.parametrize(
    ("key", "data", "expected"),
    [("order-7", '{"v": 1}', KEPT), ("order-7", '{"v": 2}', DROPPED), ("order-8", '{"v": 1}', DROPPED)],
)
def test_metadata_and_data_are_anded(key, data, expected):
    """Both have to match."""
    assert verdict(f'{{"partitionKey": ["{key}"], "data": {{"v": [1]}}}}', data) == expected


def test_data_beside_an_or_about_data_is_anded():
    """Two tests of one payload from two places of a pattern."""
    pattern = '{"data": {"a": [1]}, "$or": [{"data": {"b": [2]}}, {"data": {"c": [3]}}]}'
    assert verdict(pattern, '{"a": 1, "c": 3}') == KEPT
    assert verdict(pattern, '{"a": 2, "c": 3}') == DROPPED
    assert verdict(pattern, '{"a": 1, "c": 2}') == DROPPED


@pytest.mark.parametrize("policy", ["drop", "pass", "dead_letter"])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b'{"v": 1', id="cut off"),
        pytest.param(b'{"v": 1} {"v": 1}', id="two documents"),
        pytest.param(b'{"v": 1, "x": NaN}', id="NaN"),
        pytest.param(b'{"v": 1, "x": "\xff"}', id="not UTF-8, beside the key"),
        pytest.param(b'{"v": 1, "x\xff": 2}', id="not UTF-8, in a key"),
        pytest.param(b'{"v": 1, "x": [01]}', id="a broken number, beside the key"),
        pytest.param(b'{"v": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="100,000 deep"),
        pytest.param(b'{"v": ' + b"9" * 5_000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b"\xf3\x89\x9a\xc2\x0a\x03key", id="KPL aggregate"),
    ],
)
def test_a_payload_that_is_not_json_is_left_to_the_policy(policy, data):
    """Whatever makes it unreadable, the verdict says so and carries the policy."""
    assert verdict('{"data": {"v": [1]}}', data, non_json=policy) == NotJson(policy)


@given(documents(["v", "w"], arrays=True), st.integers(0, 60), st.binary(max_size=2), st.integers(0, 2))
def test_a_payload_is_json_or_not_whatever_keys_a_pattern_looks_at(text, at, put, cut):
    """A document, spoilt anywhere: the parts that no pattern looks at are checked as strictly as the others."""
    data = text.encode()
    data = data[:at] + put + data[at + cut :]
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        assert verdict(on_data('{"v": {"w": [1]}}'), data) == NotJson("drop")
    else:
        assert verdict(on_data('{"v": {"w": [1]}}'), data) in {KEPT, DROPPED}


def test_a_filter_on_metadata_keeps_what_a_filter_on_data_could_not_read():
    """Filters are ORed: the one that needs no payload decides, wherever it stands."""
    filters = compile_filters(['{"data": {"v": [1]}}', '{"partitionKey": ["order-7"]}'], "dead_letter")
    assert filters.verdict(record("not JSON")) == KEPT


def test_a_record_that_its_metadata_rules_out_is_dropped_unread():
    """No policy for a payload that nobody had to read."""
    assert verdict('{"partitionKey": ["x"], "data": {"v": [1]}}', "not JSON", non_json="dead_letter") == DROPPED


def test_a_payload_is_read_once_for_ten_filters():
    """Also when the payload is JSON's null."""
    reads = []
    filters = compile_filters([on_data(f'{{"v": [{number}]}}') for number in range(10)], "drop")
    counted = dataclasses.replace(filters, _read=lambda data: reads.append(data) or filters._read(data))
    assert [counted.verdict(record(data)) for data in ('{"v": 10}', "null")] == [DROPPED, DROPPED]
    assert len(reads) == 2


def test_no_filters_keep_everything():
    """As the event source mapping takes empty criteria."""
    assert compile_filters([], "drop").verdict(record("not JSON")) == KEPT


# --- mistakes ------------------------------------------------------------------------------------------------------------


def mistake(name, pattern, problem, mend):
    return pytest.param(pattern, f"filter 1{problem}", mend, id=name)


def wrong(name, condition, problem, mend):
    return mistake(name, on_data(f'{{"v": [{condition}]}}'), f", data.v{problem}", mend)


OBJECT = 'Write an object: {"data": {"type": ["buy"]}}'
RANGE = '["=", 5] or [">", 0, "<=", 100]'
BUT = 'Write {"anything-but": "a"}, {"anything-but": 1} or a list'

MISTAKES = [
    mistake("no JSON", "{", ": not JSON (Expecting property name", OBJECT),
    mistake("nothing at all", "", ": not JSON (Expecting value", OBJECT),
    mistake("a list", "[1]", ": not an object", OBJECT),
    mistake("NaN", '{"data": {"v": [NaN]}}', ": NaN is not JSON", "a number, true, false or null"),
    mistake("an empty pattern", "{}", ": an empty object asks for nothing", "leave the filter out"),
    mistake(
        "a payload key on top", '{"type": ["buy"]}', ": a record has no 'type'", "go under 'data'; beside it there"
    ),
    mistake("the envelope", '{"kinesis": {"data": {"v": [1]}}}', ": a record has no 'kinesis'", "partitionKey"),
    mistake("metadata as object", '{"shardId": {"a": [1]}}', ", shardId: a single value", "list of values"),
    mistake("an empty object", '{"data": {"v": {}}}', ", data.v: an empty object", "Name a key"),
    mistake("an empty list", '{"data": {"v": []}}', ", data.v: an empty list", "Name at least one value"),
    mistake("a bare string", '{"data": {"o": {"v": "b"}}}', ", data.o.v: neither a list", 'in a list: ["b"]'),
    mistake("a bare number", '{"data": {"v": 1.50}}', ", data.v: neither a list", "in a list: [1.50]"),
    mistake("a key twice", '{"data": {"v": [1], "v": [2]}}', ": the key 'v' stands twice", "heed the last only"),
    mistake("one $or", '{"data": {"$or": [{"v": [1]}]}}', ", data.$or: takes a list of two", '{"$or": ['),
    mistake("$or of values", '{"$or": ["a", "b"]}', ", $or: takes a list of two or more objects", '{"$or": ['),
    mistake("an empty $or branch", '{"$or": [{}, {"shardId": ["a"]}]}', ", $or: an empty object", "leave the filter"),
    mistake("too long", on_data(f'{{"v": ["{"a" * 4096}"]}}'), ": 4117 characters, above the 4096", "Split it"),
    mistake("too deep", on_data(nested("[1]", 65)), ", data.a.a.a", "Match on fewer levels"),
    mistake("too deep by dots", f'{{"data{".a" * 99}": [1]}}', ", data.a.a.a", "Match on fewer levels"),
    mistake("too deep to parse", "[" * 4096, ": nested deeper than 64 levels", "Match on fewer levels"),
    mistake("a key of 4,000", f'{{"{"a" * 4000}": [1]}}', ": a record has no 'aaa", "go under 'data'"),
    wrong("a list in a list", '["a"]', ": a list within", "List the values themselves"),
    wrong("no operator", '{"wildcard": "a*"}', ": 'wildcard' is no operator", "There are anything-but, "),
    wrong("operator in capitals", '{"Prefix": "a"}', ": 'Prefix' is no operator", "There are anything-but, "),
    wrong("two operators", '{"prefix": "a", "suffix": "b"}', ": 2 operators in one object", "One operator to an"),
    wrong("an empty operator", "{}", ": 0 operators in one object", "One operator to an object"),
    wrong("prefix of a number", '{"prefix": 1}', ", prefix: takes a string, not a number", "in quotes"),
    wrong("prefix of a list", '{"prefix": ["a"]}', ", prefix: takes a string, not a list", "in quotes"),
    wrong("suffix of a form", '{"suffix": {"prefix": "a"}}', ", suffix: an object with 'prefix'", "only"),
    wrong("case of null", '{"equals-ignore-case": null}', ", equals-ignore-case: takes a string, not null", "quotes"),
    wrong("exists of text", '{"exists": "true"}', ", exists: neither true nor false", '{"exists": true}'),
    wrong("numeric of a number", '{"numeric": 5}', ", numeric: takes a list", RANGE),
    wrong("numeric, no operator", '{"numeric": [5, 6]}', ", numeric: no such operator among 5", RANGE),
    wrong("numeric of text", '{"numeric": ["=", "5"]}', ", numeric: compares with something", RANGE),
    wrong("numeric of true", '{"numeric": ["=", true]}', ", numeric: compares with something", RANGE),
    wrong("not equal", '{"numeric": ["!=", 5]}', ", numeric: no such operator among !=", RANGE),
    wrong("two lower bounds", '{"numeric": [">", 0, ">", 5]}', ", numeric: a range goes from", RANGE),
    wrong("range upside down", '{"numeric": [">", 5, "<", 5]}', ", numeric: a range goes from", RANGE),
    wrong("three bounds", '{"numeric": [">", 0, "<", 5, "<", 6]}', ", numeric: takes a list", RANGE),
    wrong("anything but mixed", '{"anything-but": [1, "a"]}', ", anything-but: takes strings or numbers", BUT),
    wrong("anything but null", '{"anything-but": null}', ", anything-but: takes strings or numbers", BUT),
    wrong("anything but nothing", '{"anything-but": []}', ", anything-but: takes strings or numbers", BUT),
    wrong("anything but numeric", '{"anything-but": {"numeric": []}}', ", anything-but: 'numeric' is not", "prefix"),
    wrong("anything but no prefix", '{"anything-but": {"prefix": ""}}', ", anything-but: an empty prefix", "one char"),
    wrong("a form in a form", '{"anything-but": {"prefix": {"a": "b"}}}', ", anything-but, prefix: takes", "quotes"),
]


@pytest.mark.parametrize(("pattern", "problem", "mend"), MISTAKES)
def test_a_pattern_that_cannot_be_used_is_refused_with_where_what_and_how_to_mend(pattern, problem, mend):
    """The message names the filter and the place, the mistake and the mend, and AWS's words for it."""
    with pytest.raises(ValueError) as refused:
        compile_filters([pattern], "drop")
    message = str(refused.value)
    assert problem in message
    assert mend in message
    assert "Invalid filter pattern definition." in message
    assert len(message) < 700


def test_a_mistake_names_its_filter():
    """Of several filters the one with the mistake is named by its number."""
    with pytest.raises(FilterPatternError, match=r"^filter 2, data\.v: an empty list"):
        compile_filters(['{"data": {"v": [1]}}', '{"data": {"v": []}}'], "drop")


def test_ten_filters_are_taken_and_eleven_refused():
    """AWS takes five, and ten on request; here ten."""
    compile_filters(['{"data": {"v": [1]}}'] * MAX_FILTERS, "drop")
    with pytest.raises(
        FilterPatternError, match=r'^filter criteria: 11 filters, above 10\. Join some of them .*"\$or"'
    ):
        compile_filters(['{"data": {"v": [1]}}'] * 11, "drop")


@given(st.text(max_size=60) | patterns(["a", "b"]).map('{{"data": {}'.format))
def test_any_text_is_compiled_or_refused(text):
    """Nothing but the one error comes out of the compiler."""
    with contextlib.suppress(FilterPatternError):
        compile_filters([text], "drop")
