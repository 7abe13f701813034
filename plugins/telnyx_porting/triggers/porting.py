"""Triggers that wait for orders and events, and two that watch for an asset. Ids and counts only cross."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from telnyx_porting.errors import NotFoundError
from telnyx_porting.hooks.inputs import as_time
from telnyx_porting.triggers.polling import PollingTrigger
from telnyx_porting.triggers.watching import TelnyxPortingEventsTrigger, TelnyxPortingWebhooksTrigger

if TYPE_CHECKING:
    from telnyx_porting.client import AsyncTelnyxClient

__all__ = [
    "TelnyxPortingEventTrigger",
    "TelnyxPortingEventsTrigger",
    "TelnyxPortingOrderStatusTrigger",
    "TelnyxPortingWebhooksTrigger",
]

DELETED = "deleted"
# An order leaves none of these. The spelling with one l was Telnyx's until August 2024.
FINAL = frozenset({"cancelled", "canceled", "ported", DELETED})
MAX_IDS = 100


class TelnyxPortingOrderStatusTrigger(PollingTrigger):
    """
    Wait until an order has one of the statuses, or can no longer get one.

    :param porting_order_id: the order
    :param statuses: what is waited for
    :param telnyx_conn_id: connection of type ``telnyx``
    :param poll_interval: seconds between polls
    """

    def __init__(
        self, *, porting_order_id: str, statuses: list[str], telnyx_conn_id: str, poll_interval: float = 60.0
    ) -> None:
        super().__init__(telnyx_conn_id=telnyx_conn_id, poll_interval=poll_interval)
        self.porting_order_id = porting_order_id
        self.statuses = statuses

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "telnyx_porting.triggers.porting.TelnyxPortingOrderStatusTrigger",
            {
                "porting_order_id": self.porting_order_id,
                "statuses": self.statuses,
                "telnyx_conn_id": self.telnyx_conn_id,
                "poll_interval": self.poll_interval,
            },
        )

    async def look(self, client: AsyncTelnyxClient) -> dict[str, Any] | None:
        """Ask once; a draft that was deleted has no status any more."""
        try:
            status = (await client.get_porting_order(self.porting_order_id)).status
        except NotFoundError:
            status = DELETED
        return {"order_status": status} if status in FINAL.union(self.statuses) else None


class TelnyxPortingEventTrigger(PollingTrigger):
    """
    Wait until there is an event that matches.

    :param filters: ``created_at_gte`` (ISO 8601), ``event_type`` and ``porting_order_id``, each optional
    :param telnyx_conn_id: connection of type ``telnyx``
    :param poll_interval: seconds between polls
    """

    def __init__(self, *, filters: dict[str, str | None], telnyx_conn_id: str, poll_interval: float = 60.0) -> None:
        super().__init__(telnyx_conn_id=telnyx_conn_id, poll_interval=poll_interval)
        self.filters = filters

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "telnyx_porting.triggers.porting.TelnyxPortingEventTrigger",
            {"filters": self.filters, "telnyx_conn_id": self.telnyx_conn_id, "poll_interval": self.poll_interval},
        )

    async def look(self, client: AsyncTelnyxClient) -> dict[str, Any] | None:
        """Ask once; one request while there is nothing."""
        since = as_time("created_at_gte", self.filters.get("created_at_gte"))
        filters: dict[str, Any] = {**self.filters, "created_at_gte": since}
        if not (count := await client.count_porting_events(**filters)):
            return None
        ids: list[str] = []
        async with aclosing(client.iter_porting_events(**filters)) as events:
            async for event in events:
                ids.append(event.id)
                if len(ids) == MAX_IDS:
                    break
        return {"count": count, "event_ids": ids}
