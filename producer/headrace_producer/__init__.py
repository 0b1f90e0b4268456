"""headrace-producer: seeded load for a Kinesis stream, and a ledger of what the stream acknowledged."""
