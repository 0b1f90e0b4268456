"""The workload: JSON records, each a pure function of its number, in three sizes.

The shape moves the result by a factor of two to three, so it is fixed and named. `NESTED`, which is meant where nothing
else is said: 18 fields, 31 leaves, with a map, a list of maps, a list, numbers, a truth value, a null and text beyond
ASCII; 1,000 to 1,050 bytes. `SMALL`: 4 fields in some 100 bytes. `LARGE`: the nested one with a list of 70 maps of four
values, 10,000 to 10,050 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

FIRST_SEQUENCE: Final = 49590338271490256608559692538361571095921575989136588898
"""56 digits, as Kinesis gives them (API reference, PutRecord)."""

DEVICES_PER_SHARD: Final = 250
SHORTEST: Final = 1000
LENGTHS: Final = 51
"""Lengths from SHORTEST on, evenly spread."""

ARRIVALS_PER_SECOND: Final = 1000
"""What one shard takes (Kinesis quotas)."""

KINDS: Final = ("heat-pump", "inverter", "meter", "valve", "weather-station")
SITES: Final = ("Zürich-Nord", "Århus Havn", "São Paulo Leste", "Kraków-Podgórze", "大阪北区")
UNITS: Final = (("flow", "l/min"), ("power", "kW"), ("vibration", "mm/s"))
SAMPLES: Final = 70
TAGS: Final = ("indoor", "roof", "café", "plant-2", "überwacht", "leased", "spare", "pilot")
NOTE: Final = (
    "Messwert geprüft; Gerät läuft im Normalbetrieb, nächste Wartung fällig nach Plan. "
    "Valor conferido, sem desvio na última inspeção. Contrôle effectué, rien à signaler. "
    "Odczyt zgodny z oczekiwaniem, żadnych uwag. "
).encode() * 12


class Size(StrEnum):
    """Of a record."""

    SMALL = "100B"
    NESTED = "1KB"
    LARGE = "10KB"


@dataclass(frozen=True, slots=True)
class Workload:
    """How many records there are, where, and since when; `first_arrival_ms` is epoch milliseconds."""

    shards: int
    per_shard: int
    first_arrival_ms: int
    size: Size = Size.NESTED

    @property
    def total(self) -> int:
        """All records of the stream."""
        return self.shards * self.per_shard

    def numbers(self, shard: int) -> range:
        """The record numbers of a shard, in shard order."""
        return range(shard * self.per_shard, (shard + 1) * self.per_shard)

    def sequence_number(self, number: int) -> int:
        """Grows by uneven steps within a shard, and no two records share one."""
        shard, index = divmod(number, self.per_shard)
        return FIRST_SEQUENCE + (index * 1_048_583 + mixed(number) % 65_536) * 64 + shard

    def arrival_ms(self, number: int) -> int:
        """Epoch milliseconds; every shard fills at the quota's rate."""
        return self.first_arrival_ms + number % self.per_shard * 1000 // ARRIVALS_PER_SECOND


def mixed(number: int) -> int:
    """A number that looks random (Knuth's multiplicative hash), 32 bits."""
    number = number * 2_654_435_761 & 0xFFFFFFFF
    return (number ^ number >> 15) * 2_246_822_519 & 0xFFFFFFFF


def device_id(number: int, per_shard: int) -> str:
    """The partition key: a device keeps to its shard."""
    return f"device-{number // per_shard:03d}-{mixed(number) % DEVICES_PER_SHARD:04d}"


def reading_id(number: int) -> str:
    """Names one record and no other."""
    return f"r{number:09d}"


def payload(number: int, workload: Workload) -> dict[str, Any]:
    """The record as a Python value."""
    per_shard = workload.per_shard
    match workload.size:
        case Size.SMALL:
            return _small(number, per_shard)
        case Size.NESTED:
            return _filled(_nested(number, per_shard), SHORTEST + number % LENGTHS, mixed(number))
        case Size.LARGE:
            reading = {**_nested(number, per_shard), "samples": list(_samples(mixed(number)))}
            return _filled(reading, SHORTEST * 10 + number % LENGTHS, mixed(number))


def _small(number: int, per_shard: int) -> dict[str, Any]:
    return {
        "device_id": device_id(number, per_shard),
        "reading_id": reading_id(number),
        "recorded_at": 1_767_225_600 + number % 86_400,
        "temperature_c": round(mixed(number) % 6000 / 100 - 15, 2),
    }


def _nested(number: int, per_shard: int) -> dict[str, Any]:
    chance = mixed(number)
    return {
        "device_id": device_id(number, per_shard),
        "reading_id": reading_id(number),
        "site": SITES[chance % len(SITES)],
        "kind": KINDS[chance // 7 % len(KINDS)],
        "firmware": f"{chance % 4}.{chance % 17}.{chance % 29}",
        "recorded_at": datetime.fromtimestamp(1_767_225_600 + number % 86_400, UTC).isoformat(),
        "uptime_s": chance,
        "temperature_c": round(chance % 6000 / 100 - 15, 2),
        "humidity_pct": round(chance % 1000 / 10, 1),
        "pressure_hpa": round(950 + chance % 10_000 / 100, 2),
        "battery_v": round(3 + chance % 1300 / 1000, 3),
        "rssi_dbm": -40 - chance % 60,
        "online": chance % 50 != 0,
        "last_error": None,
        "location": _location(chance),
        "channels": list(_channels(chance)),
        "tags": [TAGS[chance // step % len(TAGS)] for step in (1, 8, 64)],
        "note": "",
    }


def _filled(reading: dict[str, Any], wanted: int, chance: int) -> dict[str, Any]:
    """With a note that brings it to so many bytes."""
    room = wanted - len(msgspec.json.encode(reading))
    note = (NOTE[chance % 251 :] * 8)[:room].decode(errors="ignore")
    reading["note"] = note + "." * (room - len(note.encode()))
    return reading


def _samples(chance: int) -> Iterator[dict[str, Any]]:
    for place in range(SAMPLES):
        value = mixed(chance + place)
        yield {"at_ms": place * 250, "rms": round(value % 9_000 / 37, 4), "peak": value % 4096, "valid": value % 9 != 0}


def _location(chance: int) -> dict[str, Any]:
    return {
        "lat": round(47 + chance % 100_000 / 1e6, 6),
        "lon": round(8 + chance % 70_000 / 1e6, 6),
        "altitude_m": chance % 900,
        "floor": f"{chance % 9}. étage",
    }


def _channels(chance: int) -> Iterator[dict[str, Any]]:
    for place, (name, unit) in enumerate(UNITS):
        yield {"name": name, "unit": unit, "value": round((chance >> place) % 9_000 / 37, 4)}


# --- what has to be in the table --------------------------------------------------------------------------------------


def expected_item(number: int, workload: Workload) -> dict[str, Any]:
    """The item that either consumer writes for a record, in DynamoDB's JSON."""
    reading = payload(number, workload)
    arrival = datetime.fromtimestamp(workload.arrival_ms(number) / 1000, UTC)
    item = {
        **reading,
        "pk": reading["device_id"],
        "sk": reading["reading_id"],
        "sequenceNumber": str(workload.sequence_number(number)),
        "approximateArrivalTimestamp": arrival.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return {name: _attribute(value) for name, value in item.items()}


def _attribute(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float():
            return {"N": repr(value)}
        case Mapping():
            return {"M": {name: _attribute(inner) for name, inner in value.items()}}
        case _:
            return {"L": [_attribute(inner) for inner in value]}
