"""What people say about an order, as a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.ledger.tables import events
from telnyx_porting.models.keys import NEW_COMMENT
from telnyx_porting.models.reading import dict_of

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.flows.clock import Clocks

MOST = 200


@dataclass(frozen=True)
class Comment:
    """
    One comment. Texts are foreign.

    :param at: when it was written, on our clock
    :param author: Telnyx's word: ``admin`` for its staff, ``user`` for us; empty: not told
    :param text: several lines; None: not held, since retention removed it or its event has no payload yet
    """

    event_id: str
    at: datetime
    author: str
    text: str | None


def comments_of(connection: Connection, account: str, order_id: str) -> tuple[Comment, ...]:
    """Return the newest `MOST` comments of an order, the oldest of them first."""
    clocks = read_clocks(connection, account)
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
    author = str(row.value or said.get("user_type") or "")
    return Comment(row.id, clocks.from_provider(row.created_at), author, text if isinstance(text, str) else None)
