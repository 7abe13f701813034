"""Whose a late arrival is: the republish's, an earlier one's, or the original's own retry; on both databases."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.deliveries.settle import ARRIVED_OTHERWISE, settle
from telnyx_porting.ledger.tables import deliveries, republishes
from telnyx_porting.settings import Settings
from tests.support.arrivals import ORDER, SETTINGS, STATUS, ago, sent, verdict
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, add_feed, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.usefixtures("others_arrived")
PULLED = Settings(consumer_of_record="deliveries")


def body(event: str, attempt: int | None) -> bytes:
    order = {"id": ORDER, "status": {"value": "submitted"}, "updated_at": ago(60).isoformat()}
    data = {"id": event, "event_type": STATUS, "occurred_at": ago(60).isoformat(), "payload": order}
    return json.dumps({"data": data, "meta": {"attempt": attempt}} if attempt else data).encode()


def receive(ledger: Ledger, event: str, minutes_ago: float, attempt: int | None) -> None:
    at = ago(minutes_ago)
    store_receipts(ledger, [ACCOUNT], [read_receipt(ACCOUNT, body(event, attempt), at, "/", at)], {}, NOW)


def record(ledger: Ledger, event: str, minutes_ago: float, *, ok: bool, name: str = "r", **more: Any) -> None:
    at = ago(minutes_ago)
    given = {"source": "deliveries", "record_id": name, "webhook_id": event, "ok": ok, "attempt": None}
    add_delivery(ledger, type=STATUS, signed_at=at, **{"stored_at": at, **given, **more})


@pytest.fixture
def resent(ledger: Ledger) -> str:
    """A status of an hour ago, sent again 40 minutes ago."""
    event = add_event(ledger)
    sent(ledger, event, 40)
    return event


RETRY = ("unknown", ARRIVED_OTHERWISE)
OURS = ("arrived", None)


@pytest.mark.parametrize(("attempt", "minutes_ago", "expected"), [
    (1, 39, OURS),
    (2, 39, RETRY),
    (7, 20, RETRY),
    (None, 39, RETRY),  # no count, and near enough to the event to be the original's
    (None, 25, OURS),
])  # fmt: skip
def test_at_the_receiver_without_records(
    ledger: Ledger, resent: str, attempt: int | None, minutes_ago: float, expected: Any
) -> None:
    receive(ledger, resent, minutes_ago, attempt)
    assert verdict(ledger, resent) == expected
    assert event_row(ledger, resent).delivery == "arrived"


@pytest.mark.parametrize("attempt", [2, None])
@pytest.mark.parametrize("listed", ["while tried", "after the last try"])
def test_the_records_show_that_it_was_the_originals_retry(
    ledger: Ledger, resent: str, attempt: int | None, listed: str
) -> None:
    add_feed(ledger, "deliveries")
    known = {"stored_at": ago(50) if listed == "while tried" else NOW}
    record(ledger, resent, 60, ok=False, **known)
    record(ledger, resent, 39, ok=True, stored_at=NOW)
    receive(ledger, resent, 39, attempt)
    assert verdict(ledger, resent) == RETRY


@pytest.mark.parametrize("attempt", [1, 4, None])
def test_the_records_show_that_it_was_the_republish(ledger: Ledger, resent: str, attempt: int | None) -> None:
    """A provider that goes on counting, or that does not count."""
    add_feed(ledger, "deliveries")
    record(ledger, resent, 60, ok=False)
    record(ledger, resent, 39, ok=True, name="new", stored_at=NOW)
    receive(ledger, resent, 39, attempt)
    assert verdict(ledger, resent) == OURS


def test_a_verdict_waits_for_the_records_that_may_explain_it(ledger: Ledger, resent: str) -> None:
    add_feed(ledger, "deliveries", covered_until=ago(45))
    receive(ledger, resent, 39, 4)
    early = ago(20)  # due, and the records are not read so far
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: early))
    with ledger.read() as connection:
        assert connection.execute(republishes.select()).one().state == "accepted"
    record(ledger, resent, 39, ok=True, name="new", stored_at=NOW)
    add_feed(ledger, "deliveries")
    assert verdict(ledger, resent) == OURS


@pytest.mark.parametrize("listed", ["while tried", "after the last try"])
@pytest.mark.parametrize(("tries", "expected"), [([60, 50], RETRY), ([60], RETRY), ([100, 90], OURS)])
def test_where_the_records_decide(ledger: Ledger, listed: str, tries: list[float], expected: Any) -> None:
    add_feed(ledger, "deliveries", known={"https://crm.example.com/hook": NOW.isoformat()})
    event = add_event(ledger, created_at=ago(tries[0]))
    sent(ledger, event, 40)
    known = ago(45) if listed == "while tried" else NOW
    for minutes in tries:
        record(ledger, event, minutes, ok=False, stored_at=known)
    record(ledger, event, 39, ok=True, stored_at=NOW)
    assert verdict(ledger, event, PULLED) == (expected if listed == "while tried" else RETRY)


def test_an_earlier_republish_that_comes_late_is_not_the_later_ones(ledger: Ledger) -> None:
    event = add_event(ledger, created_at=ago(120))
    sent(ledger, event, 60, 1, state="not_arrived", settled_at=ago(45))
    sent(ledger, event, 40, 2)
    receive(ledger, event, 38, 1)
    assert verdict(ledger, event) == RETRY


def test_a_later_republish_does_not_credit_the_one_that_was_swallowed(ledger: Ledger) -> None:
    event = add_event(ledger, created_at=ago(200))
    sent(ledger, event, 160, 1)
    assert verdict(ledger, event) == ("not_arrived", None)
    sent(ledger, event, 40, 2)
    receive(ledger, event, 38, 1)
    assert verdict(ledger, event) == OURS
    with ledger.read() as connection:
        states = dict(connection.execute(select(republishes.c.n, republishes.c.state)).all())
    assert states == {1: "unknown", 2: "arrived"}


@pytest.mark.parametrize("attempt", [0, -1, 2**31, 2**70, True, "2", 1.5, None])
def test_an_odd_count_of_tries_is_no_count(ledger: Ledger, attempt: Any) -> None:
    """Nor does it keep a webhook from being stored."""
    document = json.loads(body(str(uuid.uuid4()), 1)) | {"meta": {"attempt": attempt}}
    row = read_receipt(ACCOUNT, json.dumps(document).encode(), NOW, "/", NOW)
    store_receipts(ledger, [ACCOUNT], [row], {}, NOW)
    with ledger.read() as connection:
        assert connection.execute(deliveries.select()).one().attempt is None
