"""The compiled transcoder is used where it is installed and known, and nowhere else."""

import sys
from types import SimpleNamespace

import pytest

from headrace.cli import parts
from headrace.core.native import INTERFACE, installed
from headrace.errors import SettingsError
from headrace.settings.loading import load

ENVIRONMENT = {"HEADRACE_APPLICATION": "orders", "HEADRACE_STREAM_NAME": "orders", "HEADRACE_SINK_TABLE": "items"}


def found(monkeypatch, crate):
    monkeypatch.setitem(sys.modules, "headrace_native", crate)
    return installed.__wrapped__()


def test_without_the_crate_everything_runs_in_python(monkeypatch):
    """A machine without Rust."""
    assert found(monkeypatch, None) is None


def test_a_crate_of_another_headrace_is_left_alone(monkeypatch):
    """Its functions take something else."""
    assert found(monkeypatch, SimpleNamespace(INTERFACE=INTERFACE + 1)) is None


def test_it_can_be_turned_off(native):
    """For a comparison, or a doubt."""
    if native is not None:
        assert parts.native_of(load((), ENVIRONMENT)) is native
    assert parts.native_of(load((), {**ENVIRONMENT, "HEADRACE_NATIVE": "off"})) is None


def test_any_other_word_is_refused():
    """As of every setting."""
    with pytest.raises(SettingsError, match="HEADRACE_NATIVE = 'no'"):
        load((), {**ENVIRONMENT, "HEADRACE_NATIVE": "no"})
