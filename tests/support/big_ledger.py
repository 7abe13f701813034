"""A ledger with a long history in which nearly all is over; the database itself makes a million rows quickly.

Of a hundred orders five are open, one of them with a finding; each order has ten events, nearly each a delivery.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

from telnyx_porting.ledger.tables import alerts, findings, orders, plans, republishes, windows
from telnyx_porting.ledger.types import microseconds
from telnyx_porting.models.keys import NEW_COMMENT, STATUS_CHANGED
from tests.support.rows import ACCOUNT, NOW, add_feed, add_watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger

EVENTS = 10  # of an order
HOUR = timedelta(hours=1)
_OPEN = ("submitted", "submitted", "exception", "foc-date-confirmed", "in-process")

_EVENTS = f"""
INSERT INTO porting_events (account, id, type, order_id, created_at, updated_at, payload_status, projected,
    methods, has_webhook, natural_key, copies, value, payload, pruned, first_seen_at,
    delivery, cause, due_at, arrived_at, sends)
SELECT account, substr(id, 1, 34) || nth,
    CASE WHEN nth IN ('03', '07') THEN '{NEW_COMMENT}' ELSE '{STATUS_CHANGED}' END,
    id, created_at + step, created_at + step, 'completed', 'completed', '["email","webhook"]', true, id || nth, 1,
    CASE WHEN nth = '03' THEN 'admin' WHEN nth = '07' THEN 'user' ELSE 'submitted' END,
    '{{"comment":{{"body":"' || substr(id, 1, 20) || '","user_type":"admin"}}}}', false, created_at + step,
    CASE WHEN nth = '09' AND number_count % 50 = 0 THEN 'missed' WHEN nth = '09' AND number_count % 500 = 1
        THEN 'given_up' ELSE 'arrived' END,
    CASE WHEN nth = '09' AND number_count % 50 = 0 THEN 'no_trace' END, created_at + step + 900000000,
    created_at + step + 1000000, 0
FROM porting_orders CROSS JOIN (
    {" UNION ALL ".join(f"SELECT '{n:02}' AS nth, {n * microseconds(12 * HOUR)} AS step" for n in range(EVENTS))}
) parts
"""
_DELIVERIES = """
INSERT INTO porting_deliveries (account, source, source_id, event_id, matched, webhook_id, type, order_id, natural_key,
    destination, ok, attempt, occurred_at, signed_at, stored_at, looked_at)
SELECT account, 'receiver', 'w' || id, id, 'id', id, type, order_id, natural_key, 'https://crm.example.com/hook', true,
    1, created_at, created_at + 1000000, created_at + 2000000, created_at + 2000000
FROM porting_events WHERE delivery = 'arrived'
"""


def fill_big(ledger: Ledger, count: int = 100_000, every: int = 100) -> None:
    """Write `count` orders, ten times as many events and deliveries, and what else a busy account has by then.

    :param every: one order in so many has an open finding
    """
    _insert(ledger, orders, (_order(n, count) for n in range(count)))
    for statement in (_EVENTS, _DELIVERIES):
        with ledger.engine.begin() as connection:
            connection.execute(text(statement))
    _insert(ledger, findings, (row for n in range(count) for row in _findings(n, every)))
    _insert(ledger, alerts, (_alert(row) for n in range(count) for row in _findings(n, every)))
    _insert(ledger, plans, (_plan(n) for n in range(max(count // 250, 2))))
    _insert(ledger, republishes, (_republish(n, count) for n in range(count // 5)))
    _insert(ledger, windows, (_window(n) for n in range(count // 4)))
    add_watch(ledger, NOW - timedelta(days=400))
    add_feed(ledger)
    add_feed(ledger, "deliveries")
    raw = ledger.engine.raw_connection()
    raw.driver_connection.execute("ANALYZE")
    raw.driver_connection.commit()
    raw.close()


def order_id(n: int) -> str:
    """The n-th order's id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(n)))[:34] + "aa"


