"""Send one event: ask the time, claim, POST, write what came of it before the next.

Claim = intent = one row: after the pacer granted the slot, one conditional UPDATE is committed, then the POST is
written before `send_by`. A crash leaves `sending`, which is looked at and never blindly sent again. Residual risk,
accepted: a process paused between its check of `send_by` and the socket may send late.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, exists, or_, select, update
from sqlalchemy.exc import IntegrityError

from telnyx_porting.errors import (
    REFUSED_SECRETS,
    ContractError,
    NotFoundError,
    RateLimitedError,
    StatusError,
    TelnyxError,
)
from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.clock import CommonClock, clock_trouble
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.proofs import same_event, this, unread
from telnyx_porting.flows.deliveries.settle import charge
from telnyx_porting.flows.republish.gates import Stop, allowance, paced
from telnyx_porting.flows.republish.plan import of_plan
from telnyx_porting.flows.republish.selection import superseded
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import UNRESOLVED, Delivery, Republish
from telnyx_porting.ledger.tables import deliveries, events, plans, republishes

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient

SEND_BY = timedelta(seconds=10)
NO_CONNECTION = timedelta(seconds=30)
REFUSED_IN_A_ROW = 3


class NotClaimed(Enum):
    """Why no send of an event begins now."""

    NOT_NEEDED = auto()  # it needs none now, or somebody else sends it
    NO_ROOM = auto()  # the plan may not go on now


class Sender:
    """Claims and sends single events, each with an outcome that is written before the next."""

    def __init__(self, account: Account, client: AccountClient, offset: timedelta) -> None:
        self._account, self._client, self._offset = account, client, offset
        self._clock = CommonClock.of(account.clock)
        self._owner = uuid.uuid4().hex  # one per process: never a task's key
        self._told = False  # the time

    def send(self, row: RowMapping) -> str | NotClaimed | Stop | None:
        """Send one event, if that is still right, and write what came of it.

        :return: why Telnyx refused it, or why it was not sent; None where it may have been processed.
        """
        try:
            if (trouble := self._clock_trouble(row)) is not None:
                return Stop(trouble)
            claimed = self._claim(row)
        except REFUSED_SECRETS as error:
            return Stop(str(error))
        except TelnyxError as error:
            return Stop(str(error), _pause(error))
        if isinstance(claimed, NotClaimed):
            return claimed
        slot, send_by = claimed
        failpoint("republish.claimed")
        try:
            receipt = self._client.republish_porting_event(row["event_id"], slot=slot, send_by=send_by)
        except REFUSED_SECRETS as error:
            self.outcome(row, Republish.PLANNED, str(error))
            return Stop(str(error))
        except (TelnyxError, OSError) as error:
            state = state_after(error)
            failpoint("republish.posted")
            self.outcome(row, state, str(error))
            if state == Republish.PLANNED:
                return Stop(str(error), _pause(error))
            return str(error) if state == Republish.REFUSED else None
        failpoint("republish.posted")
        self.outcome(row, Republish.ACCEPTED, None, receipt.date)
        failpoint("republish.written")
        return None

    def _clock_trouble(self, row: RowMapping) -> str | None:
        """Return why the clocks forbid a send: Telnyx is asked before the first one, then each answer tells."""
        if not self._told:
            with suppress(NotFoundError, ContractError):
                self._client.get_porting_event(row["event_id"])
            self._told = True
            if (offset := self._client.clock_offset) is not None:
                self._offset = offset - self._clock.ahead
        return clock_trouble(self._client.clock_offset)

    def _claim(self, row: RowMapping) -> tuple[int, datetime] | NotClaimed:
        """Return the slot and, counted from the claim, until when the POST may be written; or why there is none."""
        while True:
            failpoint("republish.before_slot")
            slot = self._client.reserve_slot()
            failpoint("republish.before_claim")
            now = self._clock()
            obstacle = self.claim(row, now)
            if obstacle is None:
                return slot, self._clock.to_own(now) + SEND_BY
            if isinstance(obstacle, NotClaimed):
                return obstacle
            time.sleep(obstacle.total_seconds())

    def claim(self, row: RowMapping, now: datetime) -> NotClaimed | timedelta | None:
        """Write the intent to send one event, if that is still right.

        :return: why it was not written, or how long the consumer's pace has it wait; None when it was.
        """
        account = self._account
        try:
            with account.ledger.write(f"claim:{account.id}") as connection:  # two processes see each other's sends
                granted = allowance(connection, account.id, row["plan_id"], account.settings)
                if granted.stop is not None or not granted.free:
                    return NotClaimed.NO_ROOM
                if wait := paced(connection, account.id, account.settings, now):
                    return wait
                event = _event(connection, account, row, now)
                if (reason := _not_needed(event, row)) is not None:
                    _drop(connection, row, now, reason)
                elif not event["unread"] and self._write_claim(connection, row, granted.wave, now):
                    return None
                return NotClaimed.NOT_NEEDED  # where it stays planned, the next look decides
        except IntegrityError:  # another plan's send of this event is unresolved
            with account.ledger.write() as connection:
                _drop(connection, row, now, "another send of this event awaits its verdict")
            return NotClaimed.NOT_NEEDED

    def _write_claim(self, connection: Connection, row: RowMapping, wave: int, now: datetime) -> bool:
        account, plan_id, event_id = row["account"], row["plan_id"], row["event_id"]
        its_event = and_(events.c.account == account, events.c.id == event_id)
        known = select(deliveries.c.source_id).where(deliveries.c.account == account, deliveries.c.event_id == event_id)
        open_plan = exists().where(
            plans.c.account == account,
            plans.c.id == plan_id,
            plans.c.closed_at.is_(None),
            plans.c.approved_at.is_not(None),
            plans.c.expires_at > now,
        )
        missed = and_(events.c.delivery == Delivery.MISSED, events.c.arrived_at.is_(None))
        wanted = exists().where(its_event, or_(republishes.c.forced, missed))
        claimed = connection.execute(
            update(republishes)
            .where(this(republishes, row), republishes.c.state == Republish.PLANNED, open_plan, wanted)
            .values(
                state=Republish.SENDING,
                wave=wave,
                owner=self._owner,
                sent_at=now,
                reply_date=now + self._offset,  # an estimate, until the reply brings its own
                n=select(events.c.sends + 1).where(its_event).scalar_subquery(),
                baseline=list(connection.execute(known.where(deliveries.c.ok)).scalars()),
                detail=None,
            )
        )
        failpoint("republish.claim_written")
        return claimed.rowcount == 1

    def outcome(
        self, row: RowMapping, state: Republish, detail: str | None, reply_date: datetime | None = None
    ) -> None:
        """Write what became of our own claim; nobody else's: `planned` when the request certainly had no effect."""
        mine = and_(
            this(republishes, row), republishes.c.owner == self._owner, republishes.c.state == Republish.SENDING
        )
        with self._account.ledger.write() as connection:
            held = connection.execute(select(republishes).where(mine)).mappings().one_or_none()
            if held is None:  # we were frozen so long that somebody declared us dead and counted the send
                return
            sent_at: datetime = held["sent_at"]
            values: dict[str, Any] = {"state": state, "detail": detail}
            if state in UNRESOLVED:
                due = sent_at + self._account.settings.confirm_within
                values |= {"due_at": due, "reply_date": reply_date or held["reply_date"]}
            elif state == Republish.PLANNED:
                values |= {"sent_at": None, "owner": None, "reply_date": None, "baseline": None, "n": None}
            else:
                values["settled_at"] = sent_at
            written = connection.execute(update(republishes).where(mine).values(**values))
            if written.rowcount and state in UNRESOLVED:
                charge(connection, row, sent_at, values["reply_date"])
            failpoint("republish.outcome_written")


