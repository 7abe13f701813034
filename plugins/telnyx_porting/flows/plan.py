"""Plan: an immutable list of event ids to republish, with its reason, its hash, its expiry, and what it will do.

By itself the watch selects events that are `missed`, not superseded, not deletions, within budget and past their pause.
A person may name any events; each kind that would not be sent by itself needs its own consent. One plan per account is
open at a time.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, func, or_, select, update

from telnyx_porting.errors import PlanError, TelnyxError
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.ledger.tables import events, feeds, plans, republishes
from telnyx_porting.ledger.types import instant

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

FIRST_WAVES = (1, 10)  # then the rest
UNCLEAR = ("porting_order.split", "porting_order.messaging_changed")  # webhooks that are hard to tell apart
LARGEST = 5_000  # ids in one plan; what is left comes with the next one
REPEATABLE = ("porting_order.status_changed", "porting_order.messaging_changed")  # a newer one supersedes them
CONSENTS = ("arrived", "email_only", "given_up", "superseded", "deleted", "undetermined")
UNRESOLVED = ("sending", "accepted", "unknown")


@dataclass(frozen=True)
class Destinations:
    """Whom a republish reaches: what is subscribed now, as far as the key may read it."""

    webhooks: tuple[str, ...] = ()
    mails: tuple[str, ...] | None = None  # None: unreadable, so mails must be assumed


@dataclass(frozen=True)
class Plan:
    """A stored plan."""

    account: str
    id: str
    hash: str
    size: int
    expires_at: datetime
    expected_mails: int | None
    words: str
    approved_by: str | None = None
    already_open: bool = False


def read_destinations(client: TelnyxClient) -> Destinations:
    """Ask the provider who is subscribed to port-in notifications; unreadable counts as unknown."""
    try:
        active = [s for s in client.notification_subscriptions() if s.status == "enabled"]
    except TelnyxError:
        return Destinations()
    return Destinations(
        tuple(sorted({s.destination for s in active if s.channel_type == "webhook" and s.destination})),
        tuple(sorted({s.destination for s in active if s.channel_type == "email" and s.destination})),
    )


def make_plan(
    ledger: Ledger,
    account: str,
    settings: Settings,
    now: datetime,
    destinations: Destinations,
    *,
    reason: str = "missed notifications",
    by: str = "schedule",
    event_ids: Sequence[str] | None = None,
    consents: Collection[str] = (),
) -> Plan | None:
    """Store a plan, or return the one that is already open; None when there is nothing to send.

    :param event_ids: named by a person; default: what the watch selects by itself.
    :param consents: of :data:`CONSENTS`, the kinds a person agreed to although the watch would not send them.
    :raises PlanError: named ids that are unknown, or need a consent that is missing; the open plan of another kind.
    """
    with ledger.write() as connection:
        ledger.lock(connection, f"plan:{account}")
        expire_plans(connection, account, now)
        if (open_plan := _open_plan(connection, account)) is not None:
            if event_ids is not None:
                raise PlanError(
                    f"plan {open_plan['id']} of account {account!r} is still open: finish or close it first"
                )
            return _plan(open_plan, already_open=True)
        if event_ids is None:
            chosen = _missed(connection, account, settings, now)
        else:
            chosen = _named(connection, account, event_ids, frozenset(consents))
        if not chosen:
            return None
        row = _plan_row(account, settings, now, destinations, chosen, reason, by, forced=event_ids is not None)
        row["selection"]["superseded_left_alone"] = _superseded_count(connection, account)
        connection.execute(plans.insert().values(**row))
        connection.execute(republishes.insert(), _rows(account, row["id"], chosen, forced=event_ids is not None))
        return _plan(row)


def select_ids(
    ledger: Ledger,
    account: str,
    *,
    order_id: str | None = None,
    event_type: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[str]:
    """Return the held events of an order, or of a type within a closed `created_at` range, in event-time order.

    :raises PlanError: when nothing narrows the selection, or the range is impossible.
    """
    if order_id is None and (event_type is None or since is None or until is None):
        raise PlanError("select events by ids, by order, or by event type together with a time range")
    if since and until and since > until:
        raise PlanError(f"from {since.isoformat()} is after to {until.isoformat()}: expected from <= to")
    query = select(events.c.id).where(events.c.account == account)
    if order_id is not None:
        query = query.where(events.c.order_id == order_id)
    if event_type is not None:
        query = query.where(events.c.type == event_type)
    if since is not None:
        query = query.where(events.c.created_at >= since)
    if until is not None:
        query = query.where(events.c.created_at <= until)
    with ledger.read() as connection:
        return list(connection.execute(query.order_by(events.c.created_at, events.c.id).limit(LARGEST)).scalars())


def superseded() -> ColumnElement[bool]:
    """SQL: a status or messaging event whose order has had a newer one of its type."""
    newer = events.alias("newer")
    return and_(
        events.c.type.in_(REPEATABLE),
        exists()
        .where(
            newer.c.account == events.c.account,
            newer.c.order_id == events.c.order_id,
            newer.c.type == events.c.type,
            newer.c.created_at > events.c.created_at,
        )
        .correlate(events),
    )


def close_plan(connection: Connection, account: str, plan_id: str, now: datetime, by: str, reason: str) -> None:
    """Close a plan; what was not sent is dropped with the reason. What was sent stays open to its verdict."""
    connection.execute(
        update(republishes)
        .where(republishes.c.account == account, republishes.c.plan_id == plan_id, republishes.c.state == "planned")
        .values(state="dropped", settled_at=now, detail=reason)
    )
    connection.execute(
        update(plans)
        .where(plans.c.account == account, plans.c.id == plan_id, plans.c.closed_at.is_(None))
        .values(closed_at=now, closed_by=by, close_reason=reason)
    )


def expire_plans(connection: Connection, account: str, now: datetime) -> None:
    """Close the account's plans that nobody finished in time."""
    late = select(plans.c.id).where(plans.c.account == account, plans.c.closed_at.is_(None), plans.c.expires_at <= now)
    for plan_id in connection.execute(late).scalars().all():
        close_plan(connection, account, plan_id, now, "schedule", "expired")


