"""The histogram of calls to AWS."""

from prometheus_client import CollectorRegistry

from headrace.ops.request_times import RequestTimes


def test_calls_are_counted_by_service_and_operation_and_by_how_long_they_took():
    """The same name of another service is another call."""
    registry = CollectorRegistry()
    times = RequestTimes(registry, "orders")
    for service, operation, seconds in (
        ("kinesis", "GetRecords", 0.03), ("kinesis", "GetRecords", 0.7), ("dynamodb", "BatchWriteItem", 0.004),
    ):  # fmt: skip
        times.took(service, operation, seconds)

    def value(name, **labels):
        return registry.get_sample_value(f"headrace_aws_request_seconds{name}", {"stream": "orders", **labels})

    reads = {"service": "kinesis", "operation": "GetRecords"}
    assert (value("_count", **reads), value("_sum", **reads)) == (2, 0.73)
    assert (value("_bucket", **reads, le="0.025"), value("_bucket", **reads, le="0.05")) == (0, 1)
    assert value("_count", service="dynamodb", operation="BatchWriteItem") == 1
    assert value("_count", service="dynamodb", operation="GetItem") is None
