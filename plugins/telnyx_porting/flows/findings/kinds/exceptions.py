"""Orders in exception: of the port itself (people must act), or of its messaging part (Telnyx acts by itself)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.findings.finding import Seen
from telnyx_porting.settings.values import CRITICAL, HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telnyx_porting.flows.findings.finding import Look

FOC_CONFIRMED = "foc-date-confirmed"


def exceptions(look: Look) -> Iterator[Seen]:
    """One per order and part; it began with the first exception since another status."""
    yield from look.each("exception", look.open_orders.values(), _of_order)


def _of_order(row: Mapping[str, Any]) -> Iterator[Seen]:
    order_id = row["id"]
    if row["status"] == "exception" and row["status_since"]:
        detail = {
            "codes": row["codes"] or [],
            "episode": row["episode"],
            "came_from": row["came_from"],
            "seen_by": row["seen_by"],
        }
        severity = CRITICAL if row["came_from"] == FOC_CONFIRMED else HIGH
        yield Seen("exception", order_id, order_id, severity, row["status_since"], detail)
    if row["messaging_status"] == "exception" and row["messaging_since"]:
        subject = f"{order_id}/messaging"
        yield Seen("exception", subject, order_id, LOW, row["messaging_since"], {"messaging": True})
