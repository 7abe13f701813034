"""
The verbs, written once, asynchronously.

Sources: Telnyx's OpenAPI for paths, parameters and fields; its Port In Events guide for what republish does.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from telnyx_porting.client.answers import read_one, read_page
from telnyx_porting.client.checks import (
    MAX_PAGE_SIZE,
    check_number,
    check_page_size,
    checked_choice,
    checked_range,
    checked_time,
    checked_uuid,
)
from telnyx_porting.client.news import News
from telnyx_porting.client.pacer import SYSTEM_CLOCK, Clock
from telnyx_porting.client.paging import Listing
from telnyx_porting.client.queries import OLDEST_FIRST, ORDER_SORTS, bounds, delivery_filters, event_filters
from telnyx_porting.client.transport import Transport
from telnyx_porting.errors import EnvelopeError, SettingsError
from telnyx_porting.models import (
    PortingEvent,
    PortingOrder,
    RateLimit,
    Subscription,
    WebhookDelivery,
    parse_delivery,
    parse_event,
    parse_order,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from types import TracebackType

    import httpx

    from telnyx_porting.client.lanes import Slot
    from telnyx_porting.client.windows import Page

T = TypeVar("T")

PUBLIC_API = "https://api.telnyx.com/v2"
EVENTS_PATH = "/porting/events"
ORDERS_PATH = "/porting_orders"
DELIVERIES_PATH = "/webhook_deliveries"


@dataclass(frozen=True, slots=True)
class ProvedWindow:
    """
    A stretch of time all of whose events were read.

    :param since: start, None when the caller gave none
    :param until: end; an event at this very time is in here only if this is the last window of the listing
    :param events: oldest first; events without any ``created_at`` last
    :param count: how many the provider counts in the window: as many as were read, or there is no window
    :param requests: requests it took
    :param as_of: the provider's ``Date`` as the proving reading began; what was recorded later may be missing
    """

    since: datetime | None
    until: datetime
    events: list[PortingEvent]
    count: int
    requests: int
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class RepublishReceipt:
    """
    Telnyx accepted a republish; whether anything arrives is another question.

    :param date: the provider's ``Date``, or None
    :param request_id: Telnyx's id of the request
    """

    date: datetime | None
    request_id: str | None


class AsyncTelnyxClient:
    """
    Telnyx's porting API, asynchronously. Use it with ``async with``, in one event loop.

    :param api_key: Telnyx API key (v2)
    :param base_url: up to and including ``/v2``; https, except for loopback or with ``allow_insecure_http``
    :param timeout: seconds a try may take after it is connected
    :param max_concurrency: requests in flight at most
    :param requests_per_second: fixed ceiling; None: the provider's headers rule
    :param keep_free: share (0 to 0.9) of the provider's remaining limit that is left to other software
    :param allow_insecure_http: permit http to a test server; never to the public API
    :param transport: an httpx transport to use instead of sockets, for tests
    :param clock: time source, for tests
    :raises SettingsError: when one of them is impossible
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = PUBLIC_API,
        *,
        timeout: float = 30.0,
        max_concurrency: int = 8,
        requests_per_second: float | None = None,
        keep_free: float = 0.0,
        allow_insecure_http: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._transport = Transport(
            api_key,
            base_url,
            timeout=timeout,
            max_concurrency=max_concurrency,
            requests_per_second=requests_per_second,
            keep_free=keep_free,
            allow_insecure_http=allow_insecure_http,
            transport=transport,
            clock=clock,
        )
        self._clock = clock
        self._news = News()
        self.base_url = self._transport.base_url
        self.key_fingerprint = hashlib.sha256(api_key.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    async def __aenter__(self) -> AsyncTelnyxClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the last answer said about the account's limit."""
        return self._transport.pacer.rate_limit

    @property
    def clock_offset(self) -> timedelta | None:
        """The provider's clock minus ours, good to about a second; None before the first answer."""
        return self._transport.clock_offset

    @property
    def requests_made(self) -> int:
        """Requests written so far, retries included."""
        return self._transport.requests_made

    # -- events --------------------------------------------------------------------------------------------------------

    async def iter_proved_windows(
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
        filters = event_filters(event_type, porting_order_id)
        since, until = checked_range("created_at", created_at_gte, created_at_lte)
        until = until or max(self._now(), since or self._now())
        listing = self._listing(
            EVENTS_PATH, parse_event, page_size, filters, id_of=_id, time_of=_created_at, bounded_by="created_at"
        )
        async with aclosing(listing.windows(since, until)) as windows:
            async for window in windows:
                rows = window.rows
                self._news.look_at(rows)
                yield ProvedWindow(window.since, window.until or until, rows, len(rows), window.requests, window.as_of)
                # What the caller has is not kept here while the next window is read.
                del window, rows

    async def iter_porting_events(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        page_size: int = MAX_PAGE_SIZE,
    ) -> AsyncGenerator[PortingEvent, None]:
        """
        Yield all events of a stretch of time, oldest first; see :meth:`iter_proved_windows`.

        :raises IncompleteListing: instead of leaving one out
        """
        windows = self.iter_proved_windows(created_at_gte, created_at_lte, event_type, porting_order_id, page_size)
        async with aclosing(windows):
            async for window in windows:
                for event in window.events:
                    yield event
                del window

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
        filters = event_filters(event_type, porting_order_id)
        filters |= bounds("created_at", *checked_range("created_at", created_at_gte, created_at_lte))
        answer = await self._transport.get(EVENTS_PATH, {**filters, "page[number]": "1", "page[size]": "1"})
        total = read_page(answer, parse_event).total
        if total is None:
            raise EnvelopeError("the answer holds no meta.total_results", **answer.about)
        return total

    async def get_porting_event(self, event_id: str) -> PortingEvent:
        """
        Fetch one event.

        :raises NotFoundError: when the account has no such event
        """
        event = await self._get_one(EVENTS_PATH, "event_id", event_id, parse_event)
        self._news.look_at([event])
        return event

    async def reserve_slot(self) -> Slot:
        """
        Wait until the pace lets one request go, and hold the right to it: use it at once or release it.

        :raises RateLimitedError: when the provider's limit lets none go for 90 s
        """
        return await self._transport.reserve()

    async def republish_porting_event(
        self, event_id: str, *, slot: Slot | None = None, send_by: datetime | None = None
    ) -> RepublishReceipt:
        """
        Have the notification of an event sent again, to whatever is subscribed now, e-mail included.

        With a slot the request is written at once and never tried again. Without one the pace is waited for here, and
        the request is tried again only after a 429 or a failed connect. This API has no idempotency key.

        :param event_id: UUID of the event
        :param slot: from :meth:`reserve_slot`; used or released in any case
        :param send_by: our clock; past it nothing is sent
        :raises NotFoundError: and other refusals: nothing was sent
        :raises TelnyxError: with ``not_processed`` true when it certainly had no effect; otherwise that is unknown
        """
        try:
            path = f"{EVENTS_PATH}/{checked_uuid('event_id', event_id)}/republish"
            send_by = checked_time("send_by", send_by)
        except SettingsError:
            if slot is not None:
                slot.release()
            raise
        answer = await self._transport.post(path, slot=slot, send_by=send_by)
        return RepublishReceipt(answer.date, answer.request_id)

    # -- orders --------------------------------------------------------------------------------------------------------

    async def get_porting_order(self, porting_order_id: str) -> PortingOrder:
        """
        Fetch one order, without its numbers.

        :raises NotFoundError: when the account has no such order
        """
        params = {"include_phone_numbers": "false"}
        return await self._get_one(ORDERS_PATH, "porting_order_id", porting_order_id, parse_order, params)

    async def iter_porting_orders(
        self, sort: str = OLDEST_FIRST, page_size: int = MAX_PAGE_SIZE, limit: int | None = None
    ) -> AsyncGenerator[PortingOrder, None]:
        """
        Yield all orders, or the first few, without their numbers.

        :param sort: as Telnyx's ``sort[value]``: ``created_at``, ``-created_at`` and the same of the requested FOC date
        :param page_size: 1 to 250
        :param limit: stop after this many (at most a page), without proof that the list is complete
        :raises IncompleteListing: instead of leaving one out
        """
        async with aclosing(self.order_batches(sort, page_size, limit)) as batches:
            async for batch in batches:
                for order in batch:
                    yield order

    async def order_batches(
        self, sort: str = OLDEST_FIRST, page_size: int = MAX_PAGE_SIZE, limit: int | None = None
    ) -> AsyncGenerator[list[PortingOrder], None]:
        """Yield the orders of :meth:`iter_porting_orders` in lists."""
        filters = {"sort[value]": checked_choice("sort", sort, ORDER_SORTS), "include_phone_numbers": "false"}
        listing = self._listing(ORDERS_PATH, parse_order, page_size, filters, id_of=_id)
        if limit is not None:
            check_number("limit", limit, 1, page_size, f"from 1 to page_size = {page_size}")
            yield (await listing.ask(1, page_size, None, None, 0.0)).rows[:limit]
            return
        async with aclosing(listing.windows(None, None)) as windows:
            async for window in windows:
                yield window.rows

    async def list_exception_types(self) -> dict[str, str]:
        """Fetch Telnyx's descriptions of exception codes; the set is open, the texts are for people."""
        answer = await self._transport.get(f"{ORDERS_PATH}/exception_types")
        pairs = read_page(answer, lambda raw: (raw.get("code"), raw.get("description"))).rows
        return {code: text if isinstance(text, str) else "" for code, text in pairs if isinstance(code, str)}

    # -- webhook deliveries --------------------------------------------------------------------------------------------

    async def iter_webhook_deliveries(
        self,
        event_types: Iterable[str] = (),
        status: str | None = None,
        webhook_contains: str | None = None,
        started_at_gte: datetime | None = None,
        started_at_lte: datetime | None = None,
        finished_at_gte: datetime | None = None,
        finished_at_lte: datetime | None = None,
        page_size: int = MAX_PAGE_SIZE,
    ) -> AsyncGenerator[WebhookDelivery, None]:
        """
        Yield Telnyx's records of delivering webhooks; whether port-ins are recorded there is undocumented.

        :param event_types: any of these types
        :param status: ``delivered`` or ``failed``
        :param webhook_contains: text to be found in the webhook
        :param started_at_gte: earliest start of delivery, with a zone; the other times likewise
        :param page_size: 1 to 250
        :raises IncompleteListing: instead of leaving one out
        """
        batches = self.delivery_batches(
            event_types,
            status,
            webhook_contains,
            started_at_gte,
            started_at_lte,
            finished_at_gte,
            finished_at_lte,
            page_size,
        )
        async with aclosing(batches):
            async for batch in batches:
                for delivery in batch:
                    yield delivery

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
    ) -> AsyncGenerator[list[WebhookDelivery], None]:
        """Yield the records of :meth:`iter_webhook_deliveries` in lists."""
        started = checked_range("started_at", started_at_gte, started_at_lte)
        finished = checked_range("finished_at", finished_at_gte, finished_at_lte)
        filters = delivery_filters(event_types, status, webhook_contains)
        by_end = any(finished) and not any(started)
        if any(finished) and not by_end:
            # Only one range can split the list; the other is asked for a little wider, and checked below.
            low, high = finished
            wide = timedelta(seconds=2)
            filters |= bounds("finished_at", low and low - wide, high and high + wide)
        since, until = finished if by_end else started
        listing = self._listing(
            DELIVERIES_PATH,
            parse_delivery,
            page_size,
            filters,
            id_of=_id,
            time_of=_finished_at if by_end else _started_at,
            bounded_by="finished_at" if by_end else "started_at",
        )
        async with aclosing(listing.windows(since, until or max(self._now(), since or self._now()))) as windows:
            async for window in windows:
                yield [row for row in window.rows if _between(row.finished_at, *finished)]

    async def get_webhook_delivery(self, delivery_id: str) -> WebhookDelivery:
        """
        Fetch one delivery record.

        :raises NotFoundError: when the account has no such record
        """
        return await self._get_one(DELIVERIES_PATH, "delivery_id", delivery_id, parse_delivery)

    # -- notification settings -----------------------------------------------------------------------------------------

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

    # -- shared --------------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    async def _get_one(
        self,
        path: str,
        field: str,
        value: str,
        parse: Callable[[dict[str, Any]], T],
        params: Mapping[str, str] | None = None,
    ) -> T:
        return read_one(await self._transport.get(f"{path}/{checked_uuid(field, value)}", params), parse)

    async def _all(self, path: str, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Read a small list whole."""
        listing = self._listing(path, _with_id, MAX_PAGE_SIZE, filters or {}, id_of=lambda row: row["id"])
        async with aclosing(listing.windows(None, None)) as windows:
            return [row async for window in windows for row in window.rows]

    def _listing(
        self,
        path: str,
        parse: Callable[[dict[str, Any]], T],
        page_size: int,
        filters: dict[str, str],
        *,
        id_of: Callable[[T], str],
        time_of: Callable[[T], datetime | None] | None = None,
        bounded_by: str = "",
    ) -> Listing[T]:
        check_page_size(page_size)
        ask = partial(self._ask, path, parse, filters, bounded_by)
        return Listing(ask, id_of=id_of, time_of=time_of, page_size=page_size, clock=self._clock, path=path)

    async def _ask(
        self,
        path: str,
        parse: Callable[[dict[str, Any]], T],
        filters: dict[str, str],
        bounded_by: str,
        number: int,
        size: int,
        since: datetime | None,
        until: datetime | None,
        rank: float,
    ) -> Page[T]:
        params = {**filters, **bounds(bounded_by, since, until)}
        params |= {"page[number]": str(number), "page[size]": str(size)}
        return read_page(await self._transport.get(path, params, rank=rank), parse)


def _id(row: PortingEvent | PortingOrder | WebhookDelivery) -> str:
    return row.id


def _created_at(event: PortingEvent) -> datetime | None:
    return event.created_at


def _started_at(delivery: WebhookDelivery) -> datetime | None:
    return delivery.started_at


def _finished_at(delivery: WebhookDelivery) -> datetime | None:
    return delivery.finished_at


def _between(moment: datetime | None, low: datetime | None, high: datetime | None) -> bool:
    """Check a time against a range; an unknown time is kept, since the provider found it in range."""
    if moment is None:
        return True
    return (low is None or moment >= low) and (high is None or moment <= high)


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
