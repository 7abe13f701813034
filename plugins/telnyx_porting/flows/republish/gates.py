"""Gates: who lets a plan pass, whether anything may be sent now, and how far it may go before it is seen to work.

A plan is approved by policy within mode and caps, or by a person, and always bound to its hash.

Waves of 1, 10 and the rest: a wave goes out only after something of the wave before has arrived. A wave in which
nothing arrived stops the plan; it costs no budget when the consumer got nothing else either, because then it says
something about the consumer and not about the events.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, case, exists, func, or_, select, update

from telnyx_porting.errors import PlanError
from telnyx_porting.flows.account import get_account
from telnyx_porting.flows.clock import clock_trouble, last_beat, read_clocks, receiver_differs
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.proofs import FUZZ, same_event
from telnyx_porting.flows.deliveries.settle import NOBODY_CAN_TELL
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.republish.plan import FIRST_WAVES, of_plan
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import Delivery, Feed, Republish
from telnyx_porting.ledger.tables import accounts, deliveries, events, plans, republishes
from telnyx_porting.ledger.types import Instant, instant

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.republish.plan import Plan
    from telnyx_porting.settings import Settings

POLICY = "policy"  # who approved what needed no person
HEARTBEAT_FRESH = timedelta(minutes=2)
LARGEST_LEAD = timedelta(minutes=4)  # how far a living receiver's clock may be set ahead before it is measured again
LATELY = timedelta(minutes=5)
PATIENCE = timedelta(seconds=30)
FAILING = 3  # so many newest deliveries in a row are no accident
NEWEST = 10  # verdicts looked back at while the rest goes out
LAST_WAVE = len(FIRST_WAVES) + 1


@dataclass(frozen=True)
class Stop:
    """Why nothing may be sent, and for how long to wait, where that may help."""

    reason: str
    pause: timedelta | None = None


@dataclass(frozen=True)
class Allowance:
    """How many sends may be begun now, in which wave; `stop` when the plan has to end."""

    wave: int
    free: int
    stop: str | None = None


def unsafe(connection: Connection, account: str, settings: Settings, now: datetime) -> Stop | None:
    """Return why nothing may be sent now, or None."""
    if settings.republish_mode == "off":
        return Stop("republish_mode is off: nothing is republished")
    if (other := shared_user(connection, account)) is not None:
        return Stop(f"accounts {account!r} and {other!r} are the same Telnyx user: each would send for the other")
    clocks = read_clocks(connection, account)
    if (trouble := clock_trouble(clocks.provider)) is not None:
        return Stop(trouble)
    record = find_record(connection, account, settings, now)
    if record is None:
        return None
    if record.refused:
        return Stop(record.refused)
    if record.source == Feed.RECEIVER:
        feed = get_feed(connection, account, Feed.RECEIVER)
        beat = last_beat(feed, clocks, now)
        if beat is None or beat < now - HEARTBEAT_FRESH:
            since = beat.isoformat(timespec="seconds") if beat else "its start"
            return Stop(f"the receiver has been silent since {since}", PATIENCE)
        if beat > now + LARGEST_LEAD:
            return Stop(receiver_differs(feed, clocks, now) or "the receiver's clock is ahead", PATIENCE)
    newest = (
        select(deliveries.c.ok)
        .where(deliveries.c.account == account, deliveries.c.source == record.source, *record.here)
        .where(deliveries.c.stored_at >= clocks.to_source(record.source, now - 2 * LATELY))
        .where(deliveries.c.signed_at >= clocks.to_provider(now - LATELY))
        .order_by(deliveries.c.signed_at.desc())
        .limit(FAILING)
    )
    seen = list(connection.execute(newest).scalars())
    if len(seen) == FAILING and not any(seen):
        return Stop(f"the newest {FAILING} deliveries to {record.name} failed", PATIENCE)
    return None


def shared_user(connection: Connection, account: str) -> str | None:
    """Return another account of this ledger with the same Telnyx user: republishing for both would send twice."""
    mine = get_account(connection, account)
    if mine is None or not mine["user_id"]:
        return None
    query = select(accounts.c.account).where(accounts.c.user_id == mine["user_id"], accounts.c.account != account)
    return connection.execute(query.limit(1)).scalar()


def allowance(connection: Connection, account: str, plan_id: str, settings: Settings) -> Allowance:
    """Return how far the plan may go now."""
    waves = _waves(connection, account, plan_id)
    open_anywhere = select(func.count()).where(republishes.c.account == account, is_unresolved(republishes))
    free = max(settings.republish_unconfirmed - connection.execute(open_anywhere).scalar_one(), 0)
    for wave, size in enumerate(FIRST_WAVES, start=1):
        done, later = waves[wave], _last(waves) > wave
        if done.sent < size and not later and not done.hopeless:
            return Allowance(wave, min(free, size - done.sent))
        if done.open and not later:
            return Allowance(wave, 0)
        if done.hopeless:
            return Allowance(wave, 0, _nothing(done.sent, wave))
    lost = _lost_lately(connection, account, plan_id)
    if lost >= NEWEST:
        return Allowance(LAST_WAVE, 0, f"none of the newest {NEWEST} sends arrived: the consumer does not take them")
    # What was lost since the last arrival is unconfirmed still: it makes no room, or a consumer that died again would
    # be sent more while its verdicts come in. With nothing else in flight, one goes out to find out.
    return Allowance(LAST_WAVE, max(free - lost, 0 if waves[LAST_WAVE].open else min(free, 1)))


def hopeless_end(connection: Connection, account: str, plan_id: str) -> tuple[str, int] | None:
    """Return, for a plan with nothing left to do, why its last wave counts as failed, and which it is; or None."""
    waves = _waves(connection, account, plan_id)
    wave = waves[number := _last(waves)]
    if not wave.hopeless or (number == LAST_WAVE and wave.sent < NEWEST):
        return None
    return _nothing(wave.sent, number), number


def _nothing(sent: int, wave: int) -> str:
    return f"none of the {sent} events of wave {wave} arrived: the consumer does not seem to be back"


@dataclass(frozen=True)
class _Wave:
    sent: int = 0
    open: int = 0
    alive: int = 0  # verdicts that show a living consumer, or that nobody can tell

    @property
    def hopeless(self) -> bool:
        """Whether every send has its verdict, and none arrived."""
        return bool(self.sent) and not self.open and not self.alive


def _waves(connection: Connection, account: str, plan_id: str) -> dict[int, _Wave]:
    alive = or_(republishes.c.state == Republish.ARRIVED, republishes.c.detail.in_(NOBODY_CAN_TELL))
    sent = republishes.c.state.not_in((Republish.PLANNED, Republish.REFUSED, Republish.DROPPED))
    query = (
        select(
            republishes.c.wave,
            func.count(case((sent, 1))),
            func.count(case((is_unresolved(republishes), 1))),
            func.count(case((and_(sent, alive), 1))),
        )
        .where(of_plan(account, plan_id))
        .group_by(republishes.c.wave)
    )
    return defaultdict(_Wave, {wave: _Wave(*counted) for wave, *counted in connection.execute(query)})


def _last(waves: dict[int, _Wave]) -> int:
    return max((number for number, wave in waves.items() if wave.sent), default=0)


def _lost_lately(connection: Connection, account: str, plan_id: str) -> int:
    """Return how many of the newest verdicts in a row, at most `NEWEST`, say that it did not arrive."""
    verdicts = (Republish.ARRIVED, Republish.NOT_ARRIVED, Republish.UNKNOWN)
    query = (
        select(republishes.c.state)
        .where(of_plan(account, plan_id), republishes.c.wave == LAST_WAVE)
        .where(republishes.c.settled_at.is_not(None), republishes.c.state.in_(verdicts))
        .order_by(republishes.c.sent_at.desc())
        .limit(NEWEST)
    )
    states = connection.execute(query).scalars()
    return sum(1 for _ in takewhile(lambda state: state == Republish.NOT_ARRIVED, states))


def refund(connection: Connection, account: str, plan_id: str, wave: int, settings: Settings, now: datetime) -> None:
    """Give a failed wave's sends back to their budgets, unless the consumer got anything since they were first tried.

    Where people are mailed at each send nothing is given back.
    """
    record = find_record(connection, account, settings, now)
    feed = get_feed(connection, account, Feed.SUBSCRIPTIONS)
    if record is None or feed is None or (feed["known"] or {}).get("mails") != 0:
        return
    lost = and_(of_plan(account, plan_id), republishes.c.wave == wave, republishes.c.state == Republish.NOT_ARRIVED)
    theirs = select(republishes.c.event_id).where(lost)
    tried = (republishes.c.account == account, republishes.c.event_id.in_(theirs))
    first = connection.execute(select(func.min(republishes.c.reply_date, type_=Instant())).where(*tried)).scalar()
    if first is None:
        return
    alive = exists().where(deliveries.c.account == account, deliveries.c.signed_at >= first - FUZZ, *record.good)
    if connection.execute(select(alive)).scalar():
        return
    looked_at_again = case((events.c.delivery == Delivery.GIVEN_UP, None), else_=events.c.delivery)
    connection.execute(
        update(events)
        .where(events.c.account == account, events.c.id.in_(theirs), events.c.sends > 0)
        .values(sends=events.c.sends - 1, delivery=looked_at_again)
    )


def paced(connection: Connection, account: str, settings: Settings, now: datetime) -> timedelta:
    """Return how long the next send has to wait: `republish_per_second`, over all processes, protects the consumer."""
    query = select(func.max(republishes.c.sent_at, type_=Instant())).where(republishes.c.account == account)
    last: datetime | None = connection.execute(query).scalar()
    interval = timedelta(seconds=1 / settings.republish_per_second)
    if last is None:
        return timedelta(0)
    return min(max(last + interval - now, timedelta(0)), interval)


def approve(account: Account, plan_id: str, plan_hash: str, by: str) -> None:
    """Record who approved exactly this plan.

    :raises PlanError: the hash is another one, or the plan is closed or expired.
    """
    now = account.clock()
    with account.ledger.write() as connection:
        changed = connection.execute(
            update(plans)
            .where(plans.c.account == account.id, plans.c.id == plan_id, plans.c.hash == plan_hash)
            .where(plans.c.closed_at.is_(None), plans.c.expires_at > now)
            .values(
                approved_at=func.coalesce(plans.c.approved_at, instant(now)),
                approved_by=func.coalesce(plans.c.approved_by, by),
            )
        )
        if changed.rowcount != 1:
            raise PlanError(f"plan {plan_id} with hash {plan_hash[:12]} is not open any more: nothing was approved")


def needs_person(account: Account, plan: Plan) -> str | None:
    """Return why a person has to approve this plan, or None when mode and caps let it go by itself.

    Modes and caps come from settings only, never from params or a run's configuration. The daily cap counts every send
    of the account, whoever approved it: consumers and mail boxes do not care who did.
    """
    settings, now = account.settings, account.clock()
    if settings.republish_mode != "auto":
        return f"republish_mode is {settings.republish_mode}"
    if not settings.consumer_is_idempotent:
        return "consumer_is_idempotent is not set: your consumer may act twice on a repeat"
    if plan.consents:
        return f"it may hold events the watch would not send by itself ({', '.join(plan.consents)})"
    if plan.size > settings.auto_approve_max:
        return f"{plan.size} events are more than auto_approve_max ({settings.auto_approve_max})"
    if plan.expected_mails is None or plan.expected_mails > settings.republish_max_mails:
        mails = "an unknown number of" if plan.expected_mails is None else plan.expected_mails
        return f"it causes {mails} mails, more than republish_max_mails ({settings.republish_max_mails})"
    with account.ledger.read() as connection:
        lately = (republishes.c.account == account.id, republishes.c.sent_at > now - timedelta(hours=24))
        sent = connection.execute(select(func.count()).where(*lately)).scalar_one()
        query = select(func.min(events.c.created_at, type_=Instant())).join(
            republishes, same_event(events, republishes)
        )
        oldest = connection.execute(query.where(of_plan(account.id, plan.id))).scalar_one()
    if sent + plan.size > settings.republish_daily_cap:
        return f"{sent} sends in 24 h and {plan.size} more exceed republish_daily_cap ({settings.republish_daily_cap})"
    if oldest is not None and oldest < now - settings.republish_max_age:
        return f"its oldest event is from {oldest.isoformat(timespec='minutes')}, older than republish_max_age"
    return None
