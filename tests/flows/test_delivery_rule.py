"""The one rule for "did it arrive?", as a table, on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.consumer import AROUND, find_record
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.receipts import store_receipts
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.settings import load
from tests.support.rows import ACCOUNT, NOW, OLD, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

SETTINGS = load(environ={"TELNYX_PORTING_CONSUMER_OF_RECORD": "receiver"})
YOUNG, DUE = timedelta(minutes=5), timedelta(hours=1)
FEEDS: dict[str, dict[str, Any]] = {
    "covers": {},
    "stale": {"covers_from": NOW - timedelta(minutes=30)},  # it began after the event was due
    "never_proved": {"proved_at": None},
}


def expected(delivery: str, age: timedelta, feed: str, kind: str) -> str:
    """Say in words of the design what must come out."""
    proved = feed in ("covers", "stale")
    if delivery == "delivered" and proved:
        return "arrived"
    if kind == "email_only":
        return "not_expected"
    if kind == "not_generated":
        return "pending"
    if age == YOUNG or not proved:
        return "pending"
    if feed == "stale":
        return "undetermined"
    return "missed"


@pytest.fixture(autouse=True)
def watched(ledger: Ledger) -> None:
    """The account was first contacted long ago."""
    add_watch(ledger)


def test_every_combination(ledger: Ledger) -> None:
    """{delivery} x {age} x {coverage} x {type} decides as the design says; each in an account of its own."""
    combinations = product(
        ["no_row", "failed", "delivered", "delivered_elsewhere"],
        [YOUNG, DUE],
        ["covers", "stale", "absent", "never_proved"],
        ["webhook", "email_only", "not_generated"],
    )
    wrong = []
    for delivery, age, feed, kind in combinations:
        account = f"{delivery} {age} {feed} {kind}"
        row = _decide_one(ledger, account, delivery, age, feed, kind)
        cause = ("failed" if delivery == "failed" else "no_trace") if row.delivery == "missed" else None
        due = kind != "not_generated"
        got = (row.delivery, row.cause, row.due_at is not None)
        if got != (wanted := (expected(delivery, age, feed, kind), cause, due)):
            wrong.append(f"{account}: {got}, expected {wanted}")
    assert wrong == []


def _decide_one(ledger: Ledger, account: str, delivery: str, age: timedelta, feed: str, kind: str) -> Any:
    for _ in range(3):  # others that arrived: the storm guard is not what this test is about
        before = NOW - timedelta(hours=2)
        add_event(ledger, account=account, delivery="arrived", arrived_at=NOW, created_at=before)
    if feed != "absent":
        add_feed(ledger, account=account, **FEEDS[feed])
    add_feed(ledger, "deliveries", account=account)
    add_watch(ledger, account=account)
    given = {"email_only": {"has_webhook": False}, "not_generated": {"payload_status": "created"}}.get(kind, {})
    event = add_event(ledger, account=account, created_at=NOW - age, **given)
    if delivery != "no_row":
        source = "receiver" if delivery == "delivered" else "deliveries"
        add_delivery(ledger, account=account, source=source, webhook_id=event, ok=delivery != "failed")
    match(Account(ledger, account, SETTINGS))
    decide(Account(ledger, account, SETTINGS, lambda: NOW))
    return event_row(ledger, event, account)


def test_most_of_a_window_without_a_trace_decides_nothing(ledger: Ledger) -> None:
    """A feed that does not carry port-ins must not look like a disaster; the reason is told."""
    add_feed(ledger)
    silent = [add_event(ledger) for _ in range(6)]
    for _ in range(5):
        add_event(ledger, delivery="arrived", arrived_at=NOW)
    assert "6 of 11" in (decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)) or "")
    assert {event_row(ledger, event).delivery for event in silent} == {"pending"}
    add_event(ledger, delivery="arrived", arrived_at=NOW)
    assert decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)) is None
    assert {event_row(ledger, event).delivery for event in silent} == {"missed"}


def test_refused_signatures_hold_back(ledger: Ledger) -> None:
    """A wrong key at the receiver looks like an outage; it is one of ours, and nothing is resent into it."""
    add_feed(ledger, refused=3)
    for _ in range(5):
        add_event(ledger, delivery="arrived", arrived_at=NOW)
    event = add_event(ledger)
    assert "refused 3 signatures" in (decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)) or "")
    assert event_row(ledger, event).delivery == "pending"


def test_a_split_needs_as_many_webhooks_as_numbers(ledger: Ledger) -> None:
    """Two of three webhooks are not an arrival; the same one twice is not two."""
    add_feed(ledger)
    for _ in range(3):
        add_event(ledger, delivery="arrived", arrived_at=NOW)
    add_delivery(ledger, webhook_id=add_event(ledger))  # notifications come once
    event = add_event(ledger, type="porting_order.split", copies=3, natural_key="split:a:b", natural_at=None)
    common = {"type": "porting_order.split", "natural_key": "split:a:b"}
    for webhook in ("w1", "w2", "w2"):
        add_delivery(ledger, webhook_id=webhook, **common)
    match(Account(ledger, ACCOUNT, SETTINGS))
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, event).delivery == "missed"
    add_delivery(ledger, webhook_id="w3", **common)
    match(Account(ledger, ACCOUNT, SETTINGS))
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, event).delivery == "arrived"


def test_an_event_read_after_its_webhook_finds_it(ledger: Ledger) -> None:
    """The webhook is usually here first; the event must find it whenever the scan brings it."""
    add_feed(ledger)
    order, at = "0c28cec1-b947-42af-a4b9-36976b4b76b0", NOW - timedelta(hours=1)
    key = f"status_changed:{order}:submitted:{at:%Y-%m-%dT%H:%M:%S}"
    add_delivery(ledger, natural_key=key, natural_at=f"{at:%Y-%m-%dT%H:%M:%S}Z")
    match(Account(ledger, ACCOUNT, SETTINGS))
    event = add_event(ledger, order_id=order, created_at=at)
    match(Account(ledger, ACCOUNT, SETTINGS))
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, event).delivery == "arrived"


def test_arrived_is_for_ever_and_history_is_never_missed(ledger: Ledger) -> None:
    """What came before the watch began is undetermined: a first look plans nothing."""
    add_feed(ledger)
    add_watch(ledger, NOW - timedelta(minutes=10))
    for _ in range(3):
        add_event(ledger, delivery="arrived", arrived_at=OLD, created_at=OLD)
    old = add_event(ledger)
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, old).delivery == "undetermined"


def outages(ledger: Ledger, *begins: datetime, minutes: int = 10) -> None:
    """Let the receiver's heart beat, but for some minutes after each of these times."""
    for begin in begins:
        with ledger.write() as connection:  # all was well until then
            touch_feed(ledger, connection, ACCOUNT, "receiver", heartbeat=begin)
        store_receipts(ledger, [ACCOUNT], [], {}, begin + timedelta(minutes=minutes))
    with ledger.write() as connection:
        touch_feed(ledger, connection, ACCOUNT, "receiver", heartbeat=NOW)


