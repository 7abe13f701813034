"""Who may do what: Airflow's own login and permissions, and a page of ours as the only place an action comes from."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request

from telnyx_porting.hooks.settings import load_settings

HEADER = "X-Telnyx-Porting"  # a page elsewhere cannot set it without asking us first, and we never allow it

see = requires_access_dag("GET", param_dag_id="porting_missed_notifications")
triage = requires_access_dag("POST", DagAccessEntity.RUN, "porting_exception_alerts")
republish = requires_access_dag("POST", DagAccessEntity.RUN, "porting_republish")
read_again = requires_access_dag("POST", DagAccessEntity.RUN, "porting_backfill")
answer = requires_access_dag("PUT", DagAccessEntity.HITL_DETAIL, "porting_republish")
_RIGHTS = {"triage": triage, "republish": republish, "read_again": read_again, "answer": answer}


def from_our_page(request: Request) -> None:
    """Refuse what a browser was told to send by a page that is not ours.

    A cookie travels by itself, so `Origin` must be ours; a bearer token does not, and its owner need not say whence.

    :raises HTTPException: 403.
    """
    if request.headers.get(HEADER) is None:
        raise HTTPException(403, f"the header {HEADER} is missing: actions come from the console's pages only")
    if request.headers.get("Authorization", "").lower().startswith("bearer "):
        return
    ours = _origins(request)
    if request.headers.get("Origin") not in ours:
        todo = "open Airflow at that address, or set [api] base_url to the one you use"
        raise HTTPException(403, f"this did not come from {' or '.join(ours)}: {todo}")


def _origins(request: Request) -> list[str]:
    """Return scheme and host where people open Airflow; where none is configured, those this request was sent to."""
    configured = (conf.get("api", "base_url", fallback="") or "", load_settings().console_url)
    parts = [urlsplit(url) for url in configured]
    named = [f"{each.scheme}://{each.netloc}" for each in parts if each.netloc]
    return list(dict.fromkeys(named)) or [f"{request.url.scheme}://{request.url.netloc}"]


def rights(request: Request, user: GetUserDep) -> frozenset[str]:
    """Return what the user may do besides looking: `triage`, `republish`, `read_again`, `answer`."""

    def may(name: str) -> bool:
        try:
            _RIGHTS[name](request, user)
        except HTTPException:
            return False
        return True

    return frozenset(name for name in _RIGHTS if may(name))


def user_name(user: GetUserDep) -> str:
    """Return the name under which an action is kept: that of the login, never one that a request says."""
    return str(user.get_name())


Rights = Annotated[frozenset[str], Depends(rights)]
User = Annotated[str, Depends(user_name)]
