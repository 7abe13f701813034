"""Store events: forwards only, changed rows only, one bad row never the batch.

An event once stored is never lost nor doubled; id and created_at never change. Everything else moves only forwards:
`completed` is never replaced by `created`, a payload by null, a newer `updated_at` by an older one, and a payload that
retention removed does not come back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, case, or_

from telnyx_porting.flows.events.odd import MOST
from telnyx_porting.ledger.bulk import chunks, write_rows
from telnyx_porting.ledger.engine import Ledger, excluded
from telnyx_porting.ledger.states import PayloadStatus
from telnyx_porting.ledger.tables import events
from telnyx_porting.models.events import (
    MessagingChangedEvent,
    NewCommentEvent,
    PortingEvent,
    SplitEvent,
    StatusChangedEvent,
)
from telnyx_porting.models.oddities import odd_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)
# Rows per write transaction. On a SQLite file of a million rows it takes about 50 ms on two slow cores, and must stay
# below 200: a receiver beside it waits that long at most.
CHUNK = 500
_LACKING = and_(events.c.payload.is_(None), ~events.c.pruned).label("lacking")
# what of a row held decides whether there is anything to write
_HELD = (events.c.id, events.c.updated_at, events.c.payload_status, _LACKING)


@dataclass(frozen=True)
class Stored:
    """What a batch changed in the ledger."""

    new: int = 0
    changed: int = 0
    late: int = 0  # new rows created before `behind`
    oldest_late: datetime | None = None
    odd: tuple[str, ...] = field(default=(), compare=False)  # what of new and changed rows could not be read

    def __add__(self, other: Stored) -> Stored:
        oldest = min((t for t in (self.oldest_late, other.oldest_late) if t), default=None)
        odd = (self.odd + other.odd)[:MOST]
        return Stored(self.new + other.new, self.changed + other.changed, self.late + other.late, oldest, odd)


def store(
    account: Account,
    batch: Sequence[PortingEvent],
    now: datetime,
    behind: datetime | None = None,
    finish: Callable[[Connection], None] | None = None,
) -> Stored:
    """Store any number of events in short transactions; where nothing moved, nothing is written.

    :param behind: the watermark; new rows created before it are late.
    :param finish: called inside the last transaction: what must become true together with the last row.
    """
    total = Stored()
    parts = list(chunks(batch, CHUNK))
    for number, part in enumerate(parts or [[]], start=1):
        last = number >= len(parts)
        with account.ledger.read() as connection:
            held = account.ledger.held(connection, events, account.id, [event.id for event in part], _HELD)
        known = {row.id: row for row in held}
        moved = [event for event in part if _moved(known.get(event.id), event)]
        rows = [_row(account.id, event, now) for event in moved]
        if not rows and not (last and finish):
            continue
        with account.ledger.write() as connection:
            odd = (f"event {event.id}: {'; '.join(what)}" for event in moved if (what := odd_event(event)))
            written = _write(account.ledger, connection, rows, known, behind)
            total += replace(written, odd=tuple(islice(odd, MOST)))
            if last and finish:
                finish(connection)
        if not last:
            account.ledger.breathe()
    return total


def _moved(row: Any, event: PortingEvent) -> bool:
    if row is None:
        return True
    newer = event.updated_at is not None and event.updated_at > row.updated_at
    filled = row.lacking and event.payload is not None
    return newer or filled or (_status(event) != row.payload_status and row.payload_status != PayloadStatus.COMPLETED)


def _write(
    ledger: Ledger, connection: Connection, rows: list[dict[str, Any]], known: dict[str, Any], behind: datetime | None
) -> Stored:
    for row in write_rows(ledger.upsert, connection, events, rows, _forwards(ledger), fresh=not known):
        # its id must be held: without what it may be refused for
        log.error("event %r of type %r is refused by the database: kept without payload", row["id"], row["type"])
        bare = {"payload": None, "natural_key": None, "natural_at": None, "value": None}
        ledger.upsert(connection, events, [row | bare], change=_forwards(ledger))
    fresh = {row["id"]: row["created_at"] for row in rows if row["id"] not in known}
    late = [created for created in fresh.values() if behind is not None and created < behind]
    changed = len({row["id"] for row in rows}) - len(fresh)
    return Stored(len(fresh), changed, len(late), min(late, default=None))


def _status(event: PortingEvent) -> str:
    return event.payload_status or (PayloadStatus.COMPLETED if event.payload else PayloadStatus.CREATED)


def _row(account: str, event: PortingEvent, now: datetime) -> dict[str, Any]:
    key = event.natural_key
    payload = event.payload
    created = event.created_at or event.updated_at or now  # no field of the API is required
    return {
        "account": account,
        "id": event.id,
        "type": event.event_type,
        "order_id": event.porting_order_id,
        "created_at": created,
        "updated_at": event.updated_at or created,
        "payload_status": _status(event),
        "methods": list(event.available_notification_methods),
        "has_webhook": event.supports_webhook,
        "natural_key": key.key if key else None,
        "natural_at": key.at if key else None,
        "copies": event.numbers_moved if isinstance(event, SplitEvent) else 1,
        "value": _value(event),
        "payload": payload,
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


def _forwards(ledger: Ledger) -> dict[str, Any]:
    """Return SQL for each column of a row that is already held."""
    was = events.c.payload_status == PayloadStatus.COMPLETED
    comes = excluded("payload_status") == PayloadStatus.COMPLETED
    generated = and_(~was, comes)
    not_back = or_(~was, comes)
    newer = excluded("updated_at") >= events.c.updated_at
    takes = or_(generated, and_(newer, not_back), events.c.payload.is_(None))

    def forward(name: str, *more: ColumnElement[bool]) -> Any:
        return case((and_(takes, excluded(name).is_not(None), *more), excluded(name)), else_=events.c[name])

    return {
        "updated_at": ledger.greatest(events.c.updated_at, excluded("updated_at")),
        "payload_status": case((not_back, excluded("payload_status")), else_=events.c.payload_status),
        # The conflicting row was seen first just now: its first_seen_at is the time of this look.
        "completed_seen_at": case(
            (and_(generated, events.c.completed_seen_at.is_(None)), excluded("first_seen_at")),
            else_=events.c.completed_seen_at,
        ),
        **{name: forward(name) for name in ("methods", "natural_key", "natural_at", "value")},
        "has_webhook": excluded("has_webhook"),
        "copies": ledger.greatest(events.c.copies, excluded("copies")),
        "payload": forward("payload", ~events.c.pruned),
    }
