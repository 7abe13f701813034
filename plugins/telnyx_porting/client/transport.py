"""
One request to Telnyx: authentication, pace, retries by verb, and the error an answer means.

A GET is tried again where that may help, a POST only after what certainly had no effect.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx

from telnyx_porting.client.answers import Answer, status_error, worth_another_get, worth_another_post
from telnyx_porting.client.checks import check_number, checked_base_url, checked_key
from telnyx_porting.client.clock import SYSTEM_CLOCK, Clock, http_date, read_difference
from telnyx_porting.client.connections import Way, exchange, open_connections
from telnyx_porting.client.pacer import pacer_for
from telnyx_porting.errors import RateLimitedError, TelnyxError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

T = TypeVar("T")

log = logging.getLogger(__name__)

RETRY_FOR = 90.0
"""Seconds after its first grant in which a request may be tried again, and may wait for the provider's limit."""
MAX_FAILURES = 6
"""Tries, not counting those refused for being too many."""
BACKOFF_BASE = 0.5
"""Seconds."""
BACKOFF_CAP = 8.0
"""Seconds."""
CONNECT_WITHIN = 10.0
"""Seconds, at most, for a connection, and again for its TLS."""
CLOSED = "this client is closed: no request leaves it any more"


class Options(TypedDict, total=False):
    """
    What clients take beside key and base URL.

    :param timeout: seconds (30) a try may take after it is connected
    :param max_concurrency: requests in flight at most (8)
    :param requests_per_second: fixed ceiling; None: the provider's headers rule
    :param keep_free: share (0 to 0.9) of the provider's remaining limit that is left to other software
    :param allow_insecure_http: permit http to a test server; never to the public API
    :param transport: an httpx transport to use instead of sockets, for tests
    :param clock: time source, for tests
    :param observe: is shown every answer as it came, refusals too, before anything is made of it
    """

    timeout: float
    max_concurrency: int
    requests_per_second: float | None
    keep_free: float
    allow_insecure_http: bool
    transport: httpx.AsyncBaseTransport | None
    clock: Clock
    observe: Callable[[Answer], None] | None


