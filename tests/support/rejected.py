"""An order that is rejected for the second time, before people who work from nine to five."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.support.watched import Watched, quick, write_time

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

MONDAY = datetime.fromisoformat("2026-09-28T10:00:00+00:00")


def met(ledger: Ledger, **knobs: Any) -> Watched:
    settings = quick(business_days="mon-fri", business_hours="09:00-17:00", **knobs)
    watched = Watched(ledger, settings, now=MONDAY)
    watched.cycle()
    return watched


def exception(
    watched: Watched, *, reference: str = "north-branch-17", said: str = "", code: str = "LOA_ILLEGIBLE"
) -> None:
    """Reject an order for the second time, three hours ago."""
    begun = MONDAY - timedelta(hours=5)
    for minutes, status in enumerate(("exception", "submitted")):
        watched.status(1, status, "OTHER", at=begun + timedelta(minutes=minutes))
    raw = watched.raw_status(1, "exception", code, at=MONDAY - timedelta(hours=3))
    if said:
        raw["payload"]["status"]["details"][0]["description"] = said
    watched.tell(raw)
    watched.reading(
        1,
        "exception",
        code,
        at=MONDAY - timedelta(hours=3),
        customer_reference=reference,
        support_key="sr_4d71e9",
        porting_phone_numbers_count=12,
        phone_number_type="local",
        end_user={"location": {"country_code": "US"}},
        activation_settings={
            "foc_datetime_requested": write_time(MONDAY + timedelta(days=4)),
            "foc_datetime_actual": None,
        },
    )
