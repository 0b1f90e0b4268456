"""Settings: one model of frozen groups, read from the environment, headrace.toml and the command line."""

from headrace.settings.loading import Loaded, SeveralSettingsError, load, load_with_origins
from headrace.settings.model import Settings

__all__ = ["Loaded", "Settings", "SeveralSettingsError", "load", "load_with_origins"]
