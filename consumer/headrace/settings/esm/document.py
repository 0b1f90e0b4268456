"""A whole mapping: which one of a document is meant, every field of it taken, and all that cannot be taken told at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from headrace.errors import SettingsError
from headrace.settings.esm.fields import OTHER_SOURCES, TAKES, Document, Line
from headrace.settings.loading import SeveralSettingsError
from headrace.settings.units import Unfit

LIST: Final = "EventSourceMappings"
UUID: Final = "UUID"
SOURCE: Final = "EventSourceArn"
UUID_OPTION: Final = "--uuid"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user says beside the document. `application` and `handler` stand for what it does not tell."""

    application: str | None = None
    handler: str | None = None
    ignore_unknown: bool = False


def chosen(content: Any, uuid: str | None, file: str) -> Document:
    """The mapping that is meant: the document itself, or one of a list. Raises SettingsError."""
    mappings = list(_mappings(content, file))
    if uuid is not None:
        mappings = [one for one in mappings if one.get(UUID) == uuid]
        if not mappings:
            raise SettingsError(UUID_OPTION, uuid, f"is not in {file}", "Name one that is, or leave it out")
    of_kinesis = [one for one in mappings if ":kinesis:" in str(one.get(SOURCE))] if len(mappings) > 1 else mappings
    if not of_kinesis:
        raise SettingsError("FILE", file, "holds no mapping of a Kinesis stream", "Take one that does")
    if len(of_kinesis) > 1:
        names = ", ".join(f"{one.get(UUID)} ({str(one.get('FunctionArn')).partition(':function:')[2]})" for one in of_kinesis)  # fmt: skip
        raise SettingsError("FILE", file, f"holds {len(of_kinesis)} mappings of Kinesis streams: {names}", f"Choose one with {UUID_OPTION}")  # fmt: skip
    return of_kinesis[0]


def _mappings(content: Any, file: str) -> Iterator[Document]:
    listed = content.get(LIST) if isinstance(content, dict) and LIST in content else content
    for one in listed if isinstance(listed, list) else [listed]:
        if not isinstance(one, dict):
            mend = "Take what `aws lambda get-event-source-mapping --output json` prints"
            raise SettingsError("FILE", file, "is no event source mapping", mend)
        yield one


def taken(document: Document, choices: Choices) -> tuple[Line, ...]:
    """What becomes of every field. Raises SettingsError that names every field that cannot be taken."""
    found: list[Line | SettingsError] = [*_of_another_source(document)]
    if not found:
        found = [*_fields(document), *_unknown(document, choices)]
    errors = [one for one in found if isinstance(one, SettingsError)]
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralSettingsError(errors)
    return tuple(_with(choices, line) for line in found if isinstance(line, Line))


def _of_another_source(document: Document) -> Iterator[SettingsError]:
    """Where the source is not Kinesis nothing else matters."""
    if not document.get(SOURCE) and (kafka := document.get("SelfManagedEventSource")):
        problem = "is a self-managed Kafka cluster, and headrace reads Kinesis streams only"
        yield SettingsError("SelfManagedEventSource", kafka, problem, "Take a mapping of a Kinesis stream")
        return
    yield from (one for one in _field(SOURCE, document) if isinstance(one, SettingsError))


def _fields(document: Document) -> Iterator[Line | SettingsError]:
    for field in TAKES:
        yield from _field(field, document)


def _field(field: str, document: Document) -> Iterator[Line | SettingsError]:
    value = document.get(field)
    try:
        yield from [_told_absent(line) for line in TAKES[field](field, value, document)]
    except Unfit as unfit:
        yield SettingsError(field, value, unfit.problem, unfit.mend)


def _told_absent(line: Line) -> Line:
    if line.value is not None or line.becomes is None or line.remark.startswith(_ABSENT):
        return line
    default = f"{_ABSENT}: the mapping's default"
    return replace(line, remark=f"{default}; {line.remark}" if line.remark else default)


_ABSENT: Final = "not in the document"


def _unknown(document: Document, choices: Choices) -> Iterator[Line | SettingsError]:
    for field, value in document.items():
        if field in TAKES or (field in OTHER_SOURCES and not value):
            continue
        problem = "is not for a mapping of a Kinesis stream" if field in OTHER_SOURCES else "is not known here"
        if choices.ignore_unknown:
            yield Line(field, value, None, None, f"ignored: {problem}")
        else:
            mend = "Remove it, or add --ignore-unknown if it does not matter to you"
            yield SettingsError(field, value, problem, mend)


def _with(choices: Choices, line: Line) -> Line:
    if choices.application is not None and line.setting == ("application",):
        return replace(line, field="--application", value=choices.application, becomes=choices.application, remark="")
    return line
