"""The flat table of every known name, built from the model: no splitting at delimiters, so no name is ambiguous."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from headrace.settings import texts
from headrace.settings.groups import Group
from headrace.settings.model import Path, Settings

PREFIX: Final = "HEADRACE_"


@dataclass(frozen=True, slots=True)
class Name:
    """One setting by its three names."""

    path: Path

    @property
    def env(self) -> str:
        """The environment variable."""
        return PREFIX + "_".join(self.path).upper()

    @property
    def option(self) -> str:
        """The option on the command line."""
        return "--" + ".".join(self.path)

    @property
    def key(self) -> str:
        """The key in headrace.toml."""
        return self.path[0] if len(self.path) == 1 else f"[{self.path[0]}] {self.path[1]}"

    @property
    def model(self) -> type[Settings | Group]:
        """The class that declares the field."""
        group: Any = Settings if len(self.path) == 1 else Settings.model_fields[self.path[0]].annotation
        return group  # type: ignore[no-any-return]

    @property
    def field(self) -> FieldInfo:
        """The field itself."""
        return self.model.model_fields[self.path[-1]]

    @property
    def is_secret(self) -> bool:
        """Whether its value is never shown, nor passed on in a table of settings."""
        return any(isinstance(one, BeforeValidator) and one.func is texts.secret for one in self.field.metadata)


@cache
def known_names() -> dict[Path, Name]:
    """Every setting by its path, in the order of the model."""
    paths: list[Path] = []
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            paths.extend((name, member) for member in kind.model_fields)
        else:
            paths.append((name,))
    return {path: Name(path) for path in paths}