def test_an_outage_is_remembered_while_its_events_are_open(ledger: Ledger) -> None:
    """The receiver is down again, and again, before the first outage's events are decided: each has its reason."""
    add_feed(ledger)
    first = NOW - timedelta(days=2)
    outages(ledger, first, *(first + timedelta(hours=hours) for hours in range(1, 40)))
    lost = [add_event(ledger, created_at=first + timedelta(minutes=5)) for _ in range(4)]
    assert decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)) is None
    assert {event_row(ledger, event).delivery for event in lost} == {"missed"}


def test_between_two_outages_nothing_is_explained(ledger: Ledger) -> None:
    """What left no trace while the receiver was up is no outage's loss."""
    add_feed(ledger)
    first = NOW - timedelta(hours=5)
    outages(ledger, first, first + timedelta(hours=1))
    for _ in range(4):
        add_event(ledger, created_at=first + timedelta(minutes=30))
    assert "4 of 4" in (decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)) or "")


def test_a_flapping_receiver_does_not_grow_the_ledger(ledger: Ledger) -> None:
    """Of very many outages the newest are kept, whole; what lies further back is held back, not sent."""
    add_feed(ledger)
    first = NOW - timedelta(days=2)
    begins = [first + timedelta(minutes=20 * number) for number in range(130)]
    outages(ledger, *begins)
    add_event(ledger, created_at=begins[0] + timedelta(minutes=5))
    assert decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)) is not None
    with ledger.read() as connection:
        record = find_record(connection, ACCOUNT, SETTINGS, NOW)
        feed = get_feed(connection, ACCOUNT, "receiver")
    assert record is not None
    assert record.outages == tuple((begin - AROUND, begin + timedelta(minutes=10) + AROUND) for begin in begins[-100:])
    assert feed is not None
    assert len(feed["outages"]) < 4_000
