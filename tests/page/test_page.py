"""The page in headless Chromium, served by real workers on in-memory ports."""

from __future__ import annotations

import asyncio
import json

import pytest

from page.browser import Page, browser, program
from page.stage import STALL_S, TOKEN, Stage

pytestmark = pytest.mark.skipif(program() is None, reason="Chromium is not installed: apt-get install chromium")


@pytest.fixture
async def page():
    """A tab; what the console complains of is the test's failure, too."""
    async with browser(program()) as tab:
        await tab.resize(1280, 900)
        yield tab
    assert tab.complaints == []


async def number_of(page: Page, figure: str) -> str:
    return await page.ask(
        f"[...document.querySelectorAll('.figure')].find((f) => f.querySelector('h3').textContent === {figure!r})"
        ".querySelector('.number').textContent"
    )


VERDICT = "document.querySelector('#verdict-word').textContent"


async def test_figures_move_while_records_come(page):
    """A second worker's shards are on the page of the first, with their owner's figures, and all of it without a reload."""
    stage = Stage()
    async with stage.worker("worker-a"), stage.worker("worker-b"):
        await stage.shared("worker-a", "worker-b")
        await page.open(stage.pages["worker-a"])
        await page.until(f"{VERDICT} === 'OK'")
        await page.until("document.querySelectorAll('#shards tbody tr').length === 4")
        assert await number_of(page, "Records in and out") == "0/s out"

        for _ in range(4):
            stage.put(300)
            await asyncio.sleep(0.3)

        moved = "[...document.querySelectorAll('#workers tbody tr')].map((row) => parseFloat(row.cells[4].textContent))"
        await page.until(f"{moved}.length === 2 && {moved}.every((out) => out > 5)")
        assert float((await number_of(page, "Records in and out")).partition("/")[0]) > 10
        assert "2 workers read 4 shards" in await page.text("#verdict-why")
        await page.until("document.querySelector('#events').innerText.includes('lease claimed')")
        await page.until("document.title === 'OK · orders'")


async def test_a_shard_that_stalls_on_another_worker_is_seen_within_15_s(page):
    """The worker that serves the page learns it from what the owner told before: by the limit, and no report later."""
    stage = Stage()
    async with stage.worker("worker-a"), stage.worker("worker-b"):
        await stage.shared("worker-a", "worker-b")
        victim = min(stage.held_by("worker-b"))
        await page.open(stage.pages["worker-a"])
        await page.until(f"{VERDICT} === 'OK'")
        stage.hangs = lambda record: record.shard_id == victim
        stage.put(200)

        await page.until(f"{VERDICT} === 'STALLED'", within_s=15)

        assert STALL_S < 15
        assert victim in await page.text("#verdict-why")
        assert "handler hangs" in await page.text("#verdict-todo")
        row = f"document.querySelector('#shards tr[data-state=\"STALLED\"]').innerText.includes({victim!r})"
        assert await page.ask(row)
        stage.held.set()
        await page.until(f"{VERDICT} === 'OK'")


async def test_a_dead_letter_is_opened_and_without_an_admin_token_its_payload_stays_unseen(page):
    """Reason and position for everybody; what the record held for nobody."""
    stage = Stage()
    stage.put(1, json.dumps({"poison": "secret-order"}), key="customer-7")
    async with stage.worker("worker-a"):
        await stage.buried(1)
        await page.open(stage.pages["worker-a"])
        await page.until("document.querySelector('#letters details')")
        assert "RetryAttemptsExhausted · ValueError" in await page.text("#letters")
        await page.click("#letters summary")

        await page.until("document.querySelector('#letters .inside').innerText.includes('read-only')")

        inside = await page.text("#letters .inside")
        assert f"headrace dead-letters show {stage.letters.letters[0].record.sequence_number} --payload" in inside
        assert "customer-7" in inside
        assert "secret-order" not in await page.ask("document.documentElement.outerHTML")
        assert await page.ask("document.querySelector('#admin').hidden")
        (letter,) = (await page.ask("fetch('api/v1/dead-letters').then((a) => a.json())"))["letters"]
        path = f"api/v1/dead-letters/{letter['shard']}/{letter['position']}"
        assert await page.ask(f"fetch('{path}').then((a) => a.status)") == 403
    page.complaints.clear()  # the refusal just asked for


