"""Forms: that of `porting_republish`, and the refusal of what no form asks for or what would be ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import Param

from telnyx_porting.errors import FormError, SettingsError
from telnyx_porting.flows.desk.consents import CONSENT_WORDS
from telnyx_porting.hooks.inputs import as_ids, as_time
from telnyx_porting.models.keys import EVENT_TYPES
from telnyx_porting.models.oddities import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from airflow.sdk import Context

    from telnyx_porting.settings import Settings

Found = TypeVar("Found")
WHAT = "What: leave all of it empty for what the watch found missed"
_WHOLE_UUID = f"^{UUID}$"


def republish_form(settings: Settings) -> dict[str, Param]:
    """Return the params of a DAG that republishes by hand.

    :param settings: settings; the accounts to choose from.
    """
    return {
        "account": Param(settings.accounts[0], enum=list(settings.accounts), title="Account", section="Which account"),
        "event_ids": Param(
            [],
            type="array",
            items={"type": "string", "pattern": _WHOLE_UUID},
            title="These events",
            section=WHAT,
            description="Ids of porting events, one a line.",
        ),
        "porting_order_id": _text(title="Or: all events of this order", section=WHAT, pattern=_WHOLE_UUID),
        "event_type": _text(
            enum=[None, *sorted(EVENT_TYPES)],
            values_display={name: name.rpartition(".")[2].replace("_", " ") for name in sorted(EVENT_TYPES)},
            title="Or: all events of this type",
            section=WHAT,
            description="Needs both times.",
        ),
        "created_from": _text(title="... created from", section=WHAT, format="date-time"),
        "created_to": _text(title="... created to", section=WHAT, format="date-time"),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            section="Care",
            description="Say what would be sent and to whom; send nothing, make no plan.",
        ),
        "consents": Param(
            [],
            type="array",
            items={"type": "string", "enum": list(CONSENT_WORDS)},
            examples=list(CONSENT_WORDS),
            values_display=CONSENT_WORDS,
            title="Also send events that",
            section="Care",
            description="The watch never sends these by itself. Republishing also mails every subscribed address.",
        ),
        "reason": _text(
            maxLength=200,
            title="Reason",
            section="Care",
            description="Shown to whoever approves, and in the report.",
        ),
        "plan_id": _text(
            pattern=_WHOLE_UUID,
            title="Continue this plan",
            section="An open plan",
            description="What it sent is looked at; what it has not sent is sent. Leave the rest empty.",
        ),
        "close": Param(
            False,
            type="boolean",
            title="Close it instead",
            section="An open plan",
            description="What it has not sent is dropped.",
        ),
    }


def _text(**shown: Any) -> Param:
    return Param(None, type=["null", "string"], **shown)


FROM_AIRFLOW = {"openlineage"}  # what a TriggerDagRunOperator adds to a run's configuration


def refuse_unknown_keys(context: Context) -> None:
    """
    Refuse a run whose configuration has a key that its DAG has no param for; for ``pre_execute``.

    Airflow ignores such a key, and ``dryrun`` would be taken for nothing where ``dry_run`` was meant.

    :raises FormError: naming the first one
    """
    known = sorted(context["dag"].params)
    if unknown := sorted(set(context["dag_run"].conf or {}) - {*known, *FROM_AIRFLOW}):
        expected = f"one of {', '.join(known)}" if known else "nothing: this DAG takes no configuration"
        raise FormError("configuration", unknown[0], expected)


def form_time(field: str, value: datetime | str | None) -> datetime | None:
    """
    Read a time from a form; an empty field is None.

    :raises FormError: when it is no time, or has no zone
    """
    return _from_form(as_time, field, value)


def form_ids(field: str, value: Any) -> list[str]:
    """
    Read ids from a form.

    :raises FormError: naming the first that is none
    """
    return _from_form(as_ids, field, value)


def _from_form(read: Callable[[str, Any], Found], field: str, value: Any) -> Found:
    try:
        return read(field, value)
    except SettingsError as error:
        raise FormError(*error.args) from None


def asked_by_form(params: Mapping[str, Any]) -> str:
    """
    Return what a filled-in :func:`republish_form` asks for: ``plan``, ``preview`` or ``close``.

    :raises FormError: a field is malformed, or would be ignored beside another one
    """
    form = {name: value for name, value in params.items() if name != "account"}
    refuse_what_would_be_ignored(form)
    for field in ("created_from", "created_to"):
        form_time(field, form[field])
    return "close" if form["close"] else "preview" if form["dry_run"] else "plan"


def refuse_what_would_be_ignored(given: Mapping[str, Any]) -> None:
    """
    Refuse a republish form in which one field makes another one count for nothing.

    :param given: the fields of :func:`republish_form` that choose something, by name
    :raises FormError: naming the field that would be ignored, and what it needs
    """
    filled = {name: value for name, value in given.items() if value}

    def only(allowed: set[str], why: str) -> None:
        for name in filled:
            if name not in allowed:
                raise FormError(name, filled[name], why)

    if "close" in filled:
        if "plan_id" not in filled:
            raise FormError("plan_id", "", "the id of the plan to close")
        only({"close", "plan_id"}, "leave it empty: a plan that is closed sends nothing")
    elif "plan_id" in filled:
        only({"plan_id", "dry_run"}, "leave it empty: the plan that is continued holds its own events, never others")
    elif "event_ids" in filled:
        selects = {"porting_order_id", "event_type", "created_from", "created_to"}
        only(set(given) - selects, "leave it empty: events named one by one are not narrowed")
    elif not filled.keys() & {"porting_order_id", "event_type"}:
        only({"dry_run", "reason"}, "name an order, a type or events: without one, everything missed is meant")
    elif "porting_order_id" not in filled and not {"created_from", "created_to"} <= filled.keys():
        raise FormError("event_type", filled["event_type"], "both times, or an order: all events of a type are many")
