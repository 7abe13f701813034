"""Webhooks that wake: looked at before any scan, each once, and believed in nothing but which order to read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select, text

from telnyx_porting.client import TelnyxClient
from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.events.store import store
from telnyx_porting.flows.findings.health import watch_clock
from telnyx_porting.flows.findings.reconcile import open_findings, reconcile
from telnyx_porting.flows.orders import wakeups
from telnyx_porting.flows.orders.history import Change, Standing, began
from telnyx_porting.flows.orders.sync import sync_orders
from telnyx_porting.flows.orders.wakeups import WAKES_FOR, waking
from telnyx_porting.ledger.tables import deliveries, orders
from tests.support.ledgers import plan_of
from tests.support.receivers import encode, webhook
from tests.support.watched import START, Watched, quick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

NOBODY = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


class Desk(Watched):
    """A watched account whose webhooks come in."""

    client: TelnyxClient
    sandbox: RunningSandbox

    def hear(self, order: str, status: str = "exception", **changes: Any) -> None:
        """A verified webhook about an order's status."""
        document = webhook(**changes)
        payload = document["data"]["payload"]
        payload |= {"id": order, "status": {"value": status, "details": []}}
        self.receive(encode(document))

    def receive(self, body: bytes) -> None:
        receipt = read_receipt(self.account, body, self.now, "/webhooks", self.now)
        store_receipts(self.ledger, [self.account], [receipt], {}, self.now)

    def waiting(self) -> int:
        with self.ledger.read() as connection:
            return len(waking(connection, [self.account], self.now))

    def wake(self) -> int:
        """What a woken run does; gives how many orders were read."""
        read = sync_orders(Account(self.ledger, self.account, self.settings, lambda: self.now), self.client).read
        reconcile(Account(self.ledger, self.account, self.settings, lambda: self.now), enqueue)
        send_due(Account(self.ledger, self.account, self.settings, lambda: self.now), self.send)
        return read

    def scan(self) -> None:
        """Take all events that the API has, once they are generated."""
        for event in self.client.iter_porting_events():
            self.sandbox.complete(event.id)
        store(Account(self.ledger, self.account), list(self.client.iter_porting_events()), self.now)


@pytest.fixture
def desk(ledger: Ledger, sandbox: RunningSandbox) -> Iterator[Desk]:
    sandbox.reset("empty")
    sandbox.clear_faults()
    watched = Desk(ledger, quick(), now=datetime.now(UTC))
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
        watched.client, watched.sandbox = client, sandbox
        watched.wake()  # the daily list is read
        yield watched


def test_exception_is_told_before_any_scan_and_not_again_when_its_event_comes(
    desk: Desk, sandbox: RunningSandbox
) -> None:
    order = sandbox.order(customer_reference="north-branch-17")
    sandbox.act(order, "status", value="exception", force=True, codes=["LOA_ILLEGIBLE"])
    desk.hear(order)
    assert desk.waiting() == 1
    assert desk.wake() == 1
    assert desk.told() == [("firing", f"exception:{order}", 1)]
    ((_, message),) = desk.sent
    assert "Seen on the order; no event yet." in message.text
    assert desk.waiting() == 0

    desk.scan()
    desk.later(minutes=1)
    desk.wake()
    assert len(desk.sent) == 1
    with desk.ledger.read() as connection:
        (finding,) = open_findings(connection, desk.account)
    assert (finding["occurrence"], finding["detail"]["seen_by"], finding["detail"]["episode"]) == (1, "event", 1)


def test_messaging_exception_is_not_told_again_when_its_event_comes(desk: Desk, sandbox: RunningSandbox) -> None:
    order = sandbox.order(status="in-process")
    (made,) = sandbox.act(order, "messaging", value="exception")
    payload = {"id": order, "messaging": {"messaging_port_status": "exception"}}
    desk.receive(encode({"event_type": made["type"], "id": made["id"], "payload": payload}))
    assert desk.waiting() == 1
    desk.wake()
    desk.scan()
    desk.later(minutes=1)
    desk.wake()
    assert desk.told() == [("firing", f"exception:{order}/messaging", 1)]


