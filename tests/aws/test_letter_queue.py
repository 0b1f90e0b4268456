"""A queue of dead letters when calls fail, others read too, and time passes: against one that plays along."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import structlog
from aws.fake_queue import FakeQueue, FakeTopic, letter, refusal
from botocore.exceptions import EndpointConnectionError

from headrace.aws.letter_messages import LARGEST_BATCH, MOST_MESSAGES, Packer
from headrace.aws.letter_queue import VISIBILITY_S, LetterQueue
from headrace.aws.letter_topic import LetterTopic
from headrace.errors import Denied, NotFound, Rejected, Throttled, Unavailable

pytestmark = pytest.mark.looptime


@pytest.fixture
def sqs() -> FakeQueue:
    return FakeQueue()


def queue_of(sqs: FakeQueue) -> LetterQueue:
    return LetterQueue(sqs, "https://queue", Packer("application", None))


@pytest.fixture
def queue(sqs: FakeQueue) -> LetterQueue:
    return queue_of(sqs)


async def everything(queue: LetterQueue) -> list:
    return sorted([each async for each in queue.read()], key=lambda each: each.record.sequence_number)


# --- bury ---


async def test_ten_letters_are_one_call_and_large_ones_fewer(queue, sqs):
    """By number, and by the bytes of all of them."""
    await queue.bury([letter(number) for number in range(25)])
    await queue.bury([letter(number, bytes(100_000)) for number in range(3)])

    sent = [[len(entry["MessageBody"]) for entry in entries] for call, entries in sqs.calls if call == "send"]
    assert [len(sizes) for sizes in sent] == [MOST_MESSAGES, MOST_MESSAGES, 5, 1, 1, 1]
    assert max(map(sum, sent)) <= LARGEST_BATCH


async def test_a_message_tells_why_and_from_where_so_that_readers_can_choose(queue, sqs):
    """Filters of subscriptions look at attributes."""
    await queue.bury([letter(1)])
    assert sqs.calls[0][1][0]["MessageAttributes"] == {
        "condition": {"DataType": "String", "StringValue": "RetryAttemptsExhausted"},
        "shardId": {"DataType": "String", "StringValue": "shardId-000000000003"},
    }


@pytest.mark.parametrize(
    ("failed", "error"),
    [
        ({"1": False}, Unavailable),
        ({"1": True, "2": False}, Unavailable),
        ({"1": True, "2": True}, Rejected),
    ],
)
async def test_letters_that_were_not_taken_are_an_error_though_the_call_succeeded(queue, sqs, failed, error):
    """SQS answers 200 and lists them; nothing may look buried that is not."""
    sqs.script = [failed]
    with pytest.raises(error, match=f"{len(failed)} of 3 failed: Told"):
        await queue.bury([letter(number) for number in range(3)])
    await queue.bury([letter(number) for number in range(3)])

    assert [each.record.sequence_number for each in await everything(queue)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), Unavailable),
        (refusal("RequestThrottled", 403), Throttled),
        (refusal("AWS.SimpleQueueService.NonExistentQueue"), NotFound),
        (refusal("AccessDenied", 403), Denied),
        (refusal("KMS.DisabledException"), Denied),
    ],
)
async def test_a_call_that_fails_is_told_in_our_words(queue, sqs, told, error):
    """Whoever buries waits and tries again; nothing else gets out."""
    sqs.script = [told]
    with pytest.raises(error, match="sqs SendMessageBatch"):
        await queue.bury([letter(1)])


async def test_one_record_twice_in_a_burial_is_one_message(queue, sqs):
    """The last one stands, as everywhere."""
    await queue.bury([letter(1), letter(1, message="later")])
    assert [each.message for each in await everything(queue)] == ["later"]
    assert len(sqs.messages) == 1


async def test_a_letter_that_was_read_and_is_buried_again_takes_the_place_of_the_old_one(queue, sqs):
    """A redrive that fails must not fill the queue."""
    await queue.bury([letter(1), letter(2)])
    old = await everything(queue)
    await queue.bury([replace(old[0], message="again")])

    assert len(sqs.messages) == 2
    assert [each.message for each in await everything(queue)] == ["again", "bad"]


# --- read ---


async def test_a_reading_that_lasts_keeps_what_it_has_read_out_of_sight(queue, sqs):
    """Another reader must not take the same letter meanwhile; afterwards it may at once."""
    await queue.bury([letter(number) for number in range(25)])
    read = 0
    async for _ in queue.read():
        read += 1
        await asyncio.sleep(VISIBILITY_S * 0.4)
        if read == 25:
            assert (await sqs.receive_message("", 10, 1, 0))["Messages"] == []
    assert read == 25
    assert len((await sqs.receive_message("", 10, 1, 0))["Messages"]) == 10


@pytest.mark.parametrize(("buried", "read"), [((0, 7), [0, 7]), ((7, 0), [7]), ((7, 7), [7])])
async def test_a_letter_of_a_later_reading_of_the_shard_is_not_hidden_by_an_earlier_one(sqs, buried, read):
    """The order in which messages come tells nothing; removed, all of the record are."""
    for replay in buried:
        await queue_of(sqs).bury([replace(letter(1), replay=replay)])
    queue = queue_of(sqs)
    letters = await everything(queue)
    assert [each.replay for each in letters] == read
    await queue.remove(letters[:1])
    assert sqs.messages == {}


async def test_a_reading_that_is_broken_off_shows_everything_again(queue, sqs):
    """`list` may show the first ten."""
    await queue.bury([letter(number) for number in range(12)])
    reading = queue.read()
    await anext(reading)
    await reading.aclose()
    assert len(await everything(queue_of(sqs))) == 12


async def test_messages_that_others_have_taken_are_missed_and_said_so(queue, sqs):
    """A letter that nobody sees now may have to be delivered before one that was seen."""
    await queue.bury([letter(number) for number in range(12)])
    await sqs.receive_message("", 10, 300, 0)
    with pytest.raises(Unavailable, match="about 10 messages are out of sight"):
        await everything(queue)
    await asyncio.sleep(301)
    assert len(await everything(queue)) == 12


async def test_a_reading_that_could_not_show_its_messages_again_is_made_up_for_by_time(queue, sqs):
    """The network was gone at its end: the next one tells that it does not see all, until it does."""
    await queue.bury([letter(1)])
    reading = queue.read()
    await anext(reading)
    sqs.script = [EndpointConnectionError(endpoint_url="http://x")]
    await reading.aclose()

    with pytest.raises(Unavailable, match="out of sight"):
        await everything(queue)
    await asyncio.sleep(VISIBILITY_S + 1)
    assert await everything(queue) == [letter(1)]


async def test_what_is_no_letter_of_ours_is_left_where_it_is(queue, sqs):
    """Somebody else's message, and one of the event source mapping itself."""
    for text in (
        "hello",
        "[" * 100_000,
        '{"requestContext": {"condition": "x"}}',
        '{"Type": "Notification"}',
        "\ud800",
    ):
        sqs.put(text)
    await queue.bury([letter(1)])
    with structlog.testing.capture_logs() as logs:
        assert await everything(queue) == [letter(1)]
    assert [entry["event"] for entry in logs] == ["dead_letter_not_readable"] * 5
    await queue.remove([letter(1)])
    assert len(sqs.messages) == 5


