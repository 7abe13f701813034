"""Order sync: the `orders` rows, from the events in the ledger and from GET /porting_orders.

Events come first and cost no request. The API adds what no event carries (FOC dates, activation, number count, parent)
and what an event failed to tell: an exception hidden in a stuck event. Everything moves only forwards by the provider's
own times.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, exists, func, literal, or_, select, tuple_, update

from telnyx_porting.errors import NotFoundError
from telnyx_porting.flows.chunks import chunks
from telnyx_porting.flows.orders_history import Change, Codes, Reading, Standing, episode_after, standing
from telnyx_porting.ledger.engine import Ledger, excluded
from telnyx_porting.ledger.tables import events, findings, orders
from telnyx_porting.models import DELETED, MESSAGING_CHANGED, STATUS_CHANGED, PortingOrder, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
CHUNK = 250  # orders per write transaction; also the largest page
EVENTS_AT_ONCE = 2_000
CLOSED = ("ported", "cancelled", "canceled", "deleted")
OPEN_EVERY = timedelta(hours=1)
URGENT_EVERY = timedelta(minutes=15)
FOC_NEAR = timedelta(hours=48)
_TYPES = (STATUS_CHANGED, MESSAGING_CHANGED, DELETED)


@dataclass(frozen=True)
class OrdersResult:
    """What one order sync did; counts only."""

    account: str
    projected: int  # events taken into their order's row
    read: int  # orders read from the API
    listed: bool  # the whole list was read, rather than orders one by one


def sync_orders(
    ledger: Ledger, account: str, client: TelnyxClient, settings: Settings, now: datetime, full: bool = False
) -> OrdersResult:
    """Bring the orders rows up to date.

    :param account: Airflow connection id of the Telnyx account.
    :param full: read the whole list, not only the orders that are due.
    :raises TelnyxError: the orders could not be read; what the events say is kept by then.
    """
    projected = project_events(ledger, account, now)
    due, held = _due(ledger, account, now)
    listed = full or not held or len(due) > held // CHUNK + 1
    read = 0
    source = client.iter_porting_orders(sort="created_at") if listed else _one_by_one(client, due, account)
    for batch in chunks(source, CHUNK):
        keep_readings(ledger, account, batch, now)
        read += len(batch)
    log.info("orders of %s: %d events taken in, %d orders read from the API", account, projected, read)
    return OrdersResult(account, projected, read, listed)


def _one_by_one(client: TelnyxClient, ids: Iterable[str], account: str) -> Iterator[PortingOrder]:
    for order_id in ids:
        try:
            yield client.get_porting_order(order_id)
        except NotFoundError:
            log.warning("order %s of %s is not known to Telnyx any more", order_id, account)


def _due(ledger: Ledger, account: str, now: datetime) -> tuple[list[str], int]:
    """Return the ids of orders to read now, and how many orders are held."""
    watched = exists().where(
        findings.c.account == account, findings.c.order_id == orders.c.id, findings.c.resolved_at.is_(None)
    )
    not_generated = exists().where(
        events.c.account == account,
        events.c.order_id == orders.c.id,
        events.c.payload_status != literal("completed", literal_execute=True),
    )
    foc = func.coalesce(orders.c.foc_actual, orders.c.foc_requested)
    is_open = or_(orders.c.status.is_(None), orders.c.status.not_in(CLOSED))
    urgent = or_(watched, and_(is_open, or_(not_generated, foc.between(now - FOC_NEAR, now + FOC_NEAR))))
    query = select(orders.c.id).where(
        orders.c.account == account,
        or_(
            orders.c.api_read_at.is_(None) & is_open,
            and_(urgent, orders.c.api_read_at <= now - URGENT_EVERY),
            and_(is_open, orders.c.api_read_at <= now - OPEN_EVERY),
        ),
    )
    with ledger.read() as connection:
        due = list(connection.execute(query.order_by(orders.c.id)).scalars())
        held = connection.execute(select(func.count()).where(orders.c.account == account)).scalar_one()
    return due, held


# -- from events -------------------------------------------------------------------------------------------------------


def project_events(ledger: Ledger, account: str, now: datetime) -> int:
    """Take new and newly generated events into their orders' rows, in short transactions.

    :return: how many events were taken in.
    """
    total = 0
    fresh = or_(events.c.projected.is_(None), events.c.projected != events.c.payload_status)
    query = (
        select(events.c.id, events.c.order_id, events.c.type, events.c.payload_status)
        .where(events.c.account == account, fresh)
        .limit(EVENTS_AT_ONCE)
    )
    while True:
        with ledger.write() as connection:
            ledger.lock(connection, f"orders:{account}")
            rows = connection.execute(query).all()
            touched = {row.order_id for row in rows if row.order_id and row.type in _TYPES}
            for ids in chunks(sorted(touched), CHUNK):
                _rebuild(ledger, connection, account, ids, {}, now)
            _mark(connection, account, rows)
        total += len(rows)
        if len(rows) < EVENTS_AT_ONCE:
            return total


def _mark(connection: Connection, account: str, rows: Sequence[Any]) -> None:
    for batch in chunks(rows, 500):
        connection.execute(
            update(events)
            .where(
                events.c.account == account,
                tuple_(events.c.id, events.c.payload_status).in_([(row.id, row.payload_status) for row in batch]),
            )
            .values(projected=events.c.payload_status)
        )


# -- from the API ------------------------------------------------------------------------------------------------------


def keep_readings(ledger: Ledger, account: str, batch: Sequence[PortingOrder], now: datetime) -> None:
    """Store what the API says about some orders (at most :data:`CHUNK`)."""
    read = {order.id: order for order in batch}
    with ledger.write() as connection:
        ledger.lock(connection, f"orders:{account}")
        _rebuild(ledger, connection, account, sorted(read), read, now)


def _rebuild(
    ledger: Ledger,
    connection: Connection,
    account: str,
    ids: Sequence[str],
    read: dict[str, PortingOrder],
    now: datetime,
) -> None:
    """Compute the rows of some orders anew from all that is known, and store them."""
    query = select(orders).where(orders.c.account == account, orders.c.id.in_(ids))
    before = {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    history = _histories(connection, account, ids)
    rows = []
    for order_id in ids:
        row = before.get(order_id) or {column.name: None for column in orders.columns}
        row |= {"account": account, "id": order_id, "episode": row["episode"] or 0}
        _take_history(row, history.get(order_id, []), read.get(order_id), now)
        rows.append(row)
    names = [column.name for column in orders.columns if not column.primary_key]
    ledger.upsert(connection, orders, rows, change={name: excluded(name) for name in names})


def _histories(connection: Connection, account: str, ids: Sequence[str]) -> dict[str, list[Any]]:
    query = select(
        events.c.order_id, events.c.type, events.c.created_at, events.c.natural_at, events.c.value, events.c.payload
    ).where(
        events.c.account == account,
        events.c.order_id.in_(ids),
        events.c.type.in_(_TYPES),
        events.c.payload_status == "completed",
    )
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query.order_by(events.c.created_at)):
        found.setdefault(row.order_id, []).append(row)
    return found


def _take_history(row: dict[str, Any], history: list[Any], order: PortingOrder | None, now: datetime) -> None:
    if order is not None:
        _take_reading(row, order, now)
    changes = [change for event in history if (change := _change(event)) is not None]
    status = standing(changes, _reading(row))
    if status is not None:
        _take_status(row, status)
    for event in history:
        payload = event.payload if isinstance(event.payload, dict) else {}
        for name in ("customer_reference", "support_key"):
            if row[name] is None and isinstance(payload.get(name), str):
                row[name] = payload[name]
    messaging = [Change(e.value, e.created_at) for e in history if e.type == MESSAGING_CHANGED and e.value]
    state = standing(messaging, _messaging_reading(row))
    if state is not None:
        row |= {"messaging_status": state.status, "messaging_since": state.since}
    told = [change.at for change in changes]
    row["updated_at"] = max((t for t in (row["updated_at"], row["api_updated_at"], *told) if t), default=None)


def _take_status(row: dict[str, Any], status: Standing) -> None:
    row["episode"] = episode_after(status, (row["status"], row["status_since"], row["episode"]))
    if status.codes is not None or status.since != row["status_since"]:
        row["codes"] = [list(code) for code in status.codes or ()]
    row |= {
        "status": status.status,
        "status_since": status.since,
        "came_from": status.came_from,
        "seen_by": status.seen_by,
    }


def _take_reading(row: dict[str, Any], order: PortingOrder, now: datetime) -> None:
    if row["api_updated_at"] and order.updated_at and order.updated_at < row["api_updated_at"]:
        return  # an older page came in late
    updated = order.updated_at or row["api_updated_at"] or now
    codes = [list(detail) for detail in order.status_details]
    since = updated if order.status != row["api_status"] else row["api_since"]
    messaging_since = updated if order.messaging_status != row["api_messaging"] else row["api_messaging_since"]
    row |= {
        "api_status": order.status,
        "api_since": since,
        "api_updated_at": updated,
        "api_codes": codes,
        "api_messaging": order.messaging_status,
        "api_messaging_since": messaging_since,
        "api_read_at": now,
        "foc_requested": order.foc_requested,
        "foc_actual": order.foc_actual,
        "activation_status": order.activation_status,
        "customer_reference": order.customer_reference,
        "customer_group_reference": order.customer_group_reference,
        "support_key": order.support_key,
        "parent_support_key": order.parent_support_key,
        "number_count": order.phone_numbers_count,
        "number_type": order.phone_number_type,
        "country": order.country_code,
        "webhook_url": order.webhook_url,
        "created_at": order.created_at,
    }


def _reading(row: dict[str, Any]) -> Reading | None:
    if row["api_status"] is None or row["api_updated_at"] is None:
        return None
    codes: Codes = tuple((code, text) for code, text in row["api_codes"] or ())
    return Reading(row["api_status"], row["api_since"] or row["api_updated_at"], row["api_updated_at"], codes)


def _messaging_reading(row: dict[str, Any]) -> Reading | None:
    if row["api_messaging"] is None or row["api_updated_at"] is None:
        return None
    return Reading(row["api_messaging"], row["api_messaging_since"] or row["api_updated_at"], row["api_updated_at"], ())


def _change(event: Any) -> Change | None:
    if event.type == DELETED:
        return Change("deleted", parse_time(event.natural_at) or event.created_at, ())
    if event.type != STATUS_CHANGED or not event.value:
        return None
    return Change(event.value, parse_time(event.natural_at) or event.created_at, _codes(event.payload))


def _codes(payload: Any) -> Codes | None:
    status = payload.get("status") if isinstance(payload, dict) else None
    if not isinstance(status, dict):
        return None
    details = status.get("details")
    found = []
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict) and isinstance(detail.get("code"), str):
            text = detail.get("description")
            found.append((detail["code"], text if isinstance(text, str) else None))
    return tuple(found)
