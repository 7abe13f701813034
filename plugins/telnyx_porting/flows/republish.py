"""The one republish machine: ``advance(plan) -> Wait | Done | Halted``. Scheduled, manual, resumed and crashed runs are one path.

    planned --claim--> sending --204--> accepted --new evidence--> arrived
       |                  |--404/4xx--> refused    \\--due passed inside coverage--> not_arrived
       |                  \\--time-out, 5xx, crash--> unknown (leaves only by accepted's two exits)
       |<-- connect failure, 429 (certainly not processed)
       \\--arrived meanwhile, superseded, closed, expired--> dropped

Claim = intent = one row: after the pacer granted the slot, one conditional UPDATE is committed, then the POST is written
before `send_by`. A crash leaves `sending`, which is looked at and never blindly sent again. Residual risk, accepted: a
process paused between its check of `send_by` and the socket may send late.

Waves of 1, 10 and the rest: a wave in which nothing arrived costs no budget and halts the plan.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from telnyx_porting.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    PlanError,
    RateLimitedError,
    StatusError,
    TelnyxError,
)
from telnyx_porting.flows import evidence
from telnyx_porting.flows.delivery import find_record
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.plan import UNRESOLVED, close_plan, shared_user, superseded
from telnyx_porting.flows.verdicts import charge, settle
from telnyx_porting.ledger.tables import deliveries, events, plans, republishes

if TYPE_CHECKING:
    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
SEND_BY = timedelta(seconds=10)
HEARTBEAT_FRESH = timedelta(minutes=2)
NOT_FOUND_IN_A_ROW = 3
LOOK_AGAIN = (timedelta(seconds=1), timedelta(seconds=30))  # how soon, and at the latest, to look for arrivals
Clock = Callable[[], datetime]


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
    """The plan was closed before its end; nothing more is sent, what was sent keeps its verdicts."""

    reason: str
    counts: dict[str, int] = field(default_factory=dict)


def utc_now() -> datetime:
    """Return our clock."""
    return datetime.now(UTC)


def advance(
    ledger: Ledger, account: str, client: TelnyxClient, settings: Settings, plan_id: str, clock: Clock = utc_now
) -> Wait | Done | Halted:
    """Do all that can be done for a plan now: look, reach verdicts, send what may be sent.

    :raises PlanError: no such plan, or nobody approved it.
    """
    if settings.consumer_of_record.startswith("deliveries") or _pulls(ledger, account, settings, clock()):
        evidence.read_deliveries(ledger, account, client, settings, clock())
    settle(ledger, account, settings, clock())
    plan = _plan(ledger, account, plan_id)
    if plan["closed_at"] is None:
        if plan["approved_at"] is None:
            raise PlanError(f"plan {plan_id} is not approved: nothing is sent")
        if plan["expires_at"] <= clock():
            return _halt(ledger, account, plan_id, clock(), "expired")
        if (reason := _unsafe(ledger, account, settings, clock())) is not None:
            return _halt(ledger, account, plan_id, clock(), reason)
        wave = _wave(ledger, account, plan_id)
        if wave is not None and (reason := _nothing_arrived(ledger, account, plan_id, wave)) is not None:
            _refund(ledger, account, plan_id, wave)
            return _halt(ledger, account, plan_id, clock(), reason)
        if wave is not None and (stop := _send_wave(ledger, account, client, settings, plan_id, wave, clock)):
            return stop
    return _what_is_left(ledger, account, plan_id, clock())


def progress(ledger: Ledger, account: str, plan_id: str) -> dict[str, int]:
    """Return how many events of the plan are in each state."""
    query = (
        select(republishes.c.state, func.count())
        .where(republishes.c.account == account, republishes.c.plan_id == plan_id)
        .group_by(republishes.c.state)
    )
    with ledger.read() as connection:
        return dict(connection.execute(query).all())


def _pulls(ledger: Ledger, account: str, settings: Settings, now: datetime) -> bool:
    with ledger.read() as connection:
        record = find_record(connection, account, settings, now)
    return record is not None and record.source == evidence.SOURCE


def _plan(ledger: Ledger, account: str, plan_id: str) -> RowMapping:
    with ledger.read() as connection:
        query = select(plans).where(plans.c.account == account, plans.c.id == plan_id)
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise PlanError(f"account {account!r} has no plan {plan_id!r}")
    return row


def _halt(ledger: Ledger, account: str, plan_id: str, now: datetime, reason: str) -> Halted:
    log.warning("plan %s halted: %s", plan_id, reason)
    with ledger.write() as connection:
        close_plan(connection, account, plan_id, now, "watch", reason)
    return Halted(reason, progress(ledger, account, plan_id))


def _unsafe(ledger: Ledger, account: str, settings: Settings, now: datetime) -> str | None:
    """Health gate: return why nothing may be sent now."""
    with ledger.read() as connection:
        if (other := shared_user(connection, account)) is not None:
            return f"accounts {account!r} and {other!r} are the same Telnyx user: each would send for the other"
        record = find_record(connection, account, settings, now)
        if record is None or record.source != "receiver":
            return None
        feed = get_feed(connection, account, "receiver")
        beat = feed["heartbeat"] if feed else None
        if beat is None or beat < now - HEARTBEAT_FRESH:
            return f"the receiver has been silent since {beat.isoformat(timespec='seconds') if beat else 'its start'}"
        if feed is not None and feed["refused"]:
            return f"the receiver refused {feed['refused']} signatures since the last good one"
    return None


def _mine(account: str, plan_id: str) -> ColumnElement[bool]:
    return and_(republishes.c.account == account, republishes.c.plan_id == plan_id)


def _in_flight() -> ColumnElement[bool]:
    return and_(republishes.c.state.in_(UNRESOLVED), republishes.c.settled_at.is_(None))


def _wave(ledger: Ledger, account: str, plan_id: str) -> int | None:
    """The first wave that is not finished."""
    query = select(func.min(republishes.c.wave)).where(
        _mine(account, plan_id), or_(republishes.c.state == "planned", _in_flight())
    )
    with ledger.read() as connection:
        return connection.execute(query).scalar()


def _nothing_arrived(ledger: Ledger, account: str, plan_id: str, wave: int) -> str | None:
    """Look back at the wave before: it must have brought something, unless nothing of it was sent."""
    query = (
        select(republishes.c.state, func.count())
        .where(_mine(account, plan_id), republishes.c.wave == wave - 1)
        .group_by(republishes.c.state)
    )
    with ledger.read() as connection:
        states: dict[str, int] = dict(connection.execute(query).all())
    sent = sum(states.get(state, 0) for state in ("arrived", "not_arrived", "unknown", "refused"))
    if sent and not states.get("arrived"):
        return f"none of the {sent} events of wave {wave - 1} arrived: the consumer does not seem to be back"
    return None


def _refund(ledger: Ledger, account: str, plan_id: str, wave: int) -> None:
    """A wave in which nothing arrived says something about the consumer, not about its events."""
    sent = select(republishes.c.event_id).where(
        _mine(account, plan_id), republishes.c.wave == wave - 1, republishes.c.state == "not_arrived"
    )
    with ledger.write() as connection:
        connection.execute(
            update(events)
            .where(events.c.account == account, events.c.id.in_(sent), events.c.sends > 0)
            .values(
                sends=events.c.sends - 1,
                delivery=case((events.c.delivery == "given_up", None), else_=events.c.delivery),
            )
        )


def _send_wave(
    ledger: Ledger,
    account: str,
    client: TelnyxClient,
    settings: Settings,
    plan_id: str,
    wave: int,
    clock: Clock,
) -> Wait | Halted | None:
    not_found = 0
    owner = uuid.uuid4().hex
    for row in _sendable(ledger, account, settings, plan_id, wave):
        _keep_pace(ledger, account, settings, clock)
        slot = client.reserve_slot()
        if not _claim(ledger, account, plan_id, row["event_id"], owner, client, clock()):
            slot.release()
            continue
        try:
            receipt = client.republish_porting_event(row["event_id"], slot=slot, send_by=clock() + SEND_BY)
        except (AuthenticationError, PermissionDeniedError) as error:
            _outcome(ledger, row, owner, settings, "refused", str(error))
            return _halt(ledger, account, plan_id, clock(), str(error))
        except (TelnyxError, OSError) as error:
            state = _state_after(error)
            _outcome(ledger, row, owner, settings, state, str(error))
            not_found = not_found + 1 if isinstance(error, NotFoundError) else 0
            if not_found >= NOT_FOUND_IN_A_ROW:
                return _halt(ledger, account, plan_id, clock(), f"{not_found} events in a row are unknown to Telnyx")
            if state == "planned":
                pause = getattr(error, "retry_after", None) or 5.0
                return Wait(clock() + timedelta(seconds=min(float(pause), 300.0)), str(error))
        else:
            not_found = 0
            _outcome(ledger, row, owner, settings, "accepted", None, receipt.date)
    return None


def _state_after(error: Exception) -> str:
    if isinstance(error, TelnyxError) and error.not_processed:
        return "refused" if isinstance(error, StatusError) and not isinstance(error, RateLimitedError) else "planned"
    return "unknown"


def _sendable(ledger: Ledger, account: str, settings: Settings, plan_id: str, wave: int) -> list[RowMapping]:
    """Planned events of the wave whose order has nothing earlier still open, as far as unconfirmed sends allow."""
    earlier, its_event = republishes.alias("earlier"), events.alias("its_event")
    blocked = (
        exists()
        .where(
            earlier.c.account == account,
            earlier.c.plan_id == plan_id,
            its_event.c.account == account,
            its_event.c.id == earlier.c.event_id,
            its_event.c.order_id == events.c.order_id,
            its_event.c.created_at < events.c.created_at,
            or_(
                earlier.c.state == "planned",
                and_(earlier.c.state.in_(UNRESOLVED), earlier.c.settled_at.is_(None)),
            ),
        )
        .correlate(events)
    )
    query = (
        select(republishes)
        .join(events, and_(events.c.account == republishes.c.account, events.c.id == republishes.c.event_id))
        .where(_mine(account, plan_id), republishes.c.wave == wave, republishes.c.state == "planned", ~blocked)
        .order_by(republishes.c.position)
    )
    in_flight = select(func.count()).where(republishes.c.account == account, _in_flight())
    with ledger.read() as connection:
        free = settings.republish_unconfirmed - connection.execute(in_flight).scalar_one()
        return list(connection.execute(query.limit(max(free, 0))).mappings())


def _keep_pace(ledger: Ledger, account: str, settings: Settings, clock: Clock) -> None:
    """Protect the consumer: `republish_per_second`, counted over every process through the ledger."""
    query = select(func.max(republishes.c.sent_at, type_=republishes.c.sent_at.type)).where(
        republishes.c.account == account
    )
    with ledger.read() as connection:
        last = connection.execute(query).scalar()
    if last is not None:
        wait = (last + timedelta(seconds=1 / settings.republish_per_second) - clock()).total_seconds()
        time.sleep(min(max(wait, 0.0), 1 / settings.republish_per_second))


def _claim(
    ledger: Ledger, account: str, plan_id: str, event_id: str, owner: str, client: TelnyxClient, now: datetime
) -> bool:
    """Write the intent; False when the event needs no send any more, or somebody else sends it."""
    try:
        with ledger.write() as connection:
            if (reason := _not_needed(connection, account, plan_id, event_id, now)) is not None:
                _drop(connection, account, plan_id, event_id, now, reason)
                return False
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
            claimed = connection.execute(
                update(republishes)
                .where(_mine(account, plan_id), republishes.c.event_id == event_id)
                .where(republishes.c.state == "planned", open_plan)
                .values(
                    state="sending",
                    owner=owner,
                    sent_at=now,
                    reply_date=now + (client.clock_offset or timedelta(0)),
                    n=select(events.c.sends + 1)
                    .where(events.c.account == account, events.c.id == event_id)
                    .scalar_subquery(),
                    baseline=list(connection.execute(known).scalars()),
                )
            )
            return claimed.rowcount == 1
    except IntegrityError:  # another plan's send of this event is unresolved
        with ledger.write() as connection:
            _drop(connection, account, plan_id, event_id, now, "another send of this event awaits its verdict")
        return False


def _not_needed(connection: Connection, account: str, plan_id: str, event_id: str, now: datetime) -> str | None:
    query = (
        select(events.c.delivery, events.c.arrived_at, republishes.c.forced, plans.c.created_at, superseded())
        .join(republishes, and_(republishes.c.account == events.c.account, republishes.c.event_id == events.c.id))
        .join(plans, and_(plans.c.account == republishes.c.account, plans.c.id == republishes.c.plan_id))
        .where(_mine(account, plan_id), events.c.id == event_id)
    )
    delivery, arrived_at, forced, planned_at, is_superseded = connection.execute(query).one()
    if forced:
        return "arrived meanwhile" if arrived_at is not None and arrived_at > planned_at else None
    if arrived_at is not None:
        return "arrived meanwhile"
    if is_superseded:
        return "superseded meanwhile"
    return None if delivery == "missed" else f"no longer missed: {delivery or 'being looked at'}"


def _drop(connection: Connection, account: str, plan_id: str, event_id: str, now: datetime, reason: str) -> None:
    connection.execute(
        update(republishes)
        .where(_mine(account, plan_id), republishes.c.event_id == event_id, republishes.c.state == "planned")
        .values(state="dropped", settled_at=now, detail=reason)
    )


def _outcome(
    ledger: Ledger,
    row: RowMapping,
    owner: str,
    settings: Settings,
    state: str,
    detail: str | None,
    reply_date: datetime | None = None,
) -> None:
    """Write what became of our own claim; nobody else's."""
    same = and_(_mine(row["account"], row["plan_id"]), republishes.c.event_id == row["event_id"])
    claimed = and_(same, republishes.c.owner == owner, republishes.c.state == "sending")
    with ledger.write() as connection:
        sent_at = connection.execute(select(republishes.c.sent_at).where(claimed)).scalar()
        if sent_at is None:  # we were frozen so long that somebody declared us dead and counted the send
            return
        values: dict[str, Any] = {"state": state, "detail": detail}
        if state in ("accepted", "unknown"):
            values["due_at"] = sent_at + settings.confirm_within
            if reply_date is not None:
                values["reply_date"] = reply_date
            charge(connection, row, sent_at)
        elif state == "planned":
            values |= {"sent_at": None, "owner": None, "reply_date": None, "baseline": None, "n": None}
        else:
            values["settled_at"] = sent_at
        connection.execute(update(republishes).where(claimed).values(**values))


