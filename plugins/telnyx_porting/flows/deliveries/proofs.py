"""SQL on an event's deliveries, as predicates of `porting_events`: what proves that it arrived, and what is unclear."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, distinct, exists, func, literal, or_, select

from telnyx_porting.flows.deliveries.consumer import KNOWN_FOR
from telnyx_porting.flows.deliveries.rivals import EARLY, TIMED
from telnyx_porting.ledger.states import Match
from telnyx_porting.ledger.tables import deliveries, events, republishes
from telnyx_porting.ledger.types import EPOCH, Instant, fixed, instant, microseconds

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import FromClause, RowMapping, Table

    from telnyx_porting.flows.deliveries.consumer import Record

FUZZ = timedelta(seconds=1)  # HTTP dates and signatures have whole seconds
_MADE: ColumnElement[Any] = func.coalesce(deliveries.c.signed_at, deliveries.c.stored_at, type_=Instant())


def same_event(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    """Return SQL: rows of two tables, or aliases of them, are about the same event."""
    mine, theirs = (table.c["event_id" if "event_id" in table.c else "id"] for table in (one, other))
    return and_(one.c.account == other.c.account, mine == theirs)


def this(table: Table, row: RowMapping) -> ColumnElement[bool]:
    """Return SQL: the table's row with the key of this one."""
    return and_(*(column == row[column.name] for column in table.primary_key))


def of_event(record: Record) -> list[ColumnElement[bool]]:
    """Return SQL: a success that is known to be this event's."""
    return [same_event(deliveries, events), *record.good]


def may_be() -> ColumnElement[bool]:
    """Return SQL: the delivery's key fits the event, and it was not signed long before the event.

    The time in a key may have been rounded: within the same minute that is known here.
    """
    rounded = and_(
        deliveries.c.order_id == events.c.order_id,
        deliveries.c.type == events.c.type,
        events.c.type.in_(fixed(*TIMED)),
        _minute(deliveries.c.natural_key) == _minute(events.c.natural_key),
    )
    return and_(
        deliveries.c.account == events.c.account,
        or_(deliveries.c.natural_key == events.c.natural_key, rounded),
        events.c.created_at - microseconds(EARLY) <= _MADE,
    )


def _minute(key: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.substr(key, 1, func.length(key) - 2)


def unread(record: Record | None) -> ColumnElement[bool]:
    """Return SQL: a success that may be this event's came in, and whose it is, or whether it is all, is not decided.

    Where several webhooks are promised, and one came lately, more may be on their way.
    """
    if record is None:
        return literal(False)
    new = and_(
        deliveries.c.account == events.c.account,
        deliveries.c.matched.is_(None),
        deliveries.c.stored_at > EPOCH,  # in the words of the index of what is new
        or_(deliveries.c.webhook_id == events.c.id, may_be()),
        *record.good,
    )
    late = exists().where(*of_event(record), instant(record.settled_by) < _MADE).correlate(events)
    return or_(exists().where(new).correlate(events), case((events.c.copies == 1, False), else_=late))


def unclear(record: Record, near: timedelta) -> ColumnElement[bool]:
    """Return SQL: a success may be this event's or another's; a failed one proves nothing either way."""
    told = func.coalesce(deliveries.c.occurred_at, _MADE, type_=Instant())
    nearby = or_(
        events.c.last_sent_at.is_not(None),
        told.between(events.c.created_at - microseconds(near), events.c.updated_at + microseconds(near)),
    )
    ambiguous = or_(deliveries.c.matched == Match.FAR, and_(deliveries.c.matched == Match.AMBIGUOUS, nearby))
    return exists().where(may_be(), ambiguous, *record.good).correlate(events)


def unclear_since(record: Record, since: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return SQL: a success that may be this event's or another's was signed since, or nobody knows when.

    :param since: a time on the provider's clock, of `porting_republishes`.
    """
    then = or_(deliveries.c.signed_at.is_(None), deliveries.c.signed_at >= since)
    ambiguous = deliveries.c.matched.in_((Match.FAR, Match.AMBIGUOUS))
    return exists().where(may_be(), ambiguous, then, *record.good).correlate(events, republishes)


def came_alone(account: str, lately: datetime, settled_by: datetime) -> list[ColumnElement[bool]]:
    """Return SQL of a delivery: its event promises one webhook and was sent once, lately; others would be here, too."""
    one = events.alias("one")
    promised_one = and_(one.c.account == account, one.c.id == deliveries.c.event_id, one.c.copies == 1)
    settled = and_(deliveries.c.stored_at >= instant(lately), instant(settled_by) >= _MADE)
    return [deliveries.c.account == account, settled, exists().where(promised_one), ~sent_again()]


def sent_again() -> ColumnElement[bool]:
    """Return SQL of a delivery: its event was republished."""
    again = exists().where(same_event(republishes, deliveries), republishes.c.reply_date.is_not(None))
    return again.correlate(deliveries)


def counts(record: Record) -> ColumnElement[bool]:
    """Return SQL: as many webhooks as promised prove something, for a notification comes once, as was seen lately.

    It comes several times, under ids of their own, where two subscriptions lead to one URL.
    """
    if record.doubled:
        return literal(False)
    return exists().where(
        *came_alone(record.account, record.covered_until - KNOWN_FOR, record.settled_by), *record.good
    )


def arrived(record: Record) -> ColumnElement[bool]:
    """Return SQL: as many distinct webhooks as promised came of one sending, and never more."""
    promised = events.c.copies
    just = and_(_count() == promised, func.max(_MADE) <= instant(record.settled_by))
    enough = and_(counts(record), _sending(record, just), ~_too_many(record))
    one = exists().where(*of_event(record)).correlate(events)
    return case((promised == 1, one), else_=enough)


def indistinct(record: Record) -> ColumnElement[bool]:
    """Return SQL: several webhooks may be promised, and how many of them came cannot be told.

    All carry the event's own id; or a single one came, which is all that is lost, or all that was ever sent; or more
    came than were promised; or as many did, and counting proves nothing.
    """
    same_id = exists().where(*of_event(record), deliveries.c.webhook_id == events.c.id).correlate(events)
    any_came = exists().where(*of_event(record)).correlate(events)
    single = and_(any_came, ~_sending(record, _count() > 1))
    uncounted = and_(_sending(record, _count() >= events.c.copies), ~counts(record))
    unknown = or_(same_id, single, _too_many(record), uncounted)
    return case((events.c.copies == 1, False), else_=unknown)


def _count() -> ColumnElement[int]:
    return func.count(distinct(deliveries.c.webhook_id))


def _too_many(record: Record) -> ColumnElement[bool]:
    return _sending(record, _count() > events.c.copies)


def _sending(record: Record, having: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return SQL: this is true of what came between two sends of the event, one of which is its first."""
    send, later = republishes.alias("send"), republishes.alias("later")

    def preceded_by(sent: Any) -> ColumnElement[bool]:
        return and_(same_event(sent, deliveries), sent.c.reply_date - microseconds(FUZZ) <= _MADE)

    newer = exists().where(preceded_by(later), later.c.reply_date > send.c.reply_date).correlate(deliveries, send)
    of_its_send = deliveries.outerjoin(send, and_(preceded_by(send), ~newer))
    query = select(literal(1)).select_from(of_its_send).where(*of_event(record)).group_by(send.c.reply_date)
    return query.having(having).correlate(events).exists()
