"""Gates: whether anything may be sent now, and how far a plan may go before it has been seen to work.

Waves of 1, 10 and the rest: a wave goes out only after something of the wave before has arrived. A wave in which
nothing arrived stops the plan; it costs no budget when the consumer got nothing else either, because then it says
something about the consumer and not about the events.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select, update

from telnyx_porting.flows.account import get_account
from telnyx_porting.flows.clock import clock_trouble, last_beat, read_clocks, receiver_differs
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.proofs import FUZZ
from telnyx_porting.flows.deliveries.settle import NOBODY_CAN_TELL
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.republish.plan import FIRST_WAVES
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import Delivery, Feed, Republish
from telnyx_porting.ledger.tables import accounts, deliveries, events, republishes
from telnyx_porting.ledger.types import Instant

if TYPE_CHECKING:
    from telnyx_porting.settings import Settings

HEARTBEAT_FRESH = timedelta(minutes=2)
LARGEST_LEAD = timedelta(minutes=4)  # how far a living receiver's clock may be set ahead before it is measured again
LATELY = timedelta(minutes=5)
FAILING = 3  # so many newest deliveries in a row are no accident
NEWEST = 10  # verdicts looked back at while the rest goes out
LAST_WAVE = len(FIRST_WAVES) + 1


@dataclass(frozen=True)
class Stop:
    """Why nothing may be sent; `passing` when waiting may help."""

    reason: str
    passing: bool = False


@dataclass(frozen=True)
class Allowance:
    """How many sends may be begun now, in which wave; `stop` when the plan has to end."""

    wave: int
    free: int
    stop: str | None = None


def of_plan(account: str, plan_id: str) -> ColumnElement[bool]:
    """Return SQL: the plan's rows."""
    return and_(republishes.c.account == account, republishes.c.plan_id == plan_id)


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
            return Stop(f"the receiver has been silent since {since}", passing=True)
        if beat > now + LARGEST_LEAD:
            return Stop(receiver_differs(feed, clocks, now) or "the receiver's clock is ahead", passing=True)
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
        return Stop(f"the newest {FAILING} deliveries to {record.name} failed", passing=True)
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
        done = waves.get(wave, _Wave())
        later = any(waves.get(number, _Wave()).sent for number in range(wave + 1, LAST_WAVE + 1))
        if done.sent < size and not later and not (done.sent and done.hopeless):
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
    flying = waves.get(LAST_WAVE, _Wave()).open
    return Allowance(LAST_WAVE, max(free - lost, 0 if flying else min(free, 1)))


def hopeless_end(connection: Connection, account: str, plan_id: str) -> tuple[str, int] | None:
    """Return, for a plan with nothing left to do, why its last wave counts as failed, and which it is; or None."""
    waves = {number: wave for number, wave in _waves(connection, account, plan_id).items() if wave.sent}
    if not waves or not waves[max(waves)].hopeless:
        return None
    last = max(waves)
    return (_nothing(waves[last].sent, last), last) if last < LAST_WAVE or waves[last].sent >= NEWEST else None


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
    return {wave: _Wave(*counted) for wave, *counted in connection.execute(query)}


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


def refund(connection: Connection, account: str, plan_id: str, wave: int, settings: Settings, now: datetime) -> int:
    """Give a failed wave's sends back to their budgets, unless the consumer got anything since they were first tried.

    Where people are mailed at each send nothing is given back.

    :return: how many sends were given back.
    """
    record = find_record(connection, account, settings, now)
    feed = get_feed(connection, account, Feed.SUBSCRIPTIONS)
    if record is None or feed is None or (feed["known"] or {}).get("mails") != 0:
        return 0
    lost = and_(of_plan(account, plan_id), republishes.c.wave == wave, republishes.c.state == Republish.NOT_ARRIVED)
    theirs = select(republishes.c.event_id).where(lost)
    tried = (republishes.c.account == account, republishes.c.event_id.in_(theirs))
    first = connection.execute(select(func.min(republishes.c.reply_date, type_=Instant())).where(*tried)).scalar()
    if first is None:
        return 0
    since = first - FUZZ
    alive = exists().where(deliveries.c.account == account, deliveries.c.signed_at >= since, *record.good)
    if connection.execute(select(alive)).scalar():
        return 0
    return connection.execute(
        update(events)
        .where(events.c.account == account, events.c.id.in_(theirs), events.c.sends > 0)
        .values(
            sends=events.c.sends - 1,
            delivery=case((events.c.delivery == Delivery.GIVEN_UP, None), else_=events.c.delivery),
        )
    ).rowcount


def paced(connection: Connection, account: str, settings: Settings, now: datetime) -> timedelta:
    """Return how long the next send has to wait: `republish_per_second`, over all processes, protects the consumer."""
    query = select(func.max(republishes.c.sent_at, type_=Instant())).where(republishes.c.account == account)
    last: datetime | None = connection.execute(query).scalar()
    interval = timedelta(seconds=1 / settings.republish_per_second)
    if last is None:
        return timedelta(0)
    return min(max(last + interval - now, timedelta(0)), interval)
