"""Query parameters as Telnyx's OpenAPI spells them (deepObject, exploded)."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from telnyx_porting.client.checks import checked_choice, checked_uuid
from telnyx_porting.errors import SettingsError
from telnyx_porting.models import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

NEWEST_FIRST = "-created_at"
OLDEST_FIRST = "created_at"
_FOC = "activation_settings.foc_datetime_requested"
ORDER_SORTS = (OLDEST_FIRST, NEWEST_FIRST, _FOC, f"-{_FOC}")


def event_filters(event_type: str | None, porting_order_id: str | None) -> dict[str, str]:
    """Write the filters of events other than their time; Telnyx takes one type."""
    filters: dict[str, str] = {}
    if event_type is not None:
        filters["filter[type]"] = checked_choice("event_type", event_type, tuple(sorted(EVENT_TYPES)))
    if porting_order_id is not None:
        filters["filter[porting_order_id]"] = checked_uuid("porting_order_id", porting_order_id)
    return filters


def delivery_filters(event_types: Iterable[str], status: str | None, webhook_contains: str | None) -> dict[str, str]:
    """Write the filters of deliveries other than their times; types are a comma separated list."""
    filters: dict[str, str] = {}
    if isinstance(event_types, str):
        raise SettingsError("event_types", event_types, "a list of event types")
    if types := sorted(set(event_types)):
        filters["filter[event_type]"] = ",".join(types)
    if status is not None:
        filters["filter[status][eq]"] = checked_choice("status", status, ("delivered", "failed"))
    if webhook_contains:
        filters["filter[webhook][contains]"] = webhook_contains
    return filters


def bounds(name: str, low: datetime | None, high: datetime | None) -> dict[str, str]:
    """Write a time range; nothing for an open end."""
    ends = {f"filter[{name}][gte]": low, f"filter[{name}][lte]": high}
    return {key: _written(moment) for key, moment in ends.items() if moment is not None}


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
