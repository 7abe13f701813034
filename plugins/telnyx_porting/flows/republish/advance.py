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
from telnyx_porting.flows.clock import common_clock, read_clocks
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.credit import wants_records
from telnyx_porting.flows.deliveries.pull import read_deliveries
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.identity import accept
from telnyx_porting.flows.republish.gates import PATIENCE, POLICY, Stop, allowance, hopeless_end, refund, unsafe
from telnyx_porting.flows.republish.plan import close_plan, of_plan, plan_row
from telnyx_porting.flows.republish.send import NotClaimed, Sender, forgive, sendable
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
LOOK_AGAIN = (timedelta(seconds=1), PATIENCE)  # how soon, and at the latest, to look for arrivals


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
    account: Account, client: TelnyxClient, plan_id: str, go_on: Callable[[], bool] = lambda: True
) -> Wait | Done | Halted:
    """Do all that can be done for a plan now: look, reach verdicts, send what may be sent.

    Where the consumer of record is a table of yours, it is read by whoever calls, before.

    :param go_on: asked before each send; false: send no more now.
    :raises PlanError: no such plan, or nobody approved it.
    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user; the plan stays as it is.
    """
    client = accept(account, client)
    with account.ledger.read() as connection:
        plan = plan_row(connection, account.id, plan_id)
        record = find_record(connection, account.id, account.settings, account.clock())
        explains = wants_records(connection, account.id)
    if plan["closed_at"] is None and plan["approved_at"] is None:
        raise PlanError(f"plan {plan_id} is not approved: nothing is sent")
    if (record.source if record else account.settings.consumer_of_record).startswith(Feed.DELIVERIES):
        read_deliveries(account, client)
    elif explains:
        with suppress(TelnyxError):  # what it would explain is not credited, then
            read_deliveries(account, client)
    common = common_clock(account, client)
    step = _advance(replace(account, clock=common), client, plan, go_on)
    return Wait(common.to_own(step.until), step.why) if isinstance(step, Wait) else step


def _advance(
    account: Account, client: AccountClient, plan: RowMapping, go_on: Callable[[], bool]
) -> Wait | Done | Halted:
    plan_id = plan["id"]
    settle(account)
    if plan["closed_at"] is not None:  # a send that was under way may have come back unsent since
        with account.ledger.write() as connection:
            close_plan(connection, account.id, plan_id, account.clock(), "watch", plan["close_reason"])
    elif plan["expires_at"] <= account.clock():
        _halt(account, plan_id, CloseReason.EXPIRED)
    elif (stop := _forbidden(account, plan)) is not None:
        if stop.pause and account.clock() - plan["approved_at"] <= account.settings.confirm_within:
            return Wait(account.clock() + stop.pause, stop.reason)
        _halt(account, plan_id, stop.reason)
    elif (wait := _send(account, client, plan_id, go_on)) is not None:
        return wait
    return _what_is_left(account, plan_id)


def progress(account: Account, plan_id: str) -> Progress:
    """Return how far the plan is."""
    query = select(
        func.count(),
        func.count(republishes.c.sent_at),
        func.count(case((republishes.c.state == Republish.ARRIVED, 1))),
        func.count(republishes.c.settled_at),
        func.min(republishes.c.sent_at, type_=Instant()),
    ).where(of_plan(account.id, plan_id))
    with account.ledger.read() as connection:
        size, sent, arrived, settled, first = connection.execute(query).one()
    minutes = (account.clock() - first).total_seconds() / 60 if first else 0.0
    rate = settled / minutes if minutes > 0 else None
    left = size - settled
    return Progress(size, sent, arrived, left, rate, left / rate * 60 if rate else None)


def _halt(account: Account, plan_id: str, reason: str, lost_wave: int | None = None) -> None:
    """Close a plan; the budget of a wave that brought nothing comes back in the same transaction."""
    now = account.clock()
    with account.ledger.write() as connection:
        if close_plan(connection, account.id, plan_id, now, "watch", reason) and lost_wave is not None:
            refund(connection, account.id, plan_id, lost_wave, account.settings, now)
            failpoint("republish.refunded")
    log.warning("plan %s halted: %s", plan_id, reason)


def _forbidden(account: Account, plan: RowMapping) -> Stop | None:
    if plan["approved_by"] == POLICY and account.settings.republish_mode == "approve":
        return Stop("republish_mode is approve now, and no person approved this plan")
    with account.ledger.read() as connection:
        return unsafe(connection, account.id, account.settings, account.clock())


def _send(account: Account, client: AccountClient, plan_id: str, go_on: Callable[[], bool]) -> Wait | None:
    """Send what may be sent; halts the plan when it must not go on."""
    with account.ledger.read() as connection:
        granted = allowance(connection, account.id, plan_id, account.settings)
        offset = read_clocks(connection, account.id).provider
    if granted.stop is not None:
        _halt(account, plan_id, granted.stop, granted.wave)
        return None
    sender = Sender(account, client, offset)
    for row in sendable(account, plan_id, granted.free) if granted.free else ():
        if not go_on():
            return Wait(account.clock() + LOOK_AGAIN[1], "stopped: what was not sent can be sent later")
        match sender.send(row):
            case NotClaimed.NO_ROOM:
                return None
            case Stop(why, pause):
                if pause is not None:
                    return Wait(account.clock() + pause, why)
                _halt(account, plan_id, why)
                return None
            case str(why) if (reason := forgive(account, plan_id, why)) is not None:
                _halt(account, plan_id, reason)
                return None
    return None


def _what_is_left(account: Account, plan_id: str) -> Wait | Done | Halted:
    now = account.clock()
    states = select(republishes.c.state, func.count()).where(of_plan(account.id, plan_id))
    with account.ledger.read() as connection:
        found: dict[str, int] = dict(connection.execute(states.group_by(republishes.c.state)).all())
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
            _halt(account, plan_id, reason, wave)
            return Halted(reason, found)
        with account.ledger.write() as connection:
            close_plan(connection, account.id, plan_id, now, "watch", CloseReason.DONE)
    elif plan["close_reason"] not in (None, CloseReason.DONE):
        return Halted(plan["close_reason"], found)
    return Done(found)
