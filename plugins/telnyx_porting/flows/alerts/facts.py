"""Everything a text about findings may need, read from the ledger at the moment of sending."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.findings import wording as words
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.bulk import rows_by
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import events, findings, orders
from telnyx_porting.models.keys import NEW_COMMENT
from telnyx_porting.settings.calendar import Calendar, calendar_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    found = rows_by(connection, select(findings).where(findings.c.account == account), findings.c.key, keys)
    ids = sorted({row["order_id"] for row in found.values() if row["order_id"]})
    known = rows_by(connection, select(orders).where(orders.c.account == account), orders.c.id, ids)
    others, named = families(connection, account, known)
    types = get_feed(connection, account, Feed.EXCEPTION_TYPES)
    return Facts(
        account,
        settings,
        now,
        calendar_of(settings),
        found,
        known,
        _comments(connection, account, ids) if settings.alert_details == "full" else {},
        {one: words.family(ids, named, settings.alert_details) for one, ids in others.items() if ids},
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


def families(
    connection: Connection, account: str, known: Mapping[str, Mapping[Any, Any]]
) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return, per order, the others of its split, the one that was divided first; and what is known of all of them."""
    heads = {order_id: row["split_from"] or order_id for order_id, row in known.items()}
    names = ("id", "split_from", "customer_reference", "support_key", "status")
    mine = select(*(orders.c[name] for name in names)).where(orders.c.account == account)
    parts = mine.where(orders.c.split_from.in_(set(heads.values())))
    named = {row["id"]: dict(row) for row in connection.execute(parts).mappings()}
    children: dict[str, list[str]] = {}
    for row in sorted(named.values(), key=lambda each: each["id"]):
        children.setdefault(row["split_from"], []).append(row["id"])
    named |= rows_by(connection, mine, orders.c.id, children)
    all_of = {order_id: [head, *children.get(head, ())] for order_id, head in heads.items()}
    return {order_id: [each for each in ids if each != order_id] for order_id, ids in all_of.items()}, named


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
