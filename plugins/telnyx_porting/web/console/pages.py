"""What there is to look at."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from telnyx_porting.flows.desk.findings import listing
from telnyx_porting.web.console.access import see
from telnyx_porting.web.console.place import Here
from telnyx_porting.web.console.render import page

router = APIRouter(dependencies=[Depends(see)])


@router.get("/")
def now(visit: Here) -> HTMLResponse:
    """What needs somebody, by due time."""
    return page(visit, "now.html", here="Now", findings=listing(visit.account))
