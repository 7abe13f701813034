"""Plans: what each would do, how far it is, and what became of every event of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, func, select

from telnyx_porting.errors import PlanError
from telnyx_porting.flows.desk.page import Page, count_of, from_row, on_page
from telnyx_porting.flows.findings.wording import label
from telnyx_porting.flows.republish.gates import needs_person
from telnyx_porting.flows.republish.plan import plan_row, require_open
from telnyx_porting.flows.republish.report import Report, report
from telnyx_porting.ledger.tables import events, orders, plans, republishes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from telnyx_porting.flows.account import Account


@dataclass(frozen=True)
class PlanLine:
    """One plan. Times are on our clock.

    :param state: ``waiting`` for a person, ``running``, ``expired`` or ``closed``
    :param reason: why it was made; foreign text
    :param words: what it would do, one paragraph; foreign text
    :param counts: its events by state of `states.Republish`
    """

    id: str
    hash: str
    size: int
    reason: str
    words: str
    state: str
    created_at: datetime
    created_by: str
    approved_at: datetime | None
    approved_by: str | None
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None
    expires_at: datetime
    expected_mails: int | None
    counts: dict[str, int]


@dataclass(frozen=True)
class Attempt:
    """One event of a plan.

    :param position: in sending order, from 0
    :param wave: 1: the canary, 2: ten more, 3: the rest
    :param state: of `states.Republish`; a verdict once `settled_at` is set
    """

    event_id: str
    type: str
    order_id: str | None
    name: str
    position: int
    wave: int
    state: str
    sent_at: datetime | None
    settled_at: datetime | None
    detail: str | None


@dataclass(frozen=True)
class PlanView:
    """One plan's page.

    :param why_person: why a person has to approve it; None: nobody has to, or it is not open
    :param left_out: events of the selection that are not in it, by reason
    :param consents: what its maker agreed to
    :param report: Markdown for people, and counts; foreign text in it is escaped
    """

    line: PlanLine
    why_person: str | None
    webhooks: tuple[str, ...]
    left_out: dict[str, int]
    consents: tuple[str, ...]
    attempts: Page[Attempt]
    report: Report


def find_plans(account: Account, *, page: int = 1) -> Page[PlanLine]:
    """Return the account's plans, the newest first."""
    now = account.clock()
    query = select(plans).where(plans.c.account == account.id).order_by(plans.c.created_at.desc(), plans.c.id)
    with account.ledger.read() as connection:
        rows = connection.execute(on_page(query, page)).mappings().all()
        return Page(_lines(connection, account.id, rows, now), count_of(connection, query), page)


def read_plan(account: Account, plan_id: str, *, state: str = "", page: int = 1) -> PlanView | None:
    """Return a plan, or None when the account has none such; `state`: only its events in this state."""
    if not plan_id.isprintable():
        return None
    now = account.clock()
    with account.ledger.read() as connection:
        try:
            row = plan_row(connection, account.id, plan_id)
        except PlanError:
            return None
        (line,) = _lines(connection, account.id, [row], now)
        attempts = _attempts(connection, account.id, plan_id, state, page)
    selection = row["selection"] or {}
    return PlanView(
        line,
        needs_person(account, require_open(account, line.id)) if line.state == "waiting" else None,
        tuple(selection.get("webhooks") or ()),
        dict(selection.get("left_out") or {}),
        tuple(selection.get("consents") or ()),
        attempts,
        report(account, plan_id),
    )


def _lines(connection: Connection, account: str, rows: Sequence[Any], now: datetime) -> tuple[PlanLine, ...]:
    query = select(republishes.c.plan_id, republishes.c.state, func.count()).where(
        republishes.c.account == account, republishes.c.plan_id.in_([row["id"] for row in rows])
    )
    counts: dict[str, dict[str, int]] = {}
    for plan_id, state, count in connection.execute(query.group_by(republishes.c.plan_id, republishes.c.state)):
        counts.setdefault(plan_id, {})[state] = count
    return tuple(
        from_row(
            PlanLine,
            row,
            words=(row["selection"] or {}).get("words") or "",
            state=_state(row, now),
            counts=counts.get(row["id"], {}),
        )
        for row in rows
    )


def _state(row: Any, now: datetime) -> str:
    if row["closed_at"] is not None:
        return "closed"
    if row["expires_at"] <= now:
        return "expired"
    return "waiting" if row["approved_at"] is None else "running"


def _attempts(connection: Connection, account: str, plan_id: str, state: str, page: int) -> Page[Attempt]:
    columns = ("account", "event_id", "position", "wave", "state", "sent_at", "settled_at", "detail")
    mine = select(*(republishes.c[name] for name in columns)).order_by(republishes.c.position)
    mine = mine.where(republishes.c.account == account, republishes.c.plan_id == plan_id)
    if state:
        mine = mine.where(republishes.c.state == state)
    shown = on_page(mine, page).subquery()
    query = (
        select(shown, events.c.type, events.c.order_id, orders.c.customer_reference, orders.c.support_key)
        .join(events, and_(events.c.account == shown.c.account, events.c.id == shown.c.event_id))
        .outerjoin(orders, and_(orders.c.account == events.c.account, orders.c.id == events.c.order_id))
        .order_by(shown.c.position)
    )
    rows = connection.execute(query).mappings()
    attempts = tuple(from_row(Attempt, row, name=label(row["order_id"], row, "references")) for row in rows)
    return Page(attempts, count_of(connection, mine), page)