async def give_token(page: Page, token: str) -> None:
    await page.until("document.querySelector('#token-dialog').open")
    await page.fill("#token", token)
    await page.click("#token-dialog button[value=ok]")


async def test_with_the_token_a_payload_is_shown_and_the_letter_discarded_and_with_another_neither(page):
    """A payload is text and never markup; the action wants the stream's name typed, and leaves an event."""
    stage = Stage(token=TOKEN)
    trap = '<img src=x onerror="document.title = 1"><script>document.title = 2</script>'
    stage.put(1, json.dumps({"poison": trap}), key="k")
    async with stage.worker("worker-a"):
        await stage.buried(1)
        await page.open(stage.pages["worker-a"])
        await page.until("document.querySelector('#letters summary')")
        await page.click("#letters summary")
        await page.until("document.querySelector('[data-way=payload]')")
        await page.click("[data-way=payload]")
        await give_token(page, "wrong-horse-battery-staple")
        await page.until("document.querySelector('#letters .inside').innerText.includes('takes the admin token')")
        assert trap not in await page.text("#letters")

        await page.click("[data-way=payload]")
        await give_token(page, TOKEN)
        await page.until("document.querySelector('#letters .payload')")
        assert json.loads(await page.text("#letters .payload"))["poison"] == trap
        assert await page.ask("document.querySelectorAll('main img, main script').length") == 0

        await confirm_discard(page, "something else")
        await page.until("document.querySelector('#problem').innerText.includes('Nothing was done')")
        assert len(stage.letters.letters) == 1
        await confirm_discard(page, "order-events")
        await page.until("document.querySelector('#letters').innerText.includes('None.')")
        assert stage.letters.letters == []
        await page.until("document.querySelector('#events').innerText.includes('dead letter discarded')")
        assert "seen in a test" in await page.text("#events")
    assert len(page.complaints) == 2, "the refused token, and the refused confirmation"
    page.complaints.clear()


async def confirm_discard(page: Page, typed: str) -> None:
    await page.click("[data-way=discard]")
    await page.until("document.querySelector('#action-dialog').open")
    await page.fill("#action-confirm", typed)
    await page.fill("#action-reason", "seen in a test")
    await page.click("#action-dialog button[value=ok]")


async def act_on(page: Page, shard: str, act: str, value: str = "") -> None:
    """Choose an act in the row of a shard, as far as its preview."""
    await page.until("document.body.classList.contains('may-act')")
    row = f"[...document.querySelectorAll('#shards tbody tr')].find((row) => row.innerText.includes({shard!r}))"
    await page.ask(f"{row}.querySelector('button').click()")
    await page.until("document.querySelector('#choice-dialog').open")
    await page.fill("#choice-act", act)
    await page.ask("document.querySelector('#choice-act').dispatchEvent(new Event('change'))")
    await page.fill("#choice-value", value)
    await page.click("#choice-dialog button[value=ok]")


async def confirm(page: Page, typed: str, reason: str) -> None:
    await page.until("document.querySelector('#action-dialog').open")
    await page.fill("#action-confirm", typed)
    await page.fill("#action-reason", reason)
    await page.click("#action-dialog button[value=ok]")