def _insert(ledger: Ledger, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append({"account": ACCOUNT, **row})
        if len(batch) == 10_000:
            with ledger.write() as connection:
                connection.execute(insert(table), batch)
            batch = []
    if batch:
        with ledger.write() as connection:
            connection.execute(insert(table), batch)


def _is_open(n: int) -> bool:
    return n % 20 == 0


def _order(n: int, count: int) -> dict[str, Any]:
    is_open = _is_open(n)
    at = NOW - (timedelta(days=n // 20 % 60) if is_open else timedelta(days=700) * (1 - n / count)) - timedelta(days=6)
    foc = NOW + timedelta(hours=n % 400 - 20) if is_open else at + timedelta(days=9)
    return {
        "id": order_id(n),
        "status": _OPEN[n // 20 % len(_OPEN)] if is_open else "cancelled" if n % 9 == 0 else "ported",
        "status_since": at + timedelta(days=4, seconds=n % 60),
        "episode": n % 3,
        "codes": [["ENTITY_NAME_MISMATCH", "the name differs"]] if is_open else [],
        "messaging_status": None,
        "foc_requested": at + timedelta(days=8),
        "foc_actual": foc if n % 7 else None,
        "customer_reference": f"Site-{n:06}",
        "customer_group_reference": f"group-{n % 500}",
        "support_key": f"sr_{n:06x}",
        "parent_support_key": f"pr_{n // 10:06x}",
        "number_count": n % 1_000 + 1,
        "number_type": "local",
        "country": "US",
        "created_at": at,
        "updated_at": at + timedelta(days=5),
        "api_read_at": at + timedelta(days=5),
        "seen_by": "event",
        "split_from": order_id(n - 1) if n % 100 == 1 else None,
    }


def _findings(n: int, every: int) -> Iterator[dict[str, Any]]:
    if n % 5:
        return
    is_open = n % every == 0
    kind, detail = _KINDS[n // (every if is_open else 5) % len(_KINDS)]
    at = NOW - timedelta(minutes=n % 9_000)
    subject = order_id(n) + ("/overdue" if kind == "foc" else "")
    yield {
        "key": f"{kind}:{subject}",
        "kind": kind,
        "subject": subject,
        "order_id": order_id(n),
        "severity": ("critical", "high", "low")[n % 3],
        "detail": detail,
        "since": at,
        "opened_at": at,
        "resolved_at": None if is_open else at + HOUR,
        "occurrence": 1,
        "owner": ("ann", "bob", None)[n % 3],
        "triage": {"log": [[at.isoformat(), "ann", "noted", "x"]]} if n % 3 == 0 else None,
    }


_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("exception", {"codes": [["ENTITY_NAME_MISMATCH", "the name differs"]], "episode": 1, "came_from": "submitted"}),
    ("question", {"comments": ["x"]}),
    ("foc", {"what": "overdue", "foc": NOW.isoformat()}),
    ("overdue", {"status": "submitted", "limit": "7d", "entered": NOW.isoformat()}),
    ("exception", {"codes": [["SV_CONFLICT", None]], "episode": 2, "came_from": "submitted"}),
)


def _alert(row: dict[str, Any]) -> dict[str, Any]:
    over = row["resolved_at"] is not None
    return {
        "key": row["key"],
        "occurrence": 1,
        "channel": "desk:json",
        "status": "resolved" if over else "sent",
        "action": "firing",
        "group_key": f"{row['kind']}/{row['severity']}",
        "next_at": None if over else NOW + HOUR,
        "sent_at": row["since"],
        "sends": 1,
    }


def plan_id(n: int) -> str:
    """The n-th plan's id; the last is open, and the first is the largest."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(n)))


def _plan(n: int) -> dict[str, Any]:
    at = NOW - timedelta(hours=2 + n)
    return {
        "id": plan_id(n),
        "reason": "missed notifications",
        "selection": {"words": "50 events", "webhooks": ["https://crm.example.com/hook"]},
        "hash": "h" * 64,
        "size": 50,
        "created_at": at,
        "created_by": "schedule",
        "approved_at": at,
        "approved_by": "ann",
        "closed_at": at + HOUR if n else None,
        "closed_by": "watch" if n else None,
        "close_reason": "done" if n else None,
        "expires_at": at + 24 * HOUR,
    }


def _republish(n: int, count: int) -> dict[str, Any]:
    largest = min(count // 20, 5_000)
    of_plan = 1 if n < largest else 2 + (n - largest) // 50 % max(count // 250 - 2, 1)
    at = NOW - timedelta(hours=2 + of_plan)
    event = order_id(n)[:34] + "05"
    return {"plan_id": plan_id(of_plan), "event_id": event, "position": n, "wave": 3, "state": "arrived", "n": 1} | {
        "sent_at": at,
        "settled_at": at + timedelta(minutes=1),
    }


def _window(n: int) -> dict[str, Any]:
    at = NOW - timedelta(minutes=5 * n)
    return {
        "id": f"w{n}",
        "since": at - timedelta(minutes=5),
        "until": at,
        "made_by": "night" if n % 288 == 0 else "scan",
        "method": "ids" if n % 288 == 0 else None,
        "held": 10,
        "counted": 10,
        "requests": 3,
        "started_at": at,
        "sealed_at": None if n % 5_000 == 7 else at,
        "open_reason": "Telnyx did not answer" if n % 5_000 == 7 else None,
    }
