"""`PYTHONPATH=tests python -m transcoder.fuzz`: random payloads, items and pages through both ways until the time is up.

Each case is a function of the seed and its number, so `--seed S --first N --cases 1` plays one again. Exit code 0: no finding.
1: the two ways differed, or the transcoder left to Python what it should take; the case is printed. 2: there is no transcoder.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Final

from headrace.core.items import N
from headrace.core.native import Native, installed
from headrace.core.number_range import fits
from headrace.handlers.mapping import ItemRules
from headrace.model import Record
from transcoder import corpus, twins

PROGRESS_S: Final = 10.0

NAMES: Final = ("id", "n", "place", "site", "pk", "sk", "at", "seq", "ttl", "a", "", "é", '"', "\\", "a" * 40)
PIECES: Final = (
    "", "a", "plain text", "é", "大阪", "😀", '"', "\\", "/", "\n", "\0", "\x1f", "\x7f", "%s", "{}", "0123456789" * 4, "\u2028", "\ufeff",
)  # fmt: skip
NUMBERS: Final = (
    "0", "-0", "1", "-1", "1.10", "1e5", "1E-5", "1e400", "1e125", "1e126", "1e-130", "1e-131", "18446744073709551616",
    "9" * 38, "9" * 39, "0." + "0" * 40 + "1", "123.456", "-12.5e+3", "0e999", "9" * 300,
)  # fmt: skip
SPOILERS: Final = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\0", b"\x1f", b"\xff", b"\xc3", b"\xed\xa0\x80", b"0", b"-", b".",
    b"e", b"1", b"\\u", b"\\ud800", b"\\u0041", b"null", b"true", b'"a":1', b'"id":"x",',
)  # fmt: skip

RULES: Final = (
    (ItemRules(), {"id": "S"}, None),
    (ItemRules(), {"id": "S", "n": "N"}, "n"),
    (ItemRules(key="pk={id}#{place.site} sk={n}", sequence_attribute="seq"), {"pk": "S", "sk": "N"}, "place"),
    (
        ItemRules("pk={partition_key} sk={sequence_number}@{arrival}", "ttl", 60.5, "seq", "at"),
        {"pk": "S", "sk": "S"},
        "a",
    ),
)


@dataclass(slots=True)
class Chance:
    """What one case is made of."""

    random: Random

    def text(self) -> str:
        """Of pieces that need care."""
        return "".join(self.random.choices(PIECES, k=self.random.randrange(4)))

    def name(self) -> str:
        """Mostly of those that the settings use."""
        return self.random.choice(NAMES) if self.random.random() < 0.8 else self.text()

    # --- JSON ---------------------------------------------------------------------------------------------------------

    def payload(self) -> bytes:
        """JSON mostly good, of which some is then damaged."""
        text = self._object(self.random.choice((0, 1, 2, 5)), top=True).encode()
        while self.random.random() < 0.4:
            text = self.damaged(text)
        return text

    def damaged(self, text: bytes) -> bytes:
        """With a piece taken out, put in, or put elsewhere."""
        begin = self.random.randrange(len(text) + 1)
        end = min(len(text), begin + self.random.choice((0, 0, 1, 2, 9)))
        return text[:begin] + self.random.choice((b"", text[begin:end] * 2, self.random.choice(SPOILERS))) + text[end:]

    def _space(self) -> str:
        return "" if self.random.random() < 0.9 else self.random.choice((" ", "\n\t", "\r"))

    def _object(self, depth: int, *, top: bool = False) -> str:
        members = [(self.name(), self._value(depth - 1)) for _ in range(self.random.randrange(6))]
        if top:
            members += [("id", self._string(self.text()))] if self.random.random() < 0.9 else []
            members += [("n", self.random.choice(NUMBERS[:9]))] if self.random.random() < 0.7 else []
            members += [("place", '{"site":"s"}')] if self.random.random() < 0.7 else []
            self.random.shuffle(members)
        inside = ",".join(f"{self._space()}{self._string(name)}{self._space()}:{value}" for name, value in members)
        return f"{self._space()}{{{inside}{self._space()}}}{self._space()}"

    def _value(self, depth: int) -> str:
        match self.random.randrange(8 if depth > 0 else 5):
            case 0 | 1:
                return self._string(self.text())
            case 2 | 3:
                return self._number()
            case 4:
                return self.random.choice(("true", "false", "null", "[]", "{}"))
            case 5 | 6:
                return self._object(depth)
            case _:
                members = [self._value(depth - 1) for _ in range(self.random.randrange(5))]
                deeper = "[" * 30 if self.random.random() < 0.03 else ""
                return f"{deeper}[{self._space()}{','.join(members)}]{']' * len(deeper)}"

    def _string(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self.random.random() < 0.5)

    def _number(self) -> str:
        if self.random.random() < 0.5:
            return self.random.choice(NUMBERS)
        return self.random.choice((repr(self.random.uniform(-1e6, 1e6)), str(self.random.randrange(-(10**20), 10**20))))

    # --- Python -------------------------------------------------------------------------------------------------------

    def item(self) -> dict[str, Any]:
        """Of every type that a handler may use, and some that it may not."""
        return {self.name(): self._python(3) for _ in range(self.random.randrange(6))}

    def _python(self, depth: int) -> Any:
        if depth and self.random.random() < 0.35:
            return self._nest(depth - 1)
        leaf = self.random.choice((
            self.text,
            self.text,
            lambda: self.random.choice((0, -1, 10**38, 10**38 + 1, 10**200 + 1, self.random.randrange(-(2**70), 2**70))),
            lambda: self.random.choice((0.0, -0.0, 1e16, 5e-324, 1e126, float("nan"), self.random.uniform(-1e9, 1e9))),
            lambda: self.random.choice((Decimal(self._number()), Decimal("NaN"), Decimal("-Infinity"), Decimal("1E+3"))),
            lambda: N(self.random.choice((self._number(), self.text()))),
            lambda: self.random.choice((None, True, False, b"", b"\x00\xff", bytearray(b"x"))),
            lambda: self.random.choice((set(), {self.text(), self.text()}, {self.text(), 1}, {b"x", b""}, {1.5, N("2")})),
            lambda: frozenset((self.random.randrange(9), Decimal(self.random.randrange(9)))),
            lambda: self.random.choice((object, 1j, "\ud800", {1: "a"}, {True: 1}, range(2))),
        ))  # fmt: skip
        return leaf()

    def _nest(self, depth: int) -> Any:
        values = [self._python(depth) for _ in range(self.random.randrange(4))]
        match self.random.randrange(3):
            case 0:
                return values
            case 1:
                return tuple(values)
            case _:
                return {self.name(): value for value in values}

    # --- pages --------------------------------------------------------------------------------------------------------

    def page(self) -> bytes:
        """GetRecords' answer, of which some is then damaged."""
        records = [
            {
                "SequenceNumber": str(self.random.randrange(10 ** self.random.choice((1, 20, 56, 129)))),
                "ApproximateArrivalTimestamp": self.random.choice(
                    (0, 1.5, 1769847330.123, self.random.uniform(0, 1e10))
                ),
                "Data": base64.b64encode(self.random.randbytes(self.random.randrange(40))).decode(),
                "PartitionKey": self.text(),
                **({"EncryptionType": "KMS"} if self.random.random() < 0.3 else {}),
            }
            for _ in range(self.random.randrange(4))
        ]
        text = json.dumps(
            {
                "Records": records,
                "NextShardIterator": self.random.choice((None, "next", self.text())),
                "MillisBehindLatest": 0,
            },
            ensure_ascii=self.random.random() < 0.5,
        ).encode()
        while self.random.random() < 0.4:
            text = self.damaged(text)
        return text


