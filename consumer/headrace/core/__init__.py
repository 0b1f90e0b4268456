"""Decides. Pure: no await, no clock, no I/O, no randomness of its own; `now` and chance are arguments."""
