"""The user's modules, written where the worker looks for them."""

from __future__ import annotations

import itertools
from textwrap import dedent

import pytest

numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the user's module in the working directory, under a fresh name, and gives that name."""
    monkeypatch.chdir(tmp_path)

    def write(source):
        name = f"users_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(dedent(source))
        return name

    return write
