"""Orders that stay in one status for longer than they should, in working time."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from telnyx_porting.flows.findings.kind import CARRIER, COMMENT, TELNYX, US, Kind, Look, Row, Seen, Step, Told
from telnyx_porting.flows.findings.wording import day
from telnyx_porting.settings.values import HIGH, LOW, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_TEMPLATE = """
{{ lead }}: overdue, {{ label }}{% if numbers %}, {{ numbers }}{% endif %}:
{{ what }} since {{ entered }}, the limit is {{ limit }}{% if foc %}, {{ foc }}{% endif %}.
"""
MESSAGING = "messaging-pending"  # messaging not ported although voice is
DEFAULT_LIMITS = (
    Limit("in-process", None, None, 2, "d"),
    Limit("submitted", None, None, 7, "d"),
    Limit("exception", None, None, 3, "d"),
    Limit("cancel-pending", None, None, 2, "d"),
    Limit("activation-in-progress", None, None, 4, "h"),
    Limit(MESSAGING, None, None, 5, "d"),
)
_SEVERE = frozenset({"exception", "cancel-pending", "activation-in-progress"})
_STEPS: dict[str, Step] = {
    "in-process": (TELNYX, f"ask what it waits for: {COMMENT}"),
    "submitted": (CARRIER, f"have Telnyx press the losing carrier: {COMMENT}"),
    "exception": (US, "solve the exception and confirm again"),
    "cancel-pending": (TELNYX, f"ask for the cancellation to be confirmed: {COMMENT}"),
    "activation-in-progress": (TELNYX, "test the numbers, and call Telnyx: they may be moved in part"),
    MESSAGING: (TELNYX, f"ask what holds the messaging part: {COMMENT}"),
}


class _Detail(TypedDict, total=False):
    status: str
    limit: str  # 7d: working days, 4h: working hours
    entered: str  # when the order came into this status, ISO


def _look(look: Look) -> Iterator[Seen]:
    """Yield one per order, however long it stays."""
    yield from look.each("overdue", look.open_orders.items(), partial(_of_order, look))


def _of_order(look: Look, order_id: str, row: Row) -> Iterator[Seen]:
    status, since = row["status"], row["status_since"]
    if status == "ported":
        if row["messaging_status"] not in ("pending", "activating"):
            return
        status, since = MESSAGING, max(filter(None, (row["messaging_since"], since)), default=None)
    limit = limit_of(look.settings.overdue_after, status, row)
    if limit is None or since is None:
        return
    unit = look.calendar.day_length if limit.unit == "d" else timedelta(hours=1)
    began = look.calendar.after_working_time(since, limit.amount * unit)
    if look.now >= began:
        detail: _Detail = {"status": status, "limit": f"{limit.amount}{limit.unit}", "entered": since.isoformat()}
        severity = HIGH if status in _SEVERE else LOW
        yield Seen("overdue", order_id, order_id, severity, began, detail, touched=since)


def limit_of(added: tuple[Limit, ...], status: str | None, order: Row) -> Limit | None:
    """Return the most specific limit of a status; of two equally specific ones the later."""
    best: tuple[int, Limit] | None = None
    for limit in (*DEFAULT_LIMITS, *added):
        fits = (
            limit.status == status
            and limit.country in (None, order["country"])
            and limit.number_type in (None, order["number_type"])
        )
        weight = (limit.country is not None) + (limit.number_type is not None)
        if fits and (best is None or weight >= best[0]):
            best = (weight, limit)
    return best[1] if best else None


def _words(told: Told) -> dict[str, Any]:
    detail: _Detail = told.detail
    entered = detail.get("entered")
    return {
        "what": detail.get("status") or "",
        "limit": _in_words(detail.get("limit") or ""),
        "entered": day(datetime.fromisoformat(entered), told.now, told.calendar.zone) if entered else "",
    }


def _in_words(limit: str) -> str:
    units = {"d": "working days", "h": "working hours"}
    return f"{limit[:-1]} {units[limit[-1]]}" if limit[-1:] in units else limit


def _next_step(told: Told) -> Step:
    return _STEPS.get(str(told.detail.get("status")), (TELNYX, f"ask where it hangs: {COMMENT}"))


def _inhibited(finding: Row, severities: Mapping[str, str]) -> bool:
    """Whether a missed date, or the exception itself, says it: that is the stronger word."""
    order_id = finding["order_id"]
    return f"foc:{order_id}/overdue" in severities or f"exception:{order_id}" in severities


KIND = Kind("overdue", _TEMPLATE, _next_step, _look, words=_words, inhibited=_inhibited, quiet=frozenset({"entered"}))
