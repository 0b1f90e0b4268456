"""The policy: everything that the enabled features call, on nothing but their resources."""

import pytest

from headrace.core.destination import parse
from headrace.core.iam import Needs, Place, operator_policy, worker_policy

PLACE = Place("eu-central-1", "123456789012")


def needs(**more) -> Needs:
    given = {"dead_letters": parse("dynamodb:app-letters"), "sink": "items", "sink_mode": "put"}
    return Needs("orders", "app", **(given | more))


def allowed(policy) -> dict[str, set[str]]:
    """Actions by resource."""
    found: dict[str, set[str]] = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        for resource in statement["Resource"]:
            found.setdefault(resource, set()).update(statement["Action"])
    return found


def test_a_worker_gets_its_stream_and_tables_and_nothing_else():
    """No star as a resource, and none in an action."""
    found = allowed(worker_policy(needs(), PLACE))
    table = "arn:aws:dynamodb:eu-central-1:123456789012:table/"

    assert found.keys() == {
        "arn:aws:kinesis:eu-central-1:123456789012:stream/orders",
        f"{table}app",
        f"{table}items",
        f"{table}app-letters",
    }
    assert found[f"{table}items"] == {"dynamodb:BatchWriteItem", "dynamodb:DescribeTable"}
    assert not [action for actions in found.values() for action in actions if "*" in action]
    assert [resource for resource, actions in found.items() if "dynamodb:Scan" in actions] == [f"{table}app-letters"]


@pytest.mark.parametrize(
    ("destination", "resource", "looks", "deletes"),
    [
        ("dynamodb:app-letters", "table/app-letters", {"dynamodb:Query", "dynamodb:Scan"}, "dynamodb:DeleteItem"),
        ("s3://bucket/dead", "bucket/dead/*", {"s3:GetObject"}, "s3:DeleteObject"),
    ],
)
def test_the_page_may_show_dead_letters_and_delete_one_only_where_there_is_a_token(
    destination, resource, looks, deletes
):
    """Without a token it never deletes, so it need not be able to."""

    def actions(has_token):
        found = allowed(worker_policy(needs(dead_letters=parse(destination), has_token=has_token), PLACE))
        return next(actions for name, actions in found.items() if name.endswith(resource))

    assert looks <= actions(False)
    assert deletes not in actions(False)
    assert deletes in actions(True)


@pytest.mark.parametrize(
    ("mode", "action"),
    [("insert", "PartiQLInsert"), ("latest", "PartiQLUpdate"), ("transactional", "UpdateItem")],
)
def test_each_write_mode_has_its_own_actions(mode, action):
    """Statements are allowed by what they do."""
    found = allowed(worker_policy(needs(sink_mode=mode), PLACE))[
        "arn:aws:dynamodb:eu-central-1:123456789012:table/items"
    ]
    assert f"dynamodb:{action}" in found
    assert "dynamodb:BatchWriteItem" not in found


def test_tables_are_made_only_where_the_settings_say_so():
    """Three actions less."""
    actions = {a for found in allowed(worker_policy(needs(makes_tables=False), PLACE)).values() for a in found}
    assert not {"dynamodb:CreateTable", "dynamodb:UpdateTimeToLive"} & actions


@pytest.mark.parametrize(
    ("destination", "resource", "action"),
    [
        (
            "sqs:https://sqs.us-east-1.amazonaws.com/210987654321/q",
            "arn:aws:sqs:us-east-1:210987654321:q",
            "sqs:SendMessage",
        ),
        ("sns:arn:aws:sns:us-east-1:210987654321:t", "arn:aws:sns:us-east-1:210987654321:t", "sns:Publish"),
        ("s3://bucket/dead", "arn:aws:s3:::bucket/dead/*", "s3:PutObject"),
    ],
)
def test_dead_letters_may_go_where_they_go(destination, resource, action):
    """A queue is in its own account and Region."""
    assert action in allowed(worker_policy(needs(dead_letters=parse(destination)), PLACE))[resource]


def test_fan_out_and_a_key_of_ones_own_are_added_where_they_are_used():
    """And not otherwise."""
    found = allowed(worker_policy(needs(fans_out=True, kms_key="arn:aws:kms:eu-central-1:1:key/k"), PLACE))
    stream = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders"

    assert "kinesis:SubscribeToShard" in found[f"{stream}/consumer/*"]
    assert found["arn:aws:kms:eu-central-1:1:key/k"] == {"kms:Decrypt"}
    assert f"{stream}/consumer/*" not in allowed(worker_policy(needs(), PLACE))


def test_an_operator_may_do_what_the_commands_do():
    """Redrive and explain read; doctor looks."""
    found = allowed(operator_policy(needs(), PLACE))
    table = "arn:aws:dynamodb:eu-central-1:123456789012:table/"

    assert {"dynamodb:Scan", "dynamodb:DeleteItem"} <= found[f"{table}app-letters"]
    assert {"dynamodb:GetItem", "dynamodb:DescribeContinuousBackups"} <= found[f"{table}items"]
    assert {"dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:Query"} <= found[f"{table}app"]


def test_the_partition_follows_the_region():
    """China and GovCloud have their own."""
    assert Place("cn-north-1", "1").arn("kinesis", "x") == "arn:aws-cn:kinesis:cn-north-1:1:x"
    assert Place("us-gov-west-1", "1").partition == "aws-us-gov"
