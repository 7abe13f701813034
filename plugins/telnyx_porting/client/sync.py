"""
The same verbs without ``await``, over an anyio portal: one event loop in a thread of its own.

The portal lives for one ``with`` block (or for one call, when there is none around it). Lists cross it once per window,
so a row costs nothing extra; leaving a listing early ends what it had begun.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from anyio.from_thread import start_blocking_portal

from telnyx_porting.client.api import AsyncTelnyxClient
from telnyx_porting.client.clock import SYSTEM_CLOCK
from telnyx_porting.client.core import PUBLIC_API

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
    from datetime import datetime, timedelta
    from types import TracebackType

    import httpx
    from anyio.from_thread import BlockingPortal

    from telnyx_porting.client.clock import Clock
    from telnyx_porting.client.events import ProvedWindow, RepublishReceipt
    from telnyx_porting.client.lanes import Slot
    from telnyx_porting.models import PortingEvent, PortingOrder, RateLimit, Subscription, WebhookDelivery

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="SyncVerbs")


class SyncVerbs:
    """
    The verbs of :class:`AsyncTelnyxClient`, blocking. Whoever mixes it in says how to make that client.

    Verbs are documented there; they take and return the same. One thread at a time.
    """

    _make_client: Callable[[], AsyncTelnyxClient]
    _client: AsyncTelnyxClient | None = None
    _last: AsyncTelnyxClient | None = None
    _calls = 0

    def __enter__(self: S) -> S:
        if self._client is not None:
            raise RuntimeError("this client is open already: one `with` block at a time")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        client = self._make_client()
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(self._portal.wrap_async_context_manager(client))
            self._open = stack.pop_all()
        self._listings: dict[int, AsyncGenerator[Any, None]] = {}
        self._client = self._last = client

    def _stop(self) -> None:
        # Left to the end of the loop, a listing and what it stands on would be closed both at once.
        for listing in self._listings.values():
            self._portal.call(listing.aclose)
        self._client = None
        self._open.close()

    @contextmanager
    def _session(self) -> Iterator[AsyncTelnyxClient]:
        """Use the open session, or one that lives for the calls and listings under way outside of any block."""
        if self._client is not None and not self._calls:
            yield self._client
            return
        if self._client is None:
            self._start()
        self._calls += 1
        try:
            yield self._known()
        finally:
            self._calls -= 1
            if not self._calls:
                self._stop()

    def _call(
        self,
        verb: Callable[Concatenate[AsyncTelnyxClient, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        with self._session() as client:
            result: R = self._portal.call(lambda: verb(client, *args, **kwargs))
            return result

    def _each(
        self,
        verb: Callable[Concatenate[AsyncTelnyxClient, P], AsyncGenerator[R, None]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Iterator[R]:
        """Step through an asynchronous iterator from here, and close it when the caller leaves."""
        with self._session() as client:
            portal, iterator = self._portal, verb(client, *args, **kwargs)
            self._listings[id(iterator)] = iterator
            try:
                while True:
                    try:
                        item = portal.call(iterator.__anext__)
                    except StopAsyncIteration:
                        return
                    yield item
                    del item
            finally:
                if self._client is client:
                    del self._listings[id(iterator)]
                    portal.call(iterator.aclose)

    # -- what the client knows -------------------------------------------------------------------------------

    def _known(self) -> AsyncTelnyxClient:
        """Return the last client opened: what it learned is still true after its `with` block."""
        if self._last is None:
            self._last = self._make_client()
        return self._last

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self._known().base_url

    @property
    def key_fingerprint(self) -> str:
        """A hash of the key, to recognise it by."""
        return self._known().key_fingerprint

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the last answer said about the account's limit."""
        return self._known().rate_limit

    @property
    def clock_offset(self) -> timedelta | None:
        """The provider's clock minus ours, good to about a second; None before the first answer."""
        return self._known().clock_offset

    @property
    def requests_made(self) -> int:
        """Requests written in this `with` block, or else in the last one."""
        return self._known().requests_made

    # -- verbs -----------------------------------------------------------------------------------------------

    def iter_proved_windows(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        page_size: int = 250,
    ) -> Iterator[ProvedWindow]:
        """See :meth:`AsyncTelnyxClient.iter_proved_windows`."""
        verb = AsyncTelnyxClient.iter_proved_windows
        return self._each(verb, created_at_gte, created_at_lte, event_type, porting_order_id, page_size)

    def iter_porting_events(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        page_size: int = 250,
    ) -> Iterator[PortingEvent]:
        """See :meth:`AsyncTelnyxClient.iter_porting_events`."""
        verb, about = AsyncTelnyxClient.event_batches, (event_type, porting_order_id, page_size)
        yield from chain.from_iterable(self._each(verb, created_at_gte, created_at_lte, *about))

    def count_porting_events(
        self,
        created_at_gte: datetime | None = None,
        created_at_lte: datetime | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
    ) -> int:
        """See :meth:`AsyncTelnyxClient.count_porting_events`."""
        verb = AsyncTelnyxClient.count_porting_events
        return self._call(verb, created_at_gte, created_at_lte, event_type, porting_order_id)

    def get_porting_event(self, event_id: str) -> PortingEvent:
        """See :meth:`AsyncTelnyxClient.get_porting_event`."""
        return self._call(AsyncTelnyxClient.get_porting_event, event_id)

    def reserve_slot(self) -> SyncSlot:
        """See :meth:`AsyncTelnyxClient.reserve_slot`; needs a ``with`` block around it and its use."""
        if self._client is None:
            raise RuntimeError("reserve_slot() needs an open client: with client: ...")
        return SyncSlot(self._call(AsyncTelnyxClient.reserve_slot), self._portal)

    def republish_porting_event(
        self, event_id: str, *, slot: SyncSlot | None = None, send_by: datetime | None = None
    ) -> RepublishReceipt:
        """See :meth:`AsyncTelnyxClient.republish_porting_event`."""
        verb = AsyncTelnyxClient.republish_porting_event
        return self._call(verb, event_id, slot=None if slot is None else slot.inner, send_by=send_by)

    def get_porting_order(self, porting_order_id: str) -> PortingOrder:
        """See :meth:`AsyncTelnyxClient.get_porting_order`."""
        return self._call(AsyncTelnyxClient.get_porting_order, porting_order_id)

    def iter_porting_orders(
        self, sort: str = "created_at", page_size: int = 250, limit: int | None = None, unread: list[str] | None = None
    ) -> Iterator[PortingOrder]:
        """See :meth:`AsyncTelnyxClient.iter_porting_orders`."""
        yield from chain.from_iterable(self._each(AsyncTelnyxClient.order_batches, sort, page_size, limit, unread))

    def get_user_id(self) -> str | None:
        """See :meth:`AsyncTelnyxClient.get_user_id`."""
        return self._call(AsyncTelnyxClient.get_user_id)

    def list_exception_types(self) -> dict[str, str]:
        """See :meth:`AsyncTelnyxClient.list_exception_types`."""
        return self._call(AsyncTelnyxClient.list_exception_types)

    def iter_webhook_deliveries(
        self,
        event_types: Iterable[str] = (),
        status: str | None = None,
        webhook_contains: str | None = None,
        started_at_gte: datetime | None = None,
        started_at_lte: datetime | None = None,
        finished_at_gte: datetime | None = None,
        finished_at_lte: datetime | None = None,
        page_size: int = 250,
        unread: list[str] | None = None,
    ) -> Iterator[WebhookDelivery]:
        """See :meth:`AsyncTelnyxClient.iter_webhook_deliveries`."""
        for batch in self._each(
            AsyncTelnyxClient.delivery_batches,
            event_types,
            status,
            webhook_contains,
            started_at_gte,
            started_at_lte,
            finished_at_gte,
            finished_at_lte,
            page_size,
            unread,
        ):
            yield from batch

    def get_webhook_delivery(self, delivery_id: str) -> WebhookDelivery:
        """See :meth:`AsyncTelnyxClient.get_webhook_delivery`."""
        return self._call(AsyncTelnyxClient.get_webhook_delivery, delivery_id)

    def notification_subscriptions(self) -> list[Subscription]:
        """See :meth:`AsyncTelnyxClient.notification_subscriptions`."""
        return self._call(AsyncTelnyxClient.notification_subscriptions)


class SyncSlot:
    """A granted request, for :meth:`SyncVerbs.republish_porting_event`."""

    def __init__(self, inner: Slot, portal: BlockingPortal) -> None:
        self.inner = inner
        self._portal = portal

    def release(self) -> None:
        """Give it back unused; does nothing after its use."""
        self._portal.call(self.inner.release)


class TelnyxClient(SyncVerbs):
    """
    Telnyx's porting API, blocking. Parameters as :class:`AsyncTelnyxClient`.

    ::

        with TelnyxClient(api_key) as client:
            for event in client.iter_porting_events(created_at_gte=yesterday):
                print(event.id, event.event_type)
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
        self._make_client = partial(
            AsyncTelnyxClient,
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
        # What is impossible is said now, not at the first call.
        self._known()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"