def test_a_resent_or_late_webhook_costs_one_request_and_opens_nothing(desk: Desk, sandbox: RunningSandbox) -> None:
    order = sandbox.order()
    sandbox.act(order, "status", value="exception", force=True, codes=["OTHER"])
    desk.hear(order)
    desk.wake()
    desk.scan()
    desk.later(minutes=1)
    sandbox.act(order, "status", value="submitted", force=True)
    desk.scan()
    desk.wake()
    assert [action for action, _, _ in desk.told()] == ["firing", "resolved"]
    sandbox.forget_requests()
    for _ in range(3):
        desk.hear(order)
    assert desk.waiting() == 3
    assert desk.wake() == 1
    assert sandbox.requests()["total"] == 1
    assert len(desk.sent) == 2


def test_replay_is_not_even_looked_at(desk: Desk, sandbox: RunningSandbox) -> None:
    document = webhook()
    document["data"]["payload"]["status"]["value"] = "exception"
    desk.receive(encode(document))
    desk.wake()
    desk.receive(encode(document))
    assert desk.waiting() == 0


def test_webhook_that_ends_an_exception_wakes_and_others_do_not(desk: Desk, sandbox: RunningSandbox) -> None:
    order = sandbox.order()
    desk.hear(order, "in-process")
    assert desk.waiting() == 0
    sandbox.act(order, "status", value="exception", force=True, codes=["OTHER"])
    desk.hear(order)
    desk.wake()
    desk.later(minutes=1)
    sandbox.act(order, "status", value="submitted", force=True)
    desk.hear(order, "submitted")
    assert desk.waiting() == 1
    desk.wake()
    assert [action for action, _, _ in desk.told()] == ["firing", "resolved"]
    assert desk.waiting() == 0


def test_order_that_telnyx_does_not_know_is_asked_for_once(desk: Desk, sandbox: RunningSandbox) -> None:
    desk.hear(NOBODY)
    sandbox.forget_requests()
    assert desk.wake() == 0
    assert sandbox.requests()["total"] == 1
    assert desk.waiting() == 0
    desk.later(minutes=1)
    desk.wake()
    assert sandbox.requests()["total"] == 1
    with desk.ledger.read() as connection:
        assert connection.execute(select(func.count()).select_from(orders)).scalar_one() == 0


@pytest.mark.parametrize(
    "order",
    ["", "x" * 250, "../../v2/porting_orders", "a:exception:b", "\x00\ud800", "%", "{{ conn.x }}", {"id": 1}, None],
)
def test_hostile_body_asks_for_nothing_and_does_not_stay(desk: Desk, sandbox: RunningSandbox, order: Any) -> None:
    for status in ("exception", "a:exception:b"):
        document = webhook()
        document["data"]["payload"] = {"id": order, "status": {"value": status}, "updated_at": "never"}
        desk.receive(json.dumps(document).encode())
    sandbox.forget_requests()
    assert desk.wake() == 0
    assert sandbox.requests()["total"] == 0
    assert (desk.waiting(), desk.sent) == (0, [])


def test_what_the_body_says_is_never_believed(desk: Desk, sandbox: RunningSandbox) -> None:
    order = sandbox.order()
    desk.hear(order)
    assert desk.wake() == 1
    assert desk.sent == []


def test_webhook_stays_open_while_its_order_cannot_be_read(desk: Desk, sandbox: RunningSandbox) -> None:
    order = sandbox.order()
    sandbox.act(order, "status", value="exception", force=True, codes=["OTHER"])
    desk.hear(order)
    sandbox.fault("status", status=403)
    with pytest.raises(TelnyxError):
        desk.wake()
    assert desk.waiting() == 1
    sandbox.clear_faults()
    desk.wake()
    assert (desk.waiting(), len(desk.sent)) == (0, 1)


