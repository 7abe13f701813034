"""Webhooks that wake: a verified one about an exception is looked at within seconds, long before a scan has its event.

Only ids are taken from it: which order to read. What is true is what GET /porting_orders says then, so a replayed, late
or hostile webhook costs one request and opens nothing. A flag on the receipt says that its order was looked at; when it
was looked at in vain (Telnyx does not know it) the flag says so all the same.

A clock that somebody sees to be wrong wakes too: whoever is woken asks Telnyx the time and opens the finding.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from telnyx_porting.flows.clock import (
    LARGEST_SKEW,
    RECEIVERS,
    clock_trouble,
    clocks_of,
    kept_offset,
    read_clocks,
    receiver_differs,
)
from telnyx_porting.flows.orders.history import EXCEPTION
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.predicates import is_to_look_at
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import deliveries, feeds, findings, orders
from telnyx_porting.ledger.types import EPOCH
from telnyx_porting.models.oddities import is_uuid

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from telnyx_porting.flows.account import Account


WAKES_FOR = timedelta(minutes=10)  # what could not be looked at by then is left to the schedule
MOST = 1_000  # receipts in one wake-up; the look takes all there are
_BATCH = 500

CLOCK = "clock"

Receipt = tuple[str, str]
"""Account and id of a receipt, or :data:`CLOCK`."""


def waking(connection: Connection, accounts: Sequence[str], now: datetime) -> set[Receipt]:
    """Return the receipts that are worth a look now, at most :data:`MOST`. One query while there are none.

    They say that an order, or its messaging part, is in exception; or say anything about an order that was.
    """
    rows = connection.execute(_waking(accounts, now)).all()
    since = {each: read_clocks(connection, each).to_receiver(now - WAKES_FOR) for each in {row.account for row in rows}}
    return {(row.account, row.source_id) for row in rows if row.stored_at > since[row.account]}


def clocks_wrong(
    connection: Connection, accounts: Sequence[str], now: datetime, seen: Collection[str] = ()
) -> set[Receipt]:
    """Return the accounts whose receiver shows that a clock is wrong, or who were `seen` so; no finding says so yet."""
    query = select(feeds).where(feeds.c.account.in_(accounts), feeds.c.source.in_((Feed.RECEIVER, Feed.EVENTS)))
    known = {(feed["account"], feed["source"]): feed for feed in connection.execute(query).mappings()}
    wrong = set(seen)
    for account in accounts:
        feed, events = known.get((account, Feed.RECEIVER)), known.get((account, Feed.EVENTS))
        refused = feed is not None and feed["refused"] and clock_trouble(kept_offset(feed), RECEIVERS)
        if refused or receiver_differs(feed, clocks_of(events, feed), now):
            wrong.add(account)
    if not wrong:
        return set()
    told = select(findings.c.account).where(
        findings.c.account.in_(wrong),
        findings.c.key == "health:clock_skew",
        findings.c.resolved_at.is_(None),
        findings.c.absent_since.is_(None),
    )
    return {(account, CLOCK) for account in wrong.difference(connection.execute(told).scalars())}


def to_look_at(account: Account) -> tuple[list[str], list[str]]:
    """Return every receipt not looked at yet, and the orders to read for those that matter."""
    query = _not_looked_at(deliveries.c.source_id, deliveries.c.order_id, _matters().label("matters"))
    with account.ledger.read() as connection:
        rows = connection.execute(query.where(deliveries.c.account == account.id)).all()
    ids = {row.order_id for row in rows if row.matters and is_uuid(row.order_id)}
    return [row.source_id for row in rows], sorted(ids)


def looked_at(account: Account, receipts: Sequence[str]) -> None:
    """Write down that the orders of some receipts were looked at."""
    now = account.clock()
    for batch in chunks(receipts, _BATCH):
        mine = (deliveries.c.account == account.id, deliveries.c.source == Feed.RECEIVER)
        these = account.ledger.among(deliveries.c.source_id, batch)
        with account.ledger.write() as connection:
            connection.execute(update(deliveries).where(*mine, these).values(looked_at=now))
        account.ledger.breathe()


def _waking(accounts: Sequence[str], now: datetime) -> Any:
    query = _not_looked_at(deliveries.c.account, deliveries.c.source_id, deliveries.c.stored_at)
    about_then = now - WAKES_FOR - 2 * LARGEST_SKEW  # the receiver's clock is not known here
    recent = (deliveries.c.account.in_(accounts), deliveries.c.stored_at > about_then)
    return query.where(*recent, _matters()).limit(MOST)


def _not_looked_at(*columns: ColumnElement[Any]) -> Any:
    """Select receipts in the words of their index, beside their order as it is known."""
    about = and_(orders.c.account == deliveries.c.account, orders.c.id == deliveries.c.order_id)
    return (
        select(*columns)
        .outerjoin_from(deliveries, orders, about)
        .where(is_to_look_at(deliveries), deliveries.c.stored_at > EPOCH)
    )


def _matters() -> ColumnElement[bool]:
    said = deliveries.c.natural_key
    return and_(
        deliveries.c.order_id.is_not(None),
        or_(
            said.is_(None),  # whatever it said could not be read
            said.like(f"status_changed:%:{EXCEPTION}:%"),
            said.like(f"messaging_changed:%:{EXCEPTION}"),
            orders.c.status == EXCEPTION,
            orders.c.messaging_status == EXCEPTION,
        ),
    )
