"""Findings about the FOC date: the day and time at which the losing carrier hands the numbers over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.findings.finding import Seen
from telnyx_porting.ledger.tables import CLOSED
from telnyx_porting.settings.values import CRITICAL, HIGH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from telnyx_porting.flows.findings.finding import Look

READY = "Activate RDY"  # Telnyx's activation status of numbers that wait for somebody to activate them
_SAME = timedelta(minutes=1)


def foc(look: Look, problems: Mapping[str, Seen]) -> Iterator[Seen]:
    """Overdue, at risk, changed, or due and not activated.

    :param problems: per order, the open exception or question that endangers its date.
    """
    orders = (row for row in look.open_orders.values() if row["status"] not in CLOSED)
    yield from look.each("foc", orders, lambda row: _of_order(look, row, problems.get(row["id"])))


def _of_order(look: Look, row: Mapping[Any, Any], problem: Seen | None) -> Iterator[Seen]:
    order_id, date = row["id"], row["foc_actual"]
    if date is not None and look.now >= date + look.settings.foc_grace:
        yield _seen(order_id, "overdue", CRITICAL, date + look.settings.foc_grace, date)
    if date is not None and look.now >= date and row["activation_status"] == READY:
        yield _seen(order_id, "activation", HIGH, date, date)
    yield from _at_risk(look, row, problem)
    yield from _changed(look, row)


def _seen(order_id: str, what: str, severity: str, since: datetime, date: datetime, **more: Any) -> Seen:
    detail = {"what": what, "foc": date.isoformat(), **more}
    return Seen("foc", f"{order_id}/{what}", order_id, severity, since, detail)


def _at_risk(look: Look, row: Mapping[Any, Any], problem: Seen | None) -> Iterator[Seen]:
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
        yield _seen(row["id"], "risk", CRITICAL, max(critical_from, began or critical_from), date, reason=reason)


def _changed(look: Look, row: Mapping[Any, Any]) -> Iterator[Seen]:
    """Yield a date other than the one asked for or agreed before; over once somebody acknowledged it."""
    date, since = row["foc_actual"], row["foc_since"]
    if date is None or since is None or look.now >= date:
        return
    before = row["foc_before"] or row["foc_requested"]
    known_at = look.acknowledged.get(f"foc:{row['id']}/changed")
    if before is None or abs(before - date) <= _SAME or (known_at is not None and known_at >= since):
        return
    yield _seen(row["id"], "changed", HIGH, since, date, before=before.isoformat(), moved=row["foc_before"] is not None)
