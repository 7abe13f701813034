"""Everything a text about findings may need, read from the ledger at the moment of sending."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.findings import wording as words
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import events, findings, orders
from telnyx_porting.models.keys import NEW_COMMENT
from telnyx_porting.settings.calendar import Calendar, calendar_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
COMMENTS = 3  # newest comments shown with an order
EVERY = timedelta(days=1)  # the descriptions of exception codes are read again


@dataclass(frozen=True)
class Facts:
    """What is known about some findings and their orders."""

    account: str
    settings: Settings
    now: datetime
    calendar: Calendar
    findings: Mapping[str, Mapping[str, Any]]
    orders: Mapping[str, Mapping[str, Any]]
    comments: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)  # order -> (author type, text)
    siblings: Mapping[str, Sequence[str]] = field(default_factory=dict)  # order -> names of those split from or with it
    exception_types: Mapping[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # findings whose words could not be made -> why

    def order_of(self, finding: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the order a finding is about, when it is known."""
        return self.orders.get(finding["order_id"] or "")


def gather(connection: Connection, account: str, settings: Settings, now: datetime, keys: Sequence[str]) -> Facts:
    """Read what texts about these findings need."""
    query = select(findings).where(findings.c.account == account, findings.c.key.in_(keys))
    found = {row["key"]: {**row, "detail": row["detail"] or {}} for row in connection.execute(query).mappings()}
    ids = sorted({row["order_id"] for row in found.values() if row["order_id"]})
    about = select(orders).where(orders.c.account == account, orders.c.id.in_(ids))
    known = {row["id"]: dict(row) for row in connection.execute(about).mappings()}
    types = get_feed(connection, account, Feed.EXCEPTION_TYPES)
    return Facts(
        account,
        settings,
        now,
        calendar_of(settings),
        found,
        known,
        _comments(connection, account, ids) if settings.alert_details == "full" else {},
        _siblings(connection, account, known, settings.alert_details),
        (types["known"] if types else None) or {},
    )


def _comments(connection: Connection, account: str, ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    query = (
        select(events.c.order_id, events.c.payload)
        .where(events.c.account == account, events.c.order_id.in_(ids), events.c.type == NEW_COMMENT)
        .order_by(events.c.created_at)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for row in connection.execute(query):
        comment = row.payload.get("comment") if isinstance(row.payload, dict) else None
        if isinstance(comment, dict) and isinstance(comment.get("body"), str):
            said = (str(comment.get("user_type")), comment["body"])
            found[row.order_id] = [*found.get(row.order_id, []), said][-COMMENTS:]
    return found


def _siblings(
    connection: Connection, account: str, known: Mapping[str, Mapping[str, Any]], details: str
) -> dict[str, list[str]]:
    """Return, per order, what people call the orders it shares a split with."""
    parents = {row["split_from"] or order_id for order_id, row in known.items()}
    names = (orders.c.id, orders.c.split_from, orders.c.customer_reference, orders.c.support_key)
    query = select(*names).where(orders.c.account == account, orders.c.split_from.in_(parents)).order_by(orders.c.id)
    children: dict[str, list[str]] = {}
    named = {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    for row in named.values():
        children.setdefault(row["split_from"], []).append(row["id"])
    if children:
        query = select(*names).where(orders.c.account == account, orders.c.id.in_(sorted(children)))
        named |= {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    found = {}
    for order_id, order in known.items():
        parent = order["split_from"]
        family = ([parent] if parent else []) + children.get(parent or order_id, [])
        if others := [other for other in family if other != order_id]:
            found[order_id] = words.family(others, named, details)
    return found


def keep_exception_types(account: Account, client: TelnyxClient) -> None:
    """Read Telnyx's own descriptions of exception codes, once a day. Without them alerts say less: no failure matters.

    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    """
    now = account.clock()
    with account.ledger.read() as connection:
        feed = get_feed(connection, account.id, Feed.EXCEPTION_TYPES)
    if feed is not None and feed["checked_at"] is not None and now - feed["checked_at"] < EVERY:
        return
    try:
        known = accept(account, client).list_exception_types()
    except TelnyxError as error:
        log.info("exception types of %s could not be read: %s", account.id, error)
        return
    with account.ledger.write() as connection:
        touch_feed(account.ledger, connection, account.id, Feed.EXCEPTION_TYPES, known=known, checked_at=now)
