"""One order: what it is, what people say, and all that happened to it on one line of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, select

from telnyx_porting.flows.clock import Clocks, read_clocks
from telnyx_porting.flows.desk.lines import Line, read_open, write_lines
from telnyx_porting.flows.desk.orders import OrderLine, write_orders
from telnyx_porting.flows.desk.timeline import Entry, entries_of
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.exception_codes import Hint, explained
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import events, findings, orders
from telnyx_porting.models.keys import NEW_COMMENT
from telnyx_porting.models.reading import dict_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from telnyx_porting.flows.account import Account

MOST = 200  # comments


@dataclass(frozen=True)
class Comment:
    """One comment. Texts are foreign.

    :param at: when it was written, on our clock
    :param author: Telnyx's word: ``admin`` for its staff, ``user`` for us; empty: not told
    :param text: several lines; None: not held, since retention removed it or its event has no payload yet
    """

    event_id: str
    at: datetime
    author: str
    text: str | None


@dataclass(frozen=True)
class OrderView:
    """One order's page. Texts are foreign.

    :param row: of the table `orders`
    :param reasons: codes of its present status, what each means and what solves it
    :param findings: its open ones, by due time
    :param comments: the conversation, oldest first
    :param timeline: newest first, at most `timeline.MOST`
    :param older: how many more events there are, beyond the oldest that is shown
    """

    line: OrderLine
    row: RowMapping
    reasons: tuple[tuple[str, Hint], ...]
    findings: tuple[Line, ...]
    comments: tuple[Comment, ...]
    timeline: tuple[Entry, ...]
    older: int


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
            write_orders(connection, account, [row])[0],
            row,
            _reasons(connection, account.id, row),
            write_lines(connection, account, opened, now),
            _comments(connection, account.id, order_id),
            entries,
            older,
        )


def read_event(account: Account, event_id: str) -> RowMapping | None:
    """Return one event with its raw payload, as the ledger holds it, or None when it does not."""
    query = select(events).where(events.c.account == account.id, events.c.id == event_id)
    with account.ledger.read() as connection:
        return connection.execute(query).mappings().one_or_none()


def _reasons(connection: Connection, account: str, row: Mapping[Any, Any]) -> tuple[tuple[str, Hint], ...]:
    feed = get_feed(connection, account, Feed.EXCEPTION_TYPES)
    types = (feed["known"] if feed is not None else None) or {}
    return tuple((code[0] or "", explained(code, types)) for code in row["codes"] or ())


def _comments(connection: Connection, account: str, order_id: str) -> tuple[Comment, ...]:
    """Return the newest ones of an order, the oldest of them first."""
    clocks = read_clocks(connection, account)
    query = (
        select(events.c.id, events.c.created_at, events.c.value, events.c.payload)
        .where(events.c.account == account, events.c.order_id == order_id, events.c.type == NEW_COMMENT)
        .order_by(events.c.created_at.desc(), events.c.id.desc())
        .limit(MOST)
    )
    return tuple(_comment(row, clocks) for row in reversed(connection.execute(query).mappings().all()))


def _comment(row: RowMapping, clocks: Clocks) -> Comment:
    said = dict_of(dict_of(row["payload"]).get("comment"))
    text = said.get("body")
    author = str(row["value"] or said.get("user_type") or "")
    return Comment(row["id"], clocks.from_provider(row["created_at"]), author, text if isinstance(text, str) else None)