async def test_a_seek_is_refused_without_the_token_and_done_with_it(page):
    """A shard is read again from its beginning, by a fleet that runs; the preview says so, and the event who and why."""
    stage = Stage(shards=1, token=TOKEN)
    stage.put(20)
    async with stage.worker("worker-a"):
        await stage.shared("worker-a")
        await stage.handled(20)
        await stage.checkpointed()
        (shard,) = stage.held_by("worker-a")
        await page.open(stage.pages["worker-a"])
        await page.until("document.querySelectorAll('#shards tbody tr').length")
        await act_on(page, shard, "seek", "trim")
        await give_token(page, "wrong-horse-battery-staple")
        await page.until("document.querySelector('#problem').innerText.includes('takes the admin token')")
        assert len(page.complaints) == 1, "the refusal"
        page.complaints.clear()
        assert stage.calls == 20

        await act_on(page, shard, "seek", "trim")
        await give_token(page, TOKEN)
        await page.until("document.querySelector('#action-dialog').open")
        assert "READS AGAIN records from" in await page.text("#action-says")
        await confirm(page, "order-events", "a bad deploy")

        await stage.handled(40)
        await page.until("document.querySelector('#events').innerText.includes('a bad deploy')")
        assert "admin token" in await page.text("#events")


async def test_a_paused_shard_is_shown_as_paused_and_alarms_nobody(page):
    """It is unread on purpose, by name."""
    stage = Stage(shards=2, token=TOKEN)
    async with stage.worker("worker-a"):
        await stage.shared("worker-a")
        shard = min(stage.held_by("worker-a"))
        await page.open(stage.pages["worker-a"])
        await page.until("document.querySelectorAll('#shards tbody tr').length === 2")
        await act_on(page, shard, "pause")
        await give_token(page, TOKEN)
        await confirm(page, "order-events", "maintenance")
        await page.until("document.querySelector('#verdict-why').innerText.includes('1 shard is paused')")
        assert await page.text("#verdict-word") == "OK"
        await page.until("document.querySelector('#shards').innerText.includes('PAUSED')")


async def test_children_tell_where_they_come_from_and_finished_parents_are_folded_away(page):
    """Lineage after a split."""
    stage = Stage(shards=1)
    stage.put(50)
    async with stage.worker("worker-a"):
        await stage.shared("worker-a")
        (parent,) = stage.held_by("worker-a")
        stage.stream.split(parent)
        await page.open(stage.pages["worker-a"])
        await page.until("document.querySelectorAll('#shards tbody tr').length === 2", within_s=20)
        assert (await page.text("#shards")).count("From 0.") == 2
        assert await page.text("#finished summary") == "1 finished, read to the end"
        assert not await page.ask("document.querySelector('#finished').open")
        folded = await page.ask("document.querySelector('#finished tbody').textContent")
        assert parent in folded
        assert "go on in 1 and 2" in folded


async def test_a_page_that_nobody_sees_asks_for_nothing(page):
    """Its stream is closed, and opened again when it is looked at."""
    stage = Stage(shards=1)
    async with stage.worker("worker-a"):
        await page.open(stage.pages["worker-a"])
        await page.until("document.querySelector('#live').textContent === 'live'")
        await page.ask("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
        await page.ask("document.dispatchEvent(new Event('visibilitychange'))")
        await page.until("document.querySelector('#live').textContent === 'paused'")
        seen = await page.ask("performance.getEntriesByType('resource').length")
        before = await page.text("#verdict-why")
        stage.shards = 9
        await asyncio.sleep(0)
        assert await page.text("#verdict-why") == before
        assert await page.ask("performance.getEntriesByType('resource').length") == seen
        await page.ask("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
        await page.ask("document.dispatchEvent(new Event('visibilitychange'))")
        await page.until("document.querySelector('#live').textContent === 'live'")


async def test_nothing_is_wider_than_a_phone(page):
    """390 pixels, in the worst case: long names, and a sentence in every row."""
    stage = Stage()
    async with stage.worker("worker-with-a-long-name.of-some-cluster.example-b8f7c6d5-x2x4z"):
        await page.resize(390, 844)
        await page.open(next(iter(stage.pages.values())))
        await page.until("document.querySelectorAll('#shards tbody tr').length === 4")
        assert await page.ask("document.documentElement.scrollWidth") == 390
