"""Match deliveries to events: one delivery proves at most one event.

A webhook's id may equal the event's id; whether it does is undocumented, so it is used when equal and never needed.
Else the natural key decides: the key groups candidates, their times must agree at the coarser written precision.
Where several events share a key, distinct webhooks go to the nearest event in time, one each; what stays unclear is
`ambiguous`, and its events are never called arrived on that evidence. Where only time tells two events of one key
apart, a delivery waits, not looked at, until events are read up to its time: its own may not be here yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, or_, select, update

from telnyx_porting.flows.delivery import is_open
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.ledger.tables import deliveries, events
from telnyx_porting.models import same_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telnyx_porting.ledger.engine import Ledger

CHUNK = 1_000
NEAR = timedelta(hours=1)  # a webhook farther than this from every candidate is assigned to none
APART = timedelta(seconds=60)  # the runner-up must be this much farther
SKEW = timedelta(minutes=5)  # two clocks may differ this much; more is refused elsewhere
MESSAGING = "porting_order.messaging_changed"
ALIKE = ("porting_order.split", MESSAGING)  # several events of an order may have the same key


@dataclass(frozen=True)
class MatchResult:
    """Deliveries looked at, by outcome."""

    by_id: int = 0
    by_key: int = 0
    ambiguous: int = 0
    unmatched: int = 0


def match(ledger: Ledger, account: str) -> MatchResult:
    """Assign new deliveries, and those that waited for an event that has now been read.

    Costs what is new: deliveries not looked at yet, plus unmatched ones whose event is still open.
    """
    by_id = _match_by_id(ledger, account)
    outcome: Counter[str | None] = Counter()
    for keys in _groups(ledger, account):
        with ledger.write() as connection:
            feed = get_feed(connection, account, "events")
            for key in keys:
                outcome += _assign(connection, account, key, feed["covered_until"] if feed else None)
    with ledger.write() as connection:
        # Only what has no key: a delivery that came in since the look began is left to the next one.
        done = (
            update(deliveries)
            .where(deliveries.c.account == account, deliveries.c.matched.is_(None))
            .where(deliveries.c.natural_key.is_(None), ~exists().where(_same_id()))
            .values(matched="none")
        )
        outcome["none"] += connection.execute(done).rowcount
    return MatchResult(by_id, outcome["key"], outcome["ambiguous"], outcome["none"])


def _match_by_id(ledger: Ledger, account: str) -> int:
    """Assign where the webhook's id is an event's id. Late events are found from their own side."""
    new = deliveries.c.matched.is_(None)
    late = and_(deliveries.c.matched == "none", deliveries.c.webhook_id.in_(_late_ids(account)))
    total = 0
    for condition in (new, late):
        statement = (
            update(deliveries)
            .where(deliveries.c.account == account, condition, exists().where(_same_id()))
            .values(event_id=deliveries.c.webhook_id, matched="id")
            .returning(deliveries.c.event_id)
        )
        with ledger.write() as connection:
            touched = connection.execute(statement).scalars().all()
            for start in range(0, len(touched), CHUNK):
                _look_again(connection, account, touched[start : start + CHUNK])
        total += len(touched)
    return total


def _same_id() -> ColumnElement[bool]:
    return and_(
        events.c.account == deliveries.c.account,
        events.c.id == deliveries.c.webhook_id,
        events.c.type == deliveries.c.type,
    )


def _late_ids(account: str) -> Any:
    return select(events.c.id).where(events.c.account == account, is_open())


def _groups(ledger: Ledger, account: str) -> list[list[str]]:
    """Natural keys with work: of new deliveries, and of new events with an unmatched or ambiguous delivery."""
    new = select(deliveries.c.natural_key).where(deliveries.c.account == account, deliveries.c.matched.is_(None))
    late = (
        select(events.c.natural_key)
        .join(
            deliveries,
            and_(deliveries.c.account == events.c.account, deliveries.c.natural_key == events.c.natural_key),
        )
        .where(events.c.account == account, is_open())
        .where(
            or_(
                deliveries.c.matched == "none",  # also where it was decided between the scan and this look
                and_(events.c.delivery.is_(None), deliveries.c.matched.in_(("key", "ambiguous"))),
            )
        )
    )
    with ledger.read() as connection:
        keys = sorted({*connection.execute(new).scalars(), *connection.execute(late).scalars()} - {None})
    return [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]


def _assign(connection: Connection, account: str, key: str, read_until: datetime | None) -> Counter[str | None]:
    """Decide one key's deliveries again, all of them: an event read late may change who they belong to."""
    candidates: Sequence[Any] = connection.execute(
        select(
            events.c.id,
            events.c.type,
            events.c.created_at,
            events.c.updated_at,
            events.c.natural_at,
            events.c.copies,
            events.c.sends,
            events.c.last_sent_at,
        ).where(events.c.account == account, events.c.natural_key == key)
    ).all()
    rows = connection.execute(
        select(deliveries).where(
            deliveries.c.account == account,
            deliveries.c.natural_key == key,
            or_(deliveries.c.matched.is_(None), deliveries.c.matched != "id"),
        )
    ).all()
    outcome: Counter[str | None] = Counter()
    touched: set[str] = set()
    for row, event_id, matched in assign(candidates, rows, read_until):
        if (row.event_id, row.matched) != (event_id, matched):
            same = (
                deliveries.c.account == account,
                deliveries.c.source == row.source,
                deliveries.c.source_id == row.source_id,
            )
            connection.execute(update(deliveries).where(*same).values(event_id=event_id, matched=matched))
            outcome[matched] += 1
            touched.update(filter(None, (event_id, row.event_id)))
            if "ambiguous" in (matched, row.matched):
                touched.update(candidate.id for candidate in candidates)
    _look_again(connection, account, touched)
    return outcome