def test_webhook_that_comes_in_during_a_look_stays_open(
    desk: Desk, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sandbox.order(), sandbox.order()
    desk.hear(first)
    real = desk.client.get_porting_order

    def slow(order: str) -> Any:
        desk.hear(second)
        return real(order)

    monkeypatch.setattr(desk.client, "get_porting_order", slow)
    assert desk.wake() == 1
    assert desk.waiting() == 1


def test_what_cannot_be_looked_at_wakes_no_longer_and_is_left_to_the_schedule(
    desk: Desk, sandbox: RunningSandbox
) -> None:
    order = sandbox.order()
    desk.hear(order)
    desk.later(seconds=WAKES_FOR.total_seconds() + 1)
    assert desk.waiting() == 0
    assert desk.wake() == 1


def test_many_webhooks_are_one_list(desk: Desk, sandbox: RunningSandbox) -> None:
    for _ in range(30):
        order = sandbox.order()
        sandbox.act(order, "status", value="exception", force=True, codes=["OTHER"])
        desk.hear(order)
    sandbox.forget_requests()
    desk.wake()
    assert sandbox.requests()["total"] <= 3
    assert (len(desk.told()), desk.waiting()) == (30, 0)


def test_other_accounts_are_not_woken_for(desk: Desk) -> None:
    desk.hear(NOBODY)
    with desk.ledger.read() as connection:
        assert waking(connection, ["other"], desk.now) == set()


def test_a_look_uses_the_index_of_what_is_open(ledger: Ledger) -> None:
    """A look every second must not cost what the receiver ever took."""
    old = {"account": "a", "source": "receiver", "type": "porting_order.status_changed", "ok": True, "looked_at": START}
    with ledger.write() as connection:
        connection.execute(
            insert(deliveries),
            [old | {"source_id": str(n), "order_id": str(n), "stored_at": START} for n in range(3_000)],
        )
        connection.execute(text("ANALYZE"))
    for query in (
        wakeups._waking(["a"], START),
        wakeups._not_looked_at(deliveries.c.source_id).where(deliveries.c.account == "a"),
    ):
        assert "porting_deliveries_to_look_at" in plan_of(ledger, query)


# -- when it began -----------------------------------------------------------------------------------------------------


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("known", "told", "between", "expected"),
    [
        (0.120, 0.120551, None, 0.120),  # the order writes milliseconds, the event microseconds
        (0, 5, None, 0),  # Telnyx promises nothing about the two being equal
        (5, 0, None, 0),
        (0, 61, None, 61),  # too far: another one
        (0, 20, 10, 20),  # another status in between: another one
    ],
)
def test_an_event_after_its_order_is_the_same_exception(
    known: float, told: float, between: float | None, expected: float
) -> None:
    changes = [Change("exception", at(told))] + ([Change("submitted", at(between))] if between else [])
    now = Standing("exception", at(told), 1, (), "submitted", None, "event")
    assert began(now, changes, "exception", at(known)) == at(expected)
    assert began(now, changes, "submitted", at(known)) == at(told)


@pytest.mark.parametrize("seconds", [-400, 400])
def test_a_clock_that_the_receiver_shows_to_be_wrong_wakes_until_it_is_told(ledger: Ledger, seconds: int) -> None:
    desk = Desk(ledger, quick())
    account, off = desk.account, timedelta(seconds=seconds)

    def wakes() -> bool:
        with ledger.read() as connection:
            return wakeups.clocks_wrong(connection, [account], desk.now) == {(account, wakeups.CLOCK)}

    store_receipts(ledger, [account], [], {account: 1}, desk.now)
    assert not wakes(), "a bad signature alone says nothing about clocks"
    store_receipts(ledger, [account], [], {account: 1}, desk.now, {account: off})
    assert wakes()
    watch_clock(Account(ledger, account, clock=lambda: desk.now), timedelta(0))
    assert not wakes()


def test_a_receiver_ahead_of_us_wakes(ledger: Ledger) -> None:
    desk = Desk(ledger, quick())
    store_receipts(ledger, [desk.account], [], {}, desk.now + timedelta(seconds=400))
    with ledger.read() as connection:
        assert wakeups.clocks_wrong(connection, [desk.account, "another"], desk.now) == {(desk.account, wakeups.CLOCK)}
