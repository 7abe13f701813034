"""What was missed, and the plans that send it again."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse
from pydantic import AwareDatetime

from telnyx_porting.flows.desk.consents import CONSENT_WORDS
from telnyx_porting.flows.desk.missed import MissedWhere, choose, count_missed, find_missed
from telnyx_porting.flows.desk.plans import find_plans, read_plan
from telnyx_porting.models import EVENT_TYPES
from telnyx_porting.web.console.access import see
from telnyx_porting.web.console.place import Here
from telnyx_porting.web.console.render import page

router = APIRouter(dependencies=[Depends(see)])

Number = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]
Text = Annotated[str, Query(max_length=1000)]


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
    """All plans, the newest first."""
    return page(visit, "plans.html", here="Plans", found=find_plans(visit.account, page=number))


@router.get("/plans/{plan_id}")
def plan(visit: Here, plan_id: str, state: Text = "", number: Number = 1) -> HTMLResponse:
    """One plan: what it would do, what came of it, and its answer."""
    found = read_plan(visit.account, plan_id, state=state, page=number)
    if found is None:
        raise HTTPException(404, f"this account has no plan {plan_id!r}")
    return page(visit, "plan.html", here="Plans", plan=found, line=found.line, state=state)
