"""The `orders` row of an order, computed anew from everything that is known about it.

Two sources, kept apart in the row: what its events say, and what the order itself said when it was last read (the
`api_*` columns). Each write folds both, so it does not matter which came first.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from telnyx_porting.flows.orders.history import Change, Codes, Reading, Standing, began, episode_after, standing
from telnyx_porting.ledger.bulk import write_rows
from telnyx_porting.ledger.engine import excluded
from telnyx_porting.ledger.states import PayloadStatus
from telnyx_porting.ledger.tables import events, orders
from telnyx_porting.models.keys import DELETED, MESSAGING_CHANGED, STATUS_CHANGED
from telnyx_porting.models.reading import details_of, dict_of, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.flows.account import Account
    from telnyx_porting.models.records import PortingOrder

log = logging.getLogger(__name__)
TELLING_TYPES = (STATUS_CHANGED, MESSAGING_CHANGED, DELETED)


def rebuild(
    connection: Connection, account: Account, ids: Sequence[str], read: dict[str, PortingOrder], now: datetime
) -> list[str]:
    """Compute the rows of some orders anew, and store them; one that cannot be computed or stored stops no other.

    :param read: what the API just said about some of them.
    :return: what is wrong with those that stay as they were.
    """
    query = select(orders).where(orders.c.account == account.id, orders.c.id.in_(ids))
    before = {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    history = _histories(connection, account.id, ids)
    rows, odd = [], []
    for order_id in ids:
        row = before.get(order_id) or {column.name: None for column in orders.columns}
        row |= {"account": account.id, "id": order_id, "episode": row["episode"] or 0}
        try:
            _take_all(row, history.get(order_id, []), read.get(order_id), now)
        except Exception as error:  # whatever is odd about it
            log.exception("order %r of %s", order_id, account.id)
            odd.append(f"order {order_id} cannot be taken in ({type(error).__name__})")
            continue
        rows.append(row)
    change = {column.name: excluded(column.name) for column in orders.columns if not column.primary_key}
    refused = write_rows(account.ledger.upsert, connection, orders, rows, change)
    return odd + [f"order {row['id']} is refused by the database" for row in refused]


def link_split(connection: Connection, account: str, parent: str, child: str) -> None:
    """Remember where a split order came from; it inherits the reference people know it by."""
    known = select(orders.c.customer_reference).where(orders.c.account == account, orders.c.id == parent)
    reference = func.coalesce(orders.c.customer_reference, known.scalar_subquery())
    mine = (orders.c.account == account, orders.c.id == child)
    connection.execute(update(orders).where(*mine).values(split_from=parent, customer_reference=reference))


def _histories(connection: Connection, account: str, ids: Sequence[str]) -> dict[str, list[Any]]:
    c = events.c
    query = select(c.order_id, c.type, c.created_at, c.natural_at, c.value, c.payload)
    query = query.where(c.account == account, c.order_id.in_(ids), c.type.in_(TELLING_TYPES))
    query = query.where(c.payload_status == PayloadStatus.COMPLETED)
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query.order_by(events.c.created_at)):
        found.setdefault(row.order_id, []).append(row)
    return found


def _take_all(row: dict[str, Any], history: list[Any], order: PortingOrder | None, now: datetime) -> None:
    if order is not None:
        _take_reading(row, order, now)
    changes = [change for event in history if (change := _change(event)) is not None]
    if (status := standing(changes, _reading(row, "api_status", "api_since"))) is not None:
        since = began(status, changes, row["status"], row["status_since"])
        _take_status(row, replace(status, since=since))
    messaging = [Change(e.value, e.created_at) for e in history if e.type == MESSAGING_CHANGED and e.value]
    if (state := standing(messaging, _reading(row, "api_messaging", "api_messaging_since"))) is not None:
        since = began(state, messaging, row["messaging_status"], row["messaging_since"])
        row |= {"messaging_status": state.status, "messaging_since": since}
    for event in history:
        payload = dict_of(event.payload)
        for name in ("customer_reference", "support_key"):
            if row[name] is None and isinstance(payload.get(name), str):
                row[name] = payload[name]
    told = [change.at for change in changes]
    row["updated_at"] = max((t for t in (row["updated_at"], row["api_updated_at"], *told) if t), default=now)


def _take_status(row: dict[str, Any], status: Standing) -> None:
    row["episode"] = episode_after(status, (row["status"], row["status_since"], row["episode"]))
    if status.codes is not None or status.since != row["status_since"]:
        row["codes"] = [list(code) for code in status.codes or ()]
    row |= {
        "status": status.status,
        "status_since": status.since,
        "came_from": status.came_from,
        "came_at": status.came_at,
        "seen_by": status.seen_by,
    }


def _take_reading(row: dict[str, Any], order: PortingOrder, now: datetime) -> None:
    if row["api_updated_at"] and order.updated_at and order.updated_at < row["api_updated_at"]:
        return  # an older page came in late
    updated = order.updated_at or row["api_updated_at"] or now
    if order.foc_actual != row["foc_actual"]:
        row |= {"foc_before": row["foc_actual"] or row["foc_before"], "foc_since": updated}
    if row["api_status"] is not None and order.status != row["api_status"]:
        row |= {"api_before": row["api_status"], "api_before_at": row["api_updated_at"]}
    row |= {
        "api_status": order.status,
        "api_since": updated if order.status != row["api_status"] else row["api_since"],
        "api_updated_at": updated,
        "api_codes": [list(detail) for detail in order.status_details],
        "api_messaging": order.messaging_status,
        "api_messaging_since": (
            updated if order.messaging_status != row["api_messaging"] else row["api_messaging_since"]
        ),
        "api_read_at": now,
        "foc_requested": order.foc_requested,
        "foc_actual": order.foc_actual,
        "activation_status": order.activation_status,
        "customer_reference": order.customer_reference or row["customer_reference"],
        "customer_group_reference": order.customer_group_reference,
        "support_key": order.support_key or row["support_key"],
        "parent_support_key": order.parent_support_key,
        "number_count": order.phone_numbers_count,
        "number_type": order.phone_number_type,
        "country": order.country_code,
        "webhook_url": order.webhook_url,
        "created_at": order.created_at,
    }


def _reading(row: dict[str, Any], status: str, since: str) -> Reading | None:
    if row[status] is None or row["api_updated_at"] is None:
        return None
    told = Reading(row[status], row[since] or row["api_updated_at"], row["api_updated_at"], ())
    if status != "api_status":
        return told
    codes: Codes = tuple((code, text) for code, text in row["api_codes"] or ())
    before = row["api_before"], row["api_before_at"]
    return replace(told, codes=codes, before=before if None not in before else None)


def _change(event: Any) -> Change | None:
    if event.type == DELETED:
        return Change("deleted", parse_time(event.natural_at) or event.created_at, ())
    if event.type != STATUS_CHANGED or not event.value:
        return None
    return Change(event.value, parse_time(event.natural_at) or event.created_at, _codes(event.payload))


def _codes(payload: Any) -> Codes | None:
    status = dict_of(payload).get("status")
    return details_of(status) if isinstance(status, dict) else None
