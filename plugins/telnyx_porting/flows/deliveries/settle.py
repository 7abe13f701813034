"""Verdicts: look whether what was republished arrived, and only then say so.

New evidence is a delivery at the consumer of record that was not known when the claim was written. Any arrival makes
the *event* arrived; the *republish* is credited only when that delivery was signed or started after the reply's
``Date`` minus one second, both the provider's clock, and no other try explains it: see `credit.py`. Otherwise the
verdict is `unknown` ("arrived otherwise"), reported apart. Nothing is `not_arrived` before its due time has passed
inside the feed's coverage; late evidence lifts it again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, case, func, literal, or_, select, update

from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.consumer import Record, find_record, undecided
from telnyx_porting.flows.deliveries.credit import Credit
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.proofs import FUZZ, counts, same_event, this, unclear_since, unread
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import Delivery, Republish
from telnyx_porting.ledger.tables import deliveries, events, republishes
from telnyx_porting.ledger.types import Instant, microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telnyx_porting.flows.account import Account
    from telnyx_porting.settings import Settings

CHUNK = 50  # events whose republishes are judged in one write transaction
DEAD_AFTER = timedelta(minutes=2)  # a claim this old without an outcome belongs to a process that died
ARRIVED_OTHERWISE = "arrived otherwise: not credited to this republish"
UNCLEAR = "something arrived, but which webhook it is cannot be told"
NO_FEED = "cannot be confirmed: no feed of deliveries covers this account"
MAILS_ONLY = "cannot be confirmed: an event of this type causes mails only"
NOBODY_CAN_TELL = (ARRIVED_OTHERWISE, UNCLEAR, NO_FEED, MAILS_ONLY)


@dataclass(frozen=True)
class VerdictsResult:
    """Verdicts reached by one look."""

    account: str
    verdicts: dict[str, int] = field(default_factory=dict)
    unresolved: int = 0
    held_back: str | None = None
    undecided: str | None = None  # why nothing can be judged at all


def settle(account: Account) -> VerdictsResult:
    """Match new deliveries, apply the delivery rule, and reach every verdict the evidence allows."""
    now = account.clock()
    match(account)
    failpoint("verdicts.matched")
    with account.ledger.write() as connection:
        _charge_dead_claims(connection, account.id, account.settings, now)
    failpoint("verdicts.before")
    held_back = decide(account)
    failpoint("verdicts.decided")
    reached: Counter[str] = Counter()
    unresolved = 0
    with account.ledger.read() as connection:
        record = find_record(connection, account.id, account.settings, now)
        why = undecided(connection, account.id, account.settings, now)
        waiting = {row["event_id"] for row in _waiting(connection, account, record)}
    for part in chunks(sorted(waiting), CHUNK):
        with account.ledger.write(f"verdicts:{account.id}") as connection:
            for row in _waiting(connection, account, record, part):
                verdict = _verdict(connection, row, account.settings, record, now)
                if verdict is None:
                    unresolved += row["settled_at"] is None
                elif _settle(connection, row, *verdict, now):
                    reached[str(verdict[0])] += 1
            failpoint("verdicts.written")
        account.ledger.breathe()
    return VerdictsResult(account.id, dict(reached), unresolved, held_back, why)


def charge(connection: Connection, row: Any, sent_at: datetime, sent_date: datetime | None) -> None:
    """Count a send that may have been processed; the event is due again after `confirm_within`.

    :param sent_at: on our clock.
    :param sent_date: on the provider's.
    """
    connection.execute(
        update(events)
        .where(events.c.account == row["account"], events.c.id == row["event_id"])
        .values(
            sends=events.c.sends + 1,
            last_sent_at=sent_at,
            last_sent_date=sent_date,
            delivery=case((events.c.arrived_at.is_(None), None), else_=events.c.delivery),
        )
    )


def _charge_dead_claims(connection: Connection, account: str, settings: Settings, now: datetime) -> None:
    """Count what a crash left as `sending`: its POST may have gone out, so it counts, and we look."""
    sending = republishes.c.state == Republish.SENDING
    dead = republishes.c.reply_date < read_clocks(connection, account).to_provider(now - DEAD_AFTER)
    query = select(republishes).where(republishes.c.account == account, sending, dead)
    for row in connection.execute(query).mappings().all():
        taken = update(republishes).where(this(republishes, row), sending, republishes.c.owner == row["owner"])
        taken = taken.values(
            state=Republish.UNKNOWN,
            due_at=row["sent_at"] + settings.confirm_within,
            detail="the process that sent it ended before its outcome was written",
        )
        if connection.execute(taken).rowcount:  # else its process, or another look, was faster
            charge(connection, row, row["sent_at"], row["reply_date"])
            failpoint("verdicts.charged")


def _settle(connection: Connection, row: RowMapping, state: Republish, detail: str | None, now: datetime) -> bool:
    """Write a verdict, unless the row has moved since it was read: what arrived stays arrived."""
    as_read = republishes.c.settled_at.is_not_distinct_from(row["settled_at"])
    unmoved = update(republishes).where(this(republishes, row), republishes.c.state == row["state"], as_read)
    return bool(connection.execute(unmoved.values(state=state, settled_at=now, detail=detail)).rowcount)


def _waiting(
    connection: Connection, account: Account, record: Record | None, among: Sequence[str] | None = None
) -> list[RowMapping]:
    """Unresolved republishes, and those told `not_arrived` whose event has arrived since; of some events, or of all."""
    some = literal(True) if among is None else account.ledger.among(republishes.c.event_id, among)
    sent = func.coalesce(republishes.c.reply_date, republishes.c.sent_at, type_=Instant()) - microseconds(FUZZ)
    query = (
        select(
            republishes,
            *(events.c[name] for name in ("delivery", "copies", "arrived_at", "first_seen_at", "completed_seen_at")),
            unread(record).label("unread"),
            (unclear_since(record, sent) if record else literal(False)).label("unclear"),
            (counts(record) if record else literal(False)).label("counts"),
        )
        .join(events, same_event(events, republishes))
        .where(republishes.c.account == account.id, some)
        .where(
            or_(
                and_(is_unresolved(republishes), republishes.c.state != Republish.SENDING),
                and_(republishes.c.state == Republish.NOT_ARRIVED, events.c.arrived_at.is_not(None)),
            )
        )
    )
    return list(connection.execute(query).mappings())


def _verdict(
    connection: Connection, row: RowMapping, settings: Settings, record: Record | None, now: datetime
) -> tuple[Republish, str | None] | None:
    """Return what became of one republish, and why, where that needs words; None while nothing can be said."""
    if record is None:
        overdue = row["due_at"] <= now and row["settled_at"] is None
        return (Republish.UNKNOWN, NO_FEED) if overdue else None
    fresh = _new_evidence(connection, row, record)
    credit = Credit(connection, row, settings)
    if fresh and row["arrived_at"] is not None:
        credited = {d["webhook_id"] or d["source_id"] for d in fresh if credit.is_due(d)}
        if credited and (row["copies"] == 1 or (row["counts"] and len(credited) == row["copies"])):
            return Republish.ARRIVED, None
    if row["due_at"] > record.covered_until or row["unread"]:
        return None
    if fresh and row["arrived_at"] is not None:
        return None if credit.may_be_explained(fresh, now) else (Republish.UNKNOWN, ARRIVED_OTHERWISE)
    if row["settled_at"] is not None:
        return None
    if row["delivery"] == Delivery.NOT_EXPECTED:
        return Republish.UNKNOWN, MAILS_ONLY
    if row["unclear"] or (fresh and row["delivery"] == Delivery.UNDETERMINED):
        return Republish.UNKNOWN, UNCLEAR
    # it had arrived before this send: a person asked for a repeat
    return Republish.NOT_ARRIVED, "no new delivery of this repeat was seen" if row["arrived_at"] is not None else None


def _new_evidence(connection: Connection, row: RowMapping, record: Record) -> list[RowMapping]:
    c = deliveries.c
    query = select(c.source_id, c.record_id, c.webhook_id, c.attempt, c.signed_at)
    query = query.where(c.account == row["account"], c.event_id == row["event_id"], *record.good)
    known = set(row["baseline"] or ())
    return [found for found in connection.execute(query).mappings() if found["source_id"] not in known]
