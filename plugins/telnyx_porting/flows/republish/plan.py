"""Plan: an immutable list of event ids to republish, with its reason, its hash, its expiry, and what it will do.

By itself the watch selects events that are `missed`, not superseded, not deletions, within budget and past their pause.
A person may name any events; each kind that would not be sent by itself needs its own consent. One plan per account is
open at a time. A preview says what a plan would do and stores none.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, select, update

from telnyx_porting.errors import NothingToSendError, PlanError
from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.deliveries.rivals import ALIKE
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.republish.selection import Asked, missed, named, superseded_count
from telnyx_porting.flows.republish.summary import left_out_words, words
from telnyx_porting.ledger.states import CloseReason, Delivery, Feed, Republish
from telnyx_porting.ledger.tables import events, plans, republishes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.subscriptions import Destinations

FIRST_WAVES = (1, 10)  # then the rest


@dataclass(frozen=True)
class Plan:
    """A stored plan."""

    id: str
    hash: str
    size: int
    expires_at: datetime
    expected_mails: int | None  # None: cannot be known
    words: str
    approved_by: str | None
    consents: tuple[str, ...]
    left_out: dict[str, int]  # of the selection, by reason


@dataclass(frozen=True)
class Draft:
    """What a plan would hold, in sending order, and would do; nothing of it is stored."""

    ids: list[str]
    words: str
    left_out: dict[str, int]  # of the selection, by reason
    arrived: list[str]  # of named events


def preview(account: Account, destinations: Destinations, asked: Asked | None = None) -> Draft:
    """Return what :func:`make_plan` would make now, whatever else is open.

    :raises PlanError: as :func:`make_plan`.
    """
    _keep(account, destinations, now := account.clock())
    with account.ledger.read() as connection:
        return _draft(connection, account, destinations, asked, now)


def make_plan(account: Account, destinations: Destinations, asked: Asked | None = None) -> Plan:
    """Store a plan, or return the one that is already open.

    What it holds is chosen in a snapshot: whether an event may still go is decided again as it is sent.

    :param asked: by a person; None: what the watch selects by itself.
    :raises PlanError: ids that are unknown, or need a consent that is missing; a person asks while a plan is open.
    :raises NothingToSendError: there is nothing to send.
    """
    now = account.clock()
    _keep(account, destinations, now)
    with account.ledger.write(f"plan:{account.id}") as connection:
        query = select(plans).where(plans.c.account == account.id, plans.c.closed_at.is_(None))
        for found in connection.execute(query).mappings().all():
            if found["expires_at"] <= now:  # nobody finished it in time
                close_plan(connection, account.id, found["id"], now, "schedule", CloseReason.EXPIRED)
            elif asked is not None:
                raise PlanError(f"plan {found['id']} of account {account.id!r} is still open: finish or close it first")
            else:
                return _plan(found)
    with account.ledger.read() as connection:
        newest = _newest(connection, account.id)
        draft = _draft(connection, account, destinations, asked, now)
        superseded, causes = superseded_count(connection, account.id), _causes(connection, account, draft.ids)
    consents, reason = (sorted(asked.consents), asked.reason) if asked else ([], "missed notifications")
    expires = now + account.settings.plan_expires
    bound = [account.id, draft.ids, reason, consents, now.isoformat(), expires.isoformat()]
    row: dict[str, Any] = {
        "account": account.id,
        "id": str(uuid.uuid4()),
        "reason": reason,
        "selection": {
            "words": draft.words,
            "left_out": draft.left_out,
            "webhooks": list(destinations.webhooks),
            "consents": consents,
            # a person who names these knows that they arrived; what arrives later is dropped
            "arrived": draft.arrived,
            "superseded_left_alone": superseded,
            "found": causes,
        },
        "hash": hashlib.sha256(json.dumps(bound).encode()).hexdigest(),
        "size": len(draft.ids),
        "expected_mails": None if destinations.mails is None else len(draft.ids) * len(destinations.mails),
        "created_at": now,
        "created_by": asked.by if asked else "schedule",
        "approved_by": None,
        "expires_at": expires,
    }
    with account.ledger.write(f"plan:{account.id}") as connection:
        if is_newest := _newest(connection, account.id) == newest:
            connection.execute(plans.insert().values(**row))
            connection.execute(republishes.insert(), _rows(account.id, row["id"], draft.ids, forced=asked is not None))
    # another plan may have sent some of these meanwhile
    return _plan(row) if is_newest else make_plan(account, destinations, asked)


def _newest(connection: Connection, account: str) -> str | None:
    query = select(plans.c.id).where(plans.c.account == account).order_by(plans.c.created_at.desc(), plans.c.id)
    return connection.execute(query.limit(1)).scalar()


def _keep(account: Account, destinations: Destinations, now: datetime) -> None:
    """Keep who gets what is sent; where mails cannot be known, what was last known holds."""
    mails = None if destinations.mails is None else len(destinations.mails)
    with account.ledger.write() as connection:
        if mails is not None or get_feed(connection, account.id, Feed.SUBSCRIPTIONS) is None:
            known = {"webhooks": list(destinations.webhooks), "mails": mails}
            touch_feed(account.ledger, connection, account.id, Feed.SUBSCRIPTIONS, known=known, checked_at=now)


def _draft(
    connection: Connection, account: Account, destinations: Destinations, asked: Asked | None, now: datetime
) -> Draft:
    left_out: dict[str, int] = {}
    if asked is None:
        chosen = missed(connection, account.id, account.settings, now)
    else:
        chosen, left_out = named(connection, account, asked)
    told = left_out_words(left_out)
    if not chosen:
        reason = f"nothing of the selection can be sent: {told}" if told else "nothing to republish"
        raise NothingToSendError(reason, left_out)
    text = words(connection, account, chosen, destinations, now)
    return Draft(
        [row["id"] for row in _in_sending_order(chosen)],
        text + (f" Left out: {told}." if told else ""),
        left_out,
        [row["id"] for row in chosen if asked is not None and row["arrived_at"] is not None],
    )


def of_plan(account: str, plan_id: str) -> ColumnElement[bool]:
    """Return SQL: the plan's rows."""
    return and_(republishes.c.account == account, republishes.c.plan_id == plan_id)


