"""Verbs of port-in events. Republish: Telnyx's Port In Events guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from telnyx_porting.client.answers import read_page
from telnyx_porting.client.checks import MAX_PAGE_SIZE, checked_choice, checked_range, checked_time, checked_uuid
from telnyx_porting.client.core import Core, bounds, one_by_one
from telnyx_porting.client.windows import Window
from telnyx_porting.errors import EnvelopeError
from telnyx_porting.models.events import PortingEvent, parse_event
from telnyx_porting.models.keys import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from telnyx_porting.client.answers import Answer

EVENTS_PATH = "/porting/events"


ProvedWindow: TypeAlias = Window[PortingEvent]


@dataclass(frozen=True, slots=True)
class RepublishReceipt:
    """
    Telnyx accepted a republish; whether anything arrives is another question.

    :param date: the provider's ``Date``, or None
    :param request_id: Telnyx's id of the request
    """

    date: datetime | None
    request_id: str | None


class EventVerbs(Core):
    """Read events, and have their notifications sent again."""

    def iter_proved_windows(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        page_size: int = MAX_PAGE_SIZE,
    ) -> AsyncGenerator[ProvedWindow, None]:
        """
        Yield windows that tile the time asked for, oldest first, each of them complete.

        :param created_at_gte: earliest ``created_at``, with a zone; None: from the beginning
        :param created_at_lte: latest ``created_at``, with a zone; None: now
        :param event_type: one of the published event types
        :param porting_order_id: UUID of an order
        :param page_size: 1 to 250
        :raises IncompleteListing: when a window cannot be proved
        :raises SettingsError: when an argument is impossible
        :raises TelnyxError: when Telnyx cannot be read
        """
        filters = _filters(event_type, porting_order_id)
        since, until = checked_range("created_at", created_at_gte, created_at_lte)
        until = until or max(self._now(), since or self._now())
        listing = self._listing(
            EVENTS_PATH,
            parse_event,
            page_size,
            filters,
            bounded_by="created_at",
            look_at=self._drift.look_at,
        )
        return listing.windows(since, until)

    def event_batches(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        page_size: int = MAX_PAGE_SIZE,
    ) -> AsyncGenerator[list[PortingEvent], None]:
        """
        Yield all events of a stretch of time, oldest first; see :meth:`iter_proved_windows`.

        :raises IncompleteListing: instead of leaving one out
        :raises EnvelopeError: after all others, when there are rows that cannot be read
        """
        windows = self.iter_proved_windows(created_at_gte, created_at_lte, event_type, porting_order_id, page_size)
        return self._batches(EVENTS_PATH, windows, None)

    iter_porting_events = one_by_one(event_batches)

    async def count_porting_events(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
    ) -> int:
        """
        Ask for the provider's count, by one request and with the bounds exactly as given.

        Whether it takes them as inclusive or cuts them to the second is undocumented.

        :raises EnvelopeError: when the answer holds no count
        """
        filters = _filters(event_type, porting_order_id)
        filters |= bounds("created_at", *checked_range("created_at", created_at_gte, created_at_lte))
        filters |= {"page[number]": "1", "page[size]": "1"}
        return await self._transport.get(EVENTS_PATH, filters, _read_count)

    async def get_porting_event(self, event_id: str) -> PortingEvent:
        """
        Fetch one event.

        :raises NotFoundError: when the account has no such event
        """
        event = await self._get_one(EVENTS_PATH, "event_id", event_id, parse_event)
        self._drift.look_at([event])
        return event

    async def reserve_slot(self) -> int:
        """
        Wait until the pace lets one request go, and return the number of that grant, to be used at once or never.

        So a caller can wait first, then write down that it sends, and then send without any wait.

        :raises RateLimitedError: when the provider's limit lets none go for 90 s
        """
        return await self._transport.reserve()

    async def republish_porting_event(
        self, event_id: str, *, slot: int | None = None, send_by: datetime | None = None
    ) -> RepublishReceipt:
        """
        Have the notification of an event sent again, to whatever is subscribed now, e-mail included.

        With a slot the request is sent at once and never tried again. Without one the pace is waited for here, and
        the request is tried again only after a 429 or a failed connect. This API has no idempotency key.

        :param event_id: UUID of the event
        :param slot: from :meth:`reserve_slot`
        :param send_by: our clock; past it nothing is sent
        :raises NotFoundError: and other refusals: nothing was sent
        :raises TelnyxError: with ``not_processed`` true when it certainly had no effect; otherwise that is unknown
        """
        path = f"{EVENTS_PATH}/{checked_uuid('event_id', event_id)}/republish"
        answer = await self._transport.post(path, slot=slot, send_by=checked_time("send_by", send_by))
        return RepublishReceipt(answer.date, answer.request_id)


def _filters(event_type: str | None, porting_order_id: str | None) -> dict[str, str]:
    """Write the filters of events other than their time; Telnyx takes one type."""
    filters: dict[str, str] = {}
    if event_type is not None:
        filters["filter[type]"] = checked_choice("event_type", event_type, tuple(sorted(EVENT_TYPES)))
    if porting_order_id is not None:
        filters["filter[porting_order_id]"] = checked_uuid("porting_order_id", porting_order_id)
    return filters


def _read_count(answer: Answer) -> int:
    total = read_page(answer, parse_event).total
    if total is None:
        raise EnvelopeError("the answer holds no meta.total_results", **answer.about)
    return total
