"""A Lambda event source mapping becomes settings that mean the same, or is refused with the field that is in the way."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.destination import parse
from headrace.errors import SettingsError
from headrace.model import AtTimestamp, Latest, TrimHorizon
from headrace.settings import load
from headrace.settings.esm import Choices, as_table, as_toml, taken
from headrace.settings.esm.fields import OTHER_SOURCES, TAKES
from headrace.settings.units import written

MAPPINGS = Path(__file__).parent / "mappings"
FULL = json.loads((MAPPINGS / "full.json").read_text())
RECORDED = json.loads((MAPPINGS / "recorded.json").read_text())
STREAM = "arn:aws:kinesis:eu-west-1:111111111111:stream/orders"
LEAST = {"EventSourceArn": STREAM, "FunctionArn": "arn:aws:lambda:eu-west-1:111111111111:function:orders"}

NO_CHOICES = Choices()


def settings_of(document, folder, choices=NO_CHOICES):
    """What a worker has, by the way a worker takes: through the file, with the handler that a person fills in."""
    file = folder / "headrace.toml"
    file.write_text(as_toml(taken(document, choices), choices.handler))
    return load([], {} if choices.handler else {"HEADRACE_HANDLER": "module.function"}, file)


def refusal(document, choices=NO_CHOICES):
    with pytest.raises(SettingsError) as caught:
        taken(document, choices)
    return str(caught.value)


# --- whole mappings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["recorded", "full"])
def test_a_mapping_becomes_this_file(name):
    """`recorded` is what AWS answered to a create call with nothing but the required; `full` uses everything."""
    document = json.loads((MAPPINGS / f"{name}.json").read_text())
    assert as_toml(taken(document, NO_CHOICES)) == (MAPPINGS / f"{name}.toml").read_text()


def test_the_recorded_mapping_means_what_it_did(tmp_path):
    """The mapping's defaults stand in the file where they are not headrace's."""
    found = settings_of(RECORDED, tmp_path)
    assert (found.application, found.handler_name, found.handler_kind) == ("F-consumer", "F", "lambda")
    assert (found.stream.name, found.stream.starting_position) == (RECORDED["EventSourceArn"], Latest())
    assert (found.batch.size, found.batch.parallelization_factor, found.filter.patterns) == (100, 1, ())
    assert found.batch.window == found.batch.tumbling_window == timedelta()
    assert (found.retry.maximum_attempts, written(found.retry.maximum_record_age)) == (-1, "-1")
    assert (found.retry.bisect, found.retry.report_batch_item_failures) == (False, "false")
    assert (found.dead_letters.destination, found.sink.table) == ("dynamodb:F-consumer-dead-letters", None)


def test_a_mapping_with_everything_means_what_it_did(tmp_path):
    """Every field that can be said."""
    found = settings_of(FULL, tmp_path)
    assert (found.application, found.handler_name) == ("orders-to-table", "orders-to-table")
    assert found.stream.starting_position == AtTimestamp(datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC))
    assert (found.batch.size, found.batch.window, found.batch.parallelization_factor) == (500, timedelta(seconds=5), 4)
    assert found.filter.patterns == ('{"data":{"type":["buy"]}}',)
    assert (found.retry.maximum_attempts, found.retry.maximum_record_age) == (-1, timedelta(hours=1))
    assert (found.retry.bisect, found.retry.report_batch_item_failures) == (True, "true")
    assert found.dead_letters.destination == "sqs:https://sqs.eu-west-1.amazonaws.com/111111111111/orders-failed"


def on_one_line(text):
    """A table as it was before its lines were wrapped."""
    return " ".join(text.split())


def test_a_sparse_mapping_has_the_mappings_defaults(tmp_path):
    """Absent and null are alike: no retry limit, no bisect, nobody looks at the answer. The table says where from."""
    sparse = {**LEAST, **dict.fromkeys(set(TAKES) - set(LEAST))}
    for document in (LEAST, sparse):
        found = settings_of(document, tmp_path)
        assert (found.stream.starting_position, found.batch.size) == (TrimHorizon(), 100)
        assert (found.retry.maximum_attempts, found.retry.bisect) == (-1, False)
        assert found.retry.report_batch_item_failures == "false"
        assert (
            "BisectBatchOnFunctionError - -> retry.bisect = false not in the document: the mapping's default"
            in on_one_line(as_table(taken(document, NO_CHOICES)))
        )


def test_every_field_that_aws_may_answer_is_known():
    """By botocore's model; a new one shows up here."""
    model = botocore.session.get_session().get_service_model("lambda").shape_for("EventSourceMappingConfiguration")
    assert set(model.members) <= set(TAKES) | OTHER_SOURCES