def approve(ledger: Ledger, account: str, plan_id: str, plan_hash: str, by: str, now: datetime) -> None:
    """Record who approved exactly this plan.

    :raises PlanError: the hash is another one, or the plan is closed or expired.
    """
    with ledger.write() as connection:
        changed = connection.execute(
            update(plans)
            .where(plans.c.account == account, plans.c.id == plan_id, plans.c.hash == plan_hash)
            .where(plans.c.closed_at.is_(None), plans.c.expires_at > now)
            .values(
                approved_at=func.coalesce(plans.c.approved_at, instant(now)),
                approved_by=func.coalesce(plans.c.approved_by, by),
            )
        )
        if changed.rowcount != 1:
            raise PlanError(f"plan {plan_id} with hash {plan_hash[:12]} is not open any more: nothing was approved")


def needs_person(ledger: Ledger, settings: Settings, plan: Plan, now: datetime) -> str | None:
    """Return why a person has to approve this plan, or None when mode and caps let it go by itself.

    Modes and caps come from settings only, never from params or a run's configuration.
    """
    if settings.republish_mode != "auto":
        return f"republish_mode is {settings.republish_mode}"
    if not settings.consumer_is_idempotent:
        return "consumer_is_idempotent is not set: your consumer may act twice on a repeat"
    if plan.size > settings.auto_approve_max:
        return f"{plan.size} events are more than auto_approve_max ({settings.auto_approve_max})"
    if plan.expected_mails is None or plan.expected_mails > settings.republish_max_mails:
        mails = "an unknown number of" if plan.expected_mails is None else plan.expected_mails
        return f"it causes {mails} mails, more than republish_max_mails ({settings.republish_max_mails})"
    with ledger.read() as connection:
        sent = connection.execute(
            select(func.count()).where(
                republishes.c.account == plan.account, republishes.c.sent_at > now - timedelta(hours=24)
            )
        ).scalar_one()
        oldest = connection.execute(
            select(func.min(events.c.created_at, type_=events.c.created_at.type))
            .join(republishes, and_(republishes.c.account == events.c.account, republishes.c.event_id == events.c.id))
            .where(republishes.c.account == plan.account, republishes.c.plan_id == plan.id)
        ).scalar_one()
    if sent + plan.size > settings.republish_daily_cap:
        return f"{sent} sends in 24 h and {plan.size} more exceed republish_daily_cap ({settings.republish_daily_cap})"
    if oldest < now - settings.republish_max_age:
        return f"its oldest event is from {oldest.isoformat(timespec='minutes')}, older than republish_max_age"
    return None


