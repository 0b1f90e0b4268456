"""What the page may do of what operators may: asked for rightly and wrongly, beside a worker that runs."""

import pytest
from page.stage import SETTINGS, Stage

from headrace.cli.page_actions import operator_actions
from headrace.core import audit
from headrace.model import Checkpoint
from headrace.ops.actions import ActionRefusedError
from headrace.ops.fleet import Source
from headrace.ops.letter_shelf import LetterShelf
from headrace.ports import nobody

SHARD = "shardId-000000000000"


def actions(stage):
    source = Source(stage.table, stage.stream, "order-events", stage.clock)
    shelf = LetterShelf(stage.letters, "order-events", stage.clock)
    return {action.name: action for action in operator_actions(SETTINGS, source, nobody, shelf)}


async def test_before_a_worker_has_read_the_stream_there_is_nothing_to_act_on():
    """Not a crash of the page."""
    with pytest.raises(ActionRefusedError, match="No worker has read the stream yet"):
        await actions(Stage())["pause"].preview({})


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("seek", {"shard": SHARD}, "to is missing"),
        ("seek", {"shard": SHARD, "to": "yesterday"}, "is no place in a stream"),
        ("seek", {"to": "4711"}, "name it"),
        ("seek", {"shard": "shardId-9", "to": "trim"}, "has no lease"),
        ("pause", {"shard": 7}, "has no lease"),
        ("move", {"shard": SHARD, "to": "worker-z"}, "no living worker is called worker-z; there are: worker-a-"),
        ("drain", {}, "worker is missing"),
        ("skip", {"shard": SHARD, "record": "first"}, "is no sequence number"),
        ("skip", {"shard": SHARD, "record": ["1"]}, "record is missing"),
    ],
)
async def test_what_is_asked_for_wrongly_is_refused_in_words_before_anything_is_typed(name, arguments, problem):
    """In the preview, with the same sentence as on the command line."""
    stage = Stage(shards=1)
    async with stage.worker("worker-a"):
        await stage.shared("worker-a")
        with pytest.raises(ActionRefusedError, match=problem):
            await actions(stage)[name].preview(arguments)


async def test_each_act_says_what_it_will_do_and_leaves_an_event_with_the_reason():
    """The name of the stream is what has to be typed for any of them."""
    stage = Stage(shards=1)
    stage.put(3)
    async with stage.worker("worker-a"):
        await stage.shared("worker-a")
        await stage.handled(3)
        known = actions(stage)
        for name, arguments, says in (
            ("drain", {"worker": "worker-a"}, "leases and takes none until it restarts"),
            ("undrain", {"worker": "worker-a"}, "takes leases again"),
            ("pause", {}, "Nobody will read any shard"),
            ("resume", {}, "Every shard is read again"),
        ):
            preview = await known[name].preview(arguments)
            assert says in preview.says
            assert preview.confirm == "order-events"
            await known[name].perform(arguments, f"why {name}")
        rows = [row for key, row in stage.table.rows.items() if key.pk == "E#order-events"]
        assert [(row["act"], row["by"], row["why"]) for row in rows] == [
            (act, "admin token", f"why {act}") for act in ("drain", "undrain", "pause", "resume")
        ]


async def test_a_letter_that_is_deleted_leaves_an_event_beside_those_of_the_command_line():
    """`headrace events` reads the same rows, for as long."""
    stage = Stage(shards=1)
    stage.put(1, '{"poison": 1}')
    async with stage.worker("worker-a"):
        await stage.buried(1)
        (letter,) = stage.letters.letters
        position = Checkpoint.at(letter.record.sequence_number).encode()
        arguments = {"shard": letter.record.shard_id, "position": position}
        await actions(stage)["discard-letter"].perform(arguments, "a test order")
        rows = await stage.table.query(audit.events_partition("order-events"))
    (event,) = map(audit.event_of, rows)
    assert (event.act, event.by, event.why) == ("dead_letter_discarded", "admin token", "a test order")
    assert event.target == f"{letter.record.shard_id} {letter.record.sequence_number}"
    assert stage.letters.letters == []
