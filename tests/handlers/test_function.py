"""How a Lambda handler is named, and the environment and context that it finds."""

import json
import logging
import re

import pytest

from headrace.handlers.function import HandlerFunction, environment, split_name
from headrace.handlers.lambda_context import LambdaContext
from headrace.handlers.lambda_logging import set_up_logging

FUNCTION = HandlerFunction("app.handler", "orders", "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/clicks")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("app:handle", ("app", "handle")),
        ("pkg.app:handle", ("pkg.app", "handle")),
        ("pkg.app:Orders.handle", ("pkg.app", "Orders.handle")),
        ("app.lambda_handler", ("app", "lambda_handler")),
        ("pkg.app.lambda_handler", ("pkg.app", "lambda_handler")),
        ("src/orders/app.lambda_handler", ("src.orders.app", "lambda_handler")),
        ("src/app:handle", ("src.app", "handle")),
        ("app", None),
        ("app.", None),
        (":handle", None),
        ("/src/app.handle", None),
        ("app-1.handle", None),
        ("../app.handle", None),
        ("app.py:handle()", None),
        ("", None),
    ],
)
def test_a_handler_is_named_as_here_or_as_in_lambda(text, names):
    """module:function, module.function or path/module.function."""
    assert split_name(text) == names


def test_the_environment_tells_what_lambda_tells():
    """Region and account are the stream's."""
    told = environment(FUNCTION, {"PATH": "/bin"})
    task_root = told.pop("LAMBDA_TASK_ROOT")
    assert task_root
    assert told == {
        "PATH": "/bin",
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
        "AWS_REGION": "cn-north-1",
        "AWS_DEFAULT_REGION": "cn-north-1",
        "TZ": ":UTC",
        "_HANDLER": "app.handler",
    }
    assert FUNCTION.arn("orders") == "arn:aws-cn:lambda:cn-north-1:123456789012:function:orders"


def test_the_workers_environment_wins_where_it_says_something():
    """A function that comes from Lambda keeps the name on which its idempotency keys depend."""
    told = environment(FUNCTION, {"AWS_LAMBDA_FUNCTION_NAME": "old-name", "AWS_REGION": "", "_HANDLER": "other"})
    assert told["AWS_LAMBDA_FUNCTION_NAME"] == "old-name"
    assert told["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/old-name"
    assert told["AWS_REGION"] == "cn-north-1"
    assert told["_HANDLER"] == "app.handler"


def test_the_context_has_what_lambdas_has(monkeypatch):
    """Names and types as in awslambdaric: sizes are text, nobody called."""
    for name, value in environment(FUNCTION, {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]abc")
    context = LambdaContext("r-1", FUNCTION.arn("orders"), limit_s=3.0)
    assert (context.aws_request_id, context.function_name, context.function_version) == ("r-1", "orders", "$LATEST")
    assert context.memory_limit_in_mb == "128"
    assert context.invoked_function_arn == "arn:aws-cn:lambda:cn-north-1:123456789012:function:orders"
    assert (context.log_group_name, context.log_stream_name) == ("/aws/lambda/orders", "2026/01/01/[$LATEST]abc")
    assert (context.client_context, context.tenant_id) == (None, None)
    assert (context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id) == (None, None)
    assert "aws_request_id=r-1," in repr(context)


def test_the_remaining_time_counts_down_to_nothing(monkeypatch):
    """In whole milliseconds, never below 0."""
    now = 100.0
    monkeypatch.setattr("headrace.handlers.lambda_context._now_s", lambda: now)
    context = LambdaContext("r-1", "arn", limit_s=3.0)
    assert context.get_remaining_time_in_millis() == 3000
    now = 102.75
    assert context.get_remaining_time_in_millis() == 250
    now = 104.0
    assert context.get_remaining_time_in_millis() == 0


def test_the_contexts_log_writes_as_it_is(capsys):
    """No line's end is added."""
    LambdaContext("r-1", "arn", limit_s=3.0).log({"a": 1})
    assert capsys.readouterr().out == "{'a': 1}"


@pytest.fixture
def root(monkeypatch):
    """The root logger of a new process."""
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr(logging.Logger, "root", root)
    monkeypatch.setattr(logging.Formatter, "converter", logging.Formatter.converter)
    return root


def test_the_root_logger_writes_lambdas_line_with_the_request_id(root, capsys):
    """A handler that only sets the level sees its lines."""
    stamp = set_up_logging()
    root.setLevel("INFO")
    stamp.request_id = "r-7"
    root.info("called %s", "twice")
    assert re.fullmatch(
        r"\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tr-7\tcalled twice\n", capsys.readouterr().out
    )


def test_the_root_logger_writes_json_where_asked_to(root, capsys, monkeypatch):
    """AWS_LAMBDA_LOG_FORMAT and AWS_LAMBDA_LOG_LEVEL, as a function's logging configuration sets them."""
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "JSON")
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", "DEBUG")
    set_up_logging().request_id = "r-7"
    try:
        {}["x"]
    except KeyError:
        root.debug("failed", exc_info=True, extra={"order": 5})
    line = json.loads(capsys.readouterr().out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line.pop("location").endswith(
        str(test_the_root_logger_writes_json_where_asked_to.__code__.co_firstlineno + 8)
    )
    assert len(line.pop("stackTrace")) == 1
    assert line == {
        "level": "DEBUG",
        "message": "failed",
        "logger": "root",
        "requestId": "r-7",
        "errorType": "KeyError",
        "errorMessage": "'x'",
        "order": 5,
    }