def test_every_field_of_a_document_is_named_once_or_more():
    """Nothing that stands in the document is passed over in silence."""
    fields = {line.field.partition(".")[0] for line in taken(FULL, NO_CHOICES)}
    assert fields == set(FULL)
    assert all(field in as_table(taken(FULL, NO_CHOICES)) for field in FULL)


def test_the_table_can_be_read_on_a_hundred_columns():
    """Whole words, the field at the beginning, what becomes of it and why to the right of that."""
    table = as_table(taken(FULL, NO_CHOICES))
    assert max(map(len, table.splitlines())) <= 100
    assert "BatchSize                       500 -> batch.size = 500\n" in table
    assert (
        "MaximumRetryAttempts            -1 -> retry.maximum_attempts = -1\n"
        "                                   no limit: one record that always fails stops its shard until it\n"
        "                                   expires; 5 would bury it\n"
    ) in table


def test_every_line_of_the_file_tells_where_it_comes_from():
    """A comment stands above each setting."""
    lines = (MAPPINGS / "full.toml").read_text().splitlines()
    settings = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert all(lines[number - 1].startswith("# ") for number in settings)
    assert len(settings) == len([line for line in taken(FULL, NO_CHOICES) if line.becomes is not None])


def test_the_user_says_what_the_mapping_does_not(tmp_path):
    """The name, and the function's Handler; then nothing is left to fill in."""
    found = settings_of(FULL, tmp_path, Choices("orders-v2", "app.handler"))
    assert (found.application, found.handler, found.handler_name) == ("orders-v2", "app.handler", "orders-to-table")


# --- any mapping -----------------------------------------------------------------------------------------------------


leaves = st.lists(st.text(max_size=8) | st.booleans() | st.none() | st.integers(-9, 9), min_size=1, max_size=3)
patterns = st.builds(
    lambda key, leaf, raw: json.dumps({"data": {key: leaf}}, ensure_ascii=raw),
    st.text(min_size=1, max_size=5).filter(lambda key: key.strip(".$") == key and ".." not in key and key != "$or"),
    leaves,
    st.booleans(),
)
regions = st.sampled_from(["us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1"])
names = st.from_regex(r"[a-zA-Z0-9-_]{1,64}", fullmatch=True)
DESTINATIONS = {
    "arn:aws:sqs:eu-west-1:111111111111:dead": "sqs:https://sqs.eu-west-1.amazonaws.com/111111111111/dead",
    "arn:aws-cn:sqs:cn-north-1:111111111111:d_1": "sqs:https://sqs.cn-north-1.amazonaws.com.cn/111111111111/d_1",
    "arn:aws:sns:eu-west-1:111111111111:dead": "sns:arn:aws:sns:eu-west-1:111111111111:dead",
    "arn:aws:s3:::dead.letters": "s3://dead.letters",
}


@st.composite
def mappings(draw):
    """A mapping as AWS allows it, with the settings it should have."""
    function, stream, window = draw(names), draw(names), draw(st.sampled_from([0, 0, 60, 900]))
    parts = {
        "BatchSize": st.integers(1, 10_000),
        "MaximumBatchingWindowInSeconds": st.integers(0, 300),
        "ParallelizationFactor": st.just(1) if window else st.integers(1, 10),
        "MaximumRetryAttempts": st.integers(-1, 10_000),
        "MaximumRecordAgeInSeconds": st.just(-1) | st.integers(60, 604_800),
        "BisectBatchOnFunctionError": st.booleans(),
        "FunctionResponseTypes": st.sampled_from([[], ["ReportBatchItemFailures"]]),
        "DestinationConfig": st.sampled_from([{"OnFailure": {"Destination": arn}} for arn in DESTINATIONS]),
        "FilterCriteria": st.lists(patterns, max_size=5).map(lambda all_: {"Filters": [{"Pattern": p} for p in all_]}),
        "StartingPosition": st.sampled_from(["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"]),
    }
    return {
        "EventSourceArn": f"arn:aws:kinesis:{draw(regions)}:123456789012:stream/{stream}",
        "FunctionArn": f"arn:aws:lambda:{draw(regions)}:123456789012:function:{function}{draw(st.sampled_from(['', ':7', ':live', ':$LATEST']))}",
        "StartingPositionTimestamp": draw(st.integers(0, 2_000_000_000)),
        "TumblingWindowInSeconds": window,
        **{field: draw(values) for field, values in parts.items()},
    }