def load_plan(ledger: Ledger, account: str, plan_id: str) -> Plan:
    """Return a stored plan.

    :raises PlanError: when the account has no such plan.
    """
    with ledger.read() as connection:
        query = select(plans).where(plans.c.account == account, plans.c.id == plan_id)
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise PlanError(f"account {account!r} has no plan {plan_id!r}")
    return _plan(row)


def shared_user(connection: Connection, account: str) -> str | None:
    """Return another account of this ledger with the same Telnyx user: republishing for both would send twice."""
    feed = get_feed(connection, account, "events")
    if feed is None or not feed["user_id"]:
        return None
    query = select(feeds.c.account).where(
        feeds.c.source == "events", feeds.c.user_id == feed["user_id"], feeds.c.account != account
    )
    return connection.execute(query.limit(1)).scalar()


def _open_plan(connection: Connection, account: str) -> RowMapping | None:
    query = select(plans).where(plans.c.account == account, plans.c.closed_at.is_(None))
    return connection.execute(query).mappings().first()


def _unresolved() -> ColumnElement[bool]:
    return exists().where(
        republishes.c.account == events.c.account,
        republishes.c.event_id == events.c.id,
        or_(
            and_(republishes.c.state.in_(UNRESOLVED), republishes.c.settled_at.is_(None)),
            republishes.c.state == "refused",  # asked once, answered no: only a person asks again
        ),
    )


def _missed(connection: Connection, account: str, settings: Settings, now: datetime) -> list[RowMapping]:
    rested = or_(
        events.c.last_sent_at.is_(None),
        *(
            and_(events.c.sends == sends, events.c.last_sent_at <= now - settings.pause_after(sends))
            for sends in range(settings.republish_budget)
        ),
    )
    query = (
        select(events.c.id, events.c.type, events.c.order_id, events.c.created_at, superseded().label("superseded"))
        .where(events.c.account == account, events.c.delivery == "missed")
        .where(events.c.sends < settings.republish_budget, rested)
        .where(events.c.type != "porting_order.deleted", ~superseded(), ~_unresolved())
        .order_by(events.c.created_at, events.c.id)
        .limit(LARGEST)
    )
    return list(connection.execute(query).mappings())


def _superseded_count(connection: Connection, account: str) -> int:
    query = select(func.count()).where(events.c.account == account, events.c.delivery == "missed", superseded())
    return int(connection.execute(query).scalar_one())


def _named(
    connection: Connection, account: str, event_ids: Sequence[str], consents: frozenset[str]
) -> list[RowMapping]:
    if unknown := consents - set(CONSENTS):
        raise PlanError(f"consents: {sorted(unknown)} unknown, expected some of {', '.join(CONSENTS)}")
    if len(set(event_ids)) > LARGEST:
        raise PlanError(f"event_ids: {len(set(event_ids))} ids, expected at most {LARGEST} in one plan")
    query = (
        select(events, superseded().label("superseded"))
        .where(events.c.account == account, events.c.id.in_(set(event_ids)))
        .order_by(events.c.created_at, events.c.id)
    )
    rows = list(connection.execute(query).mappings())
    if missing := sorted(set(event_ids) - {row["id"] for row in rows}):
        raise PlanError(
            f"event_ids: {missing[0]!r} (and {len(missing) - 1} more) not in the ledger: scan or backfill first"
        )
    for row in rows:
        if row["payload_status"] != "completed" and row["has_webhook"]:
            raise PlanError(f"event_ids: {row['id']!r} has no payload yet, there is nothing to send")
        for kind in sorted(_needs(row) - consents):
            raise PlanError(f"event_ids: {row['id']!r} is {kind}; sending it needs the consent {kind!r}")
    return rows


