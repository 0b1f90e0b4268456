"""What docker-compose.yml says, alone or with an override file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from deploy.tools import ROOT

FILE = ROOT / "docker-compose.yml"
OVERRIDES = sorted((ROOT / "docker").glob("compose.*.yml"))
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}")


def read(path: Path = FILE) -> dict[str, Any]:
    """The file with merge keys taken apart and variables left as they are written."""
    return yaml.safe_load(path.read_text())


def variables(path: Path) -> set[str]:
    """The names that a person may set."""
    return {match[1] for match in VARIABLE.finditer(path.read_text())}


def filled(text: str) -> str:
    """With what stands behind `:-` for each variable."""
    return VARIABLE.sub(lambda match: match[2] or "", text)


def environment(service: str) -> dict[str, str]:
    """What a container of the service is given."""
    return {name: filled(str(text)) for name, text in read()["services"][service]["environment"].items()}
