"""The one republish machine: ``advance(plan) -> Wait | Done | Halted``, for every way a plan is run.

Scheduled, manual, resumed and crashed runs are one path. How one event is sent: `send.py`; from which state to which it
goes: `ledger/states.py`.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import RowMapping, case, func, select

from telnyx_porting.errors import PlanError, TelnyxError
from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.clock import clock_offset, common_clock
from telnyx_porting.flows.deliveries import pull as evidence
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.credit import wants_records
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.identity import accept
from telnyx_porting.flows.republish.approval import POLICY
from telnyx_porting.flows.republish.claim import NotClaimed, forgive, newest_refused, sendable
from telnyx_porting.flows.republish.gates import allowance, hopeless_end, of_plan, refund, unsafe
from telnyx_porting.flows.republish.plan import close_plan, plan_row
from telnyx_porting.flows.republish.send import Later, Never, Sender, Sent
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import CloseReason, Feed, Republish
from telnyx_porting.ledger.tables import republishes
from telnyx_porting.ledger.types import Instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient

log = logging.getLogger(__name__)
REFUSED_IN_A_ROW = 3
LOOK_AGAIN = (timedelta(seconds=1), timedelta(seconds=30))  # how soon, and at the latest, to look for arrivals


@dataclass(frozen=True)
class Wait:
    """Nothing to do before `until`."""

    until: datetime
    why: str


@dataclass(frozen=True)
class Done:
    """Every event of the plan has its verdict."""

    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Halted:
    """The plan was closed before its end; nothing more is sent, and what was sent has its verdicts."""

    reason: str
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """How far a plan is. Events."""

    size: int
    sent: int
    arrived: int
    left: int  # without a final state
    per_minute: float | None = None  # verdicts
    seconds_left: float | None = None

    def __str__(self) -> str:
        text = f"{self.sent} of {self.size} sent, {self.arrived} arrived, {self.left} left"
        if self.per_minute and self.seconds_left is not None:
            text += f"; {self.per_minute:.1f} a minute, about {timedelta(seconds=round(self.seconds_left))} to go"
        return text


def advance(
    account: Account,
    client: TelnyxClient,
    plan_id: str,
    go_on: Callable[[], bool] = lambda: True,
    pull: Callable[[datetime], object] | None = None,
) -> Wait | Done | Halted:
    """Do all that can be done for a plan now: look, reach verdicts, send what may be sent.

    :param go_on: asked before each send; false: send no more now.
    :param pull: reads the feed of the consumer of record as of now, where that is a table of yours.
    :raises PlanError: no such plan, or nobody approved it.
    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user; the plan stays as it is.
    """
    client = accept(account, client)
    with account.ledger.read() as connection:
        plan = plan_row(connection, account.id, plan_id)
    if plan["closed_at"] is None and plan["approved_at"] is None:
        raise PlanError(f"plan {plan_id} is not approved: nothing is sent")
    if _pulls(account, account.clock()):
        evidence.read_deliveries(account, client)
    elif _explains(account):
        with suppress(TelnyxError):  # what it would explain is not credited, then
            evidence.read_deliveries(account, client)
    if pull is not None:
        pull(account.clock())
    common = common_clock(account, client)
    step = _advance(replace(account, clock=common), client, plan, go_on)
    return Wait(common.to_own(step.until), step.why) if isinstance(step, Wait) else step


def _advance(
    account: Account,
    client: AccountClient,
    plan: RowMapping,
    go_on: Callable[[], bool],
) -> Wait | Done | Halted:
    plan_id = plan["id"]
    settle(account)
    if plan["closed_at"] is not None:  # a send that was under way may have come back unsent since
        with account.ledger.write() as connection:
            close_plan(connection, account.id, plan_id, account.clock(), "watch", plan["close_reason"])
    elif plan["expires_at"] <= account.clock():
        _halt(account, plan_id, account.clock(), CloseReason.EXPIRED)
    elif (wait := _go(account, client, plan, go_on)) is not None:
        return wait
    return _what_is_left(account, plan_id, account.clock())


def progress(account: Account, plan_id: str) -> Progress:
    """Return how far the plan is."""
    now = account.clock()
    final = republishes.c.settled_at.is_not(None)
    sent = republishes.c.sent_at.is_not(None)
    query = select(
        func.count(),
        func.sum(case((sent, 1), else_=0)),
        func.sum(case((republishes.c.state == Republish.ARRIVED, 1), else_=0)),
        func.sum(case((final, 1), else_=0)),
        func.min(republishes.c.sent_at, type_=Instant()),
    ).where(of_plan(account.id, plan_id))
    with account.ledger.read() as connection:
        size, begun, arrived, settled, first = connection.execute(query).one()
    left = size - int(settled or 0)
    minutes = (now - first).total_seconds() / 60 if first else 0.0
    rate = int(settled or 0) / minutes if minutes > 0 else None
    return Progress(size, int(begun or 0), int(arrived or 0), left, rate, left / rate * 60 if rate else None)


def counts(account: Account, plan_id: str) -> dict[str, int]:
    """Return how many events of the plan are in each state."""
    query = select(republishes.c.state, func.count()).where(of_plan(account.id, plan_id)).group_by(republishes.c.state)
    with account.ledger.read() as connection:
        return dict(connection.execute(query).all())


def _go(
    account: Account,
    client: AccountClient,
    plan: RowMapping,
    go_on: Callable[[], bool],
) -> Wait | None:
    """Send what may be sent; halts the plan when it must not go on."""
    if plan["approved_by"] == POLICY and account.settings.republish_mode == "approve":
        reason = "republish_mode is approve now, and no person approved this plan"
        _halt(account, plan["id"], account.clock(), reason)
        return None
    with account.ledger.read() as connection:
        stop = unsafe(connection, account.id, account.settings, account.clock())
    if stop is not None:
        patient = account.clock() - plan["approved_at"] <= account.settings.confirm_within
        if stop.passing and patient:
            return Wait(account.clock() + LOOK_AGAIN[1], stop.reason)
        _halt(account, plan["id"], account.clock(), stop.reason)
        return None
    return _send(account, client, plan["id"], go_on)


def _pulls(account: Account, now: datetime) -> bool:
    with account.ledger.read() as connection:
        record = find_record(connection, account.id, account.settings, now)
    if record is None:
        return account.settings.consumer_of_record.startswith(Feed.DELIVERIES)
    return record.source == Feed.DELIVERIES


def _explains(account: Account) -> bool:
    with account.ledger.read() as connection:
        return wants_records(connection, account.id)


def _halt(account: Account, plan_id: str, now: datetime, reason: str) -> None:
    log.warning("plan %s halted: %s", plan_id, reason)
    with account.ledger.write() as connection:
        close_plan(connection, account.id, plan_id, now, "watch", reason)


def _halt_wave(account: Account, plan_id: str, wave: int, now: datetime, reason: str) -> None:
    """Close a plan whose wave brought nothing; its budget comes back in the same transaction."""
    with account.ledger.write() as connection:
        if close_plan(connection, account.id, plan_id, now, "watch", reason):
            refund(connection, account.id, plan_id, wave, account.settings, now)
            failpoint("republish.refunded")
    log.warning("plan %s halted: %s", plan_id, reason)


def _send(
    account: Account,
    client: AccountClient,
    plan_id: str,
    go_on: Callable[[], bool],
) -> Wait | None:
    with account.ledger.read() as connection:
        granted = allowance(connection, account.id, plan_id, account.settings)
        offset = clock_offset(connection, account.id)
    if granted.stop is not None:
        _halt_wave(account, plan_id, granted.wave, account.clock(), granted.stop)
        return None
    sender = Sender(account, client, offset)
    for row in sendable(account, plan_id, granted.free) if granted.free else ():
        if not go_on():
            return Wait(account.clock() + LOOK_AGAIN[1], "stopped: what was not sent can be sent later")
        match sender.send(row):
            case NotClaimed.NO_ROOM:
                return None
            case Later(pause, why):
                return Wait(account.clock() + pause, why)
            case Never(why):
                _halt(account, plan_id, account.clock(), why)
                return None
            case Sent(Republish.REFUSED, why):
                if refused := newest_refused(account, plan_id, REFUSED_IN_A_ROW):
                    reason = f"Telnyx refused {len(refused)} events in a row, the last with: {why}"
                    forgive(account, plan_id, refused, reason)
                    _halt(account, plan_id, account.clock(), reason)
                    return None
    return None


def _what_is_left(account: Account, plan_id: str, now: datetime) -> Wait | Done | Halted:
    found = counts(account, plan_id)
    with account.ledger.read() as connection:
        waiting = select(
            func.min(republishes.c.due_at, type_=Instant()), func.max(republishes.c.sent_at, type_=Instant())
        ).where(of_plan(account.id, plan_id), is_unresolved(republishes))
        due, newest = connection.execute(waiting).one()
        hopeless = hopeless_end(connection, account.id, plan_id)
        plan = plan_row(connection, account.id, plan_id)
    if newest is not None:
        until = now + min(max((now - newest) / 2, LOOK_AGAIN[0]), LOOK_AGAIN[1])
        if due is not None and due > now - LOOK_AGAIN[1]:  # what is due for longer waits for events to be read
            until = min(until, max(due, now + LOOK_AGAIN[0]))
        return Wait(until, f"looking whether they arrive: {found}")
    if found.get(Republish.PLANNED):
        return Wait(now + LOOK_AGAIN[0], "the next wave")
    if plan["closed_at"] is None:
        if hopeless is not None:
            reason, wave = hopeless
            _halt_wave(account, plan_id, wave, now, reason)
            return Halted(reason, found)
        with account.ledger.write() as connection:
            close_plan(connection, account.id, plan_id, now, "watch", CloseReason.DONE)
    elif plan["close_reason"] not in (None, CloseReason.DONE):
        return Halted(plan["close_reason"], found)
    return Done(found)
