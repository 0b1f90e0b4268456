"""The programs that check what is deployed, where this machine could get them (`make deploy-tools`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "tools" / "deploy" / "bin"


def run(tool: str, *arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """What it printed and its exit code. Skips the test where it is not to be had."""
    if not (BIN / tool).exists():
        pytest.skip(f"{tool} is not here: run `make deploy-tools`")
    command = [str(BIN / tool), *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, input=given, capture_output=True, text=True, check=False)


def accepted(tool: str, *arguments: object, given: str | None = None) -> str:
    """What it printed; fails the test where it complains."""
    done = run(tool, *arguments, given=given)
    assert done.returncode == 0, f"{tool}: {done.stdout}{done.stderr}"
    return done.stdout
