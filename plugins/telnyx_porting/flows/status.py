"""Status: the lines an operator wants at 3 a.m."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from telnyx_porting.ledger.tables import events, feeds, findings, plans, windows

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.ledger.engine import Ledger

OPEN_WINDOWS_SHOWN = 5


def status(ledger: Ledger, now: datetime) -> str:
    """Return what the ledger knows about every account, as text."""
    with ledger.read() as connection:
        accounts = connection.execute(select(feeds.c.account).distinct().order_by(feeds.c.account)).scalars().all()
        lines = [line for account in accounts for line in _account(connection, account, now)]
    lines = lines or ["no account has been read yet: run the DAG porting_scan"]
    return "\n".join([*lines, f"ledger: {ledger!r}, {ledger.size() / 1_048_576:.1f} MiB"])


def _account(connection: Connection, account: str, now: datetime) -> list[str]:
    lines = [f"account {account}"]
    query = select(feeds).where(feeds.c.account == account).order_by(feeds.c.source)
    for feed in connection.execute(query).mappings():
        word = "complete" if feed["source"] == "events" else "evidence"
        lines.append(f"  {feed['source']}: {word} up to {_age(feed['covered_until'] or feed['heartbeat'], now)}")
        if feed["error"]:
            lines.append(f"    last problem: {feed['error']}")
    unsealed = (
        select(windows.c.since, windows.c.until, windows.c.open_reason)
        .where(windows.c.account == account, windows.c.sealed_at.is_(None))
        .order_by(windows.c.until.desc())
    )
    rows = connection.execute(unsealed.limit(OPEN_WINDOWS_SHOWN)).all()
    lines += [f"  open window {row.since:%Y-%m-%d %H:%M}..{row.until:%H:%M}: {row.open_reason}" for row in rows]
    lines.append("  deliveries: " + _counts(connection, account))
    still = findings.c.resolved_at.is_(None)
    counted = select(findings.c.kind, func.count()).where(findings.c.account == account, still)
    found = connection.execute(counted.group_by(findings.c.kind).order_by(findings.c.kind)).all()
    lines.append("  open findings: " + (", ".join(f"{kind} {count}" for kind, count in found) or "none"))
    waiting = select(plans.c.id, plans.c.size, plans.c.approved_at).where(
        plans.c.account == account, plans.c.closed_at.is_(None)
    )
    for plan in connection.execute(waiting):
        lines.append(f"  open plan {plan.id}: {plan.size} events, {'approved' if plan.approved_at else 'not approved'}")
    return lines


def _counts(connection: Connection, account: str) -> str:
    query = select(events.c.delivery, func.count()).where(events.c.account == account).group_by(events.c.delivery)
    found = sorted((state or "not looked at", count) for state, count in connection.execute(query).all())
    return ", ".join(f"{state} {count}" for state, count in found) or "no event yet"


def _age(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{at:%Y-%m-%d %H:%M:%S} UTC ({int((now - at).total_seconds())} s ago)"
