"""Failed delivery records are read again: the provider may append a good attempt to an old record.

Those whose event awaits a verdict come first, always; then those of other events that are still lost. Each time so many
and no more, the longest unread first, so that all get their turn. Until what awaits a verdict has been read again after
its time was up, the feed does not cover that time: nothing is told not to have arrived because of a record unread.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, update

from telnyx_porting.errors import EnvelopeError, NotFoundError, SettingsError
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import Delivery, Feed
from telnyx_porting.ledger.tables import deliveries, events, republishes
from telnyx_porting.ledger.types import Instant, microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.models.records import WebhookDelivery
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
AT_ONCE = 100  # requests
GIVEN_UP_FOR = timedelta(days=1)  # so long after its last send a late arrival is looked for
_TICK = timedelta(microseconds=1)


def read(account: Account, client: AccountClient, now: datetime) -> Iterator[WebhookDelivery]:
    """Yield records that had failed, as they are now; at most `AT_ONCE` requests."""
    with account.ledger.read() as connection:
        ids = _next(connection, account.id, now)
    for record_id in ids:
        try:
            yield client.get_webhook_delivery(record_id)
        except NotFoundError:
            log.info("delivery record %s is no longer listed", record_id)
        except (EnvelopeError, SettingsError) as error:  # an odd answer, or an odd id: the others are read all the same
            log.warning("delivery record %s cannot be read again: %s", record_id, error)
    mine = (deliveries.c.account == account.id, _failed(), deliveries.c.record_id.in_(ids))
    with account.ledger.write() as connection:
        connection.execute(update(deliveries).where(*mine).values(looked_at=now))


def covered(connection: Connection, account: str, settings: Settings, until: datetime) -> datetime:
    """Return up to when the records cover: before the time of a verdict whose records were not all read since."""
    late_enough = republishes.c.due_at + microseconds(settings.settle)
    unread = and_(deliveries.c.stored_at < late_enough, _last_read() < late_enough)
    query = (
        select(func.min(republishes.c.due_at, type_=Instant()))
        .join(
            deliveries,
            and_(deliveries.c.account == republishes.c.account, deliveries.c.event_id == republishes.c.event_id),
        )
        .join(events, and_(events.c.account == republishes.c.account, events.c.id == republishes.c.event_id))
        .where(republishes.c.account == account, is_unresolved(republishes), republishes.c.due_at <= until)
        .where(_failed(), unread, events.c.arrived_at.is_(None))
    )
    due: datetime | None = connection.execute(query).scalar()
    return until if due is None else min(until, due - _TICK)


def _next(connection: Connection, account: str, now: datetime) -> list[str]:
    waiting = select(republishes.c.event_id).where(republishes.c.account == account, is_unresolved(republishes))
    awaited = deliveries.c.event_id.in_(waiting)
    lost = or_(
        events.c.delivery == Delivery.MISSED,
        and_(events.c.delivery == Delivery.GIVEN_UP, events.c.last_sent_at > now - GIVEN_UP_FOR),
    )
    query = (
        select(deliveries.c.record_id)
        .join(events, and_(events.c.account == deliveries.c.account, events.c.id == deliveries.c.event_id))
        .where(deliveries.c.account == account, _failed(), events.c.arrived_at.is_(None), or_(awaited, lost))
        .group_by(deliveries.c.record_id)
        .order_by(
            func.min(case((awaited, 0), else_=1)),
            func.max(_last_read()),
            deliveries.c.record_id,
        )
        .limit(AT_ONCE)
    )
    return list(connection.execute(query).scalars())


def _last_read() -> ColumnElement[datetime]:
    return func.coalesce(deliveries.c.looked_at, deliveries.c.stored_at, type_=Instant())


def _failed() -> ColumnElement[bool]:
    return and_(deliveries.c.source == Feed.DELIVERIES, ~deliveries.c.ok, deliveries.c.record_id.is_not(None))
