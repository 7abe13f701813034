"""Nights: each compares the next part of history id by id, whatever counts say: errors that cancel out hide there.

A part that cannot be compared is gone round, said, and tried again on later nights, the longest untried first.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from telnyx_porting.flows.events.audit import PAGE, Audit, unproved
from telnyx_porting.flows.events.coverage import held, scanned
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.states import MadeBy, Method
from telnyx_porting.ledger.tables import events, windows

if TYPE_CHECKING:
    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.events.audit import AuditResult

_REST = timedelta(hours=1)


def audit_tonight(account: Account, client: TelnyxClient) -> AuditResult | None:
    """Compare the next part of history id by id; all of it gets its turn within ``audit_nights`` nights.

    Proved or not, the next night goes on behind it.
    """
    now = account.clock()
    client = accept(account, client)
    with account.ledger.read() as connection:
        feed = scanned(connection, account.id)
        begin = max(t for t in (feed["covers_from"], feed["horizon"]) if t)
        until = feed["covered_until"]
        turns = (windows.c.account == account.id, windows.c.made_by == MadeBy.NIGHT)
        last = select(windows.c.until).where(*turns).order_by(windows.c.started_at.desc(), windows.c.until.desc())
        reached = connection.execute(last.limit(1)).scalar()
        total = held(connection, account.id, begin, until)
        if not total or begin >= until:
            return None
        since = reached if reached is not None and begin <= reached < until else begin
        part = max(PAGE, -(-total // max(account.settings.audit_nights - 1, 1)))
        later = (events.c.account == account.id, events.c.created_at > since, events.c.created_at <= until)
        ends = select(events.c.created_at).where(*later).order_by(events.c.created_at).offset(part - 1).limit(1)
        end = connection.execute(ends).scalar()
    return Audit(account, client, now, Method.IDS, MadeBy.NIGHT).run(since, end or until)


def audit_again(account: Account, client: TelnyxClient) -> AuditResult | None:
    """Compare again the part of history that could not be compared and was not tried for longest; None: there is none.

    One that was tried at this very time is left to another night.
    """
    now = account.clock()
    client = accept(account, client)
    tried = (windows.c.as_of <= now - _REST, windows.c.made_by.in_((MadeBy.NIGHT, MadeBy.AGAIN)))
    with account.ledger.read() as connection:
        query = select(windows.c.since, windows.c.until).where(*unproved(account), *tried)
        part = connection.execute(query.order_by(windows.c.as_of).limit(1)).one_or_none()
    return Audit(account, client, now, Method.IDS, MadeBy.AGAIN).run(*part) if part else None


def why_unproved(account: Account) -> str | None:
    """Say in one sentence which history audits could not prove, or None."""
    with account.ledger.read() as connection:
        rows = connection.execute(select(windows).where(*unproved(account)).order_by(windows.c.since)).all()
    if not rows:
        return None
    more = f"; and {len(rows) - 1} more parts" if len(rows) > 1 else ""
    return (
        f"the events from {rows[0].since:%Y-%m-%d %H:%M} to {rows[0].until:%Y-%m-%d %H:%M} UTC could not be compared"
        f" with Telnyx's: {rows[0].open_reason}{more}; all others are, and these are tried again every night"
    )
