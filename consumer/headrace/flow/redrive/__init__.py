"""Dead letters through the handler and the sink once more, in order per key."""