@dataclass(slots=True)
class Fuzz:
    """Cases, and what was found in them."""

    native: Native
    seed: int
    mappings: list[twins.Mappings]
    counts: Counter[str] = field(default_factory=Counter)

    def case(self, number: int) -> str | None:
        """One case; what is wrong with it."""
        chance = Chance(Random(f"{self.seed}:{number}"))
        for what, given, compared in self._compared(chance):
            self.counts[what] += 1
            self.counts[
                f"{what}: {'refused' if compared.python[0] != 'made' else 'left to Python' if compared.declined else 'taken'}"
            ] += 1
            if not compared.is_equal:
                return f"{what} {given!r}\n  Python: {compared.python!r}\n  native: {compared.native!r}"
            if compared.is_needless and not _is_explained(what, given, compared):
                return f"{what} {given!r}\n  left to Python, which took it: {compared.declined}"
        return None

    def _compared(self, chance: Chance) -> Iterator[tuple[str, Any, twins.Compared]]:
        match chance.random.randrange(4):
            case 0 | 1:
                payload = chance.random.choice(EXAMPLES) if chance.random.random() < 0.05 else chance.payload()
                given = _record(chance, payload)
                mapping = chance.random.choice(self.mappings)
                yield "payload", payload, mapping.item(given)
                yield "payload", payload, mapping.values(given)
            case 2:
                item = chance.item()
                yield "item", item, twins.encoded(self.native, item)
                yield "item", item, twins.encoded_values(self.native, item)
            case _:
                page = chance.page()
                yield "page", page, twins.pages(self.native, page)


