"""Store events: forwards only, changed rows only, one bad row never the batch.

An event once stored is never lost nor doubled; id and created_at never change. Everything else moves only forwards:
`completed` is never replaced by `created`, a payload by null, a newer `updated_at` by an older one, and a payload that
retention removed does not come back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, case, or_, select
from sqlalchemy.exc import DataError

from telnyx_porting.ledger.engine import Ledger, excluded
from telnyx_porting.ledger.tables import events
from telnyx_porting.ledger.types import instant
from telnyx_porting.models import MessagingChangedEvent, NewCommentEvent, PortingEvent, SplitEvent, StatusChangedEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

log = logging.getLogger(__name__)
CHUNK = (
    2_000  # rows per write transaction: well under 200 ms on SQLite, so that the receiver beside it never waits long
)


@dataclass(frozen=True)
class Stored:
    """What a batch changed in the ledger."""

    new: int = 0
    changed: int = 0
    late: int = 0  # new rows created before `behind`
    oldest_late: datetime | None = None

    def __add__(self, other: Stored) -> Stored:
        oldest = min((t for t in (self.oldest_late, other.oldest_late) if t), default=None)
        return Stored(self.new + other.new, self.changed + other.changed, self.late + other.late, oldest)


def store_events(
    ledger: Ledger,
    connection: Connection,
    account: str,
    batch: Sequence[PortingEvent],
    now: datetime,
    behind: datetime | None = None,
) -> Stored:
    """Upsert at most :data:`CHUNK` events inside the caller's transaction.

    :param behind: the watermark; new rows created before it are late.
    :return: counts of new, changed and late rows.
    """
    known = {
        row.id: row
        for row in connection.execute(
            select(events.c.id, events.c.updated_at, events.c.payload_status).where(
                events.c.account == account, events.c.id.in_([event.id for event in batch])
            )
        )
    }
    rows = [_row(account, event, now) for event in batch if _moved(known.get(event.id), event)]
    if not rows:
        return Stored()
    try:
        with connection.begin_nested():
            ledger.upsert(connection, events, rows, change=_forwards(ledger, now))
    except DataError:
        rows = _one_by_one(ledger, connection, rows, now)
    fresh = {row["id"]: row["created_at"] for row in rows if row["id"] not in known}
    late = [created for created in fresh.values() if behind is not None and created < behind]
    changed = len({row["id"] for row in rows}) - len(fresh)
    return Stored(len(fresh), changed, len(late), min(late, default=None))


def _moved(row: Any, event: PortingEvent) -> bool:
    if row is None:
        return True
    newer = event.updated_at is not None and event.updated_at > row.updated_at
    return newer or (event.payload_status != row.payload_status and row.payload_status != "completed")


def _one_by_one(
    ledger: Ledger, connection: Connection, rows: list[dict[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    kept = []
    for row in rows:
        try:
            with connection.begin_nested():
                ledger.upsert(connection, events, [row], change=_forwards(ledger, now))
        except DataError:
            log.error("event %r of type %r is refused by the database and left out", row["id"], row["type"])
        else:
            kept.append(row)
    return kept


def _row(account: str, event: PortingEvent, now: datetime) -> dict[str, Any]:
    key = event.natural_key
    created = event.created_at or event.updated_at or now  # no field of the API is required
    return {
        "account": account,
        "id": event.id,
        "type": event.event_type,
        "order_id": event.porting_order_id,
        "created_at": created,
        "updated_at": event.updated_at or created,
        "payload_status": event.payload_status or ("completed" if event.payload else "created"),
        "methods": list(event.available_notification_methods),
        "has_webhook": event.supports_webhook,
        "natural_key": key.key if key else None,
        "natural_at": key.at if key else None,
        "copies": max(len(event.phone_number_ids), 1) if isinstance(event, SplitEvent) else 1,
        "value": _value(event),
        "payload": event.payload,
        "first_seen_at": now,
    }


def _value(event: PortingEvent) -> str | None:
    match event:
        case StatusChangedEvent():
            return event.status
        case MessagingChangedEvent():
            return event.messaging_port_status
        case NewCommentEvent():
            return event.comment_user_type
    return None


def _forwards(ledger: Ledger, now: datetime) -> dict[str, Any]:
    """SQL for each column of a row that is already held."""
    newer = excluded("updated_at") >= events.c.updated_at
    not_back = or_(events.c.payload_status != "completed", excluded("payload_status") == "completed")
    takes = and_(newer, not_back)
    generated = and_(events.c.payload_status != "completed", excluded("payload_status") == "completed")

    def forward(name: str) -> Any:
        column = events.c[name]
        return case((and_(takes, excluded(name).is_not(None)), excluded(name)), else_=column)

    return {
        "updated_at": ledger.greatest(events.c.updated_at, excluded("updated_at")),
        "payload_status": case((not_back, excluded("payload_status")), else_=events.c.payload_status),
        "completed_seen_at": case(
            (and_(generated, events.c.completed_seen_at.is_(None)), instant(now)), else_=events.c.completed_seen_at
        ),
        "methods": forward("methods"),
        "has_webhook": excluded("has_webhook"),
        "natural_key": forward("natural_key"),
        "natural_at": forward("natural_at"),
        "copies": ledger.greatest(events.c.copies, excluded("copies")),
        "value": forward("value"),
        "payload": case(
            (and_(takes, excluded("payload").is_not(None), ~events.c.pruned), excluded("payload")),
            else_=events.c.payload,
        ),
    }
