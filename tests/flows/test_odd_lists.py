"""Lists that contradict themselves somewhere: what can be proved is, and the rest is said."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select

from telnyx_porting.client import TelnyxClient
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.ledger.tables import windows
from tests.support.events_server import START, STEP, Shop, serving
from tests.support.provider import ACCOUNT, CLOCK

if TYPE_CHECKING:
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


def test_a_window_that_cannot_be_proved_is_gone_round(ledger: Ledger) -> None:
    end = START + EVENTS * STEP
    with ledger.write() as connection:
        touch_feed(ledger, connection, ACCOUNT, "events", covers_from=START - STEP, covered_until=end)
    with serving(Lies(EVENTS, 0, 0)) as url, TelnyxClient("KEY", url, clock=CLOCK) as client:
        account = Account(ledger, ACCOUNT, clock=lambda: end + timedelta(hours=1))
        result = audit(account, client, by_ids=True)
    assert "counts and rows did not agree" in (result.open_reason or "")
    assert 1_000 < result.found == result.held < EVENTS


class Twice(Shop):
    """Lists its newest event twice, and counts it so."""

    def page(self, query: str) -> bytes:
        body: dict[str, Any] = orjson.loads(super().page(query))
        first = orjson.loads(super().page(query + "&page[number]=1"))["data"][:1]
        if first and first[0]["id"] == self.newest:
            body["meta"]["total_results"] += 1
            if body["meta"]["page_number"] == 1:
                body["data"] += first
        return orjson.dumps(body)

    @property
    def newest(self) -> str:
        return f"{self.events - 1:08x}-0000-4000-8000-000000000000"


def test_an_event_listed_twice_does_not_blind_the_account_and_is_said_once(ledger: Ledger) -> None:
    shop = Twice(300, 0, 0)
    end = START + 300 * STEP
    with serving(shop) as url, TelnyxClient("KEY", url, clock=CLOCK) as client:
        for minutes in (5, 10):
            account = Account(ledger, ACCOUNT, clock=lambda minutes=minutes: end + timedelta(minutes=minutes))
            result = scan(account, client)
            assert result.sealed_until == result.until
            assert (result.held, result.new) == (300, 300) if minutes == 5 else (result.new, result.changed) == (0, 0)
    with ledger.read() as connection:
        feed = get_feed(connection, ACCOUNT, "events")
        sealed = connection.execute(select(windows.c.held, windows.c.counted, windows.c.open_reason)).all()
    assert feed is not None
    assert (list(feed["odd"]), feed["error"]) == ([f"{shop.newest} twice on a page"], None)
    assert all(row.held == row.counted and row.open_reason is None for row in sealed)
