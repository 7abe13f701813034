"""One rule for "did it arrive?", for first deliveries and republishes alike: one SQL CASE over the open events.

    not_expected  the type has no webhook
    undetermined  due before the deciding feed's coverage or before `watch_from`, or the evidence is ambiguous
    pending       not generated yet (then it has no due time), or not due yet, or due beyond the feed's coverage
    missed        due inside the coverage and nothing arrived: cause `failed` (an attempt is on record) or `no_trace`
    given_up      missed, and the budget of sends is spent
    arrived       delivered at the consumer of record, whenever; for ever

An event is due when its generation was seen (`completed_seen_at`, else `updated_at`) plus `grace`; after a send,
`confirm_within` after it. Only the consumer of record's deliveries decide; others may name the cause.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, case, distinct, exists, func, literal, or_, select, update

from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.ledger.tables import deliveries, events
from telnyx_porting.ledger.types import Instant, instant, microseconds
from telnyx_porting.models import WEBHOOK_TYPES

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
COMMIT_LAG = timedelta(seconds=2)  # the receiver may hold a webhook this long before it is committed
STORM_WINDOW = timedelta(days=7)


@dataclass(frozen=True)
class Record:
    """The consumer of record: the one destination per account whose deliveries decide."""

    source: str
    prefix: str  # of the destination; empty = any
    covers_from: datetime
    covered_until: datetime
    outage_until: datetime | None = None  # end of the feed's last known outage

    @property
    def name(self) -> str:
        """As written in settings and shown to people."""
        return f"{self.source}:{self.prefix}" if self.prefix else self.source


@dataclass(frozen=True)
class DeliveryResult:
    """How many events are still open, how many became missed, and why nothing was decided if so."""

    account: str
    record: str | None
    counts: dict[str, int] = field(default_factory=dict)
    newly_missed: int = 0
    held_back: str | None = None


def find_record(connection: Connection, account: str, settings: Settings, now: datetime) -> Record | None:
    """Return the consumer of record, or None: then nothing is ever missed, and nothing is planned by itself.

    Not set: the receiver once it has verified a webhook of this account, else the provider's delivery records once they
    have shown a port-in notification, else none.
    """
    source, _, prefix = settings.consumer_of_record.partition(":")
    if source == "table":
        source, prefix = settings.consumer_of_record, ""
    for name in [source] if source else ["receiver", "deliveries"]:
        feed = get_feed(connection, account, name)
        if feed is None or feed["proved_at"] is None or feed["covers_from"] is None:
            continue
        until = now - COMMIT_LAG if name == "receiver" else feed["covered_until"]
        if until is not None:
            outage = feed["down_until"] if name == "receiver" else None
            return Record(name, prefix, feed["covers_from"], until, outage)
    return None


def decide(ledger: Ledger, account: str, settings: Settings, now: datetime) -> DeliveryResult:
    """Apply the rule to every open event of the account.

    When more than half of what came due lately would become missed without a trace, and no outage explains it, the
    evidence probably does not cover port-ins: nothing becomes missed, and `held_back` says so.
    """
    with ledger.write() as connection:
        record = find_record(connection, account, settings, now)
        watch_from = _watch_from(connection, account)
        held_back = _held_back(connection, account, settings, record, watch_from)
        state = _rule(account, settings, record, watch_from, allow_missed=held_back is None)
        still_open = and_(events.c.account == account, _open())
        became = and_(still_open, state == "missed", or_(events.c.delivery.is_(None), events.c.delivery != "missed"))
        newly_missed = connection.execute(select(func.count()).where(became)).scalar_one()
        decided: dict[str, Any] = {"delivery": state, "due_at": _due(settings)}
        decided["cause"] = case((state == "missed", _cause()), else_=None)
        if record is not None:
            decided["arrived_at"] = case((state == "arrived", _arrived_at(record)), else_=events.c.arrived_at)
        connection.execute(update(events).where(still_open).values(**decided))
        counts = _open_counts(connection, account)
    if held_back:
        log.warning("account %s: %s", account, held_back)
    return DeliveryResult(account, record.name if record else None, counts, newly_missed, held_back)


def _open() -> ColumnElement[bool]:
    return or_(events.c.delivery.is_(None), events.c.delivery.in_(("pending", "missed")))


def _rule(
    account: str, settings: Settings, record: Record | None, watch_from: datetime | None, *, allow_missed: bool
) -> ColumnElement[str]:
    due = _due(settings)
    begin = max((t for t in (watch_from, record.covers_from if record else None) if t), default=None)
    undetermined: list[ColumnElement[bool]] = [_ambiguous()]
    if record is not None and record.source != "deliveries":
        undetermined.append(_indistinct(record))
    if begin is not None:
        undetermined.append(due < instant(begin))
    covered = due <= instant(record.covered_until) if record else literal(False)
    return case(
        (_arrived(record), "arrived"),
        (~_has_webhook(), "not_expected"),
        (events.c.payload_status != "completed", "pending"),
        (or_(*undetermined), "undetermined"),
        (~covered, "pending"),
        (events.c.sends >= settings.republish_budget, "given_up"),
        (literal(allow_missed), "missed"),
        (events.c.delivery == "missed", "missed"),
        else_="pending",
    )


def _due(settings: Settings) -> ColumnElement[Any]:
    seen = func.coalesce(events.c.completed_seen_at, events.c.updated_at, type_=Instant())
    return case(
        (events.c.payload_status != "completed", None),
        (events.c.last_sent_at.is_not(None), events.c.last_sent_at + microseconds(settings.confirm_within)),
        else_=seen + microseconds(settings.grace),
    )


def _has_webhook() -> ColumnElement[bool]:
    return and_(events.c.type.in_(sorted(WEBHOOK_TYPES)), events.c.has_webhook)


def _proof(record: Record) -> list[ColumnElement[bool]]:
    same = [
        deliveries.c.account == events.c.account,
        deliveries.c.event_id == events.c.id,
        deliveries.c.source == record.source,
        deliveries.c.ok,
    ]
    if record.prefix:
        same.append(deliveries.c.destination.startswith(record.prefix, autoescape=True))
    return same


def _arrived(record: Record | None) -> ColumnElement[bool]:
    """Enough distinct webhooks; for a split, all from before a resend or all from after it."""
    if record is None:
        return literal(False)
    before = or_(events.c.last_sent_at.is_(None), deliveries.c.signed_at < events.c.last_sent_at)

    # The provider's records tell webhooks apart by themselves; elsewhere only the webhook's id does.
    told_apart = (
        func.substr(deliveries.c.source_id, 1, 36) if record.source == "deliveries" else deliveries.c.webhook_id
    )

    def webhooks(*when: ColumnElement[bool]) -> Any:
        query = select(func.count(distinct(told_apart))).where(*_proof(record), *when)
        return query.correlate(events).scalar_subquery()

    return case(
        (events.c.copies == 1, exists().where(*_proof(record)).correlate(events)),
        else_=or_(webhooks(before) >= events.c.copies, webhooks(~before) >= events.c.copies),
    )


def _arrived_at(record: Record) -> Any:
    first = func.min(deliveries.c.signed_at, type_=Instant())
    stored = func.min(deliveries.c.stored_at, type_=Instant())
    return select(func.coalesce(first, stored)).where(*_proof(record)).correlate(events).scalar_subquery()


def _ambiguous() -> ColumnElement[bool]:
    unclear = and_(
        deliveries.c.account == events.c.account,
        deliveries.c.natural_key == events.c.natural_key,
        deliveries.c.matched == "ambiguous",
    )
    return exists().where(unclear).correlate(events)


def _indistinct(record: Record) -> ColumnElement[bool]:
    """Several webhooks are promised and all carry the event's own id: how many came cannot be told."""
    same_id = exists().where(*_proof(record), deliveries.c.webhook_id == events.c.id).correlate(events)
    return and_(events.c.copies > 1, same_id)


