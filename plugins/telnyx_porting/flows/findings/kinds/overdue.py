"""Orders that stay in one status for longer than they should, in working time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.findings.finding import Seen
from telnyx_porting.settings.values import HIGH, LOW, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telnyx_porting.flows.findings.finding import Look

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


def overdue(look: Look) -> Iterator[Seen]:
    """One per order, however long it stays."""
    yield from look.each("overdue", look.open_orders.values(), lambda row: _of_order(look, row))


def _of_order(look: Look, row: Mapping[str, Any]) -> Iterator[Seen]:
    order_id, status, since = row["id"], row["status"], row["status_since"]
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
        detail = {"status": status, "limit": f"{limit.amount}{limit.unit}", "entered": since.isoformat()}
        severity = HIGH if status in _SEVERE else LOW
        yield Seen("overdue", order_id, order_id, severity, began, detail)


def limit_of(added: tuple[Limit, ...], status: str | None, order: Mapping[str, Any]) -> Limit | None:
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
