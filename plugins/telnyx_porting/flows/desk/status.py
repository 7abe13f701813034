"""Status: the lines an operator wants at 3 a.m."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from telnyx_porting.flows.clock import Clocks, last_beat, read_clocks
from telnyx_porting.ledger.states import AUDITS, Feed, Method
from telnyx_porting.ledger.tables import accounts, channels, events, feeds, findings, plans, windows

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

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
    query = select(feeds).where(feeds.c.account == account).order_by(feeds.c.source != Feed.EVENTS, feeds.c.source)
    clocks = read_clocks(connection, account)
    for feed in connection.execute(query).mappings():
        lines += _feed(feed, clocks, now)
    failing = select(channels.c.name, channels.c.error).where(
        channels.c.account == account, channels.c.error.is_not(None)
    )
    for channel in connection.execute(failing.order_by(channels.c.name)):
        lines += [f"  channel:{channel.name}", f"    last problem: {channel.error}"]
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


def _feed(feed: RowMapping, clocks: Clocks, now: datetime) -> list[str]:
    if feed["source"] == Feed.EVENTS:
        lines = [f"  events: complete up to {_age(feed['covered_until'], now)}"]
        if feed["covers_from"]:
            lines[0] += f", from {feed['covers_from']:%Y-%m-%d %H:%M}"
        if feed["horizon"]:
            lines.append(
                f"    Telnyx no longer has what is older than {feed['horizon']:%Y-%m-%d %H:%M} UTC; it is kept here"
            )
        if feed["lateness"]:
            lines.append(f"    rows turned up {feed['lateness']} s late; each scan reads twice as far back")
    else:
        until = last_beat(feed, clocks, now) if feed["source"] == Feed.RECEIVER else feed["covered_until"]
        lines = [f"  {feed['source']}: evidence up to {_age(until, now)}"]
    if feed["error"]:
        lines.append(f"    last problem: {feed['error']}")
    return lines


def _open_windows(connection: Connection, account: str) -> list[str]:
    unsealed = (windows.c.account == account, windows.c.sealed_at.is_(None))
    total = connection.execute(select(func.count()).select_from(windows).where(*unsealed)).scalar_one()
    query = select(windows).where(*unsealed).order_by(windows.c.until.desc()).limit(OPEN_WINDOWS_SHOWN)
    lines = [
        f"  open {row.made_by} window {row.since:%Y-%m-%d %H:%M} to {row.until:%Y-%m-%d %H:%M}: {row.open_reason}"
        for row in connection.execute(query)
    ]
    return [*lines, f"  ... and {total - len(lines)} more"] if total > len(lines) else lines


def _certificates(connection: Connection, account: str, now: datetime) -> list[str]:
    """Say what was last proved, how, and what the proof takes for granted."""
    lines = []
    for method, assumed in ((Method.COUNT, ", as long as Telnyx removes nothing"), (Method.IDS, "")):
        mine = (windows.c.account == account, windows.c.made_by.in_(AUDITS), windows.c.method == method)
        query = select(windows).where(*mine, windows.c.sealed_at.is_not(None)).order_by(windows.c.sealed_at.desc())
        row = connection.execute(query.limit(1)).one_or_none()
        if row is not None:
            stretch = f"{row.since:%Y-%m-%d %H:%M} to {row.until:%Y-%m-%d %H:%M}"
            lines.append(
                f"  certificate by {method}: {row.held} events from {stretch} as of {_age(row.as_of, now)}{assumed}"
            )
    return lines or ["  certificate: none yet, porting_maintenance makes one every night"]


def _counts(connection: Connection, account: str) -> str:
    query = select(events.c.delivery, func.count()).where(events.c.account == account).group_by(events.c.delivery)
    found = sorted((state or "not looked at", count) for state, count in connection.execute(query).all())
    return ", ".join(f"{state} {count}" for state, count in found) or "no event yet"


def _age(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{at:%Y-%m-%d %H:%M:%S} UTC ({int((now - at).total_seconds())} s ago)"
