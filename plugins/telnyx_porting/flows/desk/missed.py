"""Notifications that did not arrive: which, why, and what can be sent again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select

from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.flows.desk.page import Filter, Page, count_of, from_row, on_page
from telnyx_porting.flows.findings.wording import label
from telnyx_porting.flows.republish.selection import LARGEST, needs, superseded
from telnyx_porting.ledger.predicates import is_given_up, is_open
from telnyx_porting.ledger.states import Cause, Delivery
from telnyx_porting.ledger.tables import events, orders

if TYPE_CHECKING:
    from datetime import datetime

    from telnyx_porting.flows.account import Account

_COLUMNS = ("id", "type", "order_id", "delivery", "cause", "created_at", "due_at", "sends")
_NAMES = (orders.c.customer_reference, orders.c.support_key)
_NEWEST = (events.c.created_at.desc(), events.c.id.desc())
STATES = (Delivery.MISSED, Delivery.GIVEN_UP, Delivery.PENDING)


@dataclass(frozen=True)
class MissedWhere(Filter):
    """
    A filter of events whose notification is missed. Empty fields filter nothing; nothing is filtered by time by itself.

    :param state: ``missed``, ``given_up``, or ``pending``: not due, or not judged yet
    :param cause: ``failed``: a try is on record; ``no_trace``: none is
    :param type: such as ``porting_order.status_changed``
    :param order_id: an order's id, whole
    :param since: created at or after, on Telnyx's clock
    :param until: created before
    """

    state: str = Delivery.MISSED
    cause: str = ""
    type: str = ""
    order_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class MissedLine:
    """One event whose notification is missed.

    :param at: when it was created, on our clock
    :param due: when its notification should have arrived; None: not known yet
    :param superseded: its order has had a newer event of this type
    """

    id: str
    type: str
    order_id: str | None
    name: str
    state: str
    cause: str | None
    at: datetime
    due: datetime | None
    sends: int
    superseded: bool


@dataclass(frozen=True)
class Chosen:
    """The events of a filter, for a plan.

    :param ids: oldest first, at most as many as fit into a plan
    :param total: all of the filter
    :param consents: what a person must agree to for these: `states.Consent`
    """

    ids: tuple[str, ...]
    total: int
    consents: tuple[str, ...]


def find_missed(account: Account, where: MissedWhere = MissedWhere(), *, page: int = 1) -> Page[MissedLine]:
    """Return the events of a filter, the newest first."""
    with account.ledger.read() as connection:
        ids = select(events.c.id).where(*_conditions(account.id, where)).order_by(*_NEWEST)
        query = (
            select(*(events.c[name] for name in _COLUMNS), *_NAMES, superseded().label("superseded"))
            .outerjoin(orders, and_(orders.c.account == events.c.account, orders.c.id == events.c.order_id))
            .where(events.c.account == account.id, events.c.id.in_(on_page(ids, page)))
            .order_by(*_NEWEST)
        )
        clocks = read_clocks(connection, account.id)
        lines = tuple(
            from_row(
                MissedLine,
                row,
                name=label(row["order_id"], row, "references"),
                state=row["delivery"] or Delivery.PENDING,
                at=clocks.from_provider(row["created_at"]),
                due=row["due_at"],
            )
            for row in connection.execute(query).mappings()
        )
        return Page(lines, count_of(connection, ids), page)


def count_missed(account: Account, where: MissedWhere = MissedWhere()) -> list[tuple[MissedWhere, int]]:
    """Return how many events there are in each state and of each cause, within the other fields of a filter."""
    found = []
    with account.ledger.read() as connection:
        for state in STATES:
            here = replace(where, state=state, cause="")
            causes = by_cause(connection, account.id, here)
            found.append((here, sum(causes.values())))
            found += [(replace(here, cause=cause), count) for cause, count in sorted(causes.items()) if cause]
    return found


def by_cause(connection: Connection, account: str, where: MissedWhere) -> dict[str, int]:
    """Return how many events of a filter have each cause; empty: none."""
    query = select(func.coalesce(events.c.cause, ""), func.count()).where(*_conditions(account, where))
    return {row[0]: row[1] for row in connection.execute(query.group_by(events.c.cause))}


def choose(account: Account, where: MissedWhere) -> Chosen:
    """Return the events of a filter for a plan: over all its pages."""
    with account.ledger.read() as connection:
        columns = (events.c.id, events.c.type, events.c.delivery, events.c.has_webhook)
        query = select(*columns, superseded().label("superseded")).where(*_conditions(account.id, where))
        total = count_of(connection, query)
        query = query.order_by(events.c.created_at, events.c.id).limit(LARGEST)
        rows = connection.execute(query).mappings().all()
        return Chosen(tuple(row["id"] for row in rows), total, tuple(sorted(set().union(*map(needs, rows)))))


def _conditions(account: str, where: MissedWhere) -> list[ColumnElement[bool]]:
    found = [events.c.account == account, _in_state(where.state)]
    if where.cause:
        found.append(events.c.cause == where.cause if where.cause in set(Cause) else false())
    found += [events.c[name] == value for name in ("type", "order_id") if (value := getattr(where, name))]
    if where.since is not None:
        found.append(events.c.created_at >= where.since)
    if where.until is not None:
        found.append(events.c.created_at < where.until)
    return found


def _in_state(state: str) -> ColumnElement[bool]:
    if state == Delivery.GIVEN_UP:
        return is_given_up(events)
    if state == Delivery.PENDING:
        return and_(is_open(events), or_(events.c.delivery.is_(None), events.c.delivery == Delivery.PENDING))
    return and_(is_open(events), events.c.delivery == Delivery.MISSED)
