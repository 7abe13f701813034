"""Orders in exception: of the port itself (people must act), or of its messaging part (Telnyx acts by itself)."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from telnyx_porting.flows.account import watched_since
from telnyx_porting.flows.findings.exception_codes import Code, reasons, solution
from telnyx_porting.flows.findings.kind import TELNYX, US, Kind, Look, Row, Seen, Step, Told
from telnyx_porting.settings.values import CRITICAL, HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator


FOC_CONFIRMED = "foc-date-confirmed"
_TEMPLATE = """
{{ lead }}: {% if messaging %}messaging {% endif %}exception{% if after_date %} after a confirmed date{% endif %},
{{ label }}{% if numbers %}, {{ numbers }}{% endif %}.
{% if not messaging %}{{ ordinal }} rejection, {% endif %}{{ age }} old{% if foc %}, {{ foc }}{% endif %}.
{% if only_on_order %}Seen on the order; no event yet.{% endif %}
{% if says %}Carrier says: {{ says }}.{% elif not messaging %}No reason was given.{% endif %}
{% for comment in comments %}[{{ comment }}] {% endfor %}
{% if siblings %}Split with {{ siblings | join(", ") }}.{% endif %}
"""


class _Detail(TypedDict, total=False):  # of a messaging exception only that it is one
    codes: list[Code]
    episode: int  # how many times the order was rejected
    came_from: str | None  # the status before
    seen_by: str  # event | order
    messaging: bool


def _look(look: Look) -> Iterator[Seen]:
    """Yield one per order and part; it began with the first exception since another status."""
    began = watched_since(look.connection, look.account) or look.now
    known_from = began - timedelta(days=look.settings.first_look_days)
    yield from look.each("exception", look.open_orders.items(), partial(_of_order, known_from))


def _of_order(known_from: datetime, order_id: str, row: Row) -> Iterator[Seen]:
    if row["status"] == "exception" and row["status_since"]:
        detail: _Detail = {
            "codes": row["codes"] or [],
            "episode": row["episode"],
            "came_from": row["came_from"],
            "seen_by": row["seen_by"],
        }
        severity = CRITICAL if row["came_from"] == FOC_CONFIRMED else HIGH
        old = row["came_at"] is not None and row["came_at"] < known_from
        yield Seen("exception", order_id, order_id, severity, row["status_since"], detail, is_history=old)
    if row["messaging_status"] == "exception" and row["messaging_since"]:
        part: _Detail = {"messaging": True}
        yield Seen("exception", f"{order_id}/messaging", order_id, LOW, row["messaging_since"], part)


def _words(told: Told) -> dict[str, Any]:
    detail: _Detail = told.detail
    return {
        "messaging": bool(detail.get("messaging")),
        "after_date": detail.get("came_from") == FOC_CONFIRMED,
        "ordinal": _ordinal(int(detail.get("episode") or 1)),
        "only_on_order": detail.get("seen_by") == "order",
        "says": reasons(detail.get("codes") or (), told),
    }


def _ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, 11th."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _next_step(told: Told) -> Step:
    detail: _Detail = told.detail
    if detail.get("messaging"):
        return TELNYX, "nothing to do: Telnyx solves messaging exceptions itself"
    return solution(detail.get("codes") or ()) or (US, "read the comments of the order")


KIND = Kind(
    "exception",
    _TEMPLATE,
    _next_step,
    _look,
    words=_words,
    # these hang on the past alone, which a backfill may teach
    quiet=frozenset({"severity", "episode", "came_from", "seen_by"}),
)
