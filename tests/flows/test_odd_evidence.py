"""Odd evidence beside good evidence: what arrived is `arrived`, nothing else is, and the oddity is told once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.ledger.tables import deliveries, findings
from telnyx_porting.settings import Settings
from tests.support.odd import FAR, FIRST, LONG, NEAR_FAR, SURROGATE
from tests.support.provider import ACCOUNT
from tests.support.rows import NOW, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

WEBHOOK = {"event_type": "porting_order.status_changed", "occurred_at": "2026-10-01T11:00:00Z"}
BODIES: list[Any] = [
    WEBHOOK,
    WEBHOOK | {"id": 7, "payload": [1]},
    WEBHOOK | {"id": LONG, "payload": {"id": LONG, "status": {"value": LONG}, "updated_at": FAR}},
    WEBHOOK | {"id": SURROGATE, "payload": {"id": SURROGATE, "status": {"value": SURROGATE}, "updated_at": FIRST}},
    WEBHOOK | {"occurred_at": FAR, "payload": {"id": "o", "status": {"value": "x"}, "updated_at": NEAR_FAR}},
    {"event_type": SURROGATE},
    {"event_type": "porting_order.messaging_changed", "occurred_at": FAR, "payload": {"id": "o", "messaging": {}}},
    {"event_type": "porting_order.split", "payload": {"from": 1, "to": {"id": LONG}}},
    {},
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("source", ["receiver", "table:warehouse"])
def test_in_what_arrived(ledger: Ledger, source: str, body: Any) -> None:
    """Odd evidence beside good evidence: what arrived is `arrived`, and nothing else is."""
    add_watch(ledger)
    add_feed(ledger, source)
    settings = Settings(consumer_of_record=source)
    arrived, lost = (add_event(ledger, created_at=NOW - timedelta(minutes=50 + n)) for n in range(2))
    row = event_row(ledger, arrived)
    good = WEBHOOK | {"payload": {"id": row.order_id, "status": {"value": "submitted"}, "updated_at": row.natural_at}}
    written = [json.dumps({"data": each}).encode() for each in (body, good, body)]
    at = NOW - timedelta(minutes=49)
    if source == "receiver":
        receipts = [read_receipt(ACCOUNT, each, at + timedelta(seconds=n), "/w", NOW) for n, each in enumerate(written)]
        store_receipts(ledger, [ACCOUNT], receipts, {}, NOW)
    else:
        rows = [{"id": n, "received_at": at, "body": each} for n, each in enumerate(written)]
        read_table(Account(ledger, ACCOUNT, settings, lambda: NOW), source, lambda since: rows)
    for _ in range(2):
        settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
        reconcile(Account(ledger, ACCOUNT, settings, lambda: NOW), enqueue)
    assert event_row(ledger, arrived).delivery == "arrived"
    assert event_row(ledger, lost).delivery == "missed"
    with ledger.read() as connection:
        assert len(connection.execute(select(deliveries)).all()) == 3
        kept = connection.execute(select(findings).where(findings.c.key.startswith("health:odd"))).all()
    assert len(kept) <= 1
    assert all(one.revision == one.occurrence == 1 for one in kept)


@pytest.mark.parametrize("far", [FAR, NEAR_FAR, FIRST])
def test_a_webhook_of_an_odd_time_proves_no_other_event(ledger: Ledger, far: str) -> None:
    """The order's event of the same status, whose own webhook was lost, is not called arrived by it."""
    add_watch(ledger)
    add_feed(ledger, "receiver")
    lost = add_event(ledger, created_at=NOW - timedelta(minutes=50))
    for _ in range(3):  # else nothing is decided: the evidence would not seem to cover port-ins
        add_event(ledger, delivery="arrived", arrived_at=NOW)
    row = event_row(ledger, lost)
    body = WEBHOOK | {"payload": {"id": row.order_id, "status": {"value": "submitted"}, "updated_at": far}}
    receipt = read_receipt(ACCOUNT, json.dumps({"data": body}).encode(), NOW - timedelta(minutes=50), "/w", NOW)
    store_receipts(ledger, [ACCOUNT], [receipt], {}, NOW)
    settle(Account(ledger, ACCOUNT, Settings(consumer_of_record="receiver"), lambda: NOW))
    assert event_row(ledger, lost).delivery == "missed"


ODD_TABLE_ROWS: list[dict[str, Any]] = [
    {"id": None},
    {"id": SURROGATE, "destination": SURROGATE},
    {"received_at": None},
    {"received_at": FAR},
    {"received_at": datetime(9999, 12, 31, tzinfo=UTC)},
    {"received_at": datetime(1, 1, 1)},
    {"received_at": "soon"},
    {"signed_at": 10**30},
    {"signed_at": float("inf")},
    {"ok": "maybe"},
    {"body": 7},
    {"body": SURROGATE},
    {"webhook_id": LONG, "body": None, "event_type": LONG, "order_id": 7},
]


@pytest.mark.parametrize("odd", ODD_TABLE_ROWS, ids=range(len(ODD_TABLE_ROWS)))
def test_in_a_table_of_yours(ledger: Ledger, odd: dict[str, Any]) -> None:
    source = "table:warehouse"
    add_watch(ledger)
    add_feed(ledger, source, covered_until=NOW - timedelta(hours=1))
    settings = Settings(consumer_of_record=source)
    event = add_event(ledger)
    good = {"received_at": NOW - timedelta(minutes=50), "webhook_id": event, "event_type": WEBHOOK["event_type"]}
    rows = [{"id": 1, "received_at": NOW, "body": "{}"} | odd, good | {"id": 2}]
    for _ in range(2):
        result = read_table(Account(ledger, ACCOUNT, settings, lambda: NOW), source, lambda since: rows)
        settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
        reconcile(Account(ledger, ACCOUNT, settings, lambda: NOW), enqueue)
    assert (result.records, result.new_attempts) == (2, 0)
    assert result.covered_until == NOW - settings.settle
    assert event_row(ledger, event).delivery == "arrived"
    with ledger.read() as connection:
        kept = connection.execute(select(findings).where(findings.c.key.startswith("health:odd"))).all()
    assert [(one.key, one.revision) for one in kept] in ([], [("health:odd:table:warehouse", 1)])
