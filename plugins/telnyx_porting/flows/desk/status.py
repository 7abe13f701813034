"""Status: the lines an operator wants at 3 a.m."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from telnyx_porting.flows.desk.health import certificates_of, failing_channels, feed_lines, open_windows
from telnyx_porting.ledger.states import Feed, Method
from telnyx_porting.ledger.tables import accounts, events, feeds, findings, plans

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.ledger.engine import Ledger

OPEN_WINDOWS_SHOWN = 5


def status(ledger: Ledger, now: datetime) -> str:
    """Return what the ledger knows about every account, as text."""
    with ledger.read() as connection:
        known = connection.execute(select(accounts.c.account).union(select(feeds.c.account))).scalars()
        lines = [line for account in sorted(known) for line in _account(connection, account, now)]
    lines = lines or ["no account has been read yet: run the DAG porting_scan"]
    return "\n".join([*lines, f"ledger: {ledger!r}, {ledger.size() / 1_048_576:.1f} MiB"])


def _account(connection: Connection, account: str, now: datetime) -> list[str]:
    lines = [f"account {account}"]
    for feed in feed_lines(connection, account, now):
        complete = "complete" if feed.source == Feed.EVENTS else "evidence"
        since = f", from {feed.since:%Y-%m-%d %H:%M}" if feed.source == Feed.EVENTS and feed.since else ""
        lines.append(f"  {feed.source}: {complete} up to {_age(feed.until, now)}{since}")
        lines += [f"    {note}" for note in feed.notes]
        lines += [f"    last problem: {feed.error}"] if feed.error else []
    for channel, error in failing_channels(connection, account):
        lines += [f"  channel:{channel}", f"    last problem: {error}"]
    lines += _open_windows(connection, account)
    lines += _certificates(connection, account, now)
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


def _open_windows(connection: Connection, account: str) -> list[str]:
    shown, total = open_windows(connection, account, OPEN_WINDOWS_SHOWN)
    lines = [
        f"  open {row.made_by} window {row.since:%Y-%m-%d %H:%M} to {row.until:%Y-%m-%d %H:%M}: {row.reason}"
        for row in shown
    ]
    return [*lines, f"  ... and {total - len(lines)} more"] if total > len(lines) else lines


def _certificates(connection: Connection, account: str, now: datetime) -> list[str]:
    """Say what was last proved, how, and what the proof takes for granted."""
    lines = [
        f"  certificate by {row.method}: {row.held} events from {row.since:%Y-%m-%d %H:%M} to"
        f" {row.until:%Y-%m-%d %H:%M} as of {_age(row.as_of, now)}"
        + (", as long as Telnyx removes nothing" if row.method == Method.COUNT else "")
        for row in certificates_of(connection, account)
    ]
    return lines or ["  certificate: none yet, porting_maintenance makes one every night"]


def _counts(connection: Connection, account: str) -> str:
    query = select(events.c.delivery, func.count()).where(events.c.account == account).group_by(events.c.delivery)
    found = sorted((state or "not looked at", count) for state, count in connection.execute(query).all())
    return ", ".join(f"{state} {count}" for state, count in found) or "no event yet"


def _age(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{at:%Y-%m-%d %H:%M:%S} UTC ({int((now - at).total_seconds())} s ago)"
