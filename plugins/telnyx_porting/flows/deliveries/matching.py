"""Match deliveries to events: one delivery proves at most one event.

A webhook's id may equal the event's id; whether it does is undocumented, so it is used when equal and never needed.
Else the natural key and nearness in time decide, among all events of the order and type: see `rivals.py`. What waits
for events to be read has no `matched` yet and is decided again at each look; so is what found no event, or too many,
while an event that it may belong to is open.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import accumulate, groupby
from operator import itemgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, and_, distinct, exists, func, or_, select, update

from telnyx_porting.flows.deliveries.consumer import KNOWN_FOR
from telnyx_porting.flows.deliveries.proofs import came_alone, same_event, sent_again, this
from telnyx_porting.flows.deliveries.rivals import Reach, assign
from telnyx_porting.flows.events.odd import keep_odd
from telnyx_porting.flows.feeds import NEVER_READ, get_feed, touch_feed
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.predicates import is_open, is_unmatched
from telnyx_porting.ledger.states import Feed, Match, Republish
from telnyx_porting.ledger.tables import deliveries, events, feeds, republishes
from telnyx_porting.ledger.types import EPOCH, Instant
from telnyx_porting.models.keys import NEW_COMMENT, PREFIX, SPLIT, WEBHOOK_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Table

    from telnyx_porting.flows.account import Account

CHUNK = 500
AT_ONCE = 100  # deliveries decided in one write transaction
_UNCLEAR = {Match.AMBIGUOUS, Match.FAR}
Decided: TypeAlias = tuple[str, Row[Any], str | None, Match | None, list[str]]
"""What is new about a delivery: its subject, its row, its event and how it was found, and all that it may prove."""
Subjects: TypeAlias = dict[str, set[str]]  # natural keys of deliveries by what they are told apart within


def match(account: Account) -> None:
    """Assign new deliveries, those that wait, and those for which an event has been read since.

    Costs what is new or open: a handful of statements for each few hundred orders.
    """
    _match_by_id(account)
    for subjects in _work(account):
        with account.ledger.read() as connection:
            changed = Counter(subject for subject, *_ in _decisions(account, connection, subjects))
        for part in _parts(changed):
            with account.ledger.write(f"match:{account.id}") as connection:
                left = {subject: subjects[subject] for subject in part}
                _write(account, connection, list(_decisions(account, connection, left)))
            account.ledger.breathe()
    # Only what has no key: a delivery that came in since the look began is left to the next one.
    without = and_(deliveries.c.matched.is_(None), deliveries.c.natural_key.is_(None), ~exists().where(_same_id()))
    odd: set[tuple[str, str]] = set()
    for _, found in _assign(account, without, event_id=None, matched=Match.NONE):
        odd.update((row.source, row.type or "unknown") for row in found if row.type in (None, *WEBHOOK_TYPES))
    for source, kind in sorted(odd):
        if source in (Feed.RECEIVER, Feed.DELIVERIES):  # a table of yours may have ids only
            what = f"a webhook of type {kind} that does not say which event it is about"
            keep_odd(account, source, [what], account.clock())


def _match_by_id(account: Account) -> None:
    """Assign where the webhook's id is an event's id. Late events are found from their own side."""
    new = deliveries.c.matched.is_(None)
    open_ids = select(events.c.id).where(events.c.account == account.id, is_open(events))
    late = and_(is_unmatched(deliveries), deliveries.c.webhook_id.in_(open_ids))
    for condition in (new, late):
        theirs = and_(condition, exists().where(_same_id()))
        for connection, rows in _assign(account, theirs, event_id=deliveries.c.webhook_id, matched=Match.ID):
            _look_again(connection, account.id, [row.event_id for row in rows])


def _assign(
    account: Account, condition: ColumnElement[bool], **values: Any
) -> Iterator[tuple[Connection, Sequence[Row[Any]]]]:
    """Write a decision about the deliveries that fulfil a condition, some at a time; yield inside each transaction."""
    was = func.coalesce(deliveries.c.matched, "")  # in no index's words: each is found by its key
    query = select(deliveries.c.source, was.label("was"), deliveries.c.source_id)
    with account.ledger.read() as connection:
        found = connection.execute(query.where(deliveries.c.account == account.id, condition)).all()
    for (source, before), rows in groupby(sorted(found), key=itemgetter(0, 1)):
        for part in chunks((row.source_id for row in rows), CHUNK):
            mine = and_(deliveries.c.account == account.id, deliveries.c.source == source, was == before)
            statement = update(deliveries).where(mine, account.ledger.among(deliveries.c.source_id, part))
            told = statement.values(**values).returning(deliveries.c.source, deliveries.c.type, deliveries.c.event_id)
            with account.ledger.write() as connection:
                yield connection, connection.execute(told).all()
            account.ledger.breathe()


def _parts(changed: Counter[str]) -> Iterator[list[str]]:
    """Divide subjects into parts of about as many changes as one transaction should write; one may have more."""
    subjects = sorted(changed)
    so_far = accumulate(changed[subject] for subject in subjects)
    for _, part in groupby(zip(subjects, so_far, strict=True), key=lambda each: each[1] // AT_ONCE):
        yield [subject for subject, _ in part]


def _same_id() -> ColumnElement[bool]:
    return and_(
        events.c.account == deliveries.c.account,
        events.c.id == deliveries.c.webhook_id,
        events.c.type == deliveries.c.type,
    )


def _work(account: Account) -> Iterator[Subjects]:
    """Yield what there is to decide: new deliveries, and open events that an undecided one may belong to."""
    new = select(deliveries.c.natural_key).where(deliveries.c.account == account.id, deliveries.c.matched.is_(None))
    undecided = or_(
        is_unmatched(deliveries),  # also where it was decided between the scan and this look
        and_(events.c.delivery.is_(None), deliveries.c.matched == Match.KEY),
    )
    theirs = select(deliveries.c.natural_key).join(events, events.c.account == deliveries.c.account)
    theirs = theirs.where(events.c.account == account.id, is_open(events), undecided)
    same_key = theirs.where(deliveries.c.natural_key == events.c.natural_key)
    same_order = theirs.where(deliveries.c.order_id == events.c.order_id, deliveries.c.type == events.c.type)
    same_order = same_order.where(or_(events.c.natural_key.is_(None), events.c.delivery.is_(None)))
    found: Subjects = defaultdict(set)
    with account.ledger.read() as connection:
        for query in (new, same_key, same_order):
            for key in filter(None, connection.execute(query.distinct()).scalars()):
                found[_subject(key)].add(key)
    splits = {subject for subject in found if PREFIX + subject.partition(":")[0] == SPLIT}
    for some in (found.keys() - splits, splits):  # in this order: what else came tells whether counting proves
        for part in chunks(sorted(some), CHUNK):
            yield {subject: found[subject] for subject in part}


def _subject(key: str) -> str:
    """Return what may be told apart by time only: a comment, or all events of one order and type."""
    kind, _, rest = key.partition(":")
    return key if PREFIX + kind == NEW_COMMENT else f"{kind}:{rest.partition(':')[0]}"


def _decisions(account: Account, connection: Connection, subjects: Subjects) -> Iterator[Decided]:
    """Decide all deliveries of these subjects as if none was; yield what is new."""
    feed = get_feed(connection, account.id, Feed.EVENTS) or NEVER_READ
    reach = Reach.of(account.settings, feed["covered_until"], feed["lateness"])
    counted = _counted(connection, account.id, reach.until)
    candidates = _candidates(connection, account.id, subjects)
    keyed = [deliveries.c.natural_key.is_not(None)]
    for subject, rows in _grouped(connection, account.id, subjects, deliveries, keyed):
        mine = candidates[subject]
        counts = {row.source for row in rows} <= counted
        for row, event_id, matched in assign(mine, rows, reach, counts=counts):
            if (row.event_id, row.matched) != (event_id, matched):
                yield subject, row, event_id, matched, [c.id for c in mine]


def _candidates(connection: Connection, account: str, subjects: Subjects) -> dict[str, list[Any]]:
    """Return all events of these subjects, with the times they were sent again on the provider's clock."""
    found = _grouped(connection, account, subjects, events, [])
    again: dict[str, set[datetime]] = defaultdict(set)
    c = republishes.c
    sent = select(c.event_id, c.reply_date).where(c.account == account, c.reply_date.is_not(None))
    sent = sent.where(c.state != Republish.REFUSED)
    for part in chunks([row.id for _, rows in found for row in rows], CHUNK):
        for event_id, moment in connection.execute(sent.where(c.event_id.in_(part))):
            again[event_id].add(moment)
    candidates: dict[str, list[Any]] = defaultdict(list)
    for subject, rows in found:
        for row in rows:
            last = row.last_sent_date or row.last_sent_at
            moments = sorted(again[row.id] | ({last} if last else set()))
            candidates[subject].append(SimpleNamespace(**row._mapping, sent=moments))
    return candidates


