"""Letters whose payload is too large for a message, and messages that came by other ways."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import structlog
from aws.fake_queue import FakeBucket, FakeQueue, letter, refusal

from headrace.aws.letter_messages import LARGEST_MESSAGE, Packer, Spill
from headrace.aws.letter_queue import LetterQueue
from headrace.core.failure_document import Elsewhere, failure_document, identity_of, object_key
from headrace.errors import NotFound, Unavailable
from headrace.model import DeadLetter, FailedAttempt

LARGE = bytes(10 * 2**20)
"""The largest record that Kinesis takes."""


@pytest.fixture
def bucket() -> FakeBucket:
    return FakeBucket()


@pytest.fixture
def packer(bucket: FakeBucket) -> Packer:
    return Packer("application", Spill(bucket, "spilled", "letters/"))


PLAIN = Packer("application", None)


async def packed(packer: Packer, each: DeadLetter) -> dict:
    message = await packer.pack(each)
    assert len(message.body.encode()) <= LARGEST_MESSAGE
    return json.loads(message.body)


@pytest.mark.parametrize("size", [0, 1000, 180_000])
async def test_a_payload_that_fits_stays_in_the_message(packer, bucket, size):
    """One thing to read."""
    document = await packed(packer, letter(1, bytes(size)))
    assert "payload" in document["headrace"]
    assert bucket.objects == {}


@pytest.mark.parametrize("data", [bytes(190_000), bytes(249_999), bytes(250_000), LARGE], ids=len)
async def test_a_payload_that_does_not_fit_goes_to_s3_and_comes_back_whole(packer, bucket, data):
    """The message says where it is."""
    each = letter(1, data)
    document = await packed(packer, each)

    key = f"letters/payload/{object_key('application', each)}"
    assert document["headrace"]["payloadObject"] == f"s3://spilled/{key}"
    assert bucket.objects == {key: data}
    found = await packer.unpack(json.dumps(document))
    assert found is not None
    assert found.letter == each


async def test_a_payload_with_nowhere_to_go_is_cut_with_a_mark_and_never_delivered_as_if_it_were_whole():
    """How large it was and where it can be fetched stay known."""
    with structlog.testing.capture_logs() as logs:
        document = await packed(PLAIN, letter(77, LARGE))
        assert await PLAIN.unpack(json.dumps(document)) is None
    assert document["headrace"]["payloadCut"] is True
    assert document["headrace"]["payloadBytes"] == len(LARGE)
    assert document["KinesisBatchInfo"]["startSequenceNumber"] == "77"
    assert [entry["event"] for entry in logs] == ["dead_letter_payload_cut", "dead_letter_without_payload"]


async def test_a_message_is_not_sent_before_its_payload_is_stored(packer, bucket):
    """Nothing may point at what is not there."""
    bucket.failure = refusal("InternalError", 500)
    sqs = FakeQueue()
    with pytest.raises(Unavailable, match="s3 PutObject"):
        await LetterQueue(sqs, "https://queue", packer).bury([letter(1, LARGE)])
    assert sqs.messages == {}


async def test_words_that_fill_a_message_by_themselves_are_shortened(packer):
    """Control characters take six bytes each."""
    many = "\x00" * 100_000
    each = replace(
        letter(1, LARGE), message=many, traceback=many + "the end", error=many, log=(FailedAttempt(letter(1).buried_at, 1, many),)
    )  # fmt: skip
    document = await packed(packer, each)
    assert document["headrace"]["traceback"].endswith("the end")
    found = await packer.unpack(json.dumps(document))
    assert found is not None
    assert found.letter.record == each.record


async def test_a_message_that_sns_wrapped_is_read_all_the_same():
    """A subscription has an envelope unless it asks for raw delivery."""
    message = await PLAIN.pack(letter(1))
    envelope = {"Type": "Notification", "MessageId": "x", "TopicArn": "arn", "Message": message.body, "Signature": "s"}
    found = await PLAIN.unpack(json.dumps(envelope))
    assert found is not None
    assert found.letter == letter(1)


@pytest.mark.parametrize(
    "key", ["secrets/other", f"{identity_of(letter(1))}", f"letters/payload/x-{identity_of(letter(2))}"]
)
async def test_a_message_cannot_choose_what_is_read_from_the_bucket(packer, bucket, key):
    """Who may write to the queue may not read what the worker may."""
    bucket.objects[key] = b"secret"
    forged = failure_document(letter(1), Elsewhere(f"s3://spilled/{key}")).decode()
    assert await packer.unpack(forged) is None


async def test_a_payload_in_a_bucket_that_the_settings_do_not_name_is_asked_for(packer):
    """Reading on without it could deliver later records of its key first."""
    elsewhere = failure_document(letter(1), Elsewhere(f"s3://other/x-{identity_of(letter(1))}")).decode()
    for one in (PLAIN, packer):
        with pytest.raises(NotFound, match="HEADRACE_DEAD_LETTERS_SPILL"):
            await one.unpack(elsewhere)


async def test_a_payload_that_is_gone_leaves_the_rest_readable(packer, bucket):
    """Somebody's lifecycle rule was shorter than the queue's retention."""
    sqs = FakeQueue()
    queue = LetterQueue(sqs, "https://queue", packer)
    await queue.bury([letter(1, LARGE), letter(2)])
    bucket.objects.clear()
    with structlog.testing.capture_logs() as logs:
        assert [each async for each in queue.read()] == [letter(2)]
    assert [entry["event"] for entry in logs] == ["dead_letter_payload_gone"]


async def test_a_letter_that_is_removed_takes_its_payload_along(packer, bucket):
    """Also when S3 fails at first; and one that is only buried again keeps it."""
    sqs = FakeQueue()
    queue = LetterQueue(sqs, "https://queue", packer)
    await queue.bury([letter(1, LARGE)])
    (read,) = [each async for each in queue.read()]
    await queue.bury([replace(read, message="again")])
    assert len(bucket.objects) == 1
    (read,) = [each async for each in queue.read()]

    bucket.failure = refusal("SlowDown", 503)
    with pytest.raises(Exception, match="s3 DeleteObject"):
        await queue.remove([read])
    bucket.failure = None
    await queue.remove([read])
    assert (sqs.messages, bucket.objects) == ({}, {})
