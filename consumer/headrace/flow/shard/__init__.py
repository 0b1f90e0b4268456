"""One shard's life: `run` tells it from top to bottom."""
