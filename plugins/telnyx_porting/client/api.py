"""
The verbs, written once, asynchronously.

Sources: Telnyx's OpenAPI for paths, parameters and fields; its Port In Events guide for what republish does.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from telnyx_porting.client.pacer import SYSTEM_CLOCK, Clock
from telnyx_porting.client.paging import Listing, Page, Window
from telnyx_porting.client.transport import Slot, Transport, decode_json
from telnyx_porting.errors import EnvelopeError, SettingsError
from telnyx_porting.models import (
    EVENT_TYPES,
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
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from types import TracebackType

    import httpx

    from telnyx_porting.client.transport import Answer

T = TypeVar("T")

PUBLIC_API = "https://api.telnyx.com/v2"
MAX_PAGE_SIZE = 250
EVENTS_PATH = "/porting/events"
ORDERS_PATH = "/porting_orders"
DELIVERIES_PATH = "/webhook_deliveries"

OrderSort = Literal[
    "created_at",
    "-created_at",
    "activation_settings.foc_datetime_requested",
    "-activation_settings.foc_datetime_requested",
]
_ORDER_SORTS = OrderSort.__args__  # type: ignore[attr-defined]

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class ProvedWindow:
    """
    A stretch of time all of whose events were read.

    :param since: start, None when the caller gave none
    :param until: end; an event at this very time is in here only if this is the last window of the listing
    :param events: oldest first; events without any ``created_at`` last
    :param count: how many the provider counts in the window; equal to what was read, or there is no window
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

    # -- events ----------------------------------------------------------------------------------------------

    async def iter_proved_windows(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        page_size: int = MAX_PAGE_SIZE,
    ) -> AsyncIterator[ProvedWindow]:
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
        filters = _event_filters(event_type, porting_order_id)
        since, until = _window("created_at", created_at_gte, created_at_lte)
        listing = self._listing(
            EVENTS_PATH, parse_event, _event_id, _event_time, page_size, filters, "filter[created_at]"
        )
        end = until or datetime.fromtimestamp(self._clock.time(), UTC)
        windows = listing.windows(since, end)
        try:
            async for window in windows:
                yield ProvedWindow(
                    window.since,
                    window.until or end,
                    window.rows,
                    len(window.rows),
                    window.requests,
                    window.as_of,
                )
        finally:
            await windows.aclose()  # type: ignore[attr-defined]

    async def iter_porting_events(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        page_size: int = MAX_PAGE_SIZE,
    ) -> AsyncIterator[PortingEvent]:
        """
        Yield all events of a stretch of time, oldest first; see :meth:`iter_proved_windows`.

        :raises IncompleteListing: instead of leaving one out
        """
        windows = self.iter_proved_windows(created_at_gte, created_at_lte, event_type, porting_order_id, page_size)
        try:
            async for window in windows:
                for event in window.events:
                    yield event
        finally:
            await windows.aclose()  # type: ignore[attr-defined]

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
        filters = _event_filters(event_type, porting_order_id)
        since, until = _window("created_at", created_at_gte, created_at_lte)
        filters |= _bounds("filter[created_at]", since, until)
        answer = await self._transport.get(EVENTS_PATH, {**filters, "page[number]": "1", "page[size]": "1"})
        total = _page(answer, EVENTS_PATH, parse_event).total
        if total is None:
            raise EnvelopeError("the answer holds no meta.total_results", path=EVENTS_PATH, status=answer.status)
        return total

    async def get_porting_event(self, event_id: str) -> PortingEvent:
        """
        Fetch one event.

        :raises NotFoundError: when the account has no such event
        """
        return await self._get_one(f"{EVENTS_PATH}/{_uuid('event_id', event_id)}", parse_event)

    async def reserve_slot(self) -> Slot:
        """
        Wait until the pace lets one request go, and hold the right to it: use it at once or release it.

        :raises RateLimitedError: when the account is blocked for longer than 90 s
        """
        return await self._transport.reserve()

    async def republish_porting_event(
        self, event_id: str, *, slot: Slot | None = None, send_by: datetime | None = None
    ) -> RepublishReceipt:
        """
        Have the notification of an event sent again, to whatever is subscribed now, e-mail included.

        With a slot the request is written at once and never tried again. Without one the pace is waited for here, and
        the request is tried again only after a 429 or a failed connect. There is no idempotency key in this API.

        :param event_id: UUID of the event
        :param slot: from :meth:`reserve_slot`
        :param send_by: our clock; past it nothing is sent
        :raises NotFoundError: and other refusals: nothing was sent
        :raises TelnyxError: with ``not_processed`` true when it certainly had no effect; otherwise that is unknown
        """
        try:
            path = f"{EVENTS_PATH}/{_uuid('event_id', event_id)}/republish"
            if send_by is not None:
                _aware("send_by", send_by)
        except SettingsError:
            if slot is not None:
                slot.release()
            raise
        answer = await self._transport.post_once(path, slot=slot, send_by=send_by)
        return RepublishReceipt(answer.date, answer.request_id)

    # -- orders ----------------------------------------------------------------------------------------------

    async def get_porting_order(self, porting_order_id: str) -> PortingOrder:
        """
        Fetch one order, without its numbers.

        :raises NotFoundError: when the account has no such order
        """
        path = f"{ORDERS_PATH}/{_uuid('porting_order_id', porting_order_id)}"
        return await self._get_one(path, parse_order, {"include_phone_numbers": "false"})

    async def iter_porting_orders(
        self, sort: OrderSort = "created_at", page_size: int = MAX_PAGE_SIZE, limit: int | None = None
    ) -> AsyncIterator[PortingOrder]:
        """
        Yield all orders, or the first few, without their numbers.

        :param sort: as Telnyx's ``sort[value]``
        :param page_size: 1 to 250
        :param limit: stop after this many, without proof that the list is complete
        :raises IncompleteListing: instead of leaving one out
        """
        async for batch in self.order_batches(sort, page_size, limit):
            for order in batch:
                yield order

    async def order_batches(
        self, sort: OrderSort = "created_at", page_size: int = MAX_PAGE_SIZE, limit: int | None = None
    ) -> AsyncIterator[list[PortingOrder]]:
        """Yield the orders of :meth:`iter_porting_orders` in lists."""
        if sort not in _ORDER_SORTS:
            raise SettingsError("sort", sort, "one of " + ", ".join(_ORDER_SORTS))
        filters = {"sort[value]": sort, "include_phone_numbers": "false"}
        listing = self._listing(ORDERS_PATH, parse_order, _order_id, None, page_size, filters, "")
        if limit is not None:
            page = await listing.ask(1, min(page_size, max(limit, 1)), None, None, 0)
            if limit <= len(page.rows) or (page.total is not None and page.total <= len(page.rows)):
                yield page.rows[:limit]
                return
        async for rows in _rows(listing.windows(None, None)):
            yield rows if limit is None else rows[:limit]

    async def list_exception_types(self) -> dict[str, str]:
        """Fetch Telnyx's descriptions of exception codes; the set is open, the texts are for people."""
        path = f"{ORDERS_PATH}/exception_types"
        answer = await self._transport.get(path)
        page = _page(answer, path, lambda raw: (raw.get("code"), raw.get("description")))
        return {code: text if isinstance(text, str) else "" for code, text in page.rows if isinstance(code, str)}

    # -- webhook deliveries ----------------------------------------------------------------------------------

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
    ) -> AsyncIterator[WebhookDelivery]:
        """
        Yield Telnyx's records of delivering webhooks; whether port-ins are recorded there is undocumented.

        :param event_types: any of these types
        :param status: ``delivered`` or ``failed``
        :param webhook_contains: text to be found in the webhook
        :param started_at_gte: earliest start of delivery, with a zone; likewise the others
        :raises IncompleteListing: instead of leaving one out
        """
        async for batch in self.delivery_batches(
            event_types,
            status,
            webhook_contains,
            started_at_gte,
            started_at_lte,
            finished_at_gte,
            finished_at_lte,
            page_size,
        ):
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
    ) -> AsyncIterator[list[WebhookDelivery]]:
        """Yield the records of :meth:`iter_webhook_deliveries` in lists."""
        started = _window("started_at", started_at_gte, started_at_lte)
        finished = _window("finished_at", finished_at_gte, finished_at_lte)
        filters = _delivery_filters(event_types, status, webhook_contains)
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        if any(finished) and not any(started):
            name, (since, until), time_of = "filter[finished_at]", finished, _finished_at
        else:
            name, (since, until), time_of = "filter[started_at]", started, _started_at
            if any(finished):
                # The other range is only a filter: asked for a little wider, and checked below.
                low, high = finished
                wide = timedelta(seconds=2)
                filters |= _bounds("filter[finished_at]", low and low - wide, high and high + wide)
        listing = self._listing(DELIVERIES_PATH, parse_delivery, _delivery_id, time_of, page_size, filters, name)
        async for rows in _rows(listing.windows(since, until or now)):
            yield [row for row in rows if _between(row.finished_at, *finished)]

    async def get_webhook_delivery(self, delivery_id: str) -> WebhookDelivery:
        """
        Fetch one delivery record.

        :raises NotFoundError: when the account has no such record
        """
        return await self._get_one(f"{DELIVERIES_PATH}/{_uuid('delivery_id', delivery_id)}", parse_delivery)

    # -- notification settings -------------------------------------------------------------------------------

    async def notification_subscriptions(self) -> list[Subscription]:
        """
        Find who is subscribed to port-in notifications account-wide.

        The API's name of that notification is undocumented; it is matched by its words. An order's own
        ``webhook_url`` is a second path and not in here.
        """
        events = await self._all("/notification_events")
        wanted = {e.get("id") for e in events if _is_port_in(e.get("name"))}
        conditions = await self._all("/notification_event_conditions")
        ids = [c.get("id") for c in conditions if c.get("notification_event_id") in wanted]
        settings: list[dict[str, Any]] = []
        for condition in ids:
            filters = {"filter[notification_event_condition_id][eq]": str(condition)}
            found = await self._all("/notification_settings", filters)
            settings += [s for s in found if s.get("notification_event_condition_id") in (None, condition)]
        if not settings:
            return []
        channels = {c.get("id"): c for c in await self._all("/notification_channels")}
        return [_subscription(setting, channels) for setting in settings]

    # -- shared ----------------------------------------------------------------------------------------------

    async def _get_one(
        self, path: str, parse: Callable[[dict[str, Any]], T], params: Mapping[str, str] | None = None
    ) -> T:
        answer = await self._transport.get(path, params)
        document = decode_json(answer, path)
        data = document.get("data") if isinstance(document, dict) else None
        about: dict[str, Any] = {"path": path, "status": answer.status, "request_id": answer.request_id}
        if not isinstance(data, dict):
            raise EnvelopeError("the answer holds no object data", **about)
        try:
            return parse(data)
        except ValueError as error:
            raise EnvelopeError(f"data is {error}", **about) from None

    async def _all(self, path: str, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Read a small list whole."""
        listing = self._listing(path, _with_id, lambda row: str(row["id"]), None, MAX_PAGE_SIZE, filters or {}, "")
        return [row async for rows in _rows(listing.windows(None, None)) for row in rows]

    def _listing(
        self,
        path: str,
        parse: Callable[[dict[str, Any]], T],
        id_of: Callable[[T], str],
        time_of: Callable[[T], datetime | None] | None,
        page_size: int,
        filters: dict[str, str],
        bounds: str,
    ) -> Listing[T]:
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= MAX_PAGE_SIZE:
            raise SettingsError("page_size", page_size, f"a whole number from 1 to {MAX_PAGE_SIZE}")

        async def ask(number: int, size: int, since: datetime | None, until: datetime | None, rank: int) -> Page[T]:
            params = {**filters, **_bounds(bounds, since, until)}
            params |= {"page[number]": str(number), "page[size]": str(size)}
            return _page(await self._transport.get(path, params, rank=rank), path, parse)

        return Listing(ask, id_of=id_of, time_of=time_of, page_size=page_size, clock=self._clock, path=path)


# -- reading answers -----------------------------------------------------------------------------------------


def _page(answer: Answer, path: str, parse: Callable[[dict[str, Any]], T]) -> Page[T]:
    """Read a list's envelope; ``meta`` may be missing in part or whole."""
    document = decode_json(answer, path)
    about: dict[str, Any] = {"path": path, "status": answer.status, "request_id": answer.request_id}
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise EnvelopeError("the answer holds no list data", **about)
    try:
        rows = [parse(raw) for raw in data]
    except (ValueError, AttributeError, TypeError):
        raise _bad_row(data, parse, about) from None
    meta = document.get("meta")
    if not isinstance(meta, dict):
        meta = {}
    return Page(
        rows,
        total=_count(meta.get("total_results")),
        pages=_count(meta.get("total_pages")),
        size=_count(meta.get("page_size")),
        date=answer.date,
    )


def _bad_row(data: list[Any], parse: Callable[[dict[str, Any]], T], about: dict[str, Any]) -> EnvelopeError:
    """Say which row it was; looked for only when there is one."""
    for position, raw in enumerate(data):
        if not isinstance(raw, dict):
            return EnvelopeError(f"data[{position}] is no object", **about)
        try:
            parse(raw)
        except ValueError as error:
            return EnvelopeError(f"data[{position}] is {error}", **about)
    return EnvelopeError("data cannot be read", **about)


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


async def _rows(windows: AsyncIterator[Window[T]]) -> AsyncIterator[list[T]]:
    try:
        async for window in windows:
            yield window.rows
    finally:
        await windows.aclose()  # type: ignore[attr-defined]


def _with_id(raw: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(raw.get("id"), str):
        raise ValueError("a row without id")
    return raw


def _event_id(event: PortingEvent) -> str:
    return event.id


def _event_time(event: PortingEvent) -> datetime | None:
    return event.created_at


def _order_id(order: PortingOrder) -> str:
    return order.id


def _delivery_id(delivery: WebhookDelivery) -> str:
    return delivery.id


def _started_at(delivery: WebhookDelivery) -> datetime | None:
    return delivery.started_at


def _finished_at(delivery: WebhookDelivery) -> datetime | None:
    return delivery.finished_at


def _is_port_in(name: object) -> bool:
    words = re.sub(r"[^a-z]+", " ", name.lower()) if isinstance(name, str) else ""
    return re.search(r"\bport ?ins?\b", words) is not None


def _subscription(setting: dict[str, Any], channels: Mapping[Any, dict[str, Any]]) -> Subscription:
    channel = channels.get(setting.get("notification_channel_id"), {})
    values = (channel.get("channel_type_id"), channel.get("channel_destination"), setting.get("status"))
    return Subscription(*(value if isinstance(value, str) else None for value in values))


# -- checking and writing arguments --------------------------------------------------------------------------


def _uuid(field: str, value: str) -> str:
    """Check an id before it enters a path."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise SettingsError(field, value, "a UUID such as 5796a670-482c-490e-8d97-82bfcdc83011")
    return value


def _aware(field: str, value: datetime) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise SettingsError(field, value, "a datetime with a time zone")
    return value.astimezone(UTC)


def _window(field: str, since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    since = None if since is None else _aware(f"{field}_gte", since)
    until = None if until is None else _aware(f"{field}_lte", until)
    if since is not None and until is not None and since > until:
        raise SettingsError(f"{field}_gte", since.isoformat(), f"not later than {field}_lte, {until.isoformat()}")
    return since, until


def _event_filters(event_type: str | None, porting_order_id: str | None) -> dict[str, str]:
    filters: dict[str, str] = {}
    if event_type is not None:
        if event_type not in EVENT_TYPES:
            raise SettingsError("event_type", event_type, "one of " + ", ".join(sorted(EVENT_TYPES)))
        filters["filter[type]"] = event_type
    if porting_order_id is not None:
        filters["filter[porting_order_id]"] = _uuid("porting_order_id", porting_order_id)
    return filters


def _delivery_filters(event_types: Iterable[str], status: str | None, webhook_contains: str | None) -> dict[str, str]:
    filters: dict[str, str] = {}
    if isinstance(event_types, str):
        raise SettingsError("event_types", event_types, "a list of event types")
    if types := sorted(set(event_types)):
        filters["filter[event_type]"] = ",".join(types)
    if status is not None:
        if status not in ("delivered", "failed"):
            raise SettingsError("status", status, "delivered or failed")
        filters["filter[status][eq]"] = status
    if webhook_contains:
        filters["filter[webhook][contains]"] = webhook_contains
    return filters


def _bounds(name: str, since: datetime | None, until: datetime | None) -> dict[str, str]:
    bounds = {f"{name}[gte]": since, f"{name}[lte]": until}
    return {key: _written(moment) for key, moment in bounds.items() if moment is not None}


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _between(moment: datetime | None, low: datetime | None, high: datetime | None) -> bool:
    """Check a time against a range; an unknown time is kept, since the provider found it in range."""
    if moment is None:
        return True
    return (low is None or moment >= low) and (high is None or moment <= high)
