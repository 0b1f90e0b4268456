"""values.schema.json: headrace's settings under `config`, the chart's own values around them. Unknown keys are refused."""

import inspect
from datetime import timedelta
from typing import Any, get_args

import yaml
from pydantic import AfterValidator, BeforeValidator, PlainValidator

from headrace.settings import texts, units
from headrace.settings.names import Name, known_names
from headrace.settings.table import meanings
from render import places

DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$|^P([0-9.]+D)?(T[0-9.HMS]+)?$"
PLAIN_DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
SIZE = r"^[0-9]+(\.[0-9]+)?\s*([KMG]i?)?B$"

GRACE = ("shutdown", "timeout")
"""The template reckons with it, and knows no ISO 8601."""

REQUIRED = {(): ["application", "stream"], ("stream",): ["name"]}

FREE_OBJECTS = {
    *("handlers", "serviceAccount.annotations", "podAnnotations", "podLabels", "nodeSelector", "affinity"),
    *("podMonitor.labels", "alerts.labels", "alerts.alertLabels", "resources"),
}
"""Maps whose keys are the user's, or Kubernetes'."""

Schema = dict[str, Any]


def schema() -> Schema:
    """The whole."""
    values = yaml.safe_load(places.VALUES.read_text())
    whole = _of_value("", values)
    whole["properties"]["config"] = config()
    whole["properties"]["global"] = {"type": "object"}  # Helm's own, where the chart is a part of another
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of headrace", "required": ["config"], **whole}  # fmt: skip


def config() -> Schema:
    """The settings, as headrace.toml has them, without secrets: what stands here ends in a ConfigMap."""
    groups: dict[str, Schema] = {}
    for name in known_names().values():
        if _is_secret(name):
            continue
        where = groups if len(name.path) == 1 else groups.setdefault(name.path[0], _closed(name.path[:1]))["properties"]
        where[name.path[-1]] = _of_setting(name)
    return {**_closed(()), "properties": groups}


def _closed(path: tuple[str, ...]) -> Schema:
    required = {"required": REQUIRED[path]} if path in REQUIRED else {}
    return {"type": "object", "additionalProperties": False, **required, "properties": {}}


# --- settings ------------------------------------------------------------------------------------------------------------


def _of_setting(name: Name) -> Schema:
    return {"description": meanings(name.model)[name.path[-1]], **_kind(name)}


def _is_secret(name: Name) -> bool:
    return texts.secret in [one.func for one in _validators(name.field.annotation, name.field.metadata)]


def _kind(name: Name) -> Schema:  # noqa: PLR0911 - one answer for each kind
    validators = _validators(name.field.annotation, name.field.metadata)
    functions = [one.func for one in validators]
    facts = _facts(functions)
    if "supported" in facts:
        return _choice(facts["supported"])
    if name.field.annotation is bool:
        return {"type": "boolean"}
    if units.size in functions:
        return {"type": "string", "pattern": SIZE}
    if texts.processes in functions:
        return {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": texts.MOST_PROCESSES}]}
    if texts.filter_patterns in functions:
        return {"type": ["array", "string"]}
    if isinstance(facts.get("low"), timedelta):
        return _duration(PLAIN_DURATION if name.path == GRACE else DURATION, no_limit=bool(facts["or_no_limit"]))
    if isinstance(facts.get("low"), int):
        least = -1 if facts["or_no_limit"] else facts["low"]
        number = {"type": "integer", "minimum": least, "maximum": facts["high"]}
        return {"anyOf": [number, {"const": "none"}]} if texts.or_none in functions else number
    return {"type": "string"}


def _choice(supported: tuple[str, ...]) -> Schema:
    words = [{"true": True, "false": False}.get(str(word), str(word)) for word in supported]
    return {"enum": [*words, *(str(word) for word in supported if str(word) in {"true", "false"})]}


def _duration(pattern: str, *, no_limit: bool) -> Schema:
    text = {"type": "string", "pattern": pattern}
    return {"anyOf": [text, {"enum": [-1, "-1"]}]} if no_limit else text


def _validators(annotation: Any, metadata: list[Any]) -> list[AfterValidator | BeforeValidator | PlainValidator]:
    """Those of the field, and those inside of its type, as in `Annotated[int, ...] | None`."""
    found = [one for one in metadata if isinstance(one, AfterValidator | BeforeValidator | PlainValidator)]
    for part in get_args(annotation):
        found += _validators(part, list(getattr(part, "__metadata__", ())))
    return found


def _facts(functions: list[Any]) -> dict[str, Any]:
    """What the checks of `settings.units` were made with: the words of a choice, the ends of a range."""
    facts: dict[str, Any] = {}
    for function in functions:
        if function.__module__ == units.__name__ and "<locals>" in function.__qualname__:
            facts |= inspect.getclosurevars(function).nonlocals
    return {"or_no_limit": bool(facts.get("outside")), **facts}


# --- the chart's own values ----------------------------------------------------------------------------------------------


def _of_value(path: str, value: Any) -> Schema:
    match value:
        case dict():
            return _of_map(path, value)
        case list():
            return {"type": "array"}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", "minimum": 0}
        case float():
            return {"type": "number", "minimum": 0, "maximum": 1}
        case _:
            return {"type": "string"}


def _of_map(path: str, value: dict[str, Any]) -> Schema:
    if path in FREE_OBJECTS:
        return {"type": "object"}
    within = {key: _of_value(f"{path}.{key}" if path else key, one) for key, one in value.items()}
    return {"type": "object", "additionalProperties": False, "properties": within}
