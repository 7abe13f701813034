"""What a person does with findings. Runs and approvals are Airflow's own, and not here."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.findings.triage import acknowledge, mute, take, unmute, write_note
from telnyx_porting.web.console.access import from_our_page, triage
from telnyx_porting.web.console.place import Here, Visit

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

MOST = 500  # findings in one action

router = APIRouter(prefix="/findings", dependencies=[Depends(triage), Depends(from_our_page)])


class _These(BaseModel):
    """Which findings. Who acts is never said here: it is whoever is logged in."""

    model_config = ConfigDict(extra="forbid")

    keys: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(min_length=1, max_length=MOST)]


class _Acknowledge(_These):
    hours: Annotated[int | None, Field(ge=1, le=90 * 24)] = None


class _Mute(_These):
    hours: Annotated[int, Field(ge=1, le=14 * 24)]
    reason: str


class _Own(_These):
    owner: Annotated[str, Field(max_length=120)] = ""


class _Note(_These):
    note: str = ""


@router.post("/acknowledge")
def acknowledge_these(visit: Here, body: _Acknowledge) -> dict[str, Any]:
    """Somebody knows: no reminder for so long, or before the next working day."""
    until = _in(visit, body.hours) if body.hours else None
    return _each(visit, body, "acknowledged", lambda key: acknowledge(visit.account, key, visit.user, until))


@router.post("/mute")
def mute_these(visit: Here, body: _Mute) -> dict[str, Any]:
    """Nobody needs to hear of it for so long."""
    until = _in(visit, body.hours)
    return _each(visit, body, "muted", lambda key: mute(visit.account, key, visit.user, body.reason, until))


@router.post("/unmute")
def unmute_these(visit: Here, body: _These) -> dict[str, Any]:
    """It is told of again."""
    return _each(visit, body, "not muted any more", lambda key: unmute(visit.account, key, visit.user))


@router.post("/own")
def own_these(visit: Here, body: _Own) -> dict[str, Any]:
    """Whose it is: who asks, unless somebody else is named."""
    owner = body.owner or visit.user
    return _each(visit, body, f"owned by {owner}", lambda key: take(visit.account, key, visit.user, owner))


@router.post("/release")
def release_these(visit: Here, body: _These) -> dict[str, Any]:
    """It is nobody's."""
    return _each(visit, body, "nobody's", lambda key: take(visit.account, key, visit.user, None))


@router.post("/note")
def note_these(visit: Here, body: _Note) -> dict[str, Any]:
    """Write something down; empty takes it away."""
    done = "noted" if body.note else "without a note"
    return _each(visit, body, done, lambda key: write_note(visit.account, key, visit.user, body.note))


def _in(visit: Visit, hours: int) -> datetime:
    return visit.account.clock() + timedelta(hours=hours)


def _each(visit: Visit, body: _These, done: str, act: Callable[[str], object]) -> dict[str, Any]:
    """Act on each finding by itself, and say how many succeeded and how many failed."""
    failed: dict[str, str] = {}
    keys = list(dict.fromkeys(body.keys))
    for key in keys:
        try:
            act(key)
        except SettingsError as error:
            failed[key] = str(error)
    text = f"{len(keys) - len(failed)} {done}"
    if failed:
        text += f", {len(failed)} failed: {next(iter(failed.values()))}"
    return {"done": len(keys) - len(failed), "failed": len(failed), "text": text}
