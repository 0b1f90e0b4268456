"""Which values are good, one by one and together."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.tenure import LeaseTiming
from headrace.errors import SettingsError
from headrace.settings import load, units
from headrace.settings.units import Unfit, duration, size, written, written_size

LEAST = {
    "HEADRACE_APPLICATION": "orders",
    "HEADRACE_STREAM_NAME": "orders-stream",
    "HEADRACE_SINK_TABLE": "orders-items",
}


def settings(**environment):
    return load([], {**LEAST, **{f"HEADRACE_{name}": value for name, value in environment.items()}})


def problem(**environment):
    with pytest.raises(SettingsError) as caught:
        settings(**environment)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("500ms", 0.5),
        ("5m", 300),
        ("1h", 3600),
        ("7d", 604800),
        ("1m30s", 90),
        ("1.5s", 1.5),
        ("0s", 0),
        ("PT10S", 10),
        ("P1DT12H", 129600),
        ("pt1m", 60),
        (" 2s ", 2),
    ],
)
def test_durations_carry_their_unit(text, seconds):
    """Short forms, sums of them, and ISO 8601."""
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["10", "-5s", "", "s", "10 parsecs", "P", "PT", "1s1", "9999999999999d", "0x10s"])
def test_a_duration_without_a_good_unit_is_refused(text):
    """A bare number could be seconds or milliseconds."""
    with pytest.raises(Unfit, match=r"is not a duration|has no unit"):
        duration(text)


@given(st.integers(0, 10**10))
def test_a_written_duration_reads_back_as_itself(milliseconds):
    """What `headrace settings` prints can be pasted into the environment."""
    value = timedelta(milliseconds=milliseconds)
    assert duration(written(value)) == value


@given(st.integers(0, 2**40))
def test_a_written_size_reads_back_as_itself(count):
    """Likewise for sizes."""
    assert size(written_size(count)) == count


@pytest.mark.parametrize(
    ("text", "count"), [("64MiB", 2**26), ("1GiB", 2**30), ("500KB", 500_000), ("0.5 mib", 2**19), ("7B", 7)]
)
def test_sizes_carry_their_unit(text, count):
    """Binary and decimal units are told apart."""
    assert size(text) == count


@pytest.mark.parametrize("text", ["64", "MiB", "-1MiB", "64 miles"])
def test_a_size_without_a_good_unit_is_refused(text):
    """A bare number is no size."""
    with pytest.raises(Unfit, match="is not a size"):
        size(text)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("BATCH_SIZE", ["1", "10000"], ["0", "10001", "1.5", "x"]),
        ("BATCH_WINDOW", ["0s", "300s"], ["301s", "5"]),
        ("RETRY_MAXIMUM_ATTEMPTS", ["-1", "0", "10000"], ["-2", "10001"]),
        ("RETRY_MAXIMUM_RECORD_AGE", ["-1", "60s", "7d"], ["59s", "8d", "0s", "-2"]),
        ("LEASE_DURATION", ["2s", "5m"], ["1s", "301s"]),
        ("OPS_PORT", ["0", "65535"], ["-1", "65536"]),
        ("STREAM_POLL_INTERVAL", ["200ms", "60s"], ["199ms", "61s"]),
        ("CREATE_TABLES", ["true", "false", "0", "1"], ["maybe"]),
        (
            "STREAM_NAME",
            ["a.b-c_1", "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"],
            ["a b", "arn:aws:kinesis:x", "a/b"],
        ),
        ("SINK_TABLE", ["abc"], ["ab", "a b c", "x" * 256]),
        ("LOG_LEVEL", ["debug", "WARNING"], ["loud"]),
        ("ITEM_TTL_AFTER", ["none"], ["0s", "soon", "30"]),
        ("FETCH_BUFFER", ["1MiB", "1GiB"], ["1KiB", "64"]),
    ],
)
def test_each_setting_has_its_range(name, good, bad):
    """Both ends are in, both neighbours are out; the ESM's ranges where the setting is the ESM's."""
    for value in good:
        settings(**{name: value})
    for value in bad:
        assert problem(**{name: value}).startswith(f"HEADRACE_{name} = '{value}': ")


def test_an_order_of_items_is_refused_where_the_mode_compares_none():
    """Never accepted and ignored."""
    assert "has no effect in mode put" in problem(SINK_ORDER_BY="at")
    assert "has no effect in mode insert" in problem(SINK_MODE="insert", SINK_ORDER_ATTRIBUTE="at")
    assert "keeps the record's order" in problem(SINK_MODE="latest", SINK_ORDER_BY="recordOrder")
    assert settings(SINK_MODE="latest", SINK_ORDER_BY="at").sink.order_by == "at"
    assert settings(SINK_ORDER_ATTRIBUTE="recordOrder").sink.mode == "put"


def test_a_consumer_has_a_name_of_its_own_only_where_it_is_read_through():
    """And one that can be registered: an application's name may be longer than that of a consumer."""
    fan_out = {"STREAM_CONSUMER": "fan-out"}
    assert settings(**fan_out).stream.consumer_name is None
    assert settings(**fan_out, STREAM_CONSUMER_NAME="readers.v2").stream.consumer_name == "readers.v2"
    assert problem(**fan_out, STREAM_CONSUMER_NAME="a b").startswith(
        "HEADRACE_STREAM_CONSUMER_NAME = 'a b': is not a name"
    )
    assert "has no effect with polling" in problem(STREAM_CONSUMER_NAME="readers")
    settings(**fan_out, APPLICATION="x" * 128)
    assert "is too long for that" in problem(**fan_out, APPLICATION="x" * 129)
    settings(**fan_out, APPLICATION="x" * 129, STREAM_CONSUMER_NAME="readers")


