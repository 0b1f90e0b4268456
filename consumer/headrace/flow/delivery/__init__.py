"""Records on their way through the handler to the sink, or to the dead letters: one way for each kind of handler."""
