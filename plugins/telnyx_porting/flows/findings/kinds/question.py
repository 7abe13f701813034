"""Questions from carrier staff that nobody answered: they wait, and so does the port."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypedDict

from sqlalchemy import and_, func, or_, select

from telnyx_porting.flows.findings.kind import US, Kind, Look, Seen, Step, Told, order_is_open
from telnyx_porting.ledger.tables import events, orders
from telnyx_porting.models.keys import NEW_COMMENT
from telnyx_porting.settings.values import HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime


_TEMPLATE = """
{{ lead }}: open question, {{ label }}{% if numbers %}, {{ numbers }}{% endif %}:
a comment of Telnyx's porting team waits for an answer, {{ age }} old{% if foc %}, {{ foc }}{% endif %}.
{% for comment in comments %}[{{ comment }}] {% endfor %}
"""


class _Detail(TypedDict):
    comments: list[str]  # ids of their events


def _look(look: Look) -> Iterator[Seen]:
    """Yield staff comments after which neither a comment of ours, nor a status change, nor an acknowledgement came."""
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
    known = look.acknowledged(f"question:{order_id}" for order_id, _ in grouped)
    yield from look.each("question", grouped, partial(_of_order, look, known))


def _of_order(look: Look, known: Mapping[str, datetime], order_id: str, comments: list[Any]) -> Iterator[Seen]:
    order = look.open_orders.get(order_id)
    if order is None or order["status"] == "ported":
        return
    known_at = known.get(f"question:{order_id}")
    waiting: list[Any] = []
    for comment in comments:
        answered = comment.value == "user" or (known_at is not None and comment.created_at <= known_at)
        waiting = [] if answered else [*waiting, comment]
    if waiting:
        since = waiting[0].created_at
        severe = look.calendar.working_time(since, look.now) >= look.settings.question_after
        detail: _Detail = {"comments": [comment.id for comment in waiting]}
        yield Seen("question", order_id, order_id, HIGH if severe else LOW, since, detail)


def _next_step(told: Told) -> Step:
    return US, "answer with a comment on the order; if it needs no answer, acknowledge it"


KIND = Kind("question", _TEMPLATE, _next_step, _look, title="open question")
