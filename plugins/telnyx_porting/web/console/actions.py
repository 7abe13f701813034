"""What a person does with findings. Runs and approvals are Airflow's own, and not here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.findings.triage import acknowledge, mute, take, unmute, write_note
from telnyx_porting.web.console.access import from_our_page, triage
from telnyx_porting.web.console.place import Here, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 500  # findings in one action

router = APIRouter(prefix="/findings", dependencies=[Depends(triage), Depends(from_our_page)])


class _These(BaseModel):
    """Which findings. Who acts is never said here: it is whoever is logged in."""

    model_config = ConfigDict(extra="forbid")

    keys: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(min_length=1, max_length=MOST)]


class _Until(_These):
    until: AwareDatetime | None = None


class _Mute(_These):
    until: AwareDatetime
    reason: str


class _Own(_These):
    owner: Annotated[str, Field(max_length=120)] = ""


class _Note(_These):
    note: str = ""


@router.post("/acknowledge")
def acknowledge_these(visit: Here, body: _Until) -> dict[str, Any]:
    """Somebody knows: no reminder until then."""
    return _each(visit, body, "acknowledged", lambda key: acknowledge(visit.account, key, visit.user, body.until))


@router.post("/mute")
def mute_these(visit: Here, body: _Mute) -> dict[str, Any]:
    """Nobody needs to hear of it until then."""
    return _each(visit, body, "muted", lambda key: mute(visit.account, key, visit.user, body.reason, body.until))


@router.post("/unmute")
def unmute_these(visit: Here, body: _These) -> dict[str, Any]:
    """It is told of again."""
    return _each(visit, body, "not muted any more", lambda key: unmute(visit.account, key))


@router.post("/own")
def own_these(visit: Here, body: _Own) -> dict[str, Any]:
    """Whose it is: who asks, unless somebody else is named."""
    owner = body.owner or visit.user
    return _each(visit, body, f"owned by {owner}", lambda key: take(visit.account, key, owner))


@router.post("/release")
def release_these(visit: Here, body: _These) -> dict[str, Any]:
    """It is nobody's."""
    return _each(visit, body, "nobody's", lambda key: take(visit.account, key, None))


@router.post("/note")
def note_these(visit: Here, body: _Note) -> dict[str, Any]:
    """Write something down; empty takes it away."""
    done = "noted" if body.note else "without a note"
    return _each(visit, body, done, lambda key: write_note(visit.account, key, body.note))


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
