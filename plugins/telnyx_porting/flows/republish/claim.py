"""Claim = intent = one row: written and committed before the POST, settled by what the POST's outcome proves."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, or_, select, update
from sqlalchemy.exc import IntegrityError

from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.proofs import unread
from telnyx_porting.flows.deliveries.settle import charge
from telnyx_porting.flows.republish.gates import allowance, of_plan, paced
from telnyx_porting.flows.republish.selection import superseded
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import UNRESOLVED, Delivery, Republish
from telnyx_porting.ledger.tables import deliveries, events, plans, republishes

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from telnyx_porting.flows.account import Account
    from telnyx_porting.settings import Settings

RIVAL = "another send of this event awaits its verdict"


class NotClaimed(Enum):
    """Why no send of an event begins now."""

    NOT_NEEDED = auto()  # it needs none now, or somebody else sends it
    NO_ROOM = auto()  # the plan may not go on now


def sendable(account: Account, plan_id: str, limit: int) -> list[RowMapping]:
    """Return planned rows whose order has nothing earlier still open, in sending order."""
    earlier, its_event = republishes.alias("earlier"), events.alias("its_event")
    open_in_plan = and_(earlier.c.plan_id == plan_id, earlier.c.state == Republish.PLANNED)
    blocked = (
        exists()
        .where(
            earlier.c.account == account.id,
            its_event.c.account == account.id,
            its_event.c.id == earlier.c.event_id,
            its_event.c.order_id == events.c.order_id,
            its_event.c.id != events.c.id,
            its_event.c.created_at < events.c.created_at,
            or_(open_in_plan, is_unresolved(earlier)),
        )
        .correlate(events)
    )
    query = (
        select(republishes)
        .join(events, and_(events.c.account == republishes.c.account, events.c.id == republishes.c.event_id))
        .where(of_plan(account.id, plan_id), republishes.c.state == Republish.PLANNED, ~blocked)
        .order_by(republishes.c.position)
        .limit(limit)
    )
    with account.ledger.read() as connection:
        return list(connection.execute(query).mappings())


def claim(
    account: Account, row: RowMapping, owner: str, offset: timedelta, now: datetime
) -> NotClaimed | timedelta | None:
    """Write the intent to send one event, if that is still right.

    :param owner: random, one per process: never a task's key.
    :param offset: the provider's clock minus ours.
    :return: why it was not written, or how long the consumer's pace has it wait; None when it was.
    """
    plan_id, event_id = row["plan_id"], row["event_id"]
    try:
        with account.ledger.write(f"claim:{account.id}") as connection:  # two processes see each other's sends
            granted = allowance(connection, account.id, plan_id, account.settings)
            if granted.stop is not None or not granted.free:
                return NotClaimed.NO_ROOM
            if wait := paced(connection, account.id, account.settings, now):
                return wait
            if (reason := _not_needed(connection, account.id, plan_id, event_id)) is not None:
                _drop(connection, account.id, plan_id, event_id, now, reason)
                return NotClaimed.NOT_NEEDED
            if _unread_evidence(connection, account.id, event_id, account.settings, now):
                return NotClaimed.NOT_NEEDED  # it stays planned; the next look decides
            return None if _write(connection, row, owner, granted.wave, offset, now) else NotClaimed.NOT_NEEDED
    except IntegrityError:  # another plan's send of this event is unresolved
        with account.ledger.write() as connection:
            _drop(connection, account.id, plan_id, event_id, now, RIVAL)
        return NotClaimed.NOT_NEEDED


def _write(connection: Connection, row: RowMapping, owner: str, wave: int, offset: timedelta, now: datetime) -> bool:
    account, plan_id, event_id = row["account"], row["plan_id"], row["event_id"]
    known = select(deliveries.c.source_id).where(
        deliveries.c.account == account, deliveries.c.event_id == event_id, deliveries.c.ok
    )
    open_plan = exists().where(
        plans.c.account == account,
        plans.c.id == plan_id,
        plans.c.closed_at.is_(None),
        plans.c.approved_at.is_not(None),
        plans.c.expires_at > now,
    )
    wanted = exists().where(
        events.c.account == account,
        events.c.id == event_id,
        or_(republishes.c.forced, and_(events.c.delivery == Delivery.MISSED, events.c.arrived_at.is_(None))),
    )
    sends = select(events.c.sends + 1).where(events.c.account == account, events.c.id == event_id)
    claimed = connection.execute(
        update(republishes)
        .where(of_plan(account, plan_id), republishes.c.event_id == event_id)
        .where(republishes.c.state == Republish.PLANNED, open_plan, wanted)
        .values(
            state=Republish.SENDING,
            wave=wave,
            owner=owner,
            sent_at=now,
            reply_date=now + offset,  # an estimate, until the reply brings its own
            n=sends.scalar_subquery(),
            baseline=list(connection.execute(known).scalars()),
            detail=None,
        )
    )
    failpoint("republish.claim_written")
    return claimed.rowcount == 1


def _not_needed(connection: Connection, account: str, plan_id: str, event_id: str) -> str | None:
    query = (
        select(events.c.delivery, events.c.arrived_at, republishes.c.forced, plans.c.selection, superseded())
        .join(republishes, and_(republishes.c.account == events.c.account, republishes.c.event_id == events.c.id))
        .join(plans, and_(plans.c.account == republishes.c.account, plans.c.id == republishes.c.plan_id))
        .where(of_plan(account, plan_id), events.c.id == event_id)
    )
    delivery, arrived_at, forced, selection, is_superseded = connection.execute(query).one()
    if forced:
        return "arrived meanwhile" if arrived_at is not None and event_id not in selection["arrived"] else None
    if arrived_at is not None:
        return "arrived meanwhile"
    if is_superseded:
        return "superseded meanwhile"
    if delivery is None:
        return None  # being looked at: the conditional update does not take it, the next look decides
    return None if delivery == Delivery.MISSED else f"no longer missed: {delivery}"


def _unread_evidence(connection: Connection, account: str, event_id: str, settings: Settings, now: datetime) -> bool:
    """Whether a good delivery to the consumer of record that may be this event's came in since the last look."""
    may_be_its = unread(find_record(connection, account, settings, now))
    query = select(events.c.id).where(events.c.account == account, events.c.id == event_id, may_be_its)
    return connection.execute(query).first() is not None


