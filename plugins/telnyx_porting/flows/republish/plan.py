"""Plan: an immutable list of event ids to republish, with its reason, its hash, its expiry, and what it will do.

By itself the watch selects events that are `missed`, not superseded, not deletions, within budget and past their pause.
A person may name any events; each kind that would not be sent by itself needs its own consent. One plan per account is
open at a time. Nothing is planned while nothing could be sent anyway.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, func, select, update

from telnyx_porting.errors import NothingToSendError, PlanError
from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.deliveries.rivals import ALIKE
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.republish.selection import CONSENTS, missed, named, select_ids, superseded_count
from telnyx_porting.flows.republish.summary import left_out_words, words
from telnyx_porting.flows.subscriptions import Destinations, read_destinations
from telnyx_porting.ledger.chunks import chunks
from telnyx_porting.ledger.states import CloseReason, Delivery, Feed, Republish
from telnyx_porting.ledger.tables import events, plans, republishes
from telnyx_porting.ledger.types import instant

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from telnyx_porting.flows.account import Account
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

__all__ = [
    "CONSENTS",
    "POLICY",
    "Destinations",
    "Plan",
    "approve",
    "close_plan",
    "expire_plans",
    "load_plan",
    "make_plan",
    "needs_person",
    "read_destinations",
    "select_ids",
]
FIRST_WAVES = (1, 10)  # then the rest
DAY = timedelta(hours=24)
POLICY = "policy"  # who approved what needed no person
_AT_ONCE = 500


@dataclass(frozen=True)
class Plan:
    """A plan. One that was only asked for in words (a dry run) has no id."""

    account: str
    id: str
    hash: str
    size: int
    expires_at: datetime
    expected_mails: int | None
    words: str
    approved_by: str | None = None
    already_open: bool = False
    consents: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)  # of the selection, by reason


def make_plan(
    account: Account,
    destinations: Destinations,
    *,
    reason: str = "missed notifications",
    by: str = "schedule",
    event_ids: Sequence[str] | None = None,
    consents: Collection[str] = (),
    leave_out: bool = False,
    dry_run: bool = False,
) -> Plan | None:
    """Store a plan, or return the one that is already open; None when there is nothing to send.

    :param event_ids: named by a person; default: what the watch selects by itself.
    :param consents: of :data:`CONSENTS`, the kinds a person agreed to although the watch would not send them.
    :param leave_out: leave out of `event_ids`, and count by reason, what cannot go; else it is refused.
    :param dry_run: return the plan without storing it, whatever else is open.
    :raises PlanError: named ids that are unknown, or need a consent that is missing; the open plan of another kind.
    :raises NothingToSendError: nothing is left of `event_ids`.
    """
    now = account.clock()
    with account.ledger.write() as connection:
        account.ledger.lock(connection, f"plan:{account.id}")
        expire_plans(connection, account.id, now)
        if not dry_run and (open_plan := _open_plan(connection, account.id)) is not None:
            if event_ids is not None:
                raise PlanError(
                    f"plan {open_plan['id']} of account {account.id!r} is still open: finish or close it first"
                )
            return _plan(open_plan, already_open=True)
        mails = None if destinations.mails is None else len(destinations.mails)
        if (
            mails is not None or get_feed(connection, account.id, Feed.SUBSCRIPTIONS) is None
        ):  # else what was last known holds
            known = {"webhooks": list(destinations.webhooks), "mails": mails}
            touch_feed(account.ledger, connection, account.id, Feed.SUBSCRIPTIONS, known=known, checked_at=now)
        agreed = frozenset(consents)
        left_out: dict[str, int] = {}
        if event_ids is None:
            chosen = missed(connection, account.id, account.settings, now)
        else:
            chosen, left_out = named(connection, account.id, event_ids, agreed, leave_out=leave_out)
        told = left_out_words(left_out)
        if not chosen and left_out:
            raise NothingToSendError(f"nothing of the selection can be sent: {told}", left_out)
        if not chosen:
            return None
        ordered = _in_sending_order(chosen)
        ids = [row["id"] for row in ordered]
        expires = now + account.settings.plan_expires
        bound = [account.id, ids, reason, sorted(agreed), now.isoformat(), expires.isoformat()]
        forced = event_ids is not None
        row: dict[str, Any] = {
            "account": account.id,
            "id": "" if dry_run else str(uuid.uuid4()),
            "reason": reason,
            "selection": {
                "how": "named" if forced else "missed",
                "words": words(connection, account.id, account.settings, chosen, destinations, now)
                + (f" Left out: {told}." if told else ""),
                "left_out": left_out,
                "webhooks": list(destinations.webhooks),
                "consents": sorted(agreed),
                # a person who names these knows that they arrived; what arrives later is dropped
                "arrived": [row["id"] for row in chosen if forced and row["arrived_at"] is not None],
                "superseded_left_alone": superseded_count(connection, account.id),
                "found": _causes(connection, account.id, ids),
            },
            "hash": hashlib.sha256(json.dumps(bound).encode()).hexdigest(),
            "size": len(ids),
            "expected_mails": None if mails is None else len(ids) * mails,
            "created_at": now,
            "created_by": by,
            "approved_at": None,
            "approved_by": None,
            "expires_at": expires,
        }
        if not dry_run:
            connection.execute(plans.insert().values(**row))
            connection.execute(republishes.insert(), _rows(account.id, row["id"], ids, forced=forced))
        return _plan(row)


def close_plan(connection: Connection, account: str, plan_id: str, now: datetime, by: str, reason: str) -> bool:
    """Close a plan; what was not sent is dropped with the reason. What was sent stays open to its verdict.

    :return: whether it was open.
    """
    connection.execute(
        update(republishes)
        .where(republishes.c.account == account, republishes.c.plan_id == plan_id)
        .where(republishes.c.state == Republish.PLANNED)
        .values(state=Republish.DROPPED, settled_at=now, detail=reason)
    )
    closed = connection.execute(
        update(plans)
        .where(plans.c.account == account, plans.c.id == plan_id, plans.c.closed_at.is_(None))
        .values(closed_at=now, closed_by=by, close_reason=reason)
    )
    failpoint("plan.closed")
    return bool(closed.rowcount)


def expire_plans(connection: Connection, account: str, now: datetime) -> None:
    """Close the account's plans that nobody finished in time."""
    late = select(plans.c.id).where(plans.c.account == account, plans.c.closed_at.is_(None), plans.c.expires_at <= now)
    for plan_id in connection.execute(late).scalars().all():
        close_plan(connection, account, plan_id, now, "schedule", CloseReason.EXPIRED)


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


