"""From the sources to one checked `Settings`: the command line beats the environment, the environment beats the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from headrace.errors import SettingsError
from headrace.settings.model import Conflict, Path, Problem, Settings
from headrace.settings.names import Name, known_names
from headrace.settings.sources import CONFIG, Found, Given, from_arguments, from_environment, from_file
from headrace.settings.units import Unfit

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FILE_NAME: Final = "headrace.toml"

_PLAIN: Final = {
    "missing": ("is required", ""),
    "int_parsing": ("is not a whole number", "Write a whole number"),
    "int_type": ("is not a whole number", "Write a whole number"),
    "int_from_float": ("is not a whole number", "Write a whole number"),
    "bool_parsing": ("is neither true nor false", "Write true or false"),
    "bool_type": ("is neither true nor false", "Write true or false"),
}
"""What pydantic's own checks are called here."""


class SeveralSettingsError(SettingsError):
    """More than one thing is wrong: one line each. `setting` and `value` are those of the first."""

    def __init__(self, errors: Sequence[SettingsError]) -> None:
        super().__init__(errors[0].setting, errors[0].value, "", "")
        self.args = ("\n".join(str(error) for error in errors),)
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in effect, and for each that was given, the source that won."""

    settings: Settings
    given: Mapping[Path, Given]

    def origin(self, name: Name) -> str:
        """Where the value in effect comes from: command line, environment, the file's name, or default."""
        given = self.given.get(name.path)
        return given.origin if given else "default"


def load(arguments: Sequence[str], environment: Mapping[str, str], config: FilePath | None = None) -> Settings:
    """The settings in effect. Raises SettingsError that names every mistake in every source."""
    return load_with_origins(arguments, environment, config).settings


def load_with_origins(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    config: FilePath | None = None,
    command: str = "headrace run",
) -> Loaded:
    """As `load`. The file is `config`, or what HEADRACE_CONFIG names, or headrace.toml here if there is one."""
    found = [*_from_any_file(environment, config), *from_environment(environment), *from_arguments(arguments, command)]
    given = {one.name.path: one for one in found if isinstance(one, Given)}
    errors = [one for one in found if isinstance(one, SettingsError)]
    settings = _checked(given, errors)
    if errors or settings is None:
        raise errors[0] if len(errors) == 1 else SeveralSettingsError(errors)
    return Loaded(settings, given)


def _from_any_file(environment: Mapping[str, str], config: FilePath | None) -> list[Found]:
    if config is not None:
        return list(from_file(config))
    if environment.get(CONFIG):
        return list(from_file(FilePath(environment[CONFIG]), CONFIG))
    here = FilePath(FILE_NAME)
    return list(from_file(here, FILE_NAME)) if here.is_file() else []


def _checked(given: Mapping[Path, Given], errors: list[SettingsError]) -> Settings | None:
    """The settings, or None with what is wrong added to `errors`."""
    nested: dict[str, Any] = {}
    for path, one in given.items():
        table = nested if len(path) == 1 else nested.setdefault(path[0], {})
        table[path[-1]] = one.value
    try:
        return Settings(**nested)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            errors.extend(_told(problem, given) for problem in _problems(detail))
    return None


def _problems(detail: ErrorDetails) -> list[Problem]:
    path = tuple(str(part) for part in detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, Conflict):
        return cause.problems
    if isinstance(cause, Unfit):
        return [Problem(path, cause.problem, cause.mend)]
    return [Problem(path, *_PLAIN.get(detail["type"], (f"is not right: {detail['msg']}", "Mend it")))]


def _told(problem: Problem, given: Mapping[Path, Given]) -> SettingsError:
    """The line for the user: the setting as the winning source spells it, or as the environment would."""
    one = given.get(problem.path)
    name = known_names()[problem.path]
    mend = problem.mend or f"Set {name.env}, {name.key} in {FILE_NAME}, or {name.option}"
    value = one.value if one and not name.is_secret else None
    return SettingsError(one.spelled if one else name.env, value, problem.problem, mend)