def _drop(connection: Connection, account: str, plan_id: str, event_id: str, now: datetime, reason: str) -> None:
    connection.execute(
        update(republishes)
        .where(of_plan(account, plan_id), republishes.c.event_id == event_id, republishes.c.state == Republish.PLANNED)
        .values(state=Republish.DROPPED, settled_at=now, detail=reason)
    )


def outcome(
    account: Account,
    row: RowMapping,
    owner: str,
    state: Republish,
    detail: str | None,
    reply_date: datetime | None = None,
) -> None:
    """Write what became of our own claim; nobody else's.

    :param state: accepted, unknown, refused, or planned when the request certainly had no effect.
    """
    mine: ColumnElement[bool] = and_(
        of_plan(row["account"], row["plan_id"]),
        republishes.c.event_id == row["event_id"],
        republishes.c.owner == owner,
        republishes.c.state == Republish.SENDING,
    )
    with account.ledger.write() as connection:
        held = connection.execute(select(republishes).where(mine)).mappings().one_or_none()
        if held is None:  # we were frozen so long that somebody declared us dead and counted the send
            return
        sent_at: datetime = held["sent_at"]
        values: dict[str, Any] = {"state": state, "detail": detail}
        if state in UNRESOLVED:
            values["due_at"] = sent_at + account.settings.confirm_within
            values["reply_date"] = reply_date or held["reply_date"]
        elif state == Republish.PLANNED:
            values |= {"sent_at": None, "owner": None, "reply_date": None, "baseline": None, "n": None}
        else:
            values["settled_at"] = sent_at
        written = connection.execute(update(republishes).where(mine).values(**values))
        if written.rowcount and state in UNRESOLVED:
            charge(connection, row, sent_at, values["reply_date"])
        failpoint("republish.outcome_written")


def forgive(account: Account, plan_id: str, count: int, why: str) -> bool:
    """Drop the plan's newest sends if that many in a row were refused, so that a later plan may hold them again.

    :return: whether it was so: then the refusals say nothing about their events.
    """
    newest = (
        select(republishes.c.event_id, republishes.c.state)
        .where(of_plan(account.id, plan_id), republishes.c.sent_at.is_not(None))
        .order_by(republishes.c.sent_at.desc())
        .limit(count)
    )
    with account.ledger.write() as connection:
        rows = connection.execute(newest).all()
        if len(rows) < count or any(row.state != Republish.REFUSED for row in rows):
            return False
        connection.execute(
            update(republishes)
            .where(of_plan(account.id, plan_id), republishes.c.event_id.in_([row.event_id for row in rows]))
            .values(state=Republish.DROPPED, detail=f"Telnyx refused {count} events in a row, the last with: {why}")
        )
    return True
