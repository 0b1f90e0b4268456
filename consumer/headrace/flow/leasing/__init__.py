"""Which shards are this worker's, and how it keeps them: see, plan, act, heartbeat, hand over."""
