"""What there is to look at: what needs somebody, the orders, what was missed, and the plans that send it again."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator, AwareDatetime

from telnyx_porting.flows.desk.board import read_board
from telnyx_porting.flows.desk.consents import CONSENT_WORDS
from telnyx_porting.flows.desk.health import read_health
from telnyx_porting.flows.desk.lines import TITLES, Where, Who, find_lines
from telnyx_porting.flows.desk.missed import MissedWhere, choose, count_missed, find_missed
from telnyx_porting.flows.desk.order import read_event, read_order
from telnyx_porting.flows.desk.orders import OVERDUE, SORTS, OrderWhere, find_orders, status_counts
from telnyx_porting.flows.desk.plans import find_plans, read_plan
from telnyx_porting.links import portal
from telnyx_porting.models.keys import EVENT_TYPES
from telnyx_porting.web.console.access import see
from telnyx_porting.web.console.place import Here
from telnyx_porting.web.console.render import page

router = APIRouter(dependencies=[Depends(see)])

Number = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]
Text = Annotated[str, Query(max_length=1000)]
DAGS = (
    "porting_scan",
    "porting_exception_alerts",
    "porting_stuck_events",
    "porting_missed_notifications",
    "porting_republish",
    "porting_maintenance",
    "porting_backfill",
)


def _day(said: str) -> str:
    """Take a day, `overdue` or nothing.

    :raises ValueError: anything else.
    """
    return said if said in ("", OVERDUE) else date.fromisoformat(said).isoformat()


@router.get("/")
def now(visit: Here, who: Who = "all", key: Text = "") -> HTMLResponse:
    """What needs somebody, by due time; with a key, that finding alone."""
    if key:
        return _findings(visit, Where(key=key), 1)
    return page(visit, "now.html", here="Now", board=read_board(visit.account, who=who, actor=visit.user))


@router.get("/findings")
def findings(
    visit: Here,
    who: Who = "all",
    section: Annotated[str, Query(pattern=f"^({'|'.join(TITLES)})?$")] = "",
    kind: Text = "",
    severity: Text = "",
    order_id: Text = "",
    number: Number = 1,
) -> HTMLResponse:
    return _findings(visit, Where(section, who, kind, severity, order_id), number)


def _findings(visit: Here, where: Where, number: int) -> HTMLResponse:
    found = find_lines(visit.account, where, actor=visit.user, page=number)
    sections = [("", "All"), *TITLES.items()]
    return page(visit, "findings.html", here="Now", found=found, where=where, sections=sections)


@router.get("/orders")
def orders(
    visit: Here,
    search: Text = "",
    status: Text = "",
    owner: Text = "",
    foc: Annotated[str, AfterValidator(_day)] = "",
    sort: Annotated[str, Query(pattern=f"^-?({'|'.join(SORTS)})$")] = "-updated",
    number: Number = 1,
) -> HTMLResponse:
    where = OrderWhere(search, status, owner, foc)
    found = find_orders(visit.account, where, sort=sort, page=number)
    statuses = status_counts(visit.account)
    return page(visit, "orders.html", here="Orders", found=found, where=where, sort=sort, statuses=statuses)


@router.get("/orders/{order_id}")
def order(visit: Here, order_id: str, before: AwareDatetime | None = None) -> HTMLResponse:
    """One order: all that happened, and what can be done."""
    found = read_order(visit.account, order_id, before=before)
    if found is None:
        raise HTTPException(404, f"the ledger knows no order {order_id!r} of this account")
    shown = {"order": found, "line": found.line, "portal": portal(order_id), "consents": CONSENT_WORDS}
    return page(visit, "order.html", here="Orders", **shown)


@router.get("/events/{event_id}")
def event(visit: Here, event_id: str) -> HTMLResponse:
    """One event, with its payload as Telnyx sent it."""
    found = read_event(visit.account, event_id)
    if found is None:
        raise HTTPException(404, f"the ledger holds no event {event_id!r} of this account")
    return page(visit, "event.html", here="Orders", event=found, consents=CONSENT_WORDS)


@router.get("/health")
def health(visit: Here) -> HTMLResponse:
    """What is complete and covered, and how the watch itself is."""
    return page(visit, "health.html", here="Health", health=read_health(visit.account), dags=DAGS)


@router.get("/missed")
def missed(
    visit: Here,
    state: Literal["missed", "given_up", "pending"] = "missed",
    cause: Literal["", "failed", "no_trace"] = "",
    type: Text = "",
    order_id: Text = "",
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    number: Number = 1,
) -> HTMLResponse:
    """The events of a filter whose notification is missed, and a plan made of all of them."""
    where = MissedWhere(state, cause, type, order_id, since, until)
    found = find_missed(visit.account, where, page=number)
    open_plan = next((plan for plan in find_plans(visit.account).rows if plan.closed_at is None), None)
    return page(
        visit,
        "missed.html",
        here="Missed",
        found=found,
        where=where,
        counts=count_missed(visit.account, where),
        chosen=choose(visit.account, where),
        types=sorted(EVENT_TYPES),
        open_plan=open_plan,
        consents=CONSENT_WORDS,
    )


@router.get("/plans")
def plans(visit: Here, number: Number = 1) -> HTMLResponse:
    return page(visit, "plans.html", here="Plans", found=find_plans(visit.account, page=number))


@router.get("/plans/{plan_id}")
def plan(visit: Here, plan_id: str, state: Text = "", number: Number = 1) -> HTMLResponse:
    """One plan: what it would do, what came of it, and its answer."""
    found = read_plan(visit.account, plan_id, state=state, page=number)
    if found is None:
        raise HTTPException(404, f"this account has no plan {plan_id!r}")
    return page(visit, "plan.html", here="Plans", plan=found, line=found.line, state=state)
