"""One rule for "did it arrive?", for first deliveries and republishes alike: one SQL CASE over the open events.

    not_expected  the type has no webhook
    undetermined  generated before the deciding feed's coverage or before `watch_from`, or the evidence is ambiguous
    pending       not generated yet (then it has no due time), or not due yet, or due beyond the feed's coverage
    missed        due inside the coverage and nothing arrived: cause `failed` (an attempt is on record) or `no_trace`
    given_up      missed, and the budget of sends is spent
    arrived       delivered at the consumer of record, whenever; for ever

An event is due when its generation was seen (`completed_seen_at`, else `updated_at`) plus `grace`; after a send,
`confirm_within` after it. Only the consumer of record's deliveries decide; others may name the cause. The provider's
times are moved to our clock by the offset last measured, so that a wrong clock shortens nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, literal, or_, select, update

from telnyx_porting.flows.account import watched_since
from telnyx_porting.flows.clock import Clocks, keep_receiver, read_clocks
from telnyx_porting.flows.deliveries import proofs
from telnyx_porting.flows.deliveries.consumer import Record, find_record, keep_record
from telnyx_porting.flows.subscriptions import below, budget, ends_with
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.predicates import is_open
from telnyx_porting.ledger.states import Cause, Delivery, Feed, PayloadStatus
from telnyx_porting.ledger.tables import deliveries, events, orders
from telnyx_porting.ledger.types import Instant, instant, microseconds
from telnyx_porting.models.keys import WEBHOOK_TYPES

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)
STORM_WINDOW = timedelta(days=7)
CHUNK = 500  # events per write transaction


@dataclass(frozen=True)
class _Look:
    """What the rule is applied with."""

    account: Account
    record: Record | None
    watch_from: datetime
    clocks: Clocks
    budget: int

    @property
    def generated(self) -> ColumnElement[datetime]:
        """When the notification was generated, on our clock: no earlier than this."""
        told = self.clocks.told_by_provider(events.c.updated_at)
        return func.coalesce(events.c.completed_seen_at, told, type_=Instant())

    @property
    def due(self) -> ColumnElement[Any]:
        """When its arrival is due; null while there is nothing to arrive."""
        settings, sent = self.account.settings, events.c.last_sent_at
        return case(
            (events.c.payload_status != PayloadStatus.COMPLETED, None),
            (sent.is_not(None), sent + microseconds(settings.confirm_within)),
            else_=self.generated + microseconds(settings.grace),
        )


def decide(account: Account) -> str | None:
    """Apply the rule to every open event of the account.

    When more than half of what came due lately would become missed without a trace, and no outage explains it, the
    evidence probably does not cover port-ins: nothing becomes missed.

    :return: why nothing may become missed now, or None.
    """
    now = account.clock()
    with account.ledger.write() as connection:
        keep_receiver(account.ledger, connection, account.id)
        if (record := find_record(connection, account.id, account.settings, now)) is not None:
            keep_record(account.ledger, connection, record, now)
    with account.ledger.read() as connection:
        most, clocks = budget(connection, account.id, account.settings), read_clocks(connection, account.id)
        watch_from = watched_since(connection, account.id) or now  # no event is held before it begins
        look = _Look(account, record, watch_from, clocks, most)
        state = _rule(look)
        if held_back := _held_back(connection, look, state):
            newly = and_(state == Delivery.MISSED, events.c.delivery.is_distinct_from(Delivery.MISSED))
            state = case((newly, Delivery.PENDING), else_=state)
        decided: dict[str, Any] = {"delivery": state, "due_at": look.due}
        # it was sent again, and that is not judged yet, or in vain
        still_lost = state.in_((Delivery.PENDING, Delivery.GIVEN_UP))
        decided["cause"] = case((state == Delivery.MISSED, _cause()), (still_lost, events.c.cause), else_=None)
        if record is not None:
            decided["arrived_at"] = case((state == Delivery.ARRIVED, _arrived_at(record)), else_=events.c.arrived_at)
        still_open = and_(events.c.account == account.id, is_open(events))
        differs = or_(*(events.c[name].is_distinct_from(value) for name, value in decided.items()))
        moved = connection.execute(select(events.c.id).where(still_open, differs)).scalars().all()
    for some in chunks(sorted(moved), CHUNK):  # the rule again, for what came in since
        with account.ledger.write() as connection:
            these = and_(still_open, account.ledger.among(events.c.id, some))
            connection.execute(update(events).where(these).values(**decided))
        account.ledger.breathe()
    if held_back:
        log.warning("account %s: %s", account.id, held_back)
    return held_back


def _rule(look: _Look) -> ColumnElement[str]:
    never: ColumnElement[bool] = literal(False)
    arrived = unclear = covered = never
    if (record := look.record) is not None:
        arrived, covered = proofs.arrived(record), look.due <= instant(record.covered_until)
        begin, watched = instant(record.covers_from), look.generated >= instant(look.watch_from)
        # found missed by whoever decided before this record's coverage began, and nothing covers it since
        known = and_(events.c.cause.is_not(None), watched, look.generated < begin)
        foreign = and_(or_(_routed_elsewhere(record), ~watched, look.generated < begin), ~known)
        unclear = or_(proofs.unclear(record, 2 * look.account.settings.grace), proofs.indistinct(record), foreign)
    return case(
        (arrived, Delivery.ARRIVED),
        (~_has_webhook(), Delivery.NOT_EXPECTED),
        (events.c.payload_status != PayloadStatus.COMPLETED, Delivery.PENDING),
        (proofs.unread(record), Delivery.PENDING),
        (unclear, Delivery.UNDETERMINED),
        (~covered, Delivery.PENDING),
        (events.c.sends >= look.budget, Delivery.GIVEN_UP),
        else_=Delivery.MISSED,
    )


def _has_webhook() -> ColumnElement[bool]:
    return and_(events.c.type.in_(sorted(WEBHOOK_TYPES)), events.c.has_webhook)


def _arrived_at(record: Record) -> Any:
    first = func.min(deliveries.c.signed_at, type_=Instant())
    stored = func.min(deliveries.c.stored_at, type_=Instant())
    query = select(func.coalesce(first, stored)).where(*proofs.of_event(record))
    return query.correlate(events).scalar_subquery()


def _routed_elsewhere(record: Record) -> ColumnElement[bool]:
    """Tell events that were sent to others only.

    The provider's records show tries elsewhere and none at the consumer of record; or the order names a URL of its own
    and nothing of this order ever came. Whether such an order is told to the account's channels too is undocumented.
    """
    ours = below(orders.c.webhook_url, record.prefix) if record.prefix else literal(False)
    if record.source == Feed.RECEIVER:
        ours = ends_with(orders.c.webhook_url, "/webhooks/telnyx/" + events.c.account)
    own_url = exists().where(
        orders.c.account == events.c.account,
        orders.c.id == events.c.order_id,
        orders.c.webhook_url.is_not(None),
        ~ours,
    )
    told = exists().where(
        deliveries.c.account == events.c.account,
        deliveries.c.order_id == events.c.order_id,
        deliveries.c.source == record.source,
        *record.here,
    )
    never_told = and_(own_url.correlate(events), ~told.correlate(events))
    tried = and_(proofs.same_event(deliveries, events), deliveries.c.source == Feed.DELIVERIES)
    others = exists().where(tried, deliveries.c.destination.not_in(record.urls)).correlate(events)
    ours_tried = exists().where(tried, deliveries.c.destination.in_(record.urls)).correlate(events)
    return or_(never_told, and_(others, ~ours_tried)) if record.urls else never_told


def _cause() -> ColumnElement[str]:
    failed = exists().where(proofs.same_event(deliveries, events), ~deliveries.c.ok).correlate(events)
    return case((failed, Cause.FAILED), else_=Cause.NO_TRACE)


def _held_back(connection: Connection, look: _Look, state: ColumnElement[str]) -> str | None:
    """Return why nothing may become missed now, or None."""
    if (record := look.record) is None:
        return None
    if record.refused:
        return record.refused
    begin = max(look.watch_from, record.covers_from, record.covered_until - STORM_WINDOW)
    due = look.due
    came_due = and_(
        events.c.account == look.account.id,
        _has_webhook(),
        events.c.created_at >= instant(begin - timedelta(days=1)),
        due >= instant(begin),
        due <= instant(record.covered_until),
        *(~look.generated.between(instant(start), instant(end)) for start, end in record.outages),
    )
    silent = and_(came_due, is_open(events), state == Delivery.MISSED, _cause() == Cause.NO_TRACE, events.c.sends == 0)
    without_trace = connection.execute(select(func.count()).where(silent)).scalar_one()
    total = connection.execute(select(func.count()).where(came_due)).scalar_one() if without_trace else 0
    if without_trace * 2 <= total:
        return None
    return (
        f"{without_trace} of {total} notifications left no trace at {record.name} and no outage is known:"
        " the evidence does not seem to cover port-ins"
    )
