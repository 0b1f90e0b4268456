"""SubscribeToShard in front of a server that has none that ends: events made of its GetRecords answers.

kinesis-local drains closed shards as AWS does, but goes on sending empty events for one that was read to its end, without
naming its children. MiniStack names them, and deletes a parent with its records. So the events come from here, by the rules
of the API reference: the last event of a shard has its children and no continuation, a second subscription within 5 s is
refused, a later one ends the first. Every other request goes to the server behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aws.event_stream import event, exception
from servers import Server

LOOK_S = 0.3
"""Between two looks at the server behind, which are what costs."""

EXCLUSIVE_S = 5.0
EMPTY_EACH_S = 5.0


@dataclass
class Subscriptions:
    """The server in front. `accepted` names the shard of every subscription that was begun.

    `refused` has the code of the error that an operation answers with for now.
    """

    behind: str
    session: aiohttp.ClientSession
    accepted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    _begun: dict[tuple[str, str], float] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        body = await request.read()
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        if code := self.refused.get(operation):
            return web.json_response({"__type": code, "message": "refused by the test"}, status=400)
        if operation == "SubscribeToShard":
            return await self._subscribe(request, json.loads(body))
        async with self.session.post(self.behind, data=body, headers=_passed_on(request)) as answer:
            kind = {"Content-Type": answer.headers["Content-Type"]}
            return web.Response(status=answer.status, body=await answer.read(), headers=kind)

    async def _subscribe(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        place, now = (asked["ConsumerARN"], asked["ShardId"]), time.monotonic()
        if now - self._begun.get(place, -EXCLUSIVE_S) < EXCLUSIVE_S:
            return web.json_response({"__type": "ResourceInUseException", "message": "subscribed to"}, status=400)
        self._begun[place] = now
        self.accepted.append(asked["ShardId"])
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.amazon.eventstream"})
        await response.prepare(request)
        await response.write(event({}, "initial-response"))
        async for sent in self._events(request, asked):
            await response.write(sent)
            if self._begun[place] != now:
                await response.write(exception("ResourceInUseException", "taken over"))
                break
        return response

    async def _events(self, request: web.Request, asked: dict[str, Any]) -> AsyncIterator[bytes]:
        shard, start = asked["ShardId"], asked["StartingPosition"]
        stream = asked["ConsumerARN"].split("/")[1]
        position = {"ShardIteratorType": start["Type"], "StartingSequenceNumber": start.get("SequenceNumber")}
        known = {name: value for name, value in position.items() if value is not None}
        found = await self._ask(request, "GetShardIterator", {"StreamName": stream, "ShardId": shard, **known})
        iterator, sent_at = found["ShardIterator"], time.monotonic()
        number = start.get("SequenceNumber") or await self._first_number(request, stream, shard)
        while iterator is not None:
            page = await self._ask(request, "GetRecords", {"ShardIterator": iterator})
            iterator, records = page.get("NextShardIterator"), page["Records"]
            if records:
                number = records[-1]["SequenceNumber"]
            body = {"Records": records, "MillisBehindLatest": page["MillisBehindLatest"]}
            if iterator is None:
                yield event({**body, "ContinuationSequenceNumber": None, "ChildShards": page["ChildShards"]})
            elif records or time.monotonic() - sent_at > EMPTY_EACH_S:
                sent_at = time.monotonic()
                yield event({**body, "ContinuationSequenceNumber": number})
            await asyncio.sleep(LOOK_S)

    async def _first_number(self, request: web.Request, stream: str, shard: str) -> str:
        shards = (await self._ask(request, "ListShards", {"StreamName": stream}))["Shards"]
        (number,) = (s["SequenceNumberRange"]["StartingSequenceNumber"] for s in shards if s["ShardId"] == shard)
        return str(number)

    async def _ask(self, request: web.Request, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {**_passed_on(request), "X-Amz-Target": f"Kinesis_20131202.{operation}"}
        async with self.session.post(self.behind, data=json.dumps(body), headers=headers) as answer:
            found: dict[str, Any] = await answer.json(content_type=None)
            assert answer.status == 200, found
            return found


def _passed_on(request: web.Request) -> dict[str, str]:
    wanted = ("X-Amz-Target", "X-Amz-Date", "Authorization", "Content-Type")
    return {name: request.headers[name] for name in wanted if name in request.headers}


@contextlib.asynccontextmanager
async def in_front_of(server: Server) -> AsyncIterator[tuple[Server, Subscriptions]]:
    """The server as clients see it, and what it was asked for."""
    async with aiohttp.ClientSession() as session:
        front = Subscriptions(server.endpoint, session)
        runner = web.ServerRunner(web.Server(front.answer), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield Server(f"http://127.0.0.1:{port}", server.services, server.process), front
        finally:
            await runner.cleanup()
