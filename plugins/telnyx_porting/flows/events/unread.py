"""Rows of Telnyx's list of events that cannot be read: no object, no id, an id without end.

The provider counts such a row, and nobody can say which event it is. So the stretch in which it was listed is never
called sealed: it stays open under a row of its own, with the reason. Everything else of it is stored, and the watermark
moves on, for an account that waits for one row would be blind. Every few hours the stretch is read again: once all of
it can be read, it is closed.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from telnyx_porting.flows.events.store import Stored, store
from telnyx_porting.ledger.tables import windows

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from telnyx_porting.client import ProvedWindow
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.ledger.states import MadeBy

log = logging.getLogger(__name__)
AGAIN = timedelta(hours=6)
_PREFIX = "unread:"


def leave_open(connection: Connection, account: Account, part: ProvedWindow, made_by: MadeBy, now: datetime) -> None:
    """Write down, in the transaction that stores the rest, in which stretch a row could not be read; once per row."""
    rows = [
        {
            "account": account.id,
            "id": _PREFIX + hashlib.sha256(what.encode()).hexdigest()[:32],
            "since": part.since or part.until,
            "until": part.until,
            "made_by": made_by,
            "held": len(part.rows),
            "counted": len(part.rows) + len(part.unread),
            "started_at": now,
            "open_reason": why_open((what,)),
        }
        for what in dict.fromkeys(part.unread)
    ]
    account.ledger.upsert(connection, windows, rows)


def why_open(unread: tuple[str, ...]) -> str:
    """Say why a stretch is not sealed although everything else of it is stored."""
    more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
    return f"Telnyx lists {unread[0]}{more}, which cannot be read; everything else is stored"


def is_stretch() -> ColumnElement[bool]:
    """Return SQL: the window is such a stretch."""
    return windows.c.id.startswith(_PREFIX)


def read_again(account: Account, client: AccountClient, now: datetime) -> Stored:
    """Read the stretch again that was not looked at for longest, if that is long ago; close it when all can be read."""
    mine = (windows.c.account == account.id, is_stretch(), windows.c.started_at <= now - AGAIN)
    with account.ledger.read() as connection:
        row = connection.execute(select(windows).where(*mine).order_by(windows.c.started_at).limit(1)).one_or_none()
    if row is None:
        return Stored()
    total, unread = Stored(), False
    for part in client.iter_proved_windows(row.since, row.until):
        total += store(account, part.rows, now)
        unread = unread or bool(part.unread)
    same = (windows.c.account == account.id, is_stretch(), windows.c.since == row.since, windows.c.until == row.until)
    with account.ledger.write() as connection:
        if unread:
            connection.execute(update(windows).where(*same).values(started_at=now))
        else:
            log.info("%s: all events from %s to %s can be read now", account.id, row.since, row.until)
            connection.execute(delete(windows).where(*same))
    return total
