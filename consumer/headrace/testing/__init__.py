"""The ports in memory, for tests of headrace and of handlers."""
