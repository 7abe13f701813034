"""Order sync: the `orders` rows, from the events in the ledger and from GET /porting_orders.

Events come first and cost no request. The API adds what no event carries (FOC dates, activation, number count, parent)
and what an event failed to tell, or has not told yet: an exception hidden in a stuck event, or just told by a webhook.
Everything moves only forwards by the provider's own times.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, func, or_, select, update

from telnyx_porting.errors import EnvelopeError, NotFoundError
from telnyx_porting.flows.events.odd import MOST, keep_odd
from telnyx_porting.flows.feeds import NEVER_READ, get_feed, touch_feed
from telnyx_porting.flows.identity import accept, claim_orders
from telnyx_porting.flows.orders.history import SAME
from telnyx_porting.flows.orders.rows import TELLING_TYPES, link_split, rebuild
from telnyx_porting.flows.orders.wakeups import looked_at, to_look_at
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.predicates import not_generated, order_is_open, to_project
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import events, findings, orders
from telnyx_porting.ledger.types import EPOCH, microseconds
from telnyx_porting.models.keys import SPLIT
from telnyx_porting.models.oddities import is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.models.records import PortingOrder

log = logging.getLogger(__name__)
CHUNK = 250  # orders, or events, per write transaction; also the largest page
ALL_EVERY = timedelta(days=1)  # the whole list: it also shows orders that no event told of
EARLY = timedelta(minutes=1)  # a run may start that much earlier after the one before it than its schedule says
OPEN_EVERY = timedelta(hours=1) - EARLY
URGENT_EVERY = timedelta(minutes=15) - EARLY
FOC_NEAR = timedelta(hours=48)


@dataclass(frozen=True)
class OrdersResult:
    """What one order sync did; counts only."""

    account: str
    projected: int  # events taken into their order's row
    read: int  # orders read from the API
    listed: bool  # the whole list was read, rather than orders one by one


def sync_orders(account: Account, client: TelnyxClient, full: bool = False) -> OrdersResult:
    """Bring the orders rows up to date, and look at what webhooks told since the last time.

    :param full: read the whole list, not only the orders that are due.
    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    :raises TelnyxError: the orders could not be read; what the events say is kept by then.
    """
    now = account.clock()
    client = accept(account, client)
    receipts, told = to_look_at(account)  # before the orders are read: what comes in meanwhile stays open
    projected = project_events(account)
    with account.ledger.read() as connection:
        due = sorted({*_due(connection, account.id, now), *told})
        whole_at = (get_feed(connection, account.id, Feed.ORDERS) or NEVER_READ)["checked_at"]
    whole = full or whole_at is None or now - whole_at >= ALL_EVERY
    read, listed = _read(account, client, due, now, whole=whole)
    looked_at(account, receipts)
    log.info("orders of %s: %d events taken in, %d orders read from the API", account.id, projected, read)
    return OrdersResult(account.id, projected, read, listed)


def read_orders(account: Account, client: TelnyxClient, ids: Sequence[str]) -> None:
    """Read some orders again, one by one or with the whole list, whichever takes fewer requests."""
    _read(account, accept(account, client), ids, account.clock(), whole=False)


def _read(
    account: Account, client: AccountClient, ids: Sequence[str], now: datetime, *, whole: bool
) -> tuple[int, bool]:
    """Read some orders, or the whole list: where that is wanted, or takes fewer requests.

    :return: how many orders were read, and whether it was the list.
    """
    with account.ledger.read() as connection:
        held = connection.execute(select(func.count()).where(orders.c.account == account.id)).scalar_one()
    whole = whole or len(ids) > held // CHUNK + 1
    read = 0
    odd: list[str] = []
    source = client.iter_porting_orders(unread=odd) if whole else _one_by_one(account, client, ids, now, odd)
    for batch in chunks(source, CHUNK):
        odd += [f"order {order.id}: {'; '.join(order.odd)}" for order in batch if order.odd][:MOST]
        odd += keep_readings(account, batch)
        read += len(batch)
    keep_odd(account, Feed.ORDERS, odd, now)
    if whole:
        with account.ledger.write() as connection:
            touch_feed(account.ledger, connection, account.id, Feed.ORDERS, checked_at=now)
    return read, whole


def _one_by_one(
    account: Account, client: AccountClient, ids: Iterable[str], now: datetime, odd: list[str]
) -> Iterator[PortingOrder]:
    for order_id in ids:
        if not is_uuid(order_id):
            continue  # it can be read with the whole list only
        try:
            yield client.get_porting_order(order_id)
        except (NotFoundError, EnvelopeError) as error:
            if isinstance(error, EnvelopeError):
                odd.append(f"order {order_id} cannot be read: {error}")
            else:
                log.warning("order %s of %s is not known to Telnyx any more", order_id, account.id)
            mine = (orders.c.account == account.id, orders.c.id == order_id)
            with account.ledger.write() as connection:
                connection.execute(update(orders).where(*mine).values(api_read_at=now))


def _due(connection: Connection, account: str, now: datetime) -> list[str]:
    """Return the ids of orders to read now."""
    watched = exists().where(
        findings.c.account == account, findings.c.order_id == orders.c.id, findings.c.resolved_at.is_(None)
    )
    its_event = and_(events.c.account == account, events.c.order_id == orders.c.id)
    awaits_payload = exists().where(its_event, not_generated(events))
    # what such an event says, its order says already
    not_read_since = awaits_payload.where(events.c.first_seen_at > orders.c.api_read_at - microseconds(SAME))
    foc = func.coalesce(orders.c.foc_actual, orders.c.foc_requested)
    is_open = order_is_open(orders)
    urgent = or_(watched, and_(is_open, or_(awaits_payload, foc.between(now - FOC_NEAR, now + FOC_NEAR))))
    query = select(orders.c.id).where(
        orders.c.account == account,
        or_(
            orders.c.api_read_at.is_(None) & is_open,
            and_(is_open, not_read_since),
            and_(urgent, orders.c.api_read_at <= now - URGENT_EVERY),
            and_(is_open, orders.c.api_read_at <= now - OPEN_EVERY),
        ),
    )
    return [row.id for row in connection.execute(query.order_by(orders.c.id)) if is_uuid(row.id)]


def project_events(account: Account) -> int:
    """Take new and newly generated events into their orders' rows, in short transactions.

    :return: how many events were taken in.
    """
    now = account.clock()
    total = 0
    query = (
        select(events.c.id, events.c.order_id, events.c.type, events.c.payload_status, events.c.natural_key)
        .where(events.c.account == account.id, to_project(events), events.c.created_at > EPOCH)
        .order_by(events.c.created_at)
        .limit(CHUNK)
    )
    odd: list[str] = []
    while True:
        with account.ledger.write(f"orders:{account.id}") as connection:
            rows = connection.execute(query).all()
            children = _children(rows)
            touched = {row.order_id for row in rows if row.order_id and row.type in TELLING_TYPES}
            for ids in chunks(sorted(touched | set(children)), CHUNK):
                odd += rebuild(connection, account, ids, {}, now)
            for child, parent in children.items():
                link_split(connection, account.id, parent, child)
            for status in {row.payload_status for row in rows}:
                ids = [row.id for row in rows if row.payload_status == status]
                these = (events.c.account == account.id, account.ledger.among(events.c.id, ids))
                unmoved = events.c.payload_status == status
                connection.execute(update(events).where(*these, unmoved).values(projected=status))
        total += len(rows)
        if len(rows) < CHUNK:
            keep_odd(account, Feed.ORDERS, odd, now)
            return total
        account.ledger.breathe()


def _children(rows: Sequence[Any]) -> dict[str, str]:
    """Return child -> parent of the splits among some events."""
    found = {}
    for row in rows:
        parts = (row.natural_key or "").split(":")
        if row.type == SPLIT and row.order_id and len(parts) == 3 and not parts[2].startswith("#"):
            found[parts[2]] = row.order_id
    return found


def keep_readings(account: Account, batch: Sequence[PortingOrder]) -> list[str]:
    """Store what the API says about some orders (at most :data:`CHUNK`).

    :return: what is wrong with those that cannot be kept.
    :raises WrongAccountError: one of them is another Telnyx user's; none is stored.
    """
    now = account.clock()
    read = {order.id: order for order in batch}
    with account.ledger.write(f"orders:{account.id}") as connection:
        claim_orders(account.ledger, connection, account.id, [order.user_id for order in batch])
        return rebuild(connection, account, sorted(read), read, now)
