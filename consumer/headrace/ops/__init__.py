"""What a worker shows: metrics, logs, HTTP endpoints."""
