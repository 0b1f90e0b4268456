"""The result of a verification, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headrace.core.verification import Design, Report

_DESIGNS = {
    Design.RECORDS: "an item for each record",
    Design.LATEST: "the latest state of each key",
    Design.BOTH: "an item for each record, and the latest state of each key",
}


def as_json(report: Report) -> str:
    """One line of JSON; `misordered` is null where the table can't show order."""
    return msgspec.json.encode({"ok": report.holds, **msgspec.to_builtins(report)}).decode() + "\n"


def as_text(report: Report) -> str:
    """Figures with their meaning, then the first of what is wrong, then the verdict."""
    return "\n".join([*_figures(report), *_wrong(report), "", _verdict(report), ""])


def _figures(report: Report) -> Iterator[str]:
    yield f"serving table    {_DESIGNS[report.design]}"
    yield _figure("produced", report.produced, f"acknowledged by the stream, {report.keys:,} keys")
    seen = f"{report.overwritten:,} of them seen only by a later state of their key" if report.overwritten else ""
    yield _figure("written", report.written, seen)
    healthy = f"{report.healthy_dead_lettered:,} of them not made as poison" if report.healthy_dead_lettered else ""
    yield _figure("dead-lettered", report.dead_lettered, healthy)
    yield _figure("missing", report.missing, "neither written nor dead-lettered")
    yield _figure("misordered keys", report.misordered, _order_note(report))
    yield _figure("duplicated", report.duplicated, "items beyond the one of their record")
    if report.also_written:
        yield _figure("both", report.also_written, "dead-lettered, and written as well")
    if report.damaged:
        yield _figure("damaged", report.damaged, "items that do not match the record they name")
    if report.foreign:
        yield _figure("not in ledger", report.foreign, "of another run, or sent again after a call that broke off")


def _order_note(report: Report) -> str:
    if report.misordered is None:
        return "this table can't show it: no state per key"
    return "their last state is not the last produced"


def _figure(name: str, number: int | None, meaning: str) -> str:
    shown = "-" if number is None else f"{number:,}"
    return f"{name:<15}{shown:>9}  {meaning}".rstrip()


def _wrong(report: Report) -> Iterator[str]:
    for lost in report.lost:
        yield f"  missing: {lost.shard} {lost.sequence_number}, key {lost.key}, n {lost.n}"
    if report.missing > len(report.lost):
        yield f"  and {report.missing - len(report.lost):,} more"
    for key in report.overtaken:
        found = "no state" if key.found_n is None else f"state of n {key.found_n}"
        yield f"  misordered: key {key.key}, last n {key.last_n}, {found}"
    if (report.misordered or 0) > len(report.overtaken):
        yield f"  and {(report.misordered or 0) - len(report.overtaken):,} more"


def _verdict(report: Report) -> str:
    if not report.holds:
        return "FAILED: not everything that was produced came through as it should."
    order = "" if report.misordered is None else ", every key in order"
    return f"OK: nothing is missing{order}."
