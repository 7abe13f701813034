"""Verbs of Telnyx's delivery records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telnyx_porting.client.checks import MAX_PAGE_SIZE, checked_choice, checked_range
from telnyx_porting.client.core import Core, one_by_one
from telnyx_porting.errors import SettingsError
from telnyx_porting.models.records import WebhookDelivery, parse_delivery

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from datetime import datetime

DELIVERIES_PATH = "/webhook_deliveries"


class DeliveryVerbs(Core):
    """Read delivery records."""

    def delivery_batches(
        self,
        event_types: Iterable[str] = (),
        status: str | None = None,
        finished_at_gte: datetime | None = None,
        finished_at_lte: datetime | None = None,
        page_size: int = MAX_PAGE_SIZE,
        unread: list[str] | None = None,
    ) -> AsyncGenerator[list[WebhookDelivery], None]:
        """
        Yield Telnyx's records of delivering webhooks; whether port-ins are recorded there is undocumented.

        :param event_types: any of these types
        :param status: ``delivered`` or ``failed``
        :param finished_at_gte: earliest end of delivery, with a zone
        :param finished_at_lte: latest end of delivery, with a zone
        :param page_size: 1 to 250
        :param unread: takes what is wrong with each row that cannot be read; without it they are an error
        :raises IncompleteListing: instead of leaving one out
        :raises EnvelopeError: after all others, when there are rows that cannot be read
        """
        since, until = checked_range("finished_at", finished_at_gte, finished_at_lte)
        bounded_by = "finished_at" if since or until else "started_at"  # what is under way has no end
        if isinstance(event_types, str):
            raise SettingsError("event_types", event_types, "a list of event types")
        filters: dict[str, str] = {}
        if types := sorted(set(event_types)):
            filters["filter[event_type]"] = ",".join(types)
        if status is not None:
            filters["filter[status][eq]"] = checked_choice("status", status, ("delivered", "failed"))
        listing = self._listing(DELIVERIES_PATH, parse_delivery, page_size, filters, bounded_by=bounded_by)
        windows = listing.windows(since, until or max(self._now(), since or self._now()))
        return self._batches(DELIVERIES_PATH, windows, unread)

    iter_webhook_deliveries = one_by_one(delivery_batches)

    async def get_webhook_delivery(self, delivery_id: str) -> WebhookDelivery:
        """
        Fetch one delivery record.

        :raises NotFoundError: when the account has no such record
        """
        return await self._get_one(DELIVERIES_PATH, "delivery_id", delivery_id, parse_delivery)
