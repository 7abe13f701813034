"""
Whatever a body holds, only errors of the tree come out.

``FUZZ_BODIES=10000 pytest tests/unit/test_client_fuzz.py`` tries more of them; ``FUZZ_SEED`` others.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import random
from typing import Any

import httpx

from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.errors import MalformedWebhook, TelnyxError
from telnyx_porting.webhooks import parse_webhook
from tests.support import samples
from tests.support.mirror import START, StillClock
from tests.support.samples import EVENT, PAYLOADS

BODIES = int(os.environ.get("FUZZ_BODIES", "500"))
SEED = int(os.environ.get("FUZZ_SEED", "20261123"))

SEEDS: list[Any] = [
    {"data": [samples.event(kind) for kind in PAYLOADS], "meta": {"total_results": 5, "total_pages": 1}},
    {"data": [samples.event(), samples.new_deleted_event()], "meta": {"total_results": 600, "page_size": 250}},
    {"data": samples.event()},
    {"data": [samples.order()], "meta": {"page_number": 1, "page_size": 20, "total_pages": 1, "total_results": 1}},
    {"data": samples.order()},
    {"data": [samples.delivery()], "meta": {"total_results": 1}},
    {"data": samples.delivery()},
    samples.webhook(),
    samples.webhook("deleted", enveloped=False),
    {"errors": [{"code": "10011", "title": "Too many requests", "source": {"pointer": "/x"}}]},
]
ODD = [None, True, False, 0, -1, 3.5, 2**70, 1e300, "", "x", "\x00", "\ud800", [], {}, [[]], {"id": 1}, "9" * 5_000]
RAW = [
    b"",
    b"\xff",
    b"nul",
    b"[" * 5_000,
    b'{"data":' * 3_000,
    b"<html>",
    b"\xef\xbb\xbf{}",
    b'{"data":NaN}',
    b"1" * 9_000,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the way to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


def mutated(dice: random.Random) -> bytes:
    """Bend a published body in a few places, as a document and sometimes as bytes."""
    if dice.random() < 0.03:
        return dice.choice(RAW)
    document = copy.deepcopy(dice.choice(SEEDS))
    for _ in range(dice.randint(0, 4)):
        *way, last = dice.choice(places(document)) or (None,)
        if last is None:
            document = copy.deepcopy(dice.choice(ODD))
            continue
        parent = document
        for key in way:
            parent = parent[key]
        action = dice.random()
        if action < 0.3:
            del parent[last]
        elif action < 0.9:
            parent[last] = copy.deepcopy(dice.choice(ODD))
        elif isinstance(parent, dict):
            parent[dice.choice(["extra", "id", "data", "meta"])] = dice.choice(ODD)
    body = bytearray(json.dumps(document).encode())
    if body and dice.random() < 0.2:
        body[dice.randrange(len(body))] = dice.randrange(256)
    if dice.random() < 0.1:
        del body[dice.randrange(len(body) + 1) :]
    return bytes(body)


async def ask_everything(client: AsyncTelnyxClient, dice: random.Random) -> None:
    """Call one verb and look at all that comes."""
    listings = [
        lambda: client.iter_porting_events(START),
        client.iter_porting_events,
        client.iter_porting_orders,
        client.iter_webhook_deliveries,
    ]
    calls = [
        lambda: client.get_porting_event(EVENT),
        lambda: client.get_porting_order(EVENT),
        lambda: client.get_webhook_delivery(EVENT),
        lambda: client.republish_porting_event(EVENT),
        client.count_porting_events,
        client.list_exception_types,
        client.notification_subscriptions,
    ]
    if dice.random() < 0.5:
        async for row in dice.choice(listings)():
            repr(row)
    else:
        repr(await dice.choice(calls)())


async def test_only_errors_of_the_tree_come_out() -> None:
    dice = random.Random(SEED)
    body, status = b"", 200
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=body))
    fine = failed = 0
    for number in range(BODIES):
        body = mutated(dice)
        status = dice.choice([200] * 8 + [201, 204, 400, 404, 422, 429, 500])
        # Nothing may be asked without end either.
        async with (
            asyncio.timeout(30),
            AsyncTelnyxClient(f"KEY{number}", transport=transport, clock=StillClock()) as client,
        ):
            try:
                await ask_everything(client, dice)
                fine += 1
            except TelnyxError as error:
                failed += bool(str(error))
        with contextlib.suppress(MalformedWebhook):
            repr(parse_webhook(body))
    assert min(fine, failed) > BODIES / 10