def _grouped(
    connection: Connection, account: str, subjects: Subjects, table: Table, more: Sequence[ColumnElement[bool]]
) -> list[tuple[str, list[Row[Any]]]]:
    """Return a table's rows of these subjects: of their keys, and of their orders and types."""
    c = table.c
    columns = [column for column in c if column.name not in ("payload", "methods")]
    mine = select(*columns).where(c.account == account, *more)
    orders = sorted({s.partition(":")[2] for s in subjects if not _is_comment(s)})
    types = sorted({PREFIX + s.partition(":")[0] for s in subjects if not _is_comment(s)})
    keys = sorted(key for found in subjects.values() for key in found)
    rows = {
        tuple(row._mapping[column.name] for column in table.primary_key): row
        for condition in (c.natural_key.in_(keys), and_(c.order_id.in_(orders), c.type.in_(types)))
        for row in connection.execute(mine.where(condition))
    }
    groups: dict[str, list[Row[Any]]] = defaultdict(list)
    for _, row in sorted(rows.items()):
        kind = (row.type or "").removeprefix(PREFIX)
        subject = _subject(row.natural_key) if row.natural_key else f"{kind}:{row.order_id}"
        if subject in subjects:
            groups[subject].append(row)
    return sorted(groups.items())


def _is_comment(subject: str) -> bool:
    return subject.startswith(NEW_COMMENT.removeprefix(PREFIX))


