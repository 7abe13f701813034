"""Verbs of Telnyx's delivery records."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

from telnyx_porting.client.checks import MAX_PAGE_SIZE, checked_choice, checked_range
from telnyx_porting.client.core import Core, bounds, one_by_one
from telnyx_porting.errors import SettingsError
from telnyx_porting.models import WebhookDelivery, parse_delivery

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from datetime import datetime

DELIVERIES_PATH = "/webhook_deliveries"


class DeliveryVerbs(Core):
    """Read delivery records."""

    async def delivery_batches(
        self,
        event_types: Iterable[str] = (),
        status: str | None = None,
        webhook_contains: str | None = None,
        started_at_gte: datetime | None = None,
        started_at_lte: datetime | None = None,
        finished_at_gte: datetime | None = None,
        finished_at_lte: datetime | None = None,
        page_size: int = MAX_PAGE_SIZE,
        unread: list[str] | None = None,
    ) -> AsyncGenerator[list[WebhookDelivery], None]:
        """
        Yield Telnyx's records of delivering webhooks; whether port-ins are recorded there is undocumented.

        :param event_types: any of these types
        :param status: ``delivered`` or ``failed``
        :param webhook_contains: text to be found in the webhook
        :param started_at_gte: earliest start of delivery, with a zone; the other times likewise
        :param page_size: 1 to 250
        :param unread: takes what is wrong with each row that cannot be read; without it they are an error
        :raises IncompleteListing: instead of leaving one out
        :raises EnvelopeError: after all others, when there are rows that cannot be read
        """
        started = checked_range("started_at", started_at_gte, started_at_lte)
        finished = checked_range("finished_at", finished_at_gte, finished_at_lte)
        filters = _filters(event_types, status, webhook_contains)
        by_end = any(finished) and not any(started)
        if any(finished) and not by_end:
            # Only one range can split the list; the other is asked for a little wider, and checked below.
            low, high = finished
            wide = timedelta(seconds=2)
            filters |= bounds("finished_at", low and low - wide, high and high + wide)
        since, until = finished if by_end else started
        bounded_by = "finished_at" if by_end else "started_at"
        listing = self._listing(
            DELIVERIES_PATH,
            parse_delivery,
            page_size,
            filters,
            id_of=attrgetter("id"),
            time_of=attrgetter(bounded_by),
            bounded_by=bounded_by,
        )
        odd: list[str] = []
        async with aclosing(listing.windows(since, until or max(self._now(), since or self._now()))) as windows:
            async for window in windows:
                odd += window.unread
                yield [row for row in window.rows if _between(row.finished_at, *finished)]
        self._say_unread(DELIVERIES_PATH, odd, unread)

    iter_webhook_deliveries = one_by_one(delivery_batches)

    async def get_webhook_delivery(self, delivery_id: str) -> WebhookDelivery:
        """
        Fetch one delivery record.

        :raises NotFoundError: when the account has no such record
        """
        return await self._get_one(DELIVERIES_PATH, "delivery_id", delivery_id, parse_delivery)


def _filters(event_types: Iterable[str], status: str | None, webhook_contains: str | None) -> dict[str, str]:
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


def _between(moment: datetime | None, low: datetime | None, high: datetime | None) -> bool:
    """Check a time against a range; an unknown time is kept, since the provider found it in range."""
    if moment is None:
        return True
    return (low is None or moment >= low) and (high is None or moment <= high)
