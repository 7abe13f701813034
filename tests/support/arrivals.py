"""One order's events, what the receiver was told of them, what was sent again, and what is said to have arrived."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.ledger.tables import events, republishes
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, add_watch, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

SETTINGS = Settings(consumer_of_record="receiver")
MESSAGING, SPLIT, STATUS = (f"porting_order.{kind}" for kind in ("messaging_changed", "split", "status_changed"))
ORDER = "0c28cec1-b947-42af-a4b9-36976b4b76b0"
KEYS = {MESSAGING: f"messaging_changed:{ORDER}:pending", SPLIT: f"split:{ORDER}:{uuid.UUID(int=7)}"}


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def happened(ledger: Ledger, kind: str, minutes_ago: float, *, generated: bool = True, **more: Any) -> str:
    at = ago(minutes_ago)
    key = {"natural_key": KEYS[kind], "natural_at": at.isoformat() if kind == MESSAGING else None}
    unknown = {"natural_key": None, "natural_at": None, "payload_status": "created", "payload": None}
    return add_event(ledger, type=kind, order_id=ORDER, created_at=at, **(key if generated else unknown) | more)


def told(ledger: Ledger, kind: str, minutes_ago: float, **more: Any) -> str:
    at = ago(minutes_ago)
    times = {"occurred_at": at, "signed_at": at, "stored_at": at}
    return add_delivery(ledger, type=kind, order_id=ORDER, natural_key=KEYS[kind], **times | more)


def generate(ledger: Ledger, event: str, kind: str, **more: Any) -> None:
    with ledger.write() as connection:
        known = {"natural_key": KEYS[kind], "payload_status": "completed", "payload": {}, **more}
        connection.execute(events.update().where(events.c.id == event).values(**known))


def read_until(ledger: Ledger, minutes_ago: float) -> None:
    add_watch(ledger, covered_until=ago(minutes_ago))


def states(ledger: Ledger, *ids: str, settings: Settings = SETTINGS) -> list[str]:
    settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
    return [event_row(ledger, event).delivery for event in ids]


def sent(ledger: Ledger, event: str, minutes_ago: float, n: int = 1, **more: Any) -> None:
    at = ago(minutes_ago)
    row = {
        "account": ACCOUNT, "plan_id": f"p{n}", "event_id": event, "position": 0, "wave": 1, "state": "accepted",
        "n": n, "baseline": [], "sent_at": at, "reply_date": at, "due_at": at + timedelta(minutes=15),
    }  # fmt: skip
    with ledger.write() as connection:
        connection.execute(republishes.insert().values(**row | more))
        given = {"sends": n, "last_sent_at": at, "last_sent_date": at, "delivery": None}
        connection.execute(events.update().where(events.c.id == event).values(**given))


def verdict(ledger: Ledger, event: str, settings: Settings = SETTINGS) -> tuple[str, str | None]:
    settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
    with ledger.read() as connection:
        query = republishes.select().where(republishes.c.event_id == event).order_by(republishes.c.n.desc())
        row = connection.execute(query).first()
    assert row is not None
    return row.state, row.detail