EXAMPLES: Final = [
    payload
    for payload in (*corpus.ACCEPTED, *corpus.REJECTED, *corpus.UNFIT, *corpus.TOO_DEEP)
    if len(payload) < 10_000
]


def _record(chance: Chance, payload: bytes) -> Record:
    arrival_s = chance.random.choice((0.0, 1.9996, 1_769_847_330.1235, chance.random.uniform(0, 4e9)))
    number = chance.random.randrange(10 ** chance.random.choice((1, 56, 129)))
    return Record(payload, chance.text(), number, arrival_s, "shardId-7", chance.random.choice((-1, -1, 0, 7)))


def _is_explained(what: str, given: Any, compared: twins.Compared) -> bool:
    """What the transcoder is meant to leave: deep nesting, which the server judges, and what is too rare to be written twice."""
    if what == "payload":
        if not all(fits(number) for number in re.findall(r"[-+.0-9eE]+", given.decode(errors="replace"))):
            return True  # of a name that comes twice Python looks at the last value alone
        return max(given.count(b"["), given.count(b"{")) > 10
    if what == "item":
        return compared.declined in {"a name that is no str", "nested deeper than 32 levels", "a type without a row"}
    return not given.isascii() or b"NaN" in given or compared.declined is not None


def run(fuzz: Fuzz, numbers: Iterator[int], until: Callable[[], bool]) -> int:
    """Cases until the time is up; the exit code."""
    told = began = time.perf_counter()
    number = 0
    for number in numbers:
        found = fuzz.case(number)
        if found is not None:
            print(f"FINDING: --seed {fuzz.seed} --first {number} --cases 1\n{found}")
            return 1
        now = time.perf_counter()
        if now - told >= PROGRESS_S:
            told = now
            print(
                f"{now - began:6.0f} s: {sum(fuzz.counts[one] for one in ('payload', 'item', 'page')):,} comparisons, no finding",
                flush=True,
            )
        if until():
            break
    for name, count in sorted(fuzz.counts.items()):
        print(f"{count:12,}  {name}")
    print(f"no finding in {number + 1:,} cases of seed {fuzz.seed}, {time.perf_counter() - began:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="transcoder.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what the cases follow from (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (%(default)s)")
    parser.add_argument("--cases", type=int, default=10**12, help="at most so many")
    return parser


def main() -> int:
    """Run it; the exit code."""
    options = _parser().parse_args()
    native = installed()
    if native is None:
        print("headrace_native is not installed: it needs cargo, then `make setup`")
        return 2
    fuzz = Fuzz(native, options.seed, [twins.Mappings(native, *rules) for rules in RULES])
    end = time.perf_counter() + options.seconds
    return run(fuzz, iter(range(options.first, options.first + options.cases)), lambda: time.perf_counter() > end)


if __name__ == "__main__":
    sys.exit(main())
