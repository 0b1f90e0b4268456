"""Reads the three sources by the exact names: environment, headrace.toml, command line.

Each yields what it gives (`Given`) and what is wrong with it (`SettingsError`), so that every mistake is shown at once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final, TypeAlias

from headrace.errors import SettingsError
from headrace.settings.names import PREFIX, Name, known_names
from headrace.settings.units import nearest

CONFIG: Final = f"{PREFIX}CONFIG"
"""Names the file, as `--config` does; no setting itself."""

_SERVICE_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_LINK_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as one source gave it; `spelled` is the setting's name in that source."""

    name: Name
    value: object
    spelled: str
    origin: str


Found: TypeAlias = Given | SettingsError


def from_environment(environment: Mapping[str, str]) -> Iterator[Found]:
    """Every HEADRACE_ variable. An empty one counts as not set, as in `HEADRACE_HANDLER=${HANDLER:-}`."""
    by_env = {name.env: name for name in known_names().values()}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable == CONFIG or _is_service_link(variable, value):
            continue
        if variable not in by_env:
            yield SettingsError(variable, value, "is not a setting", nearest(variable, by_env))
        elif value.strip():
            yield Given(by_env[variable], value, variable, "environment")


def _is_service_link(variable: str, value: str) -> bool:
    """Kubernetes writes such variables into every pod beside a Service whose name starts with "headrace".

    Even a known name can be one: a Service called headrace-ops sets HEADRACE_OPS_PORT to tcp://ADDRESS:PORT.
    (Kubernetes documentation, "Accessing the Service", environment variables.)
    """
    return bool(_SERVICE_LINK.search(variable)) or (
        variable.endswith("_PORT") and _LINK_ADDRESS.match(value) is not None
    )


def from_file(file: FilePath, named_by: str = "--config") -> Iterator[Found]:
    """Every key of a TOML file; groups are tables. `named_by` is where the file's own name comes from."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        yield SettingsError(named_by, str(file), f"cannot be read ({error.strerror})", "Name a readable TOML file")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        yield SettingsError(named_by, str(file), f"is not TOML: {error}", "Mend the file")
        return
    groups = {path[0] for path in known_names() if len(path) == 2}  # noqa: PLR2004 - group and name
    for key, value in content.items():
        if isinstance(value, dict) and key in groups:
            yield from _from_table(file, key, value)
        elif isinstance(value, dict) or key in groups:
            mend = f"Write [{key}] above its settings" if key in groups else nearest(key, groups)
            yield SettingsError(f"{file.name}: {key}", None, "is not a group of settings" if key not in groups else "is a group", mend)  # fmt: skip
        else:
            yield _from_key(file, (key,), value)


def _from_table(file: FilePath, group: str, table: dict[str, Any]) -> Iterator[Found]:
    for key, value in table.items():
        yield _from_key(file, (group, key), value)


def _from_key(file: FilePath, path: tuple[str, ...], value: object) -> Found:
    name = known_names().get(path)
    spelled = f"{file.name}: {Name(path).key}"
    if name is None:
        keys = [known.key for known in known_names().values()]
        return SettingsError(spelled, value, "is not a setting", nearest(Name(path).key, keys))
    return Given(name, value, spelled, file.name)


def from_arguments(arguments: Sequence[str], command: str) -> Iterator[Found]:
    """`--group.name value` or `--group.name=value`; hyphens do for underscores. `command` is the one that was typed."""
    by_option = {name.option: name for name in known_names().values()}
    rest = list(arguments)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        spelled = option.replace("-", "_").replace("__", "--", 1) if option.startswith("--") else option
        if spelled not in by_option:
            shown = value if equals else _value_of_unknown(rest)
            yield SettingsError(option, shown, "is not an option", nearest(spelled, by_option, command))
        elif not equals and (not rest or rest[0].startswith("--")):
            yield SettingsError(option, None, "has no value", f"Write {option} VALUE")
        else:
            yield Given(by_option[spelled], value if equals else rest.pop(0), option, "command line")


def _value_of_unknown(rest: list[str]) -> str | None:
    """What follows an unknown option, taken along so that it is not reported as a second mistake."""
    return rest.pop(0) if rest and not rest[0].startswith("--") else None