@given(mappings())
def test_any_mapping_becomes_settings_that_mean_the_same(tmp_path_factory, mapping):
    """Through the file and the loader; nothing is rounded, cut or quoted wrong."""
    found = settings_of(mapping, tmp_path_factory.mktemp("mapping"))
    start = {
        "LATEST": Latest(),
        "TRIM_HORIZON": TrimHorizon(),
        "AT_TIMESTAMP": AtTimestamp(datetime.fromtimestamp(mapping["StartingPositionTimestamp"], UTC)),
    }
    function = mapping["FunctionArn"].split(":")[6]
    assert found.stream.name == mapping["EventSourceArn"]
    assert (found.handler_name, found.application.removesuffix("-consumer")) == (function, function.removesuffix("-consumer"))  # fmt: skip
    assert found.stream.starting_position == start[mapping["StartingPosition"]]
    assert found.batch.size == mapping["BatchSize"]
    assert found.batch.window.total_seconds() == mapping["MaximumBatchingWindowInSeconds"]
    assert found.batch.tumbling_window.total_seconds() == mapping["TumblingWindowInSeconds"]
    assert found.batch.parallelization_factor == mapping["ParallelizationFactor"]
    assert found.retry.maximum_attempts == mapping["MaximumRetryAttempts"]
    assert found.retry.maximum_record_age.total_seconds() == mapping["MaximumRecordAgeInSeconds"]
    assert found.retry.bisect is mapping["BisectBatchOnFunctionError"]
    assert found.retry.report_batch_item_failures == ("true" if mapping["FunctionResponseTypes"] else "false")
    assert found.filter.patterns == tuple(one["Pattern"] for one in mapping["FilterCriteria"]["Filters"])
    assert found.dead_letters.destination == DESTINATIONS[mapping["DestinationConfig"]["OnFailure"]["Destination"]]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=9) | st.sampled_from(["OnFailure", "Destination", "Filters", "Pattern"]), below, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(sorted(set(TAKES) | OTHER_SOURCES)), values)
def test_any_value_of_a_field_is_taken_or_refused_in_one_line(field, value):
    """Never a traceback, never a file that is no TOML."""
    told = ""
    try:
        lines = taken({**FULL, field: value}, NO_CHOICES)
        tomllib.loads(as_toml(lines))
        table = as_table(lines)
        assert all(line.isprintable() and len(line) <= 100 for line in table.splitlines())
        assert table.endswith("\n")
        assert all(any(row.startswith(line.field) for row in table.splitlines()) for line in lines)
    except SettingsError as error:
        told = str(error)
    assert told.isprintable()


@pytest.mark.parametrize("name", ["it's", '"', "\\", "\n\t", "\u0085\u2028\x7f", "\U0001f40c", "#", "'''"])
def test_a_pattern_stays_as_it_is_whatever_stands_in_it(tmp_path, name):
    """TOML has two kinds of quotes, and escapes of its own."""
    for raw in (True, False):
        pattern = json.dumps({"data": {"a": [name]}}, ensure_ascii=raw)
        assert settings_of({**LEAST, **filtering(pattern)}, tmp_path).filter.patterns == (pattern,)