def test_a_table_has_one_use():
    """Results, leases and dead letters written over each other would be a disaster found late."""
    assert problem(SINK_TABLE="orders").startswith("HEADRACE_SINK_TABLE = 'orders': is the lease table")
    assert "already has another use" in problem(DEAD_LETTERS_DESTINATION="dynamodb:orders-items")
    assert "already has another use" in problem(DEAD_LETTERS_DESTINATION="dynamodb:orders")


def test_half_an_expiry_is_refused():
    """An attribute without a time, or a time without an attribute, expires nothing."""
    assert "item.ttl_after" in problem(ITEM_TTL_ATTRIBUTE="ttl")
    assert "item.ttl_attribute" in problem(ITEM_TTL_AFTER="30d")
    assert settings(ITEM_TTL_ATTRIBUTE="ttl", ITEM_TTL_AFTER="30d").item.ttl_after == timedelta(days=30)


def test_item_settings_beside_a_handler_are_refused():
    """The handler decides the items; a template that does nothing would mislead."""
    assert problem(HANDLER="app:handle", ITEM_KEY="pk={id}").startswith(
        "HEADRACE_ITEM_KEY = 'pk={id}': has no effect with a handler"
    )


def test_the_word_none_switches_an_optional_text_off():
    """So that an attribute that is there by default can be left out."""
    item = settings(ITEM_SEQUENCE_ATTRIBUTE="none", ITEM_ARRIVAL_ATTRIBUTE="None").item
    assert (item.sequence_attribute, item.arrival_attribute) == (None, None)


def test_every_lease_duration_in_range_gives_a_safe_protocol():
    """Heartbeat period < trust window < lease duration, over the whole range."""
    for seconds in range(2, 301):
        timing = settings(LEASE_DURATION=f"{seconds}s").timing
        assert timing.heartbeat_period_s < timing.trust_window_s < timing.duration_s


def test_a_lease_duration_without_a_safe_protocol_is_refused_at_the_setting(monkeypatch):
    """The lease protocol's own objection reaches the user under the setting's name."""

    def impossible(cls, duration_s):
        raise ValueError(f"no room in {duration_s:g} s")

    monkeypatch.setattr(LeaseTiming, "derived", classmethod(impossible))
    assert problem(LEASE_DURATION="4s").startswith(
        "HEADRACE_LEASE_DURATION = '4s': gives no safe lease: no room in 4 s"
    )


def test_settings_cannot_be_changed_after_they_are_checked():
    """Every group is frozen."""
    checked = settings()
    with pytest.raises(ValueError, match="frozen"):
        checked.batch.size = 7


def test_no_limit_is_minus_one_second_as_the_retry_rules_write_it():
    """`maximum_record_age.total_seconds()` can be handed on as it is."""
    assert settings().retry.maximum_record_age.total_seconds() == units.NO_LIMIT.total_seconds() == -1


def test_filter_patterns_are_one_pattern_or_an_array_of_them():
    """As text in the environment; a list of texts in the file."""
    one, two = '{"data": {"type": ["order"]}}', '{"partitionKey": [{"prefix": "eu-"}]}'

    assert settings(FILTER_PATTERNS=one).filter.patterns == (one,)
    assert settings(FILTER_PATTERNS=f"[{one}, {two}]").filter.patterns == (one, two)
    assert settings().filter.patterns == ()


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("[{]", "no JSON array"),
        ("{", "filter 1"),
        ('{"data": {"v": [{"wildcard": "a*"}]}}', "filter 1, data.v"),
        ('[{"data": {"v": [1]}}, {"dato": ["x"]}]', "filter 2"),
    ],
)
def test_a_filter_pattern_that_cannot_be_used_is_refused_with_the_place(pattern, told):
    """Before anything starts."""
    assert told in problem(FILTER_PATTERNS=pattern)
    assert "HEADRACE_FILTER_PATTERNS" in problem(FILTER_PATTERNS=pattern)


def test_a_lambda_handler_needs_no_serving_table_and_every_other_way_of_working_does():
    """A Lambda function writes by itself; without a handler there is nowhere for items to go."""
    least = {name: value for name, value in LEAST.items() if name != "HEADRACE_SINK_TABLE"}
    assert load([], {**least, "HEADRACE_HANDLER": "app.handler"}).sink.table is None
    with pytest.raises(SettingsError, match="HEADRACE_SINK_TABLE: is required"):
        load([], least)


def test_settings_of_a_handler_are_refused_without_one():
    """They would be believed to have an effect."""
    assert "has no effect without a handler" in problem(HANDLER_TIMEOUT="5s")


def test_tumbling_windows_are_whole_seconds():
    """As in the event source mapping."""
    assert "is not in whole seconds" in problem(BATCH_TUMBLING_WINDOW="1500ms")


def test_parked_keys_need_dead_letters_that_can_all_be_redriven():
    """A topic keeps nothing, a message without a spill may have lost its payload; and windows have one state for all."""
    queue = "sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/failed"
    parking = {"RETRY_ON_EXHAUSTED": "park_key"}
    assert "may lose a payload" in problem(**parking, DEAD_LETTERS_DESTINATION=queue)
    assert "may lose a payload" in problem(
        **parking, DEAD_LETTERS_DESTINATION="sns:arn:aws:sns:eu-central-1:123456789012:t"
    )
    assert settings(**parking, DEAD_LETTERS_DESTINATION=queue, DEAD_LETTERS_SPILL="s3://bucket").dead_letters.spill
    assert "parks keys" in problem(**parking, HANDLER="app.handler", BATCH_TUMBLING_WINDOW="60s")
