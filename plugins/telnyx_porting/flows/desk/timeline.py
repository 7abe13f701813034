"""What happened to one order, from every table of the ledger, on our clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from telnyx_porting.flows.clock import Clocks, read_clocks
from telnyx_porting.ledger.tables import events
from telnyx_porting.models import NEW_COMMENT
from telnyx_porting.models.reading import dict_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from telnyx_porting.flows.account import Account

MOST = 200  # events on one page of a timeline, with all that belongs to them


@dataclass(frozen=True)
class Entry:
    """
    One thing that happened. Texts are foreign.

    :param at: when, on our clock
    :param kind: ``event``, ``webhook``, ``finding``, ``alert``, ``plan``, ``attempt`` or ``action``
    :param title: what, in a few words
    :param state: how it went, as a word: of an event its delivery, of a webhook ``ok`` or ``failed``, of a finding
        ``open`` or ``resolved``, of an attempt its verdict, of an alert its status
    :param detail: more, one line
    :param event_id: the event it belongs to
    :param plan_id: the plan it belongs to
    :param key: the finding it belongs to
    :param who: who did it, where a person or the schedule did
    :param where: of a webhook the destination, of an alert the channel
    :param attempt: of a webhook which try it was; of an attempt which send of its event
    :param latency: of a webhook from the event's generation to its try
    :param answer: of a webhook the HTTP status that the destination answered; None: none is known
    """

    at: datetime
    kind: str
    title: str
    state: str = ""
    detail: str = ""
    event_id: str | None = None
    plan_id: str | None = None
    key: str | None = None
    who: str | None = None
    where: str | None = None
    attempt: int | None = None
    latency: timedelta | None = None
    answer: int | None = None


@dataclass(frozen=True)
class Comment:
    """One comment. `author` is Telnyx's word: ``admin`` for its staff, ``user`` for us; `text` None: not held."""

    event_id: str
    at: datetime
    author: str
    text: str | None


def entries_of(
    connection: Connection, account: Account, order_id: str, before: datetime | None
) -> tuple[tuple[Entry, ...], int]:
    """Return what happened, newest first, and how many older events there are."""
    clocks = read_clocks(connection, account.id)
    mine = [events.c.account == account.id, events.c.order_id == order_id]
    if before is not None:
        mine.append(events.c.created_at < clocks.to_provider(before))
    total = connection.execute(select(func.count()).select_from(events).where(*mine)).scalar_one()
    query = select(events).where(*mine).order_by(events.c.created_at.desc(), events.c.id.desc()).limit(MOST)
    rows = connection.execute(query).mappings().all()
    found = [_event(row, clocks) for row in rows]
    return tuple(sorted(found, key=lambda entry: entry.at, reverse=True)), total - len(rows)


def _event(row: Any, clocks: Clocks) -> Entry:
    title = row["type"].removeprefix("porting_order.").replace("_", " ")
    at = clocks.from_provider(row["created_at"])
    return Entry(at, "event", title, row["delivery"] or "", row["value"] or "", event_id=row["id"])


def comments_of(connection: Connection, account: str, order_id: str, clocks: Clocks) -> tuple[Comment, ...]:
    """Return the conversation about an order, oldest first; the newest `MOST` of it."""
    query = (
        select(events.c.id, events.c.created_at, events.c.value, events.c.payload)
        .where(events.c.account == account, events.c.order_id == order_id, events.c.type == NEW_COMMENT)
        .order_by(events.c.created_at.desc(), events.c.id.desc())
        .limit(MOST)
    )
    return tuple(_comment(row, clocks) for row in reversed(connection.execute(query).all()))


def _comment(row: Any, clocks: Clocks) -> Comment:
    said = dict_of(dict_of(row.payload).get("comment"))
    text = said.get("body")
    author = row.value or said.get("user_type") or ""
    return Comment(row.id, clocks.from_provider(row.created_at), str(author), text if isinstance(text, str) else None)