def state_after(error: Exception) -> Republish:
    """Return what an error proves of its request: refused, without effect (`planned`), or nothing (`unknown`)."""
    if isinstance(error, TelnyxError) and error.not_processed:
        refused = isinstance(error, StatusError) and not isinstance(error, RateLimitedError)
        return Republish.REFUSED if refused else Republish.PLANNED
    return Republish.UNKNOWN


def _pause(error: Exception) -> timedelta:
    if isinstance(error, RateLimitedError):
        return timedelta(seconds=min(max(error.retry_after or 5.0, 1.0), 300.0))
    return NO_CONNECTION


def sendable(account: Account, plan_id: str, limit: int) -> list[RowMapping]:
    """Return planned rows whose order has nothing earlier still open, in sending order."""
    earlier, its_event = republishes.alias("earlier"), events.alias("its_event")
    open_in_plan = and_(earlier.c.plan_id == plan_id, earlier.c.state == Republish.PLANNED)
    blocked = exists().where(
        earlier.c.account == account.id,
        same_event(its_event, earlier),
        its_event.c.order_id == events.c.order_id,
        its_event.c.id != events.c.id,
        its_event.c.created_at < events.c.created_at,
        or_(open_in_plan, is_unresolved(earlier)),
    )
    query = (
        select(republishes)
        .join(events, same_event(events, republishes))
        .where(of_plan(account.id, plan_id), republishes.c.state == Republish.PLANNED, ~blocked.correlate(events))
        .order_by(republishes.c.position)
        .limit(limit)
    )
    with account.ledger.read() as connection:
        return list(connection.execute(query).mappings())


