"""User code: loading a handler, and the item mapping that stands in for one."""