@pytest.mark.parametrize(
    ("given_as", "instant"),
    [
        (1767225600, "2026-01-01T00:00:00Z"),
        (1767225600.25, "2026-01-01T00:00:00.250000Z"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_an_instant_is_read_however_the_tools_of_aws_print_it(tmp_path, given_as, instant):
    """As a number by one version of the command line, as a text by the other."""
    at = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": given_as}
    assert written(settings_of({**LEAST, **at}, tmp_path).stream.starting_position) == instant


def test_the_url_of_a_queue_is_the_one_that_botocore_would_reach():
    """In every partition there is."""
    for partition in create_loader().load_data("endpoints")["partitions"]:
        region = next(iter(partition["regions"]))
        host = f"sqs.{region}.{partition['dnsSuffix']}"
        config = {"OnFailure": {"Destination": f"arn:{partition['partition']}:sqs:{region}:111111111111:dead"}}
        lines = taken({**LEAST, "DestinationConfig": config}, NO_CHOICES)
        (line,) = [line for line in lines if line.setting == ("dead_letters", "destination")]
        assert line.becomes == f"sqs:https://{host}/111111111111/dead"
        assert parse(line.becomes).target


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arn", "what"),
    [
        ("arn:aws:sqs:eu-west-1:111111111111:queue", "is an SQS queue, and headrace reads Kinesis streams only"),
        ("arn:aws:dynamodb:eu-west-1:111111111111:table/T/stream/2026-01-01T00:00:00.000", "is a DynamoDB stream"),
        ("arn:aws:kafka:eu-west-1:111111111111:cluster/c/1", "is an MSK cluster"),
        ("arn:aws:mq:eu-west-1:111111111111:broker:b:1", "is an Amazon MQ broker"),
        ("arn:aws:rds:eu-west-1:111111111111:cluster:c", "is a DocumentDB cluster"),
        ("arn:aws:kinesis:eu-west-1:111111111111:streams/x", "is neither a stream nor a stream consumer"),
        ("arn:aws:kinesis:::stream/x", "has no region or account"),
        ("orders", "is no ARN"),
    ],
)
def test_a_source_that_is_no_stream_is_refused_and_nothing_else_is_said(arn, what):
    """The rest of such a mapping does not matter."""
    line = refusal({**FULL, "EventSourceArn": arn, "BatchSize": "x"})
    assert line.startswith(f"EventSourceArn = {arn!r}: {what}")
    assert "\n" not in line
    assert "BatchSize" not in line


def test_a_cluster_of_ones_own_is_refused():
    """Such a mapping has no EventSourceArn."""
    kafka = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["b:9092"]}}
    line = refusal({"FunctionArn": LEAST["FunctionArn"], "SelfManagedEventSource": kafka, "Topics": ["t"]})
    assert line.startswith("SelfManagedEventSource = ")
    assert "self-managed Kafka" in line


DECRYPT = "Get the mapping with get-event-source-mapping and a role that may kms:Decrypt with its key"
KEY = {"KMSKeyArn": "arn:aws:kms:eu-west-1:111111111111:key/1"}


def failing(destination):
    return {"DestinationConfig": {"OnFailure": {"Destination": destination}}}


