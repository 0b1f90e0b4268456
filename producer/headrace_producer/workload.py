"""What is produced: endless, seeded sequences of records. Pure: the same shape gives the same bytes, on every machine.

Every payload is a JSON object that starts with `key` (the partition key) and `n` (1, 2, 3... in the order of production
within the key), so that anyone who sees the records later can prove their order. A poison record is the same object
without its last brace: no handler and no mapping that reads JSON can process it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from random import Random
from typing import Any, Final, TypeAlias

import msgspec

CHUNK: Final = 512
"""Keys drawn at once: one call of `choices` costs a fifth of as many single draws. Part of what a seed means."""

START_MS: Final = 1_735_689_600_000
"""Event times in payloads count from 2025-01-01T00:00:00Z, a millisecond a record: a clock would spoil the seed."""

ALARMING: Final = 0.99
"""One reading in a hundred is an alarm."""

PAD_FRAME: Final = len(b',"padding":""')
"""What the padding field costs besides its text."""

Body: TypeAlias = Callable[[Random, str, int, int], bytes]
"""One payload from random numbers, the key, the record's place within it (from 1) and in the whole sequence (from 0)."""

_json = msgspec.json.Encoder(decimal_format="number")


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A record to be produced: `n` counts from 1 within `key`; `poison` payloads are not valid JSON."""

    key: str
    n: int
    data: bytes
    poison: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that decides the sequence.

    `skew` is the exponent of a Zipf-like law: the key of rank r is drawn in proportion to 1 / r**skew, so 0 is uniform.
    `poison_rate` is a probability. `record_bytes` is the least size of a payload; 0 leaves it as it comes.
    """

    workload: str
    seed: int = 0
    keys: int = 1000
    skew: float = 0.0
    poison_rate: float = 0.0
    record_bytes: int = 0


def drafts(shape: Shape) -> Iterator[Draft]:
    """The records of this shape, without end."""
    kind = WORKLOADS[shape.workload]
    # Randomness by purpose: another poison rate changes which records are poison, and nothing else.
    body_chance, poison_chance = (Random(f"{shape.seed}/{purpose}") for purpose in ("body", "poison"))  # noqa: S311 - load, not secrets
    counters: dict[str, int] = {}
    body, least = kind.body, shape.record_bytes
    for index, key in enumerate(_keys(shape, kind.key)):
        n = counters[key] = counters.get(key, 0) + 1
        data = body(body_chance, key, n, index)
        if least:
            data = _padded(data, least)
        poison = poison_chance.random() < shape.poison_rate
        yield Draft(key, n, data[:-1] if poison else data, poison)


def _keys(shape: Shape, name: str) -> Iterator[str]:
    chance = Random(f"{shape.seed}/keys")  # noqa: S311 - load, not secrets
    names = [f"{name}-{number:06d}" for number in range(1, shape.keys + 1)]
    # Equal shares need no search among the sums of the shares: choices gives the same names for half the time.
    ranks = range(1, shape.keys + 1)
    totals = list(accumulate(rank**-shape.skew for rank in ranks)) if shape.skew else None
    while True:
        yield from chance.choices(names, cum_weights=totals, k=CHUNK)


def _padded(data: bytes, least: int) -> bytes:
    missing = least - len(data)
    if missing <= 0:
        return data
    return b'%b,"padding":"%b"}' % (data[:-1], b"." * max(0, missing - PAD_FRAME))


def _telemetry(chance: Random, key: str, n: int, index: int) -> bytes:
    """Written out as text, a third of the price of a dictionary and its encoding: it is what load tests are made of."""
    draw = chance.random()
    return (
        f'{{"key":"{key}","n":{n},"device_id":"{key}","at_ms":{START_MS + index},"site":"site-{int(draw * 40):02d}",'
        f'"firmware":"2.{int(draw * 9)}.1","readings":{{"temperature_c":{(int(draw * 9000) - 2000) / 100:.2f},'
        f'"humidity_pct":{int(chance.random() * 1000) / 10:.1f},"battery_v":{(3000 + int(draw * 1200)) / 1000:.3f}}},'
        f'"alarm":{"true" if draw > ALARMING else "false"}}}'
    ).encode()


def _click(chance: Random, key: str, n: int, index: int) -> bytes:
    draw = chance.random()
    product = int(chance.random() * 5000)
    return _json.encode(
        {
            "key": key,
            "n": n,
            "session_id": key,
            "event": _EVENTS[int(draw * len(_EVENTS))],
            "at_ms": START_MS + index,
            "url": f"https://shop.example/products/{product}?ref=home",
            "product": product,
            "viewport": {"width": 1280 + 64 * int(draw * 10), "height": 720},
            "campaign": None if draw < 0.7 else f"spring-{int(draw * 100)}",  # noqa: PLR2004 - most come without one
        }
    )


def _order(chance: Random, key: str, n: int, index: int) -> bytes:
    lines = [_line(chance) for _ in range(1 + int(chance.random() * 4))]
    net = sum((line["unit_price"] * line["quantity"] for line in lines), Decimal("0.00"))
    shipping = Decimal("0.00") if net > 100 else Decimal("4.95")  # noqa: PLR2004 - free from 100 on
    return _json.encode(
        {
            "key": key,
            "n": n,
            "order_id": f"order-{index:09d}",
            "at_ms": START_MS + index,
            "customer": {
                "id": key,
                "tier": _TIERS[int(chance.random() * len(_TIERS))],
                "address": {
                    "country": "SE",
                    "city": "Uppsala",
                    "street": {"name": "Kungsgatan", "number": index % 200},
                },
            },
            "lines": lines,
            "amounts": {"net": net, "shipping": shipping, "total": net + shipping, "currency": "EUR"},
            "paid": chance.random() < 0.9,  # noqa: PLR2004 - the rest is on account
            "coupon": None,
        }
    )


def _line(chance: Random) -> dict[str, Any]:
    return {
        "sku": f"sku-{int(chance.random() * 9999):04d}",
        "quantity": 1 + int(chance.random() * 3),
        "unit_price": Decimal(100 + int(chance.random() * 9900)).scaleb(-2),
        "tags": ["fragile", "gift"] if chance.random() < 0.2 else [],  # noqa: PLR2004 - one in five
    }


_EVENTS: Final = ("view", "scroll", "search", "cart", "checkout", "leave")
_TIERS: Final = ("new", "silver", "gold")


@dataclass(frozen=True, slots=True)
class Kind:
    """A workload: the word its keys start with, and its payload."""

    key: str
    body: Body


WORKLOADS: Final = {
    "iot": Kind("device", _telemetry),
    "clickstream": Kind("session", _click),
    "orders": Kind("customer", _order),
}
"""Device telemetry, web shop clicks, and nested orders whose money is written as exact decimals (19.90, not 19.9)."""
