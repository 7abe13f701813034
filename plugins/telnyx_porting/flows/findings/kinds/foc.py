"""Findings about the FOC date: the day and time at which the losing carrier hands the numbers over."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from telnyx_porting.flows.findings.exception_codes import Code, reasons, solution
from telnyx_porting.flows.findings.kind import COMMENT, TELNYX, US, Kind, Look, Row, Seen, Step, Told
from telnyx_porting.flows.findings.wording import in_working_days, moment
from telnyx_porting.ledger.states import CLOSED
from telnyx_porting.settings.values import CRITICAL, HIGH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


_TEMPLATE = """
{{ lead }}:
{% if what == "overdue" %}FOC date passed and not ported
{%- elif what == "risk" %}FOC date at risk ({{ reason }} open)
{%- elif what == "activation" %}activation due and not started
{%- elif moved %}FOC date moved
{%- else %}FOC date differs from the requested one{% endif %}, {{ label }}{% if numbers %}, {{ numbers }}{% endif %}.
FOC {{ date }} ({{ away }}){% if before %}, {{ "before" if moved else "requested" }}: {{ before }}{% endif %}
{%- if what == "overdue" and status %}; the order is still {{ status }}{% endif %}.
{% if says %}Carrier says: {{ says }}.{% endif %}
"""
_TITLES = {
    "overdue": "FOC date passed and not ported",
    "risk": "FOC date at risk",
    "changed": "another FOC date",
    "activation": "activation due and not started",
}
_STEPS: dict[str, Step] = {
    "overdue": (TELNYX, f"ask what holds the port: {COMMENT}"),
    "risk": (US, "solve it before the date, or ask for another date"),
    "changed": (US, "check that the new date suits, tell the customer, and acknowledge"),
    "activation": (US, "activate the numbers in the Telnyx portal"),
}
READY = "Activate RDY"  # Telnyx's activation status of numbers that wait for somebody to activate them
_SAME = timedelta(minutes=1)


class _Detail(TypedDict, total=False):
    what: Literal["overdue", "risk", "changed", "activation"]
    foc: str  # the date, ISO
    reason: str  # what endangers it: exception | question | cancellation
    before: str  # the date asked for, or agreed before, ISO
    moved: bool  # it was agreed before


def _look(look: Look) -> Iterator[Seen]:
    """Yield dates that are overdue, at risk, changed, or due and not activated."""
    problems = _problems(look)
    orders = {order_id: row for order_id, row in look.open_orders.items() if row["status"] not in CLOSED}
    known = look.acknowledged(f"foc:{order_id}/changed" for order_id, row in orders.items() if row["foc_since"])
    yield from look.each("foc", orders.items(), partial(_of_order, look, problems, known))


def _problems(look: Look) -> dict[str, Seen]:
    """Return, per order, the open exception or question that endangers its date."""
    endanger = [item for item in look.found if item.kind in KIND.hangs_on and not item.detail.get("messaging")]
    return {item.order_id: item for item in reversed(endanger) if item.order_id}


def _of_order(
    look: Look, problems: Mapping[str, Seen], known: Mapping[str, datetime], order_id: str, row: Row
) -> Iterator[Seen]:
    date = row["foc_actual"]
    if date is not None and look.now >= date + look.settings.foc_grace:
        since = date + look.settings.foc_grace
        yield _seen(order_id, CRITICAL, since, {"what": "overdue", "foc": date.isoformat()})
    if date is not None and look.now >= date and row["activation_status"] == READY:
        yield _seen(order_id, HIGH, date, {"what": "activation", "foc": date.isoformat()})
    yield from _at_risk(look, row, problems.get(order_id))
    yield from _changed(look, row, known.get(f"foc:{order_id}/changed"))


def _seen(order_id: str, severity: str, since: datetime, detail: _Detail) -> Seen:
    return Seen("foc", f"{order_id}/{detail['what']}", order_id, severity, since, detail)


def _at_risk(look: Look, row: Row, problem: Seen | None) -> Iterator[Seen]:
    date = row["foc_actual"] or row["foc_requested"]
    if date is None or (look.now >= date and row["foc_actual"] is None):
        return  # an agreed date stays endangered until the order is ported: that it passed solves nothing
    cancels = row["status"] == "cancel-pending"
    if problem is None and not cancels:
        return
    critical_from = look.calendar.working_days_before(date, look.settings.foc_risk_days)
    if look.now >= critical_from:
        reason = "cancellation" if problem is None else problem.kind
        began = row["status_since"] if problem is None else problem.since
        detail: _Detail = {"what": "risk", "foc": date.isoformat(), "reason": reason}
        yield _seen(row["id"], CRITICAL, max(critical_from, began or critical_from), detail)


def _changed(look: Look, row: Row, known_at: datetime | None) -> Iterator[Seen]:
    """Yield a date other than the one asked for or agreed before; over once somebody acknowledged it."""
    date, since = row["foc_actual"], row["foc_since"]
    if date is None or since is None or look.now >= date:
        return
    before = row["foc_before"] or row["foc_requested"]
    if before is None or abs(before - date) <= _SAME or (known_at is not None and known_at >= since):
        return
    moved = row["foc_before"] is not None
    detail: _Detail = {"what": "changed", "foc": date.isoformat(), "before": before.isoformat(), "moved": moved}
    yield _seen(row["id"], HIGH, since, detail)


def _words(told: Told) -> dict[str, Any]:
    detail: _Detail = told.detail
    date, before = detail.get("foc"), detail.get("before")
    return {
        "title": _TITLES.get(told.finding["subject"].rpartition("/")[2], "foc"),
        "passed": told.is_over and _has_passed(told),
        "what": detail.get("what") or "",
        "reason": detail.get("reason") or "",
        "date": _moment(date, told),
        "away": in_working_days(datetime.fromisoformat(date), told.now, told.calendar) if date else "",
        "before": _moment(before, told),
        "moved": bool(detail.get("moved")),
        "says": reasons(_codes(told), told),
    }


def _moment(written: str | None, told: Told) -> str:
    return moment(datetime.fromisoformat(written), told.now, told.calendar.zone) if written else ""


def _has_passed(told: Told) -> bool:
    """Whether an endangered date is over only because it passed."""
    detail: _Detail = told.finding["detail"]
    return detail.get("what") == "risk" and datetime.fromisoformat(detail["foc"]) <= told.now


def _codes(told: Told) -> Sequence[Code]:
    """Return the codes of the exception that endangers the date."""
    detail: _Detail = told.detail
    at_risk = detail.get("what") == "risk" and detail.get("reason") == "exception"
    return (told.order["codes"] if at_risk and told.order is not None else None) or ()


def _next_step(told: Told) -> Step:
    who, step = _STEPS.get(str(told.detail.get("what")), ("", ""))
    solved = solution(_codes(told))
    return (solved[0], f"{step}: {solved[1]}") if solved else (who, step)


def _inhibited(finding: Row, severities: Mapping[str, str]) -> bool:
    """Whether the date is overdue, or the exception that endangers it is critical itself."""
    what, order_id = finding["detail"].get("what"), finding["order_id"]
    missed = what in ("risk", "activation") and f"foc:{order_id}/overdue" in severities
    return missed or (what == "risk" and severities.get(f"exception:{order_id}") == CRITICAL)


KIND = Kind("foc", _TEMPLATE, _next_step, _look, words=_words, inhibited=_inhibited, hangs_on=("exception", "question"))
