"""Approval: by policy within mode and caps, or by a person; bound to the plan's hash."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, update

from telnyx_porting.errors import PlanError
from telnyx_porting.ledger.tables import events, plans, republishes
from telnyx_porting.ledger.types import instant

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.republish.plan import Plan

POLICY = "policy"  # who approved what needed no person
DAY = timedelta(hours=24)


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
        sent = connection.execute(
            select(func.count()).where(republishes.c.account == account.id, republishes.c.sent_at > now - DAY)
        ).scalar_one()
        oldest = connection.execute(
            select(func.min(events.c.created_at, type_=events.c.created_at.type))
            .join(republishes, and_(republishes.c.account == events.c.account, republishes.c.event_id == events.c.id))
            .where(republishes.c.account == account.id, republishes.c.plan_id == plan.id)
        ).scalar_one()
    if sent + plan.size > settings.republish_daily_cap:
        return f"{sent} sends in 24 h and {plan.size} more exceed republish_daily_cap ({settings.republish_daily_cap})"
    if oldest is not None and oldest < now - settings.republish_max_age:
        return f"its oldest event is from {oldest.isoformat(timespec='minutes')}, older than republish_max_age"
    return None
