"""Questions from carrier staff that nobody answered: they wait, and so does the port."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from telnyx_porting.flows.findings.finding import Seen, order_is_open
from telnyx_porting.ledger.tables import events, orders
from telnyx_porting.models import NEW_COMMENT
from telnyx_porting.settings.values import HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look


def questions(look: Look) -> Iterator[Seen]:
    """Comments of staff after which neither a comment of ours, nor a status change, nor an acknowledgement came."""
    mine = and_(events.c.account == orders.c.account, events.c.order_id == orders.c.id, events.c.type == NEW_COMMENT)
    query = (
        select(events.c.id, events.c.order_id, events.c.value, events.c.created_at)
        .join(orders, mine)
        .where(
            orders.c.account == look.account,
            order_is_open(),
            or_(orders.c.status_since.is_(None), events.c.created_at > orders.c.status_since),
            func.coalesce(events.c.value, "").in_(("admin", "user")),
        )
        .order_by(events.c.order_id, events.c.created_at, events.c.id)
    )
    rows = look.connection.execute(query).all()
    grouped = [(order_id, list(comments)) for order_id, comments in groupby(rows, key=lambda row: row.order_id)]
    yield from look.each("question", grouped, lambda item: _of_order(look, *item), lambda item: item[0])


def _of_order(look: Look, order_id: str, comments: list[Any]) -> Iterator[Seen]:
    order = look.open_orders.get(order_id)
    if order is not None and order["status"] != "ported":
        yield from _unanswered(look, order_id, comments)


def _unanswered(look: Look, order_id: str, comments: list[Any]) -> Iterator[Seen]:
    known_at = look.acknowledged.get(f"question:{order_id}")
    waiting: list[Any] = []
    for comment in comments:
        answered = comment.value == "user" or (known_at is not None and comment.created_at <= known_at)
        waiting = [] if answered else [*waiting, comment]
    if waiting:
        since = waiting[0].created_at
        severe = look.calendar.working_time(since, look.now) >= look.settings.question_after
        detail = {"comments": [comment.id for comment in waiting]}
        yield Seen("question", order_id, order_id, HIGH if severe else LOW, since, detail)
