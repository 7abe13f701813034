"""Maintenance: let go of what is over and no longer needed, in small steps, and say how big the ledger is.

Facts stay for ever: which events there were, when, whether they arrived, who was told. What goes after `retention_days`
are payloads of events and texts of findings that are over. Old windows of the scan are merged by day.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, delete, exists, or_, select, tuple_, update

from telnyx_porting.flows.events.coverage import held
from telnyx_porting.flows.events.store import CHUNK
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.predicates import is_open
from telnyx_porting.ledger.states import AUDITS, MadeBy, Method
from telnyx_porting.ledger.tables import alerts, events, findings, windows
from telnyx_porting.ledger.types import instant

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)
LOOKED_AT = 5_000  # events looked at in one query
MERGED_AFTER = timedelta(days=7)
VACUUM_PAGES = 256  # given back in one transaction: 1 MiB
VACUUM_FOR = 60.0  # seconds in one night


@dataclass(frozen=True)
class MaintenanceResult:
    """What one night did. Counts only."""

    account: str
    payloads_removed: int
    texts_removed: int
    windows_merged: int
    bytes_before: int
    bytes_after: int


def maintain(account: Account) -> MaintenanceResult:
    """Prune and merge what belongs to one account, then give unused space back and copy the file if asked to."""
    now = account.clock()
    before = account.ledger.size()
    payloads = texts = 0
    if account.settings.retention_days:
        cutoff = now - timedelta(days=account.settings.retention_days)
        payloads, texts = _prune_payloads(account, cutoff), _prune_texts(account, cutoff)
    merged = _merge_windows(account, now)
    end = time.monotonic() + VACUUM_FOR
    while account.ledger.vacuum(VACUUM_PAGES) and time.monotonic() < end:
        account.ledger.breathe()
    if account.settings.backup_to and account.ledger.is_sqlite:
        account.ledger.back_up(Path(account.settings.backup_to))
    result = MaintenanceResult(account.id, payloads, texts, merged, before, account.ledger.size())
    log.info("%s", result)
    return result


def _prune_payloads(account: Account, cutoff: datetime) -> int:
    """Remove payloads of old events whose delivery is decided; their natural keys stay."""
    removed = 0
    place: tuple[datetime, str] | None = None
    prunable = and_(events.c.payload.is_not(None), ~is_open(events)).label("prunable")
    while True:
        query = select(events.c.id, events.c.created_at, prunable)
        query = query.where(events.c.account == account.id, events.c.created_at < cutoff)
        if place is not None:
            last = tuple_(instant(place[0]), place[1])
            query = query.where(tuple_(events.c.created_at, events.c.id) > last)
        with account.ledger.read() as connection:
            rows = connection.execute(query.order_by(events.c.created_at, events.c.id).limit(LOOKED_AT)).all()
        ids = [row.id for row in rows if row.prunable]
        for some in chunks(ids, CHUNK):
            with account.ledger.write() as connection:
                these = (events.c.account == account.id, events.c.id.in_(some))
                connection.execute(update(events).where(*these).values(payload=None, pruned=True))
            account.ledger.breathe()
        removed += len(ids)
        if len(rows) < LOOKED_AT:
            return removed
        place = rows[-1].created_at, rows[-1].id


def _prune_texts(account: Account, cutoff: datetime) -> int:
    """Remove what people wrote, and what was told, from findings that have been over for long."""
    old = (findings.c.account == account.id, findings.c.resolved_at < cutoff)
    texts = or_(findings.c.detail != {}, findings.c.note.is_not(None))
    awaited = exists().where(
        alerts.c.account == findings.c.account, alerts.c.key == findings.c.key, alerts.c.next_at.is_not(None)
    )
    removed = 0
    while True:
        with account.ledger.read() as connection:  # which looks at all of them
            keys = connection.execute(select(findings.c.key).where(*old, texts, ~awaited).limit(CHUNK)).scalars().all()
        with account.ledger.write() as connection:
            these = (*old, ~awaited, findings.c.key.in_(keys))
            connection.execute(update(findings).where(*these).values(detail={}, note=None))
        removed += len(keys)
        if len(keys) < CHUNK:
            return removed
        account.ledger.breathe()


def _merge_windows(account: Account, now: datetime) -> int:
    """Make one window of each old day's sealed scans; of certificates keep the newest."""
    mine = (windows.c.account == account.id, windows.c.sealed_at.is_not(None))
    with account.ledger.read() as connection:
        old = (windows.c.made_by == MadeBy.SCAN, windows.c.until < now - MERGED_AFTER)
        days: dict[date, list[Any]] = {}
        for row in connection.execute(select(windows).where(*mine, *old).order_by(windows.c.until)):
            days.setdefault(row.until.date(), []).append(row)
    merged = 0
    for rows in days.values():
        if len(rows) > 1:
            with account.ledger.write() as connection:
                _merge(connection, account.id, rows)
            account.ledger.breathe()
            merged += len(rows) - 1
    with account.ledger.write() as connection:
        for method, kept in ((Method.COUNT, 1), (Method.IDS, 2 * account.settings.audit_nights)):
            same = (*mine, windows.c.made_by.in_(AUDITS), windows.c.method == method)
            newest = select(windows.c.id).where(*same).order_by(windows.c.sealed_at.desc()).limit(kept)
            ids = connection.execute(newest).scalars().all()
            merged += connection.execute(delete(windows).where(*same, windows.c.id.not_in(ids))).rowcount
    return merged


def _merge(connection: Connection, account: str, rows: list[Any]) -> None:
    """Write one window for several that overlap; what it holds is counted anew, for overlaps were read twice."""
    since, until = min(row.since for row in rows), max(row.until for row in rows)
    now_held = held(connection, account, since, until)
    values: dict[str, Any] = {"since": since, "until": until, "held": now_held, "counted": now_held}
    values |= {name: sum(getattr(row, name) or 0 for row in rows) for name in ("late", "requests")}
    mine = windows.c.account == account
    connection.execute(delete(windows).where(mine, windows.c.id.in_([row.id for row in rows[1:]])))
    connection.execute(update(windows).where(mine, windows.c.id == rows[0].id).values(**values))