def _cause() -> ColumnElement[str]:
    failed = and_(deliveries.c.account == events.c.account, deliveries.c.event_id == events.c.id, ~deliveries.c.ok)
    return case((exists().where(failed).correlate(events), "failed"), else_="no_trace")


def _held_back(
    connection: Connection, account: str, settings: Settings, record: Record | None, watch_from: datetime | None
) -> str | None:
    """Return why nothing may become missed now, or None."""
    if record is None:
        return None
    feed = get_feed(connection, account, record.source)
    if feed is not None and feed["refused"]:
        return f"{feed['refused']} webhooks with a bad signature were refused since the last good one"
    begin = max(t for t in (record.covers_from, record.covered_until - STORM_WINDOW, watch_from) if t)
    if record.outage_until is not None and record.outage_until >= begin:
        return None
    due, state = _due(settings), _rule(account, settings, record, watch_from, allow_missed=True)
    came_due = and_(
        events.c.account == account,
        _has_webhook(),
        events.c.created_at >= instant(begin - timedelta(days=1)),
        due >= instant(begin),
        due <= instant(record.covered_until),
    )
    silent = and_(came_due, _open(), state == "missed", _cause() == "no_trace", events.c.sends == 0)
    total = connection.execute(select(func.count()).where(came_due)).scalar_one()
    without_trace = connection.execute(select(func.count()).where(silent)).scalar_one()
    if without_trace * 2 > total:
        return (
            f"{without_trace} of {total} notifications left no trace at {record.name} and no outage is known:"
            " the evidence does not seem to cover port-ins"
        )
    return None


def _watch_from(connection: Connection, account: str) -> datetime | None:
    feed = get_feed(connection, account, "events")
    return feed["watch_from"] if feed else None


def _open_counts(connection: Connection, account: str) -> dict[str, int]:
    query = select(events.c.delivery, func.count()).where(events.c.account == account, _open())
    return dict(connection.execute(query.group_by(events.c.delivery)).all())
