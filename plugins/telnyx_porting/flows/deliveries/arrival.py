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
    watch_from: datetime | None
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
        return case(
            (events.c.payload_status != PayloadStatus.COMPLETED, None),
            (
                events.c.last_sent_at.is_not(None),
                events.c.last_sent_at + microseconds(self.account.settings.confirm_within),
            ),
            else_=self.generated + microseconds(self.account.settings.grace),
        )

    @property
    def begin(self) -> datetime | None:
        """From when on an event can be judged; None: not at all."""
        if self.record is None or self.watch_from is None:
            return None
        return max(self.watch_from, self.record.covers_from)


def decide(account: Account) -> str | None:
    """Apply the rule to every open event of the account.

    When more than half of what came due lately would become missed without a trace, and no outage explains it, the
    evidence probably does not cover port-ins: nothing becomes missed.

    :return: why nothing may become missed now, or None.
    """
    now = account.clock()
    with account.ledger.write() as connection:
        keep_receiver(account.ledger, connection, account.id)
        record = find_record(connection, account.id, account.settings, now)
        keep_record(account.ledger, connection, account.id, record, now)
    with account.ledger.read() as connection:
        most, clocks = budget(connection, account.id, account.settings), read_clocks(connection, account.id)
        look = _Look(account, record, watched_since(connection, account.id), clocks, most)
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
    record, begin = look.record, look.begin
    never: ColumnElement[bool] = literal(False)
    arrived = unclear = early = covered = never
    if record is not None:
        arrived = proofs.arrived(record)
        elsewhere = and_(_routed_elsewhere(record), ~_missed_before(look))
        unclear = or_(proofs.unclear(record, 2 * look.account.settings.grace), proofs.indistinct(record), elsewhere)
        if begin is not None:
            early = and_(look.generated < instant(begin), ~_missed_before(look))
            covered = look.due <= instant(record.covered_until)
    return case(
        (arrived, Delivery.ARRIVED),
        (~_has_webhook(), Delivery.NOT_EXPECTED),
        (events.c.payload_status != PayloadStatus.COMPLETED, Delivery.PENDING),
        (proofs.unread(record), Delivery.PENDING),
        (or_(unclear, early), Delivery.UNDETERMINED),
        (~covered, Delivery.PENDING),
        (events.c.sends >= look.budget, Delivery.GIVEN_UP),
        else_=Delivery.MISSED,
    )


def _missed_before(look: _Look) -> ColumnElement[bool]:
    """Return SQL: found missed by whoever decided before this record's coverage began, and nothing covers it since."""
    if look.record is None or look.watch_from is None:
        return literal(False)
    watched = look.generated >= instant(look.watch_from)
    return and_(events.c.cause.is_not(None), watched, look.generated < instant(look.record.covers_from))


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
    tried = and_(
        deliveries.c.account == events.c.account,
        deliveries.c.event_id == events.c.id,
        deliveries.c.source == Feed.DELIVERIES,
    )
    others = exists().where(tried, deliveries.c.destination.not_in(record.urls)).correlate(events)
    ours_tried = exists().where(tried, deliveries.c.destination.in_(record.urls)).correlate(events)
    return or_(never_told, and_(others, ~ours_tried)) if record.urls else never_told


def _cause() -> ColumnElement[str]:
    failed = and_(deliveries.c.account == events.c.account, deliveries.c.event_id == events.c.id, ~deliveries.c.ok)
    return case((exists().where(failed).correlate(events), Cause.FAILED), else_=Cause.NO_TRACE)


def _held_back(connection: Connection, look: _Look, state: ColumnElement[str]) -> str | None:
    """Return why nothing may become missed now, or None."""
    record = look.record
    if record is None or look.begin is None:
        return None
    if record.refused:
        return record.refused
    begin = max(look.begin, record.covered_until - STORM_WINDOW)
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
    if not without_trace:
        return None
    total = connection.execute(select(func.count()).where(came_due)).scalar_one()
    if without_trace * 2 <= total:
        return None
    return (
        f"{without_trace} of {total} notifications left no trace at {record.name} and no outage is known:"
        " the evidence does not seem to cover port-ins"
    )
