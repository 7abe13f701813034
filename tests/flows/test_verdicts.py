"""Verdicts: what proves a republish, what does not, and what nobody can tell; on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.settle import ARRIVED_OTHERWISE, MAILS_ONLY, NO_FEED, UNCLEAR, settle
from telnyx_porting.ledger.tables import republishes
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, OLD, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

RECEIVER = Settings(consumer_of_record="receiver")
PULLED = Settings(consumer_of_record="deliveries:https://crm.example.com")
SENT = NOW - timedelta(minutes=30)
SKEW = timedelta(seconds=-200)  # the provider's clock, seen from ours


@pytest.fixture(autouse=True)
def watched(ledger: Ledger) -> None:
    add_watch(ledger, clock_offset=int(SKEW.total_seconds() * 1000))
    add_feed(ledger)
    add_feed(ledger, "deliveries", known={"https://crm.example.com/hook": NOW.isoformat()})
    for _ in range(5):
        add_event(ledger, delivery="arrived", arrived_at=NOW)


def sent(ledger: Ledger, state: str = "accepted", event: dict[str, Any] | None = None, **given: Any) -> str:
    """An event that was republished half an hour ago."""
    event_id = add_event(ledger, sends=1, last_sent_at=SENT, last_sent_date=SENT + SKEW, **event or {})
    row = {
        "account": ACCOUNT, "plan_id": "p", "event_id": event_id, "position": 0, "wave": 1, "state": state, "n": 1,
        "owner": "o", "baseline": [], "sent_at": SENT, "reply_date": SENT + SKEW,
        "due_at": SENT + timedelta(minutes=15),
    }  # fmt: skip
    with ledger.write() as connection:
        connection.execute(republishes.insert().values(**row | given))
    return event_id


def heard(ledger: Ledger, event: str, after: float, **given: Any) -> str:
    """A good delivery, signed some seconds after the reply's Date, on the provider's clock."""
    at: datetime = SENT + SKEW + timedelta(seconds=after)
    return add_delivery(ledger, **{"webhook_id": event, "signed_at": at, "occurred_at": at, "stored_at": SENT, **given})


def verdict(ledger: Ledger, event: str, now: datetime = NOW, settings: Settings = RECEIVER) -> tuple[str, str | None]:
    settle(Account(ledger, ACCOUNT, settings, lambda: now))
    with ledger.read() as connection:
        row = connection.execute(republishes.select().where(republishes.c.event_id == event)).one()
    return row.state, row.detail


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (2.0, ("arrived", None)),
        (-0.9, ("arrived", None)),
        (-1.1, ("unknown", ARRIVED_OTHERWISE)),
        (-600.0, ("unknown", ARRIVED_OTHERWISE)),
    ],
)
def test_credit_needs_a_signature_after_the_reply(ledger: Ledger, after: float, expected: Any) -> None:
    event = sent(ledger)
    heard(ledger, event, after)
    assert verdict(ledger, event) == expected
    assert event_row(ledger, event).delivery == "arrived"


def test_what_was_known_at_the_claim_is_no_evidence(ledger: Ledger) -> None:
    event = sent(ledger, event={"delivery": "arrived", "arrived_at": OLD})
    known = heard(ledger, event, 5.0)
    with ledger.write() as connection:
        connection.execute(republishes.update().values(baseline=[known]))
    assert verdict(ledger, event) == ("not_arrived", "no new delivery of this repeat was seen")


def test_nothing_is_said_before_its_time_inside_the_coverage(ledger: Ledger) -> None:
    event = sent(ledger)
    assert verdict(ledger, event, SENT + timedelta(minutes=15)) == ("accepted", None)
    assert verdict(ledger, event, SENT + timedelta(minutes=15, seconds=3)) == ("not_arrived", None)


def test_what_only_causes_mails_cannot_be_confirmed(ledger: Ledger) -> None:
    """A person asked for it: nobody sees mails, so it is not told that it did not arrive."""
    event = sent(ledger, event={"has_webhook": False, "delivery": "not_expected"})
    assert verdict(ledger, event) == ("unknown", MAILS_ONLY)


def test_a_pulled_feed_that_lags_says_nothing(ledger: Ledger) -> None:
    add_feed(ledger, "deliveries", covered_until=SENT + timedelta(minutes=14), known={})
    event = sent(ledger)
    assert verdict(ledger, event, settings=PULLED) == ("accepted", None)


def test_another_destination_proves_nothing(ledger: Ledger) -> None:
    event = sent(ledger)
    heard(ledger, event, 2.0, source="deliveries", destination="https://audit.example.com/hook")
    assert verdict(ledger, event, settings=PULLED)[0] != "arrived"
    other = sent(ledger)
    heard(ledger, other, 2.0, source="deliveries", destination="https://crm.example.com/hook")
    assert verdict(ledger, other, settings=PULLED) == ("arrived", None)


def test_the_originals_own_retry_is_not_credited(ledger: Ledger) -> None:
    """A record that began before the send, and that nobody had seen by then."""
    event = sent(ledger)
    record = {"source": "deliveries", "record_id": "r", "destination": "https://crm.example.com/hook"}
    heard(ledger, event, -60.0, **record, ok=False, stored_at=NOW)
    heard(ledger, event, 3.0, **record, stored_at=NOW)
    assert verdict(ledger, event, settings=PULLED) == ("unknown", ARRIVED_OTHERWISE)


def test_an_old_record_that_grew_is_credited(ledger: Ledger) -> None:
    event = sent(ledger)
    record = {"source": "deliveries", "record_id": "r", "destination": "https://crm.example.com/hook"}
    heard(ledger, event, -3600.0, **record, ok=False, stored_at=SENT - timedelta(minutes=30))
    heard(ledger, event, 3.0, **record, stored_at=NOW)
    assert verdict(ledger, event, settings=PULLED) == ("arrived", None)


def test_without_any_feed_it_cannot_be_confirmed(ledger: Ledger) -> None:
    event = sent(ledger)
    assert verdict(ledger, event, settings=Settings(consumer_of_record="table:none")) == ("unknown", NO_FEED)


def test_half_a_split_is_not_an_arrival(ledger: Ledger) -> None:
    split = {"type": "porting_order.split", "copies": 3, "natural_key": "split:a:b", "natural_at": None}
    common = {"type": "porting_order.split", "natural_key": "split:a:b"}
    event = sent(ledger, event=split)
    add_delivery(ledger, webhook_id=add_event(ledger))  # notifications come once
    heard(ledger, event, 2.0, **common | {"webhook_id": "w1"})
    heard(ledger, event, 2.0, **common | {"webhook_id": "w2"})
    assert verdict(ledger, event)[0] != "arrived"
    heard(ledger, event, 2.0, **common | {"webhook_id": "w3"})
    assert verdict(ledger, event) == ("arrived", None)


def test_an_unclear_delivery_makes_the_verdict_unclear(ledger: Ledger) -> None:
    """Not 'not arrived': something of this key did arrive."""
    twin = {"natural_key": "messaging_changed:o:pending", "natural_at": None, "type": "porting_order.messaging_changed"}
    event = sent(ledger, event=twin)
    add_event(ledger, **twin)
    heard(ledger, event, 2.0, webhook_id="w", natural_key=twin["natural_key"], type=twin["type"])
    assert verdict(ledger, event) == ("unknown", UNCLEAR)


def test_a_rounded_time_that_may_be_this_events_makes_the_verdict_unclear(ledger: Ledger) -> None:
    """The second in its key is not the event's: the webhook says when it happened in whole seconds."""
    created = NOW - timedelta(hours=1) + timedelta(milliseconds=700)
    event = sent(ledger, event={"order_id": "o", "created_at": created})
    add_event(
        ledger, order_id="o", created_at=created, payload_status="created", payload=None,
        natural_key=None, natural_at=None,
    )  # fmt: skip
    told = created + timedelta(milliseconds=300)
    key = f"status_changed:o:submitted:{told:%Y-%m-%dT%H:%M:%S}"
    heard(ledger, event, 2.0, webhook_id="w", order_id="o", natural_key=key, natural_at=f"{told:%Y-%m-%dT%H:%M:%SZ}")
    assert verdict(ledger, event) == ("unknown", UNCLEAR)


def test_a_dead_claim_counts_once_and_is_looked_at(ledger: Ledger) -> None:
    event = sent(ledger, "sending", event={"delivery": "missed"}, due_at=None)
    for _ in range(3):
        settle(Account(ledger, ACCOUNT, RECEIVER, lambda: SENT + timedelta(minutes=3)))
    row = event_row(ledger, event)
    assert (row.sends, row.last_sent_date, row.delivery) == (2, SENT + SKEW, "pending")
    state, detail = verdict(ledger, event, SENT + timedelta(minutes=3))
    assert state == "unknown"
    assert "ended before its outcome" in (detail or "")


def test_arrived_is_never_taken_back(ledger: Ledger) -> None:
    event = sent(ledger)
    heard(ledger, event, 2.0)
    assert verdict(ledger, event)[0] == "arrived"
    for days in (1, 30):
        assert verdict(ledger, event, NOW + timedelta(days=days))[0] == "arrived"
