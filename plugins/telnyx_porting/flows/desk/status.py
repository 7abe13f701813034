"""What the command tells of the ledger: the lines an operator wants at 3 a.m., and what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from telnyx_porting.errors import SettingsError
from telnyx_porting.escaping import one_line
from telnyx_porting.flows.alerts.facts import gather
from telnyx_porting.flows.alerts.text import sentence
from telnyx_porting.flows.desk.health import certificates_of, failing_channels, feed_lines, open_windows
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.flows.findings.wording import moment
from telnyx_porting.ledger.states import Feed, Method
from telnyx_porting.ledger.tables import accounts, events, feeds, findings, orders, plans

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from telnyx_porting.flows.account import Account
    from telnyx_porting.ledger.engine import Ledger


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
    for channel in failing_channels(connection, account):
        lines += [f"  channel:{channel['name']}", f"    last problem: {channel['error']}"]
    shown, total = open_windows(connection, account, 5)
    said = "  open {made_by} window {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}: {reason}"
    lines += [said.format(**row) for row in shown]
    lines += [f"  ... and {total - len(shown)} more"] if total > len(shown) else []
    lines += _certificates(connection, account, now)
    said = _counts(connection, events.c.delivery, events.c.account == account)
    lines.append(f"  deliveries: {said or 'no event yet'}")
    said = _counts(connection, findings.c.kind, findings.c.account == account, findings.c.resolved_at.is_(None))
    lines.append(f"  open findings: {said or 'none'}")
    waiting = select(plans.c.id, plans.c.size, plans.c.approved_at).where(
        plans.c.account == account, plans.c.closed_at.is_(None)
    )
    for plan in connection.execute(waiting):
        lines.append(f"  open plan {plan.id}: {plan.size} events, {'approved' if plan.approved_at else 'not approved'}")
    return lines


def _certificates(connection: Connection, account: str, now: datetime) -> list[str]:
    """Say what was last proved, how, and what the proof takes for granted."""
    lines = [
        f"  certificate by {row['method']}: {row['held']} events from {row['since']:%Y-%m-%d %H:%M} to"
        f" {row['until']:%Y-%m-%d %H:%M} as of {_age(row['as_of'], now)}"
        + (", as long as Telnyx removes nothing" if row["method"] == Method.COUNT else "")
        for row in certificates_of(connection, account)
    ]
    return lines or ["  certificate: none yet, porting_maintenance makes one every night"]


def _counts(connection: Connection, column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> str:
    rows = connection.execute(select(column, func.count()).where(*conditions).group_by(column))
    return ", ".join(f"{name} {count}" for name, count in sorted((name or "not looked at", n) for name, n in rows))


def _age(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{at:%Y-%m-%d %H:%M:%S} UTC ({int((now - at).total_seconds())} s ago)"


def listing(account: Account) -> str:
    """Return the open findings of an account as text, the most severe and oldest first: key, and what alerts say."""
    now = account.clock()
    with account.ledger.read() as connection:
        rows = open_findings(connection, account.id)
        facts = gather(connection, account.id, account.settings, now, [row["key"] for row in rows])
    lines = [f"account {account.id}: {len(rows)} open"]
    for row in rows:
        lines += [
            f"{row['severity']:8}  {one_line(row['key'], 300)}",
            f"          {sentence(row, 'digest', facts, leads=False)}",
        ]
        lines += [f"          ({triage})"] if (triage := _triage(row, now, account.settings.business_zone)) else []
    return "\n".join(lines)


def _triage(row: Mapping[str, Any], now: datetime, zone: str) -> str:
    by = row["triage"] or {}
    said = []
    if row["acked_until"] is not None and row["acked_until"] > now:
        said.append(f"acknowledged by {by.get('acked_by')} until {moment(row['acked_until'], now, zone)}")
    if row["muted_until"] is not None and row["muted_until"] > now:
        until = moment(row["muted_until"], now, zone)
        said.append(f"muted by {by.get('muted_by')} until {until}: {by.get('mute_reason')}")
    return one_line("; ".join(said), 300)


def pick(account: Account, name: str) -> str:
    """Return the key of the one open finding that people mean.

    :param name: its key, or what its alert calls the order: reference, support key or id.
    :raises SettingsError: none, or more than one, is called so.
    """
    called = or_(orders.c.id == name, orders.c.support_key == name, orders.c.customer_reference == name)
    query = (
        select(findings.c.key)
        .outerjoin(orders, (orders.c.account == findings.c.account) & (orders.c.id == findings.c.order_id))
        .where(findings.c.account == account.id, findings.c.resolved_at.is_(None), or_(findings.c.key == name, called))
        .order_by(findings.c.key)
    )
    with account.ledger.read() as connection:
        keys = list(connection.execute(query).scalars())
    if name in keys:
        return name
    if len(keys) == 1:
        return str(keys[0])
    open_ = f"the key of an open finding of {account.id}, or its order's name"
    raise SettingsError("finding", name, f"one of {', '.join(keys)}" if keys else open_)
