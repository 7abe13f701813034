"""A list that contradicts itself somewhere: what lies behind is compared all the same."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from telnyx_porting.client import TelnyxClient
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.feeds import touch_feed
from tests.support.events_server import START, STEP, Connection, Shop
from tests.support.provider import ACCOUNT, CLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger

EVENTS = 5_000


class Lies(Shop):
    """Counts one event too many wherever the first is among them."""

    def page(self, query: str) -> bytes:
        body: dict[str, Any] = orjson.loads(super().page(query))
        since = query.partition("created_at%5D%5Bgte%5D=")[2] or query.partition("created_at][gte]=")[2]
        if since[:10] <= f"{START:%Y-%m-%d}":
            body["meta"]["total_results"] += 1
        return orjson.dumps(body)


@contextmanager
def serving(shop: Shop) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Connection(shop), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


def test_a_window_that_cannot_be_proved_is_gone_round(ledger: Ledger) -> None:
    end = START + EVENTS * STEP
    with ledger.write() as connection:
        touch_feed(ledger, connection, ACCOUNT, "events", covers_from=START - STEP, covered_until=end)
    with serving(Lies(EVENTS, 0, 0)) as url, TelnyxClient("KEY", url, clock=CLOCK) as client:
        account = Account(ledger, ACCOUNT, clock=lambda: end + timedelta(hours=1))
        result = audit(account, client, by_ids=True)
    assert "counts and rows did not agree" in (result.open_reason or "")
    assert 1_000 < result.found == result.held < EVENTS
