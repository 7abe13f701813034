"""Who is subscribed to port-in notifications: a join over Telnyx's notification settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from telnyx_porting.client.checks import MAX_PAGE_SIZE
from telnyx_porting.client.core import Core
from telnyx_porting.models.records import Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping


class NotificationVerbs(Core):
    """Read notification settings."""

    async def notification_subscriptions(self) -> list[Subscription]:
        """
        Find who is subscribed to port-in notifications account-wide.

        The API's name of that notification is undocumented; it is matched by its words. An order's own
        ``webhook_url`` is a second path and not in here.
        """
        wanted = {row["id"] for row in await self._all("/notification_events") if _is_port_in(row.get("name"))}
        conditions = await self._all("/notification_event_conditions") if wanted else []
        settings: list[dict[str, Any]] = []
        for condition in [row["id"] for row in conditions if row.get("notification_event_id") in wanted]:
            filters = {"filter[notification_event_condition_id][eq]": condition}
            found = await self._all("/notification_settings", filters)
            settings += [row for row in found if row.get("notification_event_condition_id") in (None, condition)]
        channels = {row["id"]: row for row in await self._all("/notification_channels")} if settings else {}
        return [_subscription(setting, channels) for setting in settings]

    async def _all(self, path: str, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
        listing = self._listing(path, _with_id, MAX_PAGE_SIZE, filters or {}, id_of=lambda row: row["id"])
        return [row async for batch in self._batches(path, listing.windows(None, None), []) for row in batch]


def _with_id(raw: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(raw.get("id"), str):
        raise ValueError("a row without id")
    return raw


def _is_port_in(name: object) -> bool:
    words = re.sub(r"[^a-z]+", " ", name.lower()) if isinstance(name, str) else ""
    return re.search(r"\bport ?ins?\b", words) is not None


def _subscription(setting: dict[str, Any], channels: Mapping[str, dict[str, Any]]) -> Subscription:
    channel = channels.get(str(setting.get("notification_channel_id")), {})
    values = (channel.get("channel_type_id"), channel.get("channel_destination"), setting.get("status"))
    return Subscription(*(value if isinstance(value, str) else None for value in values))
