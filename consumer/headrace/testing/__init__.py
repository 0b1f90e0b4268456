"""For tests of handlers: `run` feeds records to one without AWS. And the ports in memory, which it is made of."""

from headrace.testing.runner import Call, Outcome, Rules, run

__all__ = ["Call", "Outcome", "Rules", "run"]
