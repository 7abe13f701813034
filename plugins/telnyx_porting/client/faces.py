"""
One client, two faces: the verbs, written once, asynchronously, and the same without ``await``.

Those go over an anyio portal: one event loop in a thread of its own, for one ``with`` block (or one call, where none is
around it). Lists cross it once per window, so a row costs nothing extra; leaving a listing early ends what it
had begun.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from itertools import chain
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from telnyx_porting.client.core import PUBLIC_API
from telnyx_porting.client.deliveries import DeliveryVerbs
from telnyx_porting.client.events import EventVerbs
from telnyx_porting.client.notifications import NotificationVerbs
from telnyx_porting.client.orders import OrderVerbs
from telnyx_porting.client.probe import ProbeVerbs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from datetime import timedelta

    from telnyx_porting.client.transport import Options
    from telnyx_porting.models.records import RateLimit

P = ParamSpec("P")
R = TypeVar("R")


class AsyncTelnyxClient(EventVerbs, OrderVerbs, DeliveryVerbs, NotificationVerbs, ProbeVerbs):
    """
    Telnyx's porting API, asynchronously. Use it with ``async with``, in one event loop.

    Sources: Telnyx's OpenAPI for paths, parameters and fields; its guides for what they mean.

    :param api_key: Telnyx API key (v2)
    :param base_url: up to and including ``/v2``; https, except for loopback or with ``allow_insecure_http``
    :param options: :class:`telnyx_porting.client.transport.Options`
    :raises SettingsError: when one of them is impossible
    """


def _call(
    verb: Callable[Concatenate[AsyncTelnyxClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncVerbs, P], R]:
    """Make the blocking form of a verb: it takes and returns the same."""

    @wraps(verb)
    def call(self: SyncVerbs, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._session() as client:
            result: R = self._portal.call(lambda: verb(client, *args, **kwargs))
            return result

    return call


def _each(
    verb: Callable[Concatenate[AsyncTelnyxClient, P], AsyncGenerator[R, None]],
) -> Callable[Concatenate[SyncVerbs, P], Iterator[R]]:
    """Make the blocking form of an asynchronous iterator, which is closed when the caller leaves."""

    @wraps(verb)
    def each(self: SyncVerbs, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
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

    return each


def _rows(
    batches: Callable[Concatenate[AsyncTelnyxClient, P], AsyncGenerator[list[R], None]],
) -> Callable[Concatenate[SyncVerbs, P], Iterator[R]]:
    """Make the blocking form of a listing, one row at a time."""
    lists = _each(batches)

    @wraps(batches)
    def rows(self: SyncVerbs, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        yield from chain.from_iterable(lists(self, *args, **kwargs))

    return rows


class SyncVerbs:
    """
    The verbs of :class:`AsyncTelnyxClient`, blocking. Whoever mixes it in says how to make that client.

    Verbs are documented there; they take and return the same. One thread at a time.
    """

    _make_client: Callable[[], AsyncTelnyxClient]
    _client: AsyncTelnyxClient | None = None
    _last: AsyncTelnyxClient | None = None
    _calls = 0

    def __enter__(self) -> Self:
        if self._client is not None:
            raise RuntimeError("this client is open already: one `with` block at a time")
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        from anyio.from_thread import start_blocking_portal  # not when a DAG is parsed

        client = self._make_client()
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(self._portal.wrap_async_context_manager(client))
            self._open = stack.pop_all()
        self._listings: dict[int, AsyncGenerator[Any, None]] = {}
        self._client = self._last = client

    def _stop(self) -> None:
        self._client = None
        with self._open:
            # Left to the end of the loop, a listing and what it stands on would be closed both at once.
            for listing in self._listings.values():
                self._portal.call(listing.aclose)

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

    iter_proved_windows = _each(AsyncTelnyxClient.iter_proved_windows)
    iter_porting_events = _rows(AsyncTelnyxClient.event_batches)
    count_porting_events = _call(AsyncTelnyxClient.count_porting_events)
    get_porting_event = _call(AsyncTelnyxClient.get_porting_event)
    reserve_slot = _call(AsyncTelnyxClient.reserve_slot)
    republish_porting_event = _call(AsyncTelnyxClient.republish_porting_event)
    get_porting_order = _call(AsyncTelnyxClient.get_porting_order)
    iter_porting_orders = _rows(AsyncTelnyxClient.order_batches)
    get_user_id = _call(AsyncTelnyxClient.get_user_id)
    list_exception_types = _call(AsyncTelnyxClient.list_exception_types)
    iter_webhook_deliveries = _rows(AsyncTelnyxClient.delivery_batches)
    get_webhook_delivery = _call(AsyncTelnyxClient.get_webhook_delivery)
    notification_subscriptions = _call(AsyncTelnyxClient.notification_subscriptions)
    count_rows = _call(AsyncTelnyxClient.count_rows)
    probe = _call(AsyncTelnyxClient.probe)


class TelnyxClient(SyncVerbs):
    """
    Telnyx's porting API, blocking. Parameters as :class:`AsyncTelnyxClient`.

    ::

        with TelnyxClient(api_key) as client:
            for event in client.iter_porting_events(created_at_gte=yesterday):
                print(event.id, event.event_type)
    """

    def __init__(self, api_key: str, base_url: str = PUBLIC_API, **options: Unpack[Options]) -> None:
        self._make_client = partial(AsyncTelnyxClient, api_key, base_url, **options)
        # What is impossible is said now, not at the first call.
        self._known()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"
