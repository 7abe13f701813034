"""What is open, as lines for people, and how people name one of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from telnyx_porting.errors import SettingsError
from telnyx_porting.escaping import one_line
from telnyx_porting.flows.alerts.facts import gather
from telnyx_porting.flows.alerts.text import sentence
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.flows.findings.wording import moment
from telnyx_porting.ledger.tables import findings, orders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from telnyx_porting.flows.account import Account


def listing(account: Account) -> str:
    """Return the open findings of an account as text, the most severe and oldest first: key, and what alerts say."""
    now = account.clock()
    with account.ledger.read() as connection:
        rows = open_findings(connection, account.id)
        facts = gather(connection, account.id, account.settings, now, [row["key"] for row in rows])
    lines = [f"account {account.id}: {len(rows)} open"]
    for row in rows:
        said = sentence(row, "digest", facts, leads=False)
        lines += [f"{row['severity']:8}  {one_line(row['key'], 300)}", f"          {said}"]
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