def needs_person(ledger: Ledger, settings: Settings, plan: Plan, now: datetime) -> str | None:
    """Return why a person has to approve this plan, or None when mode and caps let it go by itself.

    Modes and caps come from settings only, never from params or a run's configuration. The daily cap counts every send
    of the account, whoever approved it: consumers and mail boxes do not care who did.
    """
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
    with ledger.read() as connection:
        sent = connection.execute(
            select(func.count()).where(republishes.c.account == plan.account, republishes.c.sent_at > now - DAY)
        ).scalar_one()
        oldest = connection.execute(
            select(func.min(events.c.created_at, type_=events.c.created_at.type))
            .join(republishes, and_(republishes.c.account == events.c.account, republishes.c.event_id == events.c.id))
            .where(republishes.c.account == plan.account, republishes.c.plan_id == plan.id)
        ).scalar_one()
    if sent + plan.size > settings.republish_daily_cap:
        return f"{sent} sends in 24 h and {plan.size} more exceed republish_daily_cap ({settings.republish_daily_cap})"
    if oldest is not None and oldest < now - settings.republish_max_age:
        return f"its oldest event is from {oldest.isoformat(timespec='minutes')}, older than republish_max_age"
    return None


def load_plan(account: Account, plan_id: str) -> Plan:
    """Return a stored plan.

    :raises PlanError: when the account has no such plan.
    """
    with account.ledger.read() as connection:
        query = select(plans).where(plans.c.account == account.id, plans.c.id == plan_id)
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise PlanError(f"account {account.id!r} has no plan {plan_id!r}")
    return _plan(row)


def require_open(account: Account, plan_id: str) -> Plan:
    """Return a stored plan that may still be approved or executed.

    :raises PlanError: when it is closed or expired, and why.
    """
    now = account.clock()
    plan = load_plan(account, plan_id)
    with account.ledger.read() as connection:
        query = select(plans.c.close_reason, plans.c.closed_at).where(
            plans.c.account == account.id, plans.c.id == plan_id
        )
        row = connection.execute(query).one()
    if row.closed_at is not None:
        raise PlanError(f"plan {plan_id} was closed ({row.close_reason}): leave the field empty to make a new one")
    if plan.expires_at <= now:
        raise PlanError(f"plan {plan_id} expired at {plan.expires_at.isoformat(timespec='minutes')}: make a new one")
    return plan


def _open_plan(connection: Connection, account: str) -> RowMapping | None:
    query = select(plans).where(plans.c.account == account, plans.c.closed_at.is_(None))
    return connection.execute(query).mappings().first()


def _causes(connection: Connection, account: str, ids: Sequence[str]) -> dict[str, int]:
    """Count what was found missed, by cause; of named events only those."""
    found: dict[str, int] = {}
    for batch in chunks(ids, _AT_ONCE):
        query = select(func.coalesce(events.c.cause, events.c.delivery, Delivery.PENDING), func.count())
        query = query.where(events.c.account == account, events.c.id.in_(batch))
        for cause, number in connection.execute(query.group_by(events.c.cause, events.c.delivery)):
            found[cause] = found.get(cause, 0) + number
    return found


def _in_sending_order(chosen: Sequence[RowMapping]) -> list[RowMapping]:
    """Order by event time, but for the canary: the first event of its order whose arrival can be told for sure."""
    first_of_order = {row["order_id"]: row for row in reversed(chosen)}.values()
    clear = [row for row in first_of_order if row["type"] not in ALIKE and not row["superseded"]]
    canary = min(clear or chosen, key=lambda row: (row["tries"], row["created_at"], row["id"]))["id"]
    return sorted(chosen, key=lambda row: row["id"] != canary)  # stable: the rest keeps its time order


def _rows(account: str, plan_id: str, ids: Sequence[str], *, forced: bool) -> list[dict[str, Any]]:
    result = []
    for position, event_id in enumerate(ids):
        wave = 1 if position < FIRST_WAVES[0] else 2 if position < sum(FIRST_WAVES) else 3
        common = {"account": account, "plan_id": plan_id, "event_id": event_id, "forced": forced}
        result.append(common | {"position": position, "wave": wave, "state": Republish.PLANNED})
    return result


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
        consents=tuple(row["selection"].get("consents", ())),
        left_out=dict(row["selection"].get("left_out", {})),
    )
