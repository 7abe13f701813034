"""Rows for flow tests: an event, a delivery, a feed, a watch, with sensible defaults."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.account import touch_account
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.ledger.tables import deliveries, events

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

ACCOUNT = "telnyx_default"
NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=30)


def add_event(ledger: Ledger, **given: Any) -> str:
    """Store one completed status event, an hour old, unless told otherwise; return its id."""
    created = given.get("created_at", NOW - timedelta(hours=1))
    order = given.get("order_id", str(uuid.uuid4()))
    row = {
        "account": ACCOUNT,
        "id": str(uuid.uuid4()),
        "type": "porting_order.status_changed",
        "order_id": order,
        "created_at": created,
        "updated_at": created,
        "payload_status": "completed",
        "methods": ["email", "webhook"],
        "has_webhook": True,
        "natural_key": f"status_changed:{order}:submitted:{created:%Y-%m-%dT%H:%M:%S}",
        "natural_at": created.isoformat(),
        "copies": 1,
        "value": "submitted",
        "payload": {},
        "first_seen_at": created,
    }
    with ledger.write() as connection:
        connection.execute(events.insert().values(**row | given))
    return str((row | given)["id"])


def add_delivery(ledger: Ledger, **given: Any) -> str:
    """Store one good delivery at the receiver; return its source id."""
    row = {
        "account": ACCOUNT,
        "source": "receiver",
        "source_id": str(uuid.uuid4()),
        "webhook_id": str(uuid.uuid4()),
        "type": "porting_order.status_changed",
        "destination": "https://crm.example.com/hook",
        "ok": True,
        "attempt": 1,
        "occurred_at": NOW - timedelta(hours=1),
        "signed_at": NOW - timedelta(hours=1),
        "stored_at": NOW - timedelta(hours=1),
    }
    with ledger.write() as connection:
        connection.execute(deliveries.insert().values(**row | given))
    return str((row | given)["source_id"])


def add_feed(ledger: Ledger, source: str = "receiver", account: str = ACCOUNT, **given: Any) -> None:
    """Let a feed cover the last 30 days and be alive."""
    row = {"covers_from": OLD, "covered_until": NOW, "proved_at": OLD, "heartbeat": NOW}
    with ledger.write() as connection:
        touch_feed(ledger, connection, account, source, **row | given)


def add_watch(ledger: Ledger, since: datetime = OLD, account: str = ACCOUNT, **events_feed: Any) -> None:
    """Let an account be watched since then, and its events be read."""
    with ledger.write() as connection:
        touch_account(ledger, connection, account, watch_from=since)
    add_feed(ledger, "events", account, **events_feed)


def event_row(ledger: Ledger, event_id: str, account: str = ACCOUNT) -> Any:
    """Return the stored event."""
    with ledger.read() as connection:
        query = events.select().where(events.c.account == account, events.c.id == event_id)
        return connection.execute(query).one()


def body(order: str, at: str) -> str:
    """A webhook that tells an order's status, as it is written."""
    return (
        f'{{"data":{{"event_type":"porting_order.status_changed","id":"w","occurred_at":"{at}","payload":'
        f'{{"id":"{order}","status":{{"value":"submitted"}},"updated_at":"{at}"}}}}}}'
    )


def stored(ledger: Ledger, source: str = "deliveries") -> list[Any]:
    """Return the deliveries that a feed has shown."""
    with ledger.read() as connection:
        return list(connection.execute(deliveries.select().where(deliveries.c.source == source)))
