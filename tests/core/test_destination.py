"""How a destination is written."""

from __future__ import annotations

import pytest

from headrace.core.destination import Destination, Kind, NotADestination, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dynamodb:orders-dead-letters", Destination(Kind.DYNAMODB, "orders-dead-letters")),
        (
            "sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/orders-failed",
            Destination(Kind.SQS, "https://sqs.eu-central-1.amazonaws.com/123456789012/orders-failed"),
        ),
        ("sqs:http://127.0.0.1:4566/000000000000/q", Destination(Kind.SQS, "http://127.0.0.1:4566/000000000000/q")),
        (
            "sns:arn:aws:sns:eu-central-1:123456789012:failed",
            Destination(Kind.SNS, "arn:aws:sns:eu-central-1:123456789012:failed"),
        ),
        ("s3://bucket", Destination(Kind.S3, "bucket")),
        ("s3://bucket/a/b/", Destination(Kind.S3, "bucket", "a/b/")),
        ("s3://bucket/a", Destination(Kind.S3, "bucket", "a/")),
    ],
)
def test_each_service_has_its_form(text, expected):
    """A table, a queue's URL, a topic's ARN, a bucket with or without a prefix."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("orders", "is not a destination"),
        ("kafka://topic", "is not a destination"),
        ("dynamodb:a", "does not name a table"),
        ("sqs:arn:aws:sqs:eu-central-1:123456789012:q", "does not name a queue's URL"),
        ("sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/q.fifo", "is a FIFO queue"),
        ("sns:https://x", "does not name a topic's ARN"),
        ("sns:arn:aws:sns:eu-central-1:123456789012:t.fifo", "is a FIFO queue or topic"),
        ("s3:bucket", "does not name a bucket"),
        ("s3://Bucket", "does not name a bucket"),
        ("s3://two..dots", "does not name a bucket"),
        ("s3://192.168.0.1/letters", "does not name a bucket"),
        ("s3://a", "does not name a bucket"),
        ("s3://bucket/with a blank", "does not name a bucket"),
    ],
)
def test_what_names_none_is_refused_with_its_mend(text, problem):
    """At the start, not when the first record has to be buried."""
    with pytest.raises(NotADestination, match=problem) as caught:
        parse(text)
    assert caught.value.mend


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/q", "eu-central-1"),
        ("sqs:https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/q", "us-gov-west-1"),
        ("sqs:https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1"),
        ("sqs:https://eu-west-2.queue.amazonaws.com/123456789012/q", "eu-west-2"),
        ("sqs:https://vpce-0a1b-2c3d.sqs.us-east-1.vpce.amazonaws.com/123456789012/q", "us-east-1"),
        ("sqs:https://sqs.ap-southeast-2.api.aws/123456789012/q", "ap-southeast-2"),
        ("sqs:http://127.0.0.1:4566/000000000000/q", None),
        ("sqs:http://sqs.eu-central-1.localhost.localstack.cloud:4566/000000000000/q", None),
        ("sns:arn:aws:sns:eu-north-1:123456789012:failed", "eu-north-1"),
        ("s3://bucket", None),
        ("dynamodb:table", None),
    ],
)
def test_a_queue_or_topic_says_where_it_is(text, region):
    """It may be in another region than the stream; SQS and SNS answer only in their own."""
    assert parse(text).region == region
