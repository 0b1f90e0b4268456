"""How long a worker may trust its leases, and how long a silent peer is given.

The owner's side and the observer's side are deliberately lopsided. An owner's trust starts when its heartbeat request
LEFT; an observer's patience starts when it RECEIVED the first read that showed the counter. Whatever the network does
in between, the owner's window then ends first, provided that

    trust window <= lease duration x (1 - rho) / (1 + rho) - margin

where rho bounds how much the two clocks may differ in rate. Both clocks must count suspension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.model import Instant

CLOCK_RATE_ERROR: Final = 0.01
"""rho. NTP slews by at most 0.05 %; the rest is margin."""

MARGIN_S: Final = 0.05
"""For timer granularity and the few instructions between reading a clock and acting on it."""

LONGEST_CALL_S: Final = 3.0
"""No sink call needs longer; a shorter lease shortens it further."""

CLOCKS_AGREE_S: Final = 1.0
"""How far the time of day and the monotonic clock may drift apart within a trust window. More means that a hypervisor
stopped one of them (or that the time of day was set): nothing that was measured with them counts. One clock that errs is
found out by the other; a time of day that is set back by the length of a stop, within a trust window of it, hides it."""

TRIES_IN_WINDOW: Final = 3
"""A window must hold this many heartbeats, or one lost packet would cost the leases."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Every duration of the lease protocol, in seconds.

    `duration_s` is an observer's silence limit, `trust_window_s` an owner's trust after the start of a successful
    heartbeat, `call_timeout_s` the longest a call under that trust may take.
    """

    duration_s: float
    trust_window_s: float
    heartbeat_period_s: float
    poll_period_s: float
    call_timeout_s: float

    def __post_init__(self) -> None:
        """Raise ValueError, with the rule, for a combination under which two workers could trust one shard."""
        longest = longest_trust_window(self.duration_s)
        if self.trust_window_s > longest:
            raise ValueError(
                f"a trust window of {self.trust_window_s:g} s needs a longer lease: at {self.duration_s:g} s it may be "
                f"{longest:.2f} s at most (clocks may differ by {CLOCK_RATE_ERROR:.0%})"
            )
        if self.heartbeat_period_s * TRIES_IN_WINDOW > self.trust_window_s:
            raise ValueError(
                f"a heartbeat every {self.heartbeat_period_s:g} s leaves fewer than {TRIES_IN_WINDOW} tries in the "
                f"trust window of {self.trust_window_s:.2f} s"
            )
        if self.call_timeout_s + self.heartbeat_period_s >= self.trust_window_s:
            raise ValueError(
                f"calls of up to {self.call_timeout_s:g} s could not start in the trust window of "
                f"{self.trust_window_s:.2f} s between heartbeats every {self.heartbeat_period_s:g} s"
            )

    @classmethod
    def derived(cls, duration_s: float) -> LeaseTiming:
        """Everything from the lease duration: 10 s gives heartbeats each 2 s, polls each 1 s, calls of up to 3 s."""
        return cls(
            duration_s=duration_s,
            trust_window_s=longest_trust_window(duration_s),
            heartbeat_period_s=duration_s / 5,
            poll_period_s=duration_s / 10,
            call_timeout_s=min(LONGEST_CALL_S, duration_s * 0.3),
        )

    @property
    def longest_stall_s(self) -> float:
        """How long the main loop may stand still before heartbeats are withheld: a loop that hangs loses its leases."""
        return self.trust_window_s / 3


def longest_trust_window(duration_s: float) -> float:
    """The longest safe trust window under a lease duration, in seconds."""
    return duration_s * (1 - CLOCK_RATE_ERROR) / (1 + CLOCK_RATE_ERROR) - MARGIN_S


@dataclass(frozen=True, slots=True)
class Tenure:
    """The trust that one acknowledged heartbeat gives.

    `anchor` is when the FIRST try of that counter was started, `anchor_wall_s` the time of day at that moment.
    """

    counter: int
    anchor: Instant
    anchor_wall_s: float
    window_s: float

    @property
    def trusted_until(self) -> Instant:
        """The instant at which the trust ends."""
        return Instant(self.anchor + self.window_s)

    def permits(self, now: Instant, wall_s: float, call_timeout_s: float) -> bool:
        """Whether a call that may take `call_timeout_s` would end within the trust, by clocks that agree.

        A stop of the monotonic clock too short to be told from a slewed time of day still counts: the one that went
        further is believed.
        """
        drift_s = (wall_s - self.anchor_wall_s) - (now - self.anchor)
        return abs(drift_s) <= CLOCKS_AGREE_S and now + max(drift_s, 0.0) + call_timeout_s <= self.trusted_until