def close_plan(connection: Connection, account: str, plan_id: str, now: datetime, by: str, reason: str) -> bool:
    """Close a plan; what was not sent is dropped with the reason. What was sent stays open to its verdict.

    :return: whether it was open.
    """
    connection.execute(
        update(republishes)
        .where(of_plan(account, plan_id), republishes.c.state == Republish.PLANNED)
        .values(state=Republish.DROPPED, settled_at=now, detail=reason)
    )
    closed = connection.execute(
        update(plans)
        .where(plans.c.account == account, plans.c.id == plan_id, plans.c.closed_at.is_(None))
        .values(closed_at=now, closed_by=by, close_reason=reason)
    )
    failpoint("plan.closed")
    return bool(closed.rowcount)


def close_by(account: Account, plan_id: str, who: str) -> bool:
    """Close a plan because a person says so.

    :return: whether it was open.
    :raises PlanError: when the account has no such plan.
    """
    with account.ledger.write() as connection:
        plan_row(connection, account.id, plan_id)
        return close_plan(connection, account.id, plan_id, account.clock(), who, f"closed by {who}")


def plan_row(connection: Connection, account: str, plan_id: str) -> RowMapping:
    """Return a plan as stored.

    :raises PlanError: when the account has no such plan.
    """
    query = select(plans).where(plans.c.account == account, plans.c.id == plan_id)
    if (row := connection.execute(query).mappings().one_or_none()) is None:
        raise PlanError(f"account {account!r} has no plan {plan_id!r}")
    return row


def require_open(account: Account, plan_id: str) -> Plan:
    """Return a stored plan that may still be approved or executed.

    :raises PlanError: when the account has no such plan, or it is closed or expired, and why.
    """
    with account.ledger.read() as connection:
        row = plan_row(connection, account.id, plan_id)
    if row["closed_at"] is not None:
        raise PlanError(f"plan {plan_id} was closed ({row['close_reason']}): leave the field empty to make a new one")
    if row["expires_at"] <= account.clock():
        expired = row["expires_at"].isoformat(timespec="minutes")
        raise PlanError(f"plan {plan_id} expired at {expired}: make a new one")
    return _plan(row)


def _causes(connection: Connection, account: Account, ids: Sequence[str]) -> dict[str, int]:
    """Count what was found missed, by cause; of named events only those."""
    cause = func.coalesce(events.c.cause, events.c.delivery, Delivery.PENDING).label("found")
    mine = (events.c.account == account.id, account.ledger.among(events.c.id, ids))
    each = select(cause).where(*mine).subquery().c.found
    return dict(connection.execute(select(each, func.count()).group_by(each)).all())


def _in_sending_order(chosen: Sequence[RowMapping]) -> list[RowMapping]:
    """Order by event time, but for the canary: the first event of its order whose arrival can be told for sure."""
    first_of_order = {row["order_id"]: row for row in reversed(chosen)}.values()
    clear = [row for row in first_of_order if row["type"] not in ALIKE and not row["superseded"]]
    canary = min(clear or chosen, key=lambda row: (row["tries"], row["created_at"], row["id"]))["id"]
    return sorted(chosen, key=lambda row: row["id"] != canary)  # stable: the rest keeps its time order


def _rows(account: str, plan_id: str, ids: Sequence[str], *, forced: bool) -> list[dict[str, Any]]:
    common = {"account": account, "plan_id": plan_id, "forced": forced, "state": Republish.PLANNED}
    ends = list(accumulate(FIRST_WAVES))
    return [
        common | {"event_id": event_id, "position": at, "wave": bisect_right(ends, at) + 1}
        for at, event_id in enumerate(ids)
    ]


def _plan(row: Any) -> Plan:
    kept = {name: row[name] for name in ("id", "hash", "size", "expires_at", "expected_mails", "approved_by")}
    told = row["selection"]
    return Plan(**kept, words=told["words"], consents=tuple(told["consents"]), left_out=told["left_out"])
