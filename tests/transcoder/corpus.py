"""Payloads that a reader of JSON must take, and those that it must not: each with what is special about it."""

from __future__ import annotations

from typing import Final

NINES: Final = "9" * 38


def _text(*inside: str) -> list[bytes]:
    return [f'{{"id":"x","a":{one}}}'.encode() for one in inside]


def nested(levels: int, opening: str = "[", inner: str = "1", closing: str = "]") -> bytes:
    """So many lists, or maps, around a value."""
    return f'{{"id":"x","a":{opening * levels}{inner}{closing * levels}}}'.encode()


ACCEPTED: Final[list[bytes]] = [
    b"{}",
    b' \t\r\n{ "id" : "x" , "a" : [ 1 , 2 ] } \n',
    b'{"id":"x"}',
    *_text(
        "0", "-0", "-0.0", "0.0", "1.10", "-1", "1e0", "1E+5", "1e-05", "123456789012345678901234567890", "0e0", "0E999"
    ),
    *_text(
        NINES,
        f"-{NINES}",
        f"0.{NINES}",
        f"{NINES}e88",
        f"{NINES}e-130",
        f"{NINES}0",
        f"1{'0' * 125}",
        "1e125",
        "9.9e125",
        "1e-130",
    ),
    *_text(
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "9007199254740993",
    ),
    *_text(
        '""', '"a"', '"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\u0000"', '"\\u001F"', '"\\u007f"', '"\x7f"'
    ),
    *_text(
        '"é"',
        '"\\u00e9"',
        '"大阪"',
        '"😀"',
        '"\\ud83d\\ude00"',
        '"\\uD834\\uDD1E x"',
        '"\\u2028\u2029"',
        '"\ufeff"',
        '"\\uffff"',
    ),
    *_text("true", "false", "null", "[]", "{}", "[[]]", '[null,true,"x",1]', '{"":""}', '{"b":{"c":{}}}'),
    *_text('{"b":1,"b":2}', '{"b":{"c":1},"\\u0062":[3],"c":4}'),
    b'{"a":1,"id":"first","a":{"b":[2]},"id":"last"}',
    b'{"":1,"id":"x"}',
    b'{"id":"","a":1}',
    b'{"id":"x","\\u0000\\"\\\\":1,"\xc3\xa9":2,"\\u00e9 ":3}',
    b'{"id":"x","pk":"mine","sk":1,"at":null,"seq":[],"ttl":"never"}',
    b'{"id":"a\\"b\\\\c\\n","n":1.5,"place":{"site":"\\u00e5\\u0000","floor":true}}',
    b'{"id":"x","n":-0,"place":{"site":"s"}}',
    nested(31),
    nested(31, '{"b":', "{}", "}"),
    b'{"id":"x",' + b",".join(b'"n%d":%d' % (number % 150, number) for number in range(400)) + b"}",
    b'{"id":"x","a":"' + b"z" * 400_000 + b'"}',
    b'{"id":"x","a":[' + b",".join(b'"\xc3\xa9%d"' % number for number in range(40_000)) + b"]}",
]

REJECTED: Final[list[bytes]] = [
    b"",
    b" ",
    b"[]",
    b'["id"]',
    b'"id"',
    b"1",
    b"null",
    b"true",
    b"\xef\xbb\xbf{}",
    b"{",
    b"}",
    b'{"id"',
    b'{"id":',
    b'{"id":"x"',
    b'{"id":"x",',
    b'{"id":"x",}',
    b'{"id":"x" "a":1}',
    b'{,"id":"x"}',
    b'{"id":"x"}}',
    b'{"id":"x"}{}',
    b'{"id":"x"} x',
    b'{"id":"x"}\0',
    b'{id:"x"}',
    b"{'id':'x'}",
    b'{1:"x"}',
    b'{"id":"x",null:1}',
    b'{"id"::"x"}',
    b'{"id" "x"}',
    b'{"id":"x"/**/}',
    b'{"id":"x"}//',
    *_text(
        "01",
        "-01",
        "+1",
        ".5",
        "1.",
        "-",
        "-.5",
        "1.e1",
        "1e",
        "1e+",
        "1E-",
        "0x1",
        "1_0",
        "1,",
        "--1",
        "1.2.3",
        "1e1.5",
    ),
    *_text("NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "True", "None", "nul", "tru", "falsee", "undefined"),
    *_text(
        "[1,]",
        "[,1]",
        "[1 2]",
        "[",
        "[1",
        "]",
        "{]",
        "[}",
        '{"b"}',
        '{"b":}',
        '{"b":1,}',
        '{"b":1 "c":2}',
        "[[]",
        "[1,,2]",
    ),
    *_text('"', '"\\', '"\\"', '"\\x"', '"\\a"', '"\\u"', '"\\u12"', '"\\u12g4"', '"\\U00e9"', '"\\u00e"', "'a'"),
    *_text(
        '"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"', '"\\ud800x"', '"\\ud800\\u0041"', '"\\ude00\\ud83d"', '"\\ud83d"'
    ),
    *_text('"\t"', '"\n"', '"\0"', '"\x1f"', '"a\rb"', '"\\\n"'),
    *[
        b'{"id":"x","a":"' + bad + b'"}'
        for bad in (b"\xff", b"\x80", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe5\xa4")
    ],
    b'{"id":"x","\xff":1}',
    b'{"id":"x"\xff}',
    b'{"id":"x","a":1\xc2\xa0}',
    nested(200_000),
    nested(200_000, '{"a":', "1", "}"),
    b"[" * 100_000,
]

UNFIT: Final[list[bytes]] = _text(
    "1e400", "-1e400", "1e126", "1e-131", f"9{NINES}", f"1.{NINES}", f"{NINES}e89", "9" * 5000, "1e99999999999999999999", "1e-99999999999999999999"
)  # fmt: skip
"""JSON, and numbers that DynamoDB refuses."""

TOO_DEEP: Final[list[bytes]] = [
    nested(32),
    nested(33),
    nested(100),
    nested(32, '{"b":', "1", "}"),
    nested(60, '[{"b":', "1", "}]"),
]
"""JSON that nests deeper than DynamoDB allows: left to Python, and by Python to the server."""