def _event(connection: Connection, account: Account, row: RowMapping, now: datetime) -> RowMapping:
    """Read what decides whether the event is still to be sent, evidence that nobody has looked at included."""
    came_in = unread(find_record(connection, account.id, account.settings, now)).label("unread")
    query = (
        select(events.c.delivery, events.c.arrived_at, superseded().label("superseded"), came_in, plans.c.selection)
        .join(plans, and_(plans.c.account == events.c.account, plans.c.id == row["plan_id"]))
        .where(events.c.account == account.id, events.c.id == row["event_id"])
    )
    return connection.execute(query).mappings().one()


def _not_needed(event: RowMapping, row: RowMapping) -> str | None:
    if event["arrived_at"] is not None and not (row["forced"] and row["event_id"] in event["selection"]["arrived"]):
        return "arrived meanwhile"
    if row["forced"]:
        return None
    if event["superseded"]:
        return "superseded meanwhile"
    # null is being looked at: the conditional update does not take it, the next look decides
    return None if event["delivery"] in (None, Delivery.MISSED) else f"no longer missed: {event['delivery']}"


def _drop(connection: Connection, row: RowMapping, now: datetime, reason: str) -> None:
    dropped = {"state": Republish.DROPPED, "settled_at": now, "detail": reason}
    planned = republishes.c.state == Republish.PLANNED
    connection.execute(update(republishes).where(this(republishes, row), planned).values(**dropped))


def forgive(account: Account, plan_id: str, why: str) -> str | None:
    """Drop the plan's newest sends if several in a row were refused, so that a later plan may hold them again.

    :param why: the last one was.
    :return: what to say then: the refusals tell nothing about their events; None: it was not so.
    """
    reason = f"Telnyx refused {REFUSED_IN_A_ROW} events in a row, the last with: {why}"
    newest = (
        select(republishes.c.event_id, republishes.c.state)
        .where(of_plan(account.id, plan_id), republishes.c.sent_at.is_not(None))
        .order_by(republishes.c.sent_at.desc())
        .limit(REFUSED_IN_A_ROW)
    )
    with account.ledger.write() as connection:
        rows = connection.execute(newest).all()
        if len(rows) < REFUSED_IN_A_ROW or any(row.state != Republish.REFUSED for row in rows):
            return None
        connection.execute(
            update(republishes)
            .where(of_plan(account.id, plan_id), republishes.c.event_id.in_([row.event_id for row in rows]))
            .values(state=Republish.DROPPED, detail=reason)
        )
    return reason