def _counted(connection: Connection, account: str, until: datetime | None) -> set[str]:
    """Return the sources that got a notification once lately; none where any got one as several webhooks."""
    lately = (until or EPOCH) - KNOWN_FOR
    doubled = select(feeds.c.source).where(feeds.c.account == account, feeds.c.doubled_at >= lately)
    if until is None or connection.execute(doubled.limit(1)).first() is not None:
        return set()
    alone = exists().where(deliveries.c.source == feeds.c.source, deliveries.c.ok, *came_alone(account, lately, until))
    return set(connection.execute(select(feeds.c.source).where(feeds.c.account == account, alone)).scalars())


def _note_doubled(account: Account, connection: Connection, touched: list[str]) -> None:
    """Keep that a notification came as more webhooks than it promises, though it was never sent again."""
    query = (
        select(deliveries.c.source, func.max(deliveries.c.stored_at, type_=Instant()))
        .join(events, same_event(events, deliveries))
        .where(deliveries.c.account == account.id, deliveries.c.event_id.in_(touched), deliveries.c.ok)
        .where(events.c.sends == 0, events.c.copies > 0, ~sent_again())
        .group_by(deliveries.c.source, deliveries.c.event_id, events.c.copies)
        .having(func.count(distinct(deliveries.c.webhook_id)) > events.c.copies)
    )
    for source, at in connection.execute(query).all():
        touch_feed(account.ledger, connection, account.id, source, doubled_at=at)


def _write(account: Account, connection: Connection, decided: Iterable[Decided]) -> None:
    touched: set[str] = set()
    for _, row, event_id, matched, rivals in decided:
        mine = this(deliveries, row._mapping)
        connection.execute(update(deliveries).where(mine).values(event_id=event_id, matched=matched))
        touched.update(filter(None, (event_id, row.event_id)))
        if {matched, row.matched} & _UNCLEAR:
            touched.update(rivals)
    for part in chunks(sorted(touched), CHUNK):
        _look_again(connection, account.id, part)
        _note_doubled(account, connection, part)


def _look_again(connection: Connection, account: str, touched: Iterable[str]) -> None:
    """Reopen the question for an event that has not arrived, however it was decided before."""
    theirs = (events.c.account == account, events.c.id.in_(sorted(touched)), events.c.arrived_at.is_(None))
    connection.execute(update(events).where(*theirs).values(delivery=None))
