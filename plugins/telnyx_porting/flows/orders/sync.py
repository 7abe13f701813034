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

from sqlalchemy import Connection, and_, exists, func, or_, select, update

from telnyx_porting.errors import EnvelopeError, NotFoundError
from telnyx_porting.flows.events.odd import MOST, keep_odd
from telnyx_porting.flows.feeds import get_feed, touch_feed
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

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.models.records import PortingOrder

log = logging.getLogger(__name__)
CHUNK = 250  # orders per write transaction; also the largest page
EVENTS_AT_ONCE = 250  # per write transaction
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
    due, held = _due(account, now)
    due = sorted({*due, *told})
    listed = full or _list_is_old(account, now) or len(due) > held // CHUNK + 1
    read = _read(account, client, None if listed else due, now)
    looked_at(account, receipts)
    log.info("orders of %s: %d events taken in, %d orders read from the API", account.id, projected, read)
    return OrdersResult(account.id, projected, read, listed)


def read_orders(account: Account, client: TelnyxClient, ids: Sequence[str]) -> None:
    """Read some orders again, one by one or with the whole list, whichever takes fewer requests."""
    now = account.clock()
    client = accept(account, client)
    with account.ledger.read() as connection:
        held = connection.execute(select(func.count()).where(orders.c.account == account.id)).scalar_one()
    _read(account, client, None if len(ids) > held // CHUNK + 1 else ids, now)


def _read(account: Account, client: AccountClient, ids: Sequence[str] | None, now: datetime) -> int:
    read = 0
    odd: list[str] = []
    source = client.iter_porting_orders(unread=odd) if ids is None else _one_by_one(account, client, ids, now, odd)
    for batch in chunks(source, CHUNK):
        odd += [f"order {order.id}: {'; '.join(order.odd)}" for order in batch if order.odd][:MOST]
        odd += keep_readings(account, batch)
        read += len(batch)
    keep_odd(account, Feed.ORDERS, odd, now)
    if ids is None:
        with account.ledger.write() as connection:
            touch_feed(account.ledger, connection, account.id, Feed.ORDERS, checked_at=now)
    return read


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


def _list_is_old(account: Account, now: datetime) -> bool:
    with account.ledger.read() as connection:
        feed = get_feed(connection, account.id, Feed.ORDERS)
    return feed is None or feed["checked_at"] is None or now - feed["checked_at"] >= ALL_EVERY


def _due(account: Account, now: datetime) -> tuple[list[str], int]:
    """Return the ids of orders to read now, and how many orders are held."""
    watched = exists().where(
        findings.c.account == account.id, findings.c.order_id == orders.c.id, findings.c.resolved_at.is_(None)
    )
    awaits_payload = exists().where(
        events.c.account == account.id,
        events.c.order_id == orders.c.id,
        not_generated(events),
    )
    not_read_since = exists().where(  # what such an event says, its order says already
        events.c.account == account.id,
        events.c.order_id == orders.c.id,
        not_generated(events),
        events.c.first_seen_at > orders.c.api_read_at - microseconds(SAME),
    )
    foc = func.coalesce(orders.c.foc_actual, orders.c.foc_requested)
    is_open = order_is_open(orders)
    urgent = or_(watched, and_(is_open, or_(awaits_payload, foc.between(now - FOC_NEAR, now + FOC_NEAR))))
    query = select(orders.c.id).where(
        orders.c.account == account.id,
        or_(
            orders.c.api_read_at.is_(None) & is_open,
            and_(is_open, not_read_since),
            and_(urgent, orders.c.api_read_at <= now - URGENT_EVERY),
            and_(is_open, orders.c.api_read_at <= now - OPEN_EVERY),
        ),
    )
    with account.ledger.read() as connection:
        due = [row.id for row in connection.execute(query.order_by(orders.c.id)) if is_uuid(row.id)]
        held = connection.execute(select(func.count()).where(orders.c.account == account.id)).scalar_one()
    return due, held


# -- from events -------------------------------------------------------------------------------------------------------


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
        .limit(EVENTS_AT_ONCE)
    )
    odd: list[str] = []
    while True:
        with account.ledger.write(f"orders:{account.id}") as connection:
            rows = connection.execute(query).all()
            children = _children(rows)
            touched = {row.order_id for row in rows if row.order_id and row.type in TELLING_TYPES}
            for ids in chunks(sorted(touched | set(children)), CHUNK):
                odd += rebuild(account.ledger, connection, account.id, ids, {}, now)
            for child, parent in children.items():
                link_split(connection, account.id, parent, child)
            _mark(account.ledger, connection, account.id, rows)
        total += len(rows)
        if len(rows) < EVENTS_AT_ONCE:
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


def _mark(ledger: Ledger, connection: Connection, account: str, rows: Sequence[Any]) -> None:
    for status in {row.payload_status for row in rows}:
        for ids in chunks([row.id for row in rows if row.payload_status == status], 500):
            these = (events.c.account == account, ledger.among(events.c.id, ids), events.c.payload_status == status)
            connection.execute(update(events).where(*these).values(projected=status))


# -- from the API ------------------------------------------------------------------------------------------------------


def keep_readings(account: Account, batch: Sequence[PortingOrder]) -> list[str]:
    """Store what the API says about some orders (at most :data:`CHUNK`).

    :return: what is wrong with those that cannot be kept.
    :raises WrongAccountError: one of them is another Telnyx user's; none is stored.
    """
    now = account.clock()
    read = {order.id: order for order in batch}
    with account.ledger.write(f"orders:{account.id}") as connection:
        claim_orders(account.ledger, connection, account.id, [order.user_id for order in batch])
        return rebuild(account.ledger, connection, account.id, sorted(read), read, now)