def _what_is_left(ledger: Ledger, account: str, plan_id: str, now: datetime) -> Wait | Done | Halted:
    counts = progress(ledger, account, plan_id)
    with ledger.read() as connection:
        waiting = and_(_mine(account, plan_id), _in_flight())
        due = connection.execute(
            select(func.min(republishes.c.due_at, type_=republishes.c.due_at.type)).where(waiting)
        ).scalar()
        first = connection.execute(
            select(func.max(republishes.c.sent_at, type_=republishes.c.sent_at.type)).where(waiting)
        ).scalar()
    if due is not None or first is not None:
        patience = min(max((now - first) / 2 if first else LOOK_AGAIN[0], LOOK_AGAIN[0]), LOOK_AGAIN[1])
        until = min(now + patience, max(due, now + LOOK_AGAIN[0])) if due else now + patience
        return Wait(until, f"looking whether they arrive: {counts}")
    if counts.get("planned"):
        return Wait(now + LOOK_AGAIN[0], "the next wave")
    plan = _plan(ledger, account, plan_id)
    if plan["closed_at"] is None:
        with ledger.write() as connection:
            close_plan(connection, account, plan_id, now, "watch", "done")
    elif plan["close_reason"] not in (None, "done"):
        return Halted(plan["close_reason"], counts)
    return Done(counts)
