"""What operators do to a running fleet, from wherever: each act a function over a `Desk`."""