def _look_again(connection: Connection, account: str, touched: Iterable[str]) -> None:
    """Reopen the question for an event that has not arrived, however it was decided before."""
    statement = update(events).where(
        events.c.account == account, events.c.id.in_(sorted(touched)), events.c.arrived_at.is_(None)
    )
    connection.execute(statement.values(delivery=None))


def assign(
    candidates: Sequence[Row[Any]], rows: Iterable[Row[Any]], read_until: datetime | None
) -> Iterable[tuple[Row[Any], str | None, str | None]]:
    """Say for each delivery of one key which event it proves.

    :param read_until: up to when events are read; None: not at all.
    :return: delivery, event id or None, and `key`, `ambiguous`, `none`, or None: it waits.
    """
    by_webhook: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_webhook[row.webhook_id or f"{row.source}:{row.source_id}"].append(row)
    taken: set[str] = set()
    one_each = _one_each(candidates, by_webhook)
    for webhook, group in sorted(by_webhook.items(), key=lambda item: _first(item[1])):
        choices = [c for c in candidates if _fits(c, group[0])]
        decision: tuple[str | None, str | None]
        if not choices:
            decision = (None, "none")
        elif group[0].type in ALIKE and (read_until is None or _first(group) > read_until):
            decision = (None, None)
        elif len(choices) == 1:
            decision = (choices[0].id, "key") if _plausible(choices[0], group[0]) else (None, "none")
        elif webhook in one_each:
            decision = (one_each[webhook], "key")
        else:
            decision = (None, "ambiguous") if _may_be_a_resend(choices, group) else _nearest(choices, group, taken)
            taken.update([decision[0]] if decision[0] else [])
        for row in group:
            yield row, *decision


def _fits(candidate: Row[Any], row: Row[Any]) -> bool:
    """Compare written times; a messaging state carries none of its own and is told apart by nearness only."""
    timeless = row.natural_at is None or row.type == MESSAGING
    return timeless or same_instant(candidate.natural_at, row.natural_at)


def _plausible(choice: Row[Any], row: Row[Any]) -> bool:
    """Whether the only event of a key may be meant: one of long ago, never read, may have had the same state."""
    at = row.occurred_at
    if row.type != MESSAGING or at is None:
        return True
    resent = choice.last_sent_at is not None and at >= choice.last_sent_at - SKEW
    return bool(resent or choice.created_at - NEAR <= at <= choice.updated_at + NEAR)


def _one_each(candidates: Sequence[Row[Any]], by_webhook: dict[str, list[Row[Any]]]) -> dict[str, str]:
    """Assign a split told as several events: enough distinct webhooks, before any resend, prove them all."""
    if len(candidates) < 2 or any(c.type != "porting_order.split" or c.sends for c in candidates):
        return {}
    delivered = sorted(
        (w for w, group in by_webhook.items() if any(r.ok for r in group)), key=lambda w: (_first(by_webhook[w]), w)
    )
    if len(delivered) < sum(candidate.copies for candidate in candidates):
        return {}
    wanted = [c.id for c in sorted(candidates, key=lambda c: (c.created_at, c.id)) for _ in range(c.copies)]
    return dict(zip(delivered, wanted, strict=False))


def _may_be_a_resend(choices: Sequence[Row[Any]], group: Sequence[Row[Any]]) -> bool:
    """Tell what may be a resend that says it occurred now: then nearness in time proves nothing."""
    at, signed = group[0].occurred_at, min((row.signed_at for row in group if row.signed_at), default=None)
    if at is None or signed is None or abs(signed - at) > SKEW:
        return False  # it says when it happened, so it is told apart by that
    sent = [choice.last_sent_at for choice in choices if choice.last_sent_at is not None]
    return any(moment - SKEW <= signed <= moment + NEAR for moment in sent)


def _nearest(choices: Sequence[Row[Any]], group: Sequence[Row[Any]], taken: set[str]) -> tuple[str | None, str]:
    at = group[0].occurred_at
    free = [choice for choice in choices if choice.id not in taken]
    if at is None or not free:
        return None, "ambiguous"
    best = min(free, key=lambda choice: abs(choice.created_at - at))
    gap = abs(best.created_at - at)
    runner_up = min(abs(choice.created_at - at) for choice in choices if choice.id != best.id)
    if gap <= NEAR and runner_up - gap >= APART:
        return best.id, "key"
    return None, "ambiguous"


def _first(group: Sequence[Row[Any]]) -> datetime:
    first: datetime = min(row.occurred_at or row.signed_at or row.stored_at for row in group)
    return first
