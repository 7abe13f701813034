"""One order: what it is, what people say, and all that happened to it on one line of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from telnyx_porting.flows.desk.comments import Comment, comments_of
from telnyx_porting.flows.desk.lines import Line, read_open, write_lines
from telnyx_porting.flows.desk.orders import OrderLine, write_orders
from telnyx_porting.flows.desk.timeline import Entry, entries_of
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.exception_codes import hint_for
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import events, findings, orders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.flows.account import Account


@dataclass(frozen=True)
class Reason:
    """A code of the order's status: what the carrier said, else what it means, and what solves it."""

    code: str
    says: str
    step: str


@dataclass(frozen=True)
class OrderView:
    """
    One order's page. Texts are foreign.

    :param reasons: of its present status
    :param messaging: the status of its messaging part
    :param foc_before: the date agreed before the present one, where it moved
    :param findings: its open ones, by due time
    :param comments: the conversation, oldest first
    :param timeline: newest first, at most `timeline.MOST`
    :param older: how many more events there are, beyond the oldest that is shown
    """

    line: OrderLine
    reasons: tuple[Reason, ...]
    number_type: str | None
    country: str | None
    activation: str | None
    messaging: str | None
    messaging_since: datetime | None
    foc_requested: datetime | None
    foc_actual: datetime | None
    foc_before: datetime | None
    webhook_url: str | None
    created_at: datetime | None
    read_at: datetime | None
    findings: tuple[Line, ...]
    comments: tuple[Comment, ...]
    timeline: tuple[Entry, ...]
    older: int


@dataclass(frozen=True)
class EventView:
    """
    One event as the ledger holds it.

    :param payload: JSON as Telnyx sent it; None: not generated, or removed by retention (`pruned`)
    :param delivery: whether its notification arrived: a word of `states.Delivery`; None: not looked at yet
    """

    id: str
    type: str
    order_id: str | None
    created_at: datetime
    updated_at: datetime
    payload_status: str
    payload: Any
    pruned: bool
    delivery: str | None
    cause: str | None
    due_at: datetime | None
    arrived_at: datetime | None
    sends: int


def read_order(account: Account, order_id: str, *, before: datetime | None = None) -> OrderView | None:
    """Return an order, or None when the ledger does not know it; `before`: the timeline from there back."""
    now = account.clock()
    with account.ledger.read() as connection:
        query = select(orders).where(orders.c.account == account.id, orders.c.id == order_id)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        opened = read_open(connection, account, now, findings.c.order_id == order_id)
        entries, older = entries_of(connection, account.id, order_id, before)
        return OrderView(
            line=write_orders(connection, account, [row])[0],
            reasons=_reasons(connection, account.id, row),
            number_type=row["number_type"],
            country=row["country"],
            activation=row["activation_status"],
            messaging=row["messaging_status"],
            messaging_since=row["messaging_since"],
            foc_requested=row["foc_requested"],
            foc_actual=row["foc_actual"],
            foc_before=row["foc_before"],
            webhook_url=row["webhook_url"],
            created_at=row["created_at"],
            read_at=row["api_read_at"],
            findings=write_lines(connection, account, opened, now),
            comments=comments_of(connection, account.id, order_id),
            timeline=entries,
            older=older,
        )


def read_event(account: Account, event_id: str) -> EventView | None:
    """Return one event with its raw payload, or None when the ledger does not hold it."""
    names = list(EventView.__dataclass_fields__)
    query = select(*(events.c[name] for name in names)).where(events.c.account == account.id, events.c.id == event_id)
    with account.ledger.read() as connection:
        row = connection.execute(query).one_or_none()
    return EventView(*row) if row is not None else None


def _reasons(connection: Connection, account: str, row: Mapping[Any, Any]) -> tuple[Reason, ...]:
    feed = get_feed(connection, account, Feed.EXCEPTION_TYPES)
    types = (feed["known"] if feed is not None else None) or {}
    found = []
    for code, said in row["codes"] or ():
        name = code or ""
        hint = hint_for(name)
        meaning = said or (hint.meaning if hint else "") or types.get(name) or ""
        found.append(Reason(name, meaning, hint.step if hint else ""))
    return tuple(found)
