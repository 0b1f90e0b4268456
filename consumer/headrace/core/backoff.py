"""How long to wait before the next try: exponential growth with full jitter, the only such formula of the project."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DOUBLINGS = 62
"""More would only bring the float near overflow; every sane cap is reached long before."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The longest wait of the first retry and of any retry, in seconds."""

    first_s: float = 0.1
    cap_s: float = 20.0


def delay_s(attempt: int, unit: float, rules: Backoff) -> float:
    """Seconds to wait after failure number `attempt` (from 1), with `unit` drawn evenly from [0, 1).

    Full jitter, as in the AWS Architecture Blog's "Exponential Backoff And Jitter": anything between nothing and the
    exponential bound, so that callers that failed together do not come back together.
    """
    doublings = min(max(attempt, 1) - 1, MAX_DOUBLINGS)
    return unit * min(rules.cap_s, rules.first_s * 2.0**doublings)