# --- remove ---


@pytest.mark.parametrize("told", [EndpointConnectionError(endpoint_url="http://x"), {"0": False}])
async def test_a_removal_that_failed_removes_when_it_is_tried_again(queue, sqs, told):
    """Else a letter that was delivered would be delivered once more."""
    await queue.bury([letter(1)])
    read = await everything(queue)
    sqs.script = [told]
    with pytest.raises(Unavailable):
        await queue.remove(read)
    await queue.remove(read)
    assert sqs.messages == {}


async def test_a_letter_is_removed_by_the_receipt_of_its_last_reading(queue, sqs):
    """SQS takes no older one; a redrive reads a queue several times."""
    await queue.bury([letter(1)])
    for _ in range(3):
        read = await everything(queue)
    await queue.remove(read)
    assert sqs.messages == {}
    assert [len(entries) for call, entries in sqs.calls if call == "delete"] == [1]


async def test_a_letter_that_was_not_read_here_is_not_removed(queue, sqs):
    """There is no way to; and that it may be gone already is no error."""
    await queue.bury([letter(1)])
    await queue.remove([letter(1)])
    assert len(sqs.messages) == 1


# --- check ---


async def test_a_queue_or_topic_that_takes_small_messages_only_is_refused():
    """At the start, not when the first large record has to be buried."""
    small = {"MaximumMessageSize": "65536"}
    with pytest.raises(Rejected, match="65,536 bytes, and 262,144 are needed"):
        await queue_of(FakeQueue(**small)).check()
    with pytest.raises(Rejected, match="65,536 bytes, and 262,144 are needed"):
        await LetterTopic(FakeTopic(**small), "arn", Packer("application", None)).check()
    await queue_of(FakeQueue(MaximumMessageSize="1048576")).check()
    await LetterTopic(FakeTopic(), "arn", Packer("application", None)).check()


async def test_a_queue_that_forgets_is_warned_of():
    """Four days are SQS's default."""
    with structlog.testing.capture_logs() as logs:
        await queue_of(FakeQueue(MessageRetentionPeriod="345600")).check()
        await queue_of(FakeQueue(MessageRetentionPeriod="1209600")).check()
    assert [(entry["event"], entry["after_days"]) for entry in logs] == [("dead_letters_expire", 4.0)]


# --- topic ---


async def test_a_topic_gets_ten_at_a_time_and_what_it_did_not_take_is_an_error():
    """As with a queue."""
    sns = FakeTopic()
    topic = LetterTopic(sns, "arn", Packer("application", None))
    await topic.bury([letter(number) for number in range(12)])
    assert [len(batch) for batch in sns.batches] == [10, 2]

    sns.failed = [{"Id": "0", "SenderFault": False, "Code": "InternalError"}]
    with pytest.raises(Unavailable, match="sns PublishBatch: 1 of 1 failed: InternalError"):
        await topic.bury([letter(1)])