class Transport:
    """Send requests of one account. Parameters as :class:`AsyncTelnyxClient`; :class:`Options`."""

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        timeout: float = 30.0,
        max_concurrency: int = 8,
        requests_per_second: float | None = None,
        keep_free: float = 0.0,
        allow_insecure_http: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = SYSTEM_CLOCK,
        observe: Callable[[Answer], None] | None = None,
    ) -> None:
        self.base_url = checked_base_url(base_url, allow_insecure_http)
        checked_key(api_key)
        check_number("timeout", timeout, 0.001, 3600, "seconds, more than 0")
        check_number("max_concurrency", max_concurrency, 1, 256, "a whole number from 1 to 256")
        check_number("keep_free", keep_free, 0, 0.9, "a share from 0 to 0.9")
        if requests_per_second is not None:
            check_number("requests_per_second", requests_per_second, 0.001, 100_000, "more than 0")
        self.clock = clock
        self._observe = observe
        self.pacer = pacer_for(self.base_url, api_key, clock)
        self.max_concurrency = int(max_concurrency)
        if transport is None:
            kept, self._alone = open_connections(self.base_url, self.max_concurrency)
        else:
            kept, self._alone = [transport] * self.max_concurrency, transport
        self._all = {self._alone, *kept}
        self._free: asyncio.LifoQueue[httpx.AsyncBaseTransport] = asyncio.LifoQueue()
        for each in kept:
            self._free.put_nowait(each)
        self._on_their_way = 0
        self._closed = False
        self.requests_made = 0
        self.clock_offset: timedelta | None = None
        self._rate = requests_per_second
        self._keep_free = keep_free
        self._timeout = timeout
        self._connect_within = min(CONNECT_WITHIN, timeout)
        self._headers = [
            ("Host", urlsplit(self.base_url).netloc),
            ("Authorization", f"Bearer {api_key}"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "gzip, deflate"),
            ("User-Agent", "airflow-provider-telnyx-porting"),
        ]

    async def aclose(self) -> None:
        """Let nobody send any more, and close all connections: with requests on their way, when these have ended."""
        self._closed = True
        await self._close_when_idle()

    async def _close_when_idle(self) -> None:
        if self._closed and not self._on_their_way:
            async with AsyncExitStack() as stack:  # who is cancelled meanwhile closes them all the same
                for each in self._all:
                    stack.push_async_callback(each.aclose)

    @asynccontextmanager
    async def _free_connection(self) -> AsyncIterator[httpx.AsyncBaseTransport]:
        """Wait for one that is free: so many requests are in flight at most."""
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)

    # -- requests ------------------------------------------------------------------------------------------------------

    async def get(self, path: str, params: Mapping[str, str] | None, read: Callable[[Answer], T]) -> T:
        """
        GET, tried again while that makes sense.

        :param read: makes of the answer what is returned; a body that is not JSON counts as a failed try
        :raises TelnyxError: of the last try
        """
        tries = _Tries(self.clock)
        while True:
            try:
                async with self._free_connection() as connection:
                    ticket = await self._turn("GET", path, tries)
                    answer = await self._send(connection, "GET", path, params, ticket)
                return read(answer)
            except TelnyxError as error:
                await tries.again_or_raise(error, retried=worth_another_get(error))

    async def post(self, path: str, *, slot: int | None = None, send_by: datetime | None = None) -> Answer:
        """
        POST without a body, tried again only after what certainly had no effect, and never with a slot.

        :param slot: a grant reserved before; without one it is waited for here
        :param send_by: the latest time to write the request, on our clock
        :raises TelnyxError: with ``not_processed`` when it certainly had no effect
        """
        tries = _Tries(self.clock)
        while True:
            try:
                async with self._free_connection():
                    ticket = slot or await self._turn("POST", path, tries)
                    return await self._send(self._alone, "POST", path, None, ticket, send_by)
            except TelnyxError as error:
                await tries.again_or_raise(error, retried=slot is None and worth_another_post(error))

    async def reserve(self) -> int:
        """
        Wait until the pace lets one request go, and return the number of that grant.

        :raises RateLimitedError: when the provider's limit lets none go for 90 s
        """
        return await self._turn("POST", "", _Tries(self.clock))

    # -- one try -------------------------------------------------------------------------------------------------------

    async def _turn(self, method: str, path: str, tries: _Tries) -> int:
        tries.start()
        while True:
            if self._closed:
                raise RuntimeError(CLOSED)
            grant = self.pacer.ask(self._rate, self._keep_free)
            if grant.ticket:
                return grant.ticket
            if grant.by_provider and not tries.time_for(grant.wait):
                reason = f"the rate limit lets no request go for another {grant.wait:.0f} s"
                raise RateLimitedError(reason, method=method, path=path, retry_after=grant.wait)
            await self.clock.sleep(grant.wait)

    async def _send(
        self,
        connection: httpx.AsyncBaseTransport,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        ticket: int,
        send_by: datetime | None = None,
    ) -> Answer:
        if self._closed:
            raise RuntimeError(CLOSED)
        url = f"{self.base_url}{path}?{urlencode(params)}" if params else f"{self.base_url}{path}"
        timeouts = {"connect": self._connect_within, "read": self._timeout, "write": self._timeout, "pool": None}
        way = Way(self.clock, path, send_by)
        way.check_time()
        extensions = {"timeout": timeouts, "trace": way.look} if method == "POST" else {"timeout": timeouts}
        request = httpx.Request(method, url, headers=self._headers, extensions=extensions)
        self.requests_made += 1
        self._on_their_way += 1
        try:
            response, body = await exchange(connection, request, way)
        finally:
            self._on_their_way -= 1
            await self._close_when_idle()
        now = self.clock.time()
        headers = response.headers
        date = http_date(headers.get("date"))
        if date is not None:
            # The header is cut to the second, so on average it is half a second behind.
            self.clock_offset = read_difference(date + timedelta(seconds=0.5), datetime.fromtimestamp(now, UTC))
        self.pacer.heard(ticket, headers)
        answer = Answer(path, response.status_code, headers, body, date)
        if self._observe is not None:
            self._observe(answer)
        if 200 <= response.status_code < 300:
            return answer
        error = status_error(method, path, response.status_code, headers, body, now)
        if isinstance(error, RateLimitedError):
            error.retry_after = self.pacer.refused(ticket, error.retry_after)
        raise error


class _Tries:
    """The tries of one request: how many failed, and how long they have taken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: float | None = None
        self._failures = 0

    def start(self) -> None:
        """Let the time run from the first turn on, not while queueing for it."""
        if self._ends is None:
            self._ends = self._clock.monotonic() + RETRY_FOR

    def time_for(self, wait: float) -> bool:
        return self._ends is None or self._clock.monotonic() + wait <= self._ends

    async def again_or_raise(self, error: TelnyxError, *, retried: bool) -> None:
        """Wait for the next try, or raise the error of the last one."""
        if not retried:
            raise error
        if isinstance(error, RateLimitedError):
            wait = error.retry_after or 0.0
        else:
            self._failures += 1
            wait = random.uniform(0, min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (self._failures - 1)))
        if self._failures >= MAX_FAILURES or not self.time_for(wait):
            raise error
        log.info("%s; trying again in %.1f s", error, wait)
        await self._clock.sleep(wait)
