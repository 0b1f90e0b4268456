"""Throttling, outages and refusals: nothing is dropped, and only the culprit is refused. Time is virtual."""

import asyncio

import pytest
from aws.fake_dynamo import TABLE
from aws.sinks import always, names, puts
from structlog.testing import capture_logs

from headrace.errors import AwsError, Denied, NotFound, Throttled, Unavailable
from headrace.operations import Delete, Put
from headrace.ports import Refusal

pytestmark = pytest.mark.looptime


async def test_unprocessed_items_alone_are_sent_again_after_a_pause(sink, dynamo):
    """The others are settled; the rest waits half of 50 ms, the drawn part of the first step."""
    dynamo.script.append(lambda keys: keys[3:5])
    start = asyncio.get_running_loop().time()
    assert await sink.submit(puts(*names(10)), always) == {}
    assert dynamo.requests == [names(10), ["k003", "k004"]]
    assert len(dynamo.items) == 10
    assert sink.counts.unprocessed == 2
    assert asyncio.get_running_loop().time() - start == pytest.approx(0.005 + 0.025 + 0.005)


async def test_an_unprocessed_delete_or_number_key_is_recognised(sink, dynamo):
    """Whatever its kind of write and key."""
    dynamo.script.append(lambda keys: keys)
    assert await sink.submit([(0, Delete({"pk": "gone"})), (1, Put({"pk": 7}))], always) == {}
    assert dynamo.requests == [["gone", "7"]] * 2


async def test_an_answer_about_a_key_that_was_never_sent_settles_nothing(sink, dynamo):
    """An answer that makes no sense is no proof that anything was written."""
    dynamo.foreign = True
    assert await sink.submit(puts("a", "b"), always) == {}
    assert dynamo.requests == [["a", "b"]] * 2


@pytest.mark.parametrize(
    "error",
    [Throttled("slow"), Unavailable("cut"), Denied("no right"), NotFound("no table"), AwsError("unheard of")],
    ids=repr,
)
async def test_trouble_with_the_whole_request_is_tried_through_and_drops_nothing(sink, dynamo, error):
    """Forty failures in a row spend nobody's attempts; the log says so about once a minute."""
    dynamo.script.extend([error] * 40)
    with capture_logs() as logs:
        assert await sink.submit(puts("a", "b"), always) == {}
    assert dynamo.requests == [["a", "b"]] * 41
    assert dynamo.items.keys() == {(TABLE, "a"), (TABLE, "b")}
    seconds = asyncio.get_running_loop().time()
    assert 60 < seconds < 120
    assert [(entry["event"], entry["kind"], entry["error"]) for entry in logs] == (
        [("sink_write_failed", type(error).__name__, str(error))] * 2
    )
    lasting = not isinstance(error, (Throttled, Unavailable))
    assert {entry["log_level"] for entry in logs} == {"error" if lasting else "warning"}
    assert sink.counts.throttled + sink.counts.failed == 40


@pytest.mark.parametrize("culprit", [0, 12, 24])
async def test_one_bad_item_of_25_is_found_and_the_24_others_are_written(sink, dynamo, culprit):
    """Halving: at most two requests a level, and AWS's own words as the reason."""
    dynamo.refuses = lambda item: item.get("pk") == {"S": f"k{culprit:03}"}
    refusals = await sink.submit(puts(*names(25)), always)
    assert refusals == {culprit: Refusal("One or more parameter values were invalid")}
    assert len(dynamo.items) == 24
    assert len(dynamo.requests) <= 11
    assert sink.counts.refused == 1


async def test_many_bad_items_are_all_found(sink, dynamo):
    """Every third one of a hundred."""
    dynamo.refuses = lambda item: int(item["pk"]["S"][1:]) % 3 == 0
    refusals = await sink.submit(puts(*names(100)), always)
    assert sorted(refusals) == list(range(0, 100, 3))
    assert len(dynamo.items) == 66


async def test_a_refused_put_does_not_take_the_earlier_one_of_its_key_with_it(sink, dynamo):
    """The two collapsed, the later is refused: the earlier one is written after all."""
    dynamo.refuses = lambda item: "bad" in item
    writes = [(0, Put({"pk": "a", "n": 1})), (1, Put({"pk": "a", "bad": 1})), (2, Put({"pk": "b"}))]
    assert (await sink.submit(writes, always)).keys() == {1}
    assert dynamo.items == {(TABLE, "a"): {"pk": {"S": "a"}, "n": {"N": "1"}}, (TABLE, "b"): {"pk": {"S": "b"}}}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"pk": "x", "at": {"when": float("nan")}}, "attribute 'at.when': DynamoDB has neither NaN nor infinity"),
        ({"pk": "x", "what": object()}, "attribute 'what': DynamoDB has no type for object"),
        ({"pk": "x", "text": "\ud800"}, "surrogate"),
        ({"pk": "x", "map": {None: 1}}, "must be str, not NoneType"),
        ({"other": 1}, "attribute 'pk': the key attribute is missing"),
        ({"pk": True}, "attribute 'pk': a key must be a string"),
        ({"pk": "\ud800"}, "surrogate"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
async def test_an_item_that_cannot_be_encoded_is_refused_alone_and_costs_no_request(sink, dynamo, item, words):
    """Its neighbours go out together in one request."""
    refusals = await sink.submit([(0, Put({"pk": "a"})), (1, Put(item)), (2, Put({"pk": "b"}))], always)
    assert refusals.keys() == {1}
    assert words in refusals[1].reason
    assert dynamo.requests == [["a", "b"]]


async def test_a_record_with_several_writes_is_refused_when_one_of_them_is(sink, dynamo):
    """Under the record's one index; its other write is made."""
    refusals = await sink.submit([(7, Put({"pk": "a"})), (7, Put({"nothing": 1}))], always)
    assert refusals.keys() == {7}
    assert dynamo.items.keys() == {(TABLE, "a")}


async def test_only_bad_writes_are_answered_without_a_request(sink, dynamo):
    """Nothing is left to send."""
    assert (await sink.submit(puts(None, ["x"]), always)).keys() == {0, 1}
    assert (await sink.submit(puts("a", x=object()), always)).keys() == {0}
    assert not dynamo.requests