def filtering(*some):
    return {"FilterCriteria": {"Filters": [{"Pattern": pattern} for pattern in some]}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"EventSourceArn": None}, "EventSourceArn: is missing"),
        ({"FunctionArn": None}, "FunctionArn: is missing"),
        ({"FunctionArn": "arn:aws:lambda:eu-west-1:111111111111:layer:x"}, "is no function"),
        ({"BatchSize": "100"}, "BatchSize = '100': is not a whole number. Write a whole number"),
        ({"BatchSize": True}, "BatchSize = True: is not a whole number"),
        ({"MaximumRetryAttempts": 1.5}, "MaximumRetryAttempts = 1.5: is not a whole number"),
        ({"MaximumBatchingWindowInSeconds": -1}, "MaximumBatchingWindowInSeconds = -1: is below zero"),
        ({"MaximumRecordAgeInSeconds": 10**30}, "is out of range"),
        ({"BisectBatchOnFunctionError": "yes"}, "BisectBatchOnFunctionError = 'yes': is neither true nor false"),
        ({"FunctionResponseTypes": ["Other"]}, "FunctionResponseTypes = ['Other']: is not known"),
        ({"StartingPosition": "EARLIEST"}, "StartingPosition = 'EARLIEST': is not a starting position"),
        (
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": None},
            "StartingPosition = 'AT_TIMESTAMP': comes without a StartingPositionTimestamp that is an instant. Write it like",
        ),
        ({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": "yesterday"}, "that is an instant"),
        (failing("kafka://dead"), "is a Kafka topic, and headrace sends no dead letters there. Put the ARN of"),
        (failing("arn:aws:lambda:eu-west-1:111111111111:function:f"), "is neither a queue, a topic nor a bucket"),
        (failing("arn:aws-moon:sqs:moon-1:111111111111:q"), "is in a partition that is not known, aws-moon"),
        (failing(3), "has no text as OnFailure.Destination"),
        ({"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:sns:x:1:t"}}}, "has an OnSuccess destination"),
        (filtering('{"data": {"a": "b"}}'), "FilterCriteria = "),
        (filtering('{"data": {"a": [1]}}', '{"other": [1]}'), "filter 2: a record has no 'other'. Keys of the payload go"),
        (filtering(*['{"partitionKey": ["a"]}'] * 11), "11 filters, above 10"),
        (filtering('{"data": {"a\\n\\u001b": 1}}'), "data.a\\n\\x1b: neither a list"),
        ({"FilterCriteria": {"Filters": [{}]}}, "Filters[0] has no Pattern"),
        ({"FilterCriteria": ["x"]}, "is no object with a list of Filters"),
        ({"FilterCriteria": {"Filters": {"a": 1}}}, "is no object with a list of Filters"),
        ({"FilterCriteria": None, **KEY}, f"FilterCriteria: is encrypted with KMSKeyArn, and the document does not show it. {DECRYPT}"),
        (
            {"FilterCriteria": None, "FilterCriteriaError": {"ErrorCode": "AccessDeniedException", "Message": "no"}, **KEY},
            f"FilterCriteria: could not be decrypted (AccessDeniedException). {DECRYPT}",
        ),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 1}}, "ProvisionedPollerConfig = {'MinimumPollers': 1}: is not for a mapping of a Kinesis stream. Remove it, or add --ignore-unknown"),
        ({"ScalingConfig": {"MaximumConcurrency": 2}}, "ScalingConfig = "),
        ({"NewThing": False}, "NewThing = False: is not known here. Remove it, or add --ignore-unknown"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_refused_with_field_value_and_what_to_do(change, words):
    """One line; the words of section headings in the documentation."""
    line = refusal({**FULL, **change})
    assert words in line
    assert line.isprintable()


def test_everything_that_is_wrong_is_told_at_once():
    """One line each, in the order of the fields."""
    lines = refusal({**FULL, "BatchSize": "x", **failing("kafka://t"), "NewThing": 1}).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["BatchSize", "DestinationConfig", "NewThing"]


def test_what_is_not_known_may_be_left_out(tmp_path):
    """The table names it all the same; empty fields of other sources need no word."""
    document = {**FULL, "NewThing": 1, "ProvisionedPollerConfig": {"MinimumPollers": 1}, "Topics": [], "Queues": None}
    choices = Choices(ignore_unknown=True)
    assert settings_of(document, tmp_path, choices) is not None
    ignored = {line.field for line in taken(document, choices) if line.remark.startswith("ignored: ")}
    assert ignored == {"NewThing", "ProvisionedPollerConfig"}


def test_encrypted_filters_that_are_shown_are_taken(tmp_path):
    """The key encrypts nothing but them."""
    assert settings_of({**FULL, **KEY}, tmp_path).filter.patterns == ('{"data":{"type":["buy"]}}',)


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"MaximumRetryAttempts": -1}, "one record that always fails stops its shard until it expires"),
        ({"MaximumRetryAttempts": 10_000}, "older answers of AWS say 10000 for no limit"),
        ({"MaximumRetryAttempts": 2}, "3 calls in all"),
        ({"MaximumRecordAgeInSeconds": 604_800}, "older answers of AWS say 604800 for no limit"),
        ({"BisectBatchOnFunctionError": False}, "is buried whole"),
        ({"StartingPosition": "LATEST"}, "loses what arrives before the first start"),
        ({"StartingPosition": "TRIM_HORIZON"}, "the mapping's own position cannot be read"),
        ({"State": "Enabled"}, "disable the mapping before the first start"),
        (failing(""), "AWS discards what it gives up; headrace keeps it"),
        ({"FilterCriteria": {}}, "no filters"),
    ],
)
def test_what_a_person_should_know_stands_beside_the_field(change, remark):
    """In the table, and in the file where there is a setting."""
    assert remark in on_one_line(as_table(taken({**FULL, **change}, NO_CHOICES)))


# --- the documentation -----------------------------------------------------------------------------------------------


def test_the_page_names_every_field_that_is_taken_or_refused():
    """docs/moving-from-lambda.md, section "Field by field"."""
    page = (Path(__file__).parents[2] / "docs" / "moving-from-lambda.md").read_text()
    other_configurations = {field for field in OTHER_SOURCES if field.endswith("EventSourceConfig")} | {
        "SelfManagedEventSource"
    }
    assert [field for field in (set(TAKES) | OTHER_SOURCES) - other_configurations if f"`{field}" not in page] == []


def test_what_the_page_shows_of_the_table_is_what_is_printed():
    """The block under "One command"."""
    page = (Path(__file__).parents[2] / "docs" / "moving-from-lambda.md").read_text()
    (shown,) = re.findall(r"```text\n(MaximumBatchingWindow.*?)```", page, re.DOTALL)
    printed = as_table(taken(FULL, NO_CHOICES)).splitlines()
    assert [line for line in shown.splitlines() if line not in printed] == []
