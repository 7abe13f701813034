"""What a person does with findings. Runs and approvals are Airflow's own, and not here."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from telnyx_porting.escaping import LONG
from telnyx_porting.flows.desk.act import MOST, Verb, act
from telnyx_porting.flows.desk.lines import Where
from telnyx_porting.web.console.access import from_our_page, triage
from telnyx_porting.web.console.place import Here

router = APIRouter(dependencies=[Depends(triage), Depends(from_our_page)])

_DID = {"acknowledge": "acknowledged", "mute": "muted", "unmute": "not muted", "note": "noted", "release": "nobody's"}


class These(BaseModel):
    """
    Which findings, and how. Who acts is never said here: it is whoever is logged in.

    :param keys: these findings
    :param where: or all of a filter
    :param hours: of an acknowledgement or a mute; none: until the next working day
    :param text: the reason of a mute, a new owner (empty: who acts), a note (empty: none)
    """

    model_config = ConfigDict(extra="forbid")

    keys: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=MOST)] = []
    where: Where | None = None
    hours: Annotated[int | None, Field(ge=1, le=90 * 24)] = None
    text: Annotated[str, Field(max_length=LONG)] = ""


@router.post("/findings/{verb}")
def do(visit: Here, verb: Verb, these: These) -> dict[str, Any]:
    """Do it to each by itself, and say how many succeeded, how many failed, and why."""
    until = visit.account.clock() + timedelta(hours=these.hours) if these.hours else None
    done = act(visit.account, visit.user, verb, these.where or these.keys, until=until, text=these.text)
    said = f"{done.done} {_DID.get(verb) or f'owned by {these.text or visit.user}'}"
    if done.failed:
        said += f", {done.failed} failed: {'; '.join(done.why.values())}"
    if done.left:
        said += f"; {done.left} are left: do it again"
    return {"done": done.done, "failed": done.failed, "left": done.left, "text": said}
