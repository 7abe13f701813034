"""Where an audit may cut history: at moments that no held event is near."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, select

from telnyx_porting.ledger.tables import events

if TYPE_CHECKING:
    from datetime import datetime

QUIET = timedelta(seconds=2)  # no held event is closer to a cut
LOOK = 1_000  # events looked at for a quiet moment


def nth(connection: Connection, account: str, since: datetime, until: datetime, n: int) -> Any:
    """Return the n-th oldest event (from 0) of a stretch, of those the provider is not known to have dropped."""
    query = select(events.c.id, events.c.created_at).where(*_within(account, since, until))
    query = query.where(events.c.gone_at.is_(None)).order_by(events.c.created_at, events.c.id)
    return connection.execute(query.offset(n).limit(1)).one_or_none()


def middle(connection: Connection, account: str, since: datetime, until: datetime, here: int) -> datetime | None:
    """Find a quiet moment near the middle, by events or else by time; None where there is none.

    :param here: events held in the stretch.
    """
    row = nth(connection, account, since, until, here // 2) if here else None
    at = row.created_at if row is not None else since + (until - since) / 2
    for bound in (until, since):
        cut = quiet(connection, account, at, bound)
        if cut is not None and since + QUIET < cut < until - QUIET:
            return cut
    return None


def quiet(connection: Connection, account: str, at: datetime, bound: datetime) -> datetime | None:
    """Return the first moment from `at` towards `bound` that is at least 2 s from both and from every held event."""
    onwards = at <= bound
    low, high = (at, bound) if onwards else (bound, at)
    order = events.c.created_at if onwards else events.c.created_at.desc()
    query = select(events.c.created_at).where(*_within(account, low, high)).order_by(order).limit(LOOK)
    moments = list(connection.execute(query).scalars())
    previous = at
    for moment in [*moments, *([bound] if len(moments) < LOOK else [])]:
        if abs(moment - previous) >= 2 * QUIET:
            return previous + QUIET if onwards else previous - QUIET
        previous = moment
    return None


def _within(account: str, since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return events.c.account == account, events.c.created_at >= since, events.c.created_at <= until