def _needs(row: RowMapping) -> set[str]:
    needs = {row["delivery"]} & {"arrived", "given_up", "undetermined"}
    if row["delivery"] == "not_expected" or not row["has_webhook"]:
        needs.add("email_only")
    if row["superseded"]:
        needs.add("superseded")
    if row["type"] == "porting_order.deleted":
        needs.add("deleted")
    return needs


def _rows(account: str, plan_id: str, chosen: Sequence[RowMapping], *, forced: bool) -> list[dict[str, Any]]:
    """Order by event time, but for the canary: the first event of its order whose arrival can be told for sure."""
    first_of_order = {row["order_id"]: row for row in reversed(chosen)}.values()
    clear = [row for row in first_of_order if row["type"] not in UNCLEAR and not row["superseded"]]
    canary = min(clear or chosen, key=lambda row: (row["created_at"], row["id"]))["id"]
    ordered = sorted(chosen, key=lambda row: row["id"] != canary)  # stable: the rest keeps its time order
    result = []
    for position, row in enumerate(ordered):
        wave = 1 if position < FIRST_WAVES[0] else 2 if position < sum(FIRST_WAVES) else 3
        common = {"account": account, "plan_id": plan_id, "event_id": row["id"], "forced": forced}
        result.append(common | {"position": position, "wave": wave, "state": "planned"})
    return result


def _plan_row(
    account: str,
    settings: Settings,
    now: datetime,
    destinations: Destinations,
    chosen: Sequence[RowMapping],
    reason: str,
    by: str,
    *,
    forced: bool,
) -> dict[str, Any]:
    expires = now + settings.plan_expires
    ids = [row["id"] for row in chosen]
    bound = [account, ids, reason, now.isoformat(), expires.isoformat()]
    mails = None if destinations.mails is None else len(ids) * len(destinations.mails)
    return {
        "account": account,
        "id": str(uuid.uuid4()),
        "reason": reason,
        "selection": {
            "how": "named" if forced else "missed",
            "words": _words(chosen, destinations, mails, now),
            "webhooks": list(destinations.webhooks),
        },
        "hash": hashlib.sha256(json.dumps(bound).encode()).hexdigest(),
        "size": len(ids),
        "expected_mails": mails,
        "created_at": now,
        "created_by": by,
        "approved_at": None,
        "approved_by": None,
        "expires_at": expires,
    }


def _words(chosen: Sequence[RowMapping], destinations: Destinations, mails: int | None, now: datetime) -> str:
    orders = len({row["order_id"] for row in chosen})
    age = now - chosen[0]["created_at"]
    goes_to = [*destinations.webhooks] or ["no account-wide webhook known (orders may name their own)"]
    if mails is None:
        goes_to.append("possibly mail addresses (the subscriptions could not be read)")
    elif mails:
        goes_to.append(f"{len(destinations.mails or ())} mail addresses ({mails} mails)")
    return f"{len(chosen)} events, {orders} orders, oldest {_age(age)}. Goes to: {', '.join(goes_to)}."


def _age(age: timedelta) -> str:
    minutes = max(int(age.total_seconds() // 60), 0)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def _plan(row: Any, *, already_open: bool = False) -> Plan:
    return Plan(
        account=row["account"],
        id=row["id"],
        hash=row["hash"],
        size=row["size"],
        expires_at=row["expires_at"],
        expected_mails=row["expected_mails"],
        words=row["selection"]["words"],
        approved_by=row["approved_by"],
        already_open=already_open,
    )
