"""
One request to Telnyx: authentication, pace, retries by verb, and the error an answer means.

A transport of httpx is used without httpx's client: there is nothing here to follow redirects, keep cookies or read
``.netrc``. Of the environment only the proxy for https is used, where it sees no key.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode, urlsplit

import httpx

from telnyx_porting.client.answers import Answer, proxy_error, status_error, worth_another_get, worth_another_post
from telnyx_porting.client.checks import check_number, checked_base_url, checked_key
from telnyx_porting.client.clock import Clock, http_date, read_difference
from telnyx_porting.client.lanes import Lanes, Slot
from telnyx_porting.client.pacer import pacer_for
from telnyx_porting.errors import (
    ConnectError,
    ContractError,
    NotJsonError,
    NotSentError,
    RateLimitedError,
    RequestTimeout,
    TelnyxError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_BODY = 32 * 2**20
"""Bytes. A full page of events is about 150 kB."""
RETRY_FOR = 90.0
"""Seconds after its first grant in which a request may be tried again, and may wait for the provider's limit."""
MAX_FAILURES = 6
"""Tries, not counting those refused for being too many."""
BACKOFF_BASE = 0.5
"""Seconds."""
BACKOFF_CAP = 8.0
"""Seconds."""
STEPS_TO_THE_SOCKET = 8
"""Turns of the event loop that a request let go takes, at most, until it is written."""
CONNECT_WITHIN = 10.0
"""Seconds, at most, for a connection, and where a transport has it so, again for its TLS."""


class Transport:
    """
    Send requests of one account.

    :param api_key: Telnyx API key
    :param base_url: up to and including ``/v2``
    :param timeout: seconds for one try, without its connect
    :param max_concurrency: requests in flight at most
    :param requests_per_second: fixed ceiling; None: the provider's headers rule
    :param keep_free: share of the provider's remaining limit never taken
    :param allow_insecure_http: permit http to hosts other than loopback and the public API
    :param transport: an httpx transport to use instead of sockets
    :param clock: time source
    :raises SettingsError: when one of them is impossible
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        timeout: float,
        max_concurrency: int,
        requests_per_second: float | None,
        keep_free: float,
        allow_insecure_http: bool,
        transport: httpx.AsyncBaseTransport | None,
        clock: Clock,
    ) -> None:
        self.base_url = checked_base_url(base_url, allow_insecure_http)
        checked_key(api_key)
        check_number("timeout", timeout, 0.001, 3600, "seconds, more than 0")
        check_number("max_concurrency", max_concurrency, 1, 256, "a whole number from 1 to 256")
        check_number("keep_free", keep_free, 0, 0.9, "a share from 0 to 0.9")
        if requests_per_second is not None:
            check_number("requests_per_second", requests_per_second, 0.001, 100_000, "more than 0")
        self.clock = clock
        self.pacer = pacer_for(self.base_url, api_key, clock)
        if transport is None:
            from telnyx_porting.client.wire import Wire  # aiohttp takes a while, and importing a DAG needs none of it

            transport = Wire(self.base_url)
        self.lanes = Lanes(int(max_concurrency), transport)
        self.requests_made = 0
        self.clock_offset: timedelta | None = None
        self._pacing = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._rate = requests_per_second
        self._keep_free = keep_free
        self._timeout = timeout
        self._headers = [
            ("Host", urlsplit(self.base_url).netloc),
            ("Authorization", f"Bearer {api_key}"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "gzip, deflate"),
            ("User-Agent", "airflow-provider-telnyx-porting"),
        ]

    async def aclose(self) -> None:
        """Close all connections."""
        await self.lanes.aclose()

    # -- requests ------------------------------------------------------------------------------------------------------

    async def get(
        self, path: str, params: Mapping[str, str] | None, read: Callable[[Answer], T], *, rank: float = 0.0
    ) -> T:
        """
        GET, tried again while that makes sense.

        :param path: below the base URL
        :param params: query
        :param read: makes of the answer what is returned; a body that is not JSON counts as a failed try
        :param rank: among waiting requests the lowest goes first
        :raises TelnyxError: of the last try
        """
        tries = _Tries(self.clock)
        while True:
            try:
                ticket = await self._grant("GET", path, rank, tries)
                return await self._read_in_turn(read, await self._send("GET", path, params, ticket))
            except TelnyxError as error:
                await tries.again_or_raise(error, retried=worth_another_get(error))

    async def _read_in_turn(self, read: Callable[[Answer], T], answer: Answer) -> T:
        """Read one answer at a time, after the requests that its lane let go: a page takes milliseconds to read."""
        async with self._reading:
            for _ in range(STEPS_TO_THE_SOCKET):
                await asyncio.sleep(0)
            return read(answer)

    async def post(self, path: str, *, slot: Slot | None = None, send_by: datetime | None = None) -> Answer:
        """
        POST without a body, tried again only after what certainly had no effect, and never with a slot.

        :param path: below the base URL
        :param slot: a grant reserved before; without one it is waited for here
        :param send_by: the latest time to write the request, on our clock
        :raises TelnyxError: with ``not_processed`` when it certainly had no effect
        """
        if slot is not None:
            return await self._send("POST", path, None, slot.use(), send_by)
        tries = _Tries(self.clock)
        while True:
            try:
                ticket = await self._grant("POST", path, 0.0, tries)
                return await self._send("POST", path, None, ticket, send_by)
            except TelnyxError as error:
                await tries.again_or_raise(error, retried=worth_another_post(error))

    async def reserve(self) -> Slot:
        """
        Wait until one request may go, and hold that right.

        :raises RateLimitedError: when the provider's limit lets none go for 90 s
        """
        ticket = await self._grant("POST", "", 0.0, _Tries(self.clock))
        return Slot(self.lanes, self.pacer, ticket)

    # -- one try -------------------------------------------------------------------------------------------------------

    async def _grant(self, method: str, path: str, rank: float, tries: _Tries) -> int:
        """Wait for a lane, then for the pacer: so those who ask the pacer are few, and asked in order."""
        await self.lanes.acquire(rank)
        tries.start()
        try:
            async with self._pacing:
                while True:
                    grant = self.pacer.ask(self._rate, self._keep_free)
                    if grant.ticket:
                        return grant.ticket
                    if grant.by_provider and not tries.time_for(grant.wait):
                        raise RateLimitedError(
                            f"the rate limit lets no request go for another {grant.wait:.0f} s",
                            method=method,
                            path=path,
                            retry_after=grant.wait,
                        )
                    await self.clock.sleep(grant.wait)
        except BaseException:
            self.lanes.release()
            raise

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        ticket: int,
        send_by: datetime | None = None,
    ) -> Answer:
        """Send once over a granted lane, and release it."""
        try:
            async with self.lanes.on_the_way() as transport:
                connect_within = self._connect_within(method, path, send_by)
                url = f"{self.base_url}{path}?{urlencode(params)}" if params else f"{self.base_url}{path}"
                timeouts = {"connect": connect_within, "read": self._timeout, "write": self._timeout, "pool": None}
                request = httpx.Request(method, url, headers=self._headers, extensions={"timeout": timeouts})
                self.requests_made += 1
                response, body = await self._exchange(request, transport, path, 2 * connect_within)
        finally:
            self.lanes.release()
        now = self.clock.time()
        headers = response.headers
        date = http_date(headers.get("date"))
        if date is not None:
            # The header is cut to the second, so on average it is half a second behind.
            self.clock_offset = read_difference(date + timedelta(seconds=0.5), datetime.fromtimestamp(now, UTC))
        self.pacer.heard(ticket, headers)
        if 200 <= response.status_code < 300:
            return Answer(path, response.status_code, headers, body, date)
        error = status_error(method, path, response.status_code, headers, body, now)
        if isinstance(error, RateLimitedError):
            error.retry_after = self.pacer.refused(ticket, error.retry_after)
        raise error

    async def _exchange(
        self, request: httpx.Request, transport: httpx.AsyncBaseTransport, path: str, connect_within: float
    ) -> tuple[httpx.Response, bytes]:
        """Write the request and read the whole answer, or say in our words why not."""
        about: dict[str, Any] = {"method": request.method, "path": path}
        try:
            # The time-out of httpx is one per read: a trickle would never end.
            async with asyncio.timeout(self._timeout + connect_within):
                response = await transport.handle_async_request(request)
                try:
                    return response, await _read(response, about)
                finally:
                    await response.aclose()
        except httpx.ConnectTimeout as error:
            raise ConnectError("no connection in time", **about) from error
        except httpx.ProxyError as error:
            raise proxy_error(error, **about) from error
        except (httpx.ConnectError, httpx.PoolTimeout) as error:
            raise ConnectError(f"no connection: {error}", **about) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise RequestTimeout(f"no complete answer within {self._timeout:g} s", **about) from error
        except httpx.DecodingError as error:
            raise NotJsonError("the body cannot be unpacked", **about) from error
        except (httpx.TransportError, OSError) as error:
            raise TransportError(f"the connection broke ({type(error).__name__})", **about) from error

    def _connect_within(self, method: str, path: str, send_by: datetime | None) -> float:
        """Bound the connect so that what follows it is not written too late."""
        within = min(CONNECT_WITHIN, self._timeout)
        if send_by is None:
            return within
        left = send_by.timestamp() - self.clock.time()
        if left <= 0:
            self.pacer.give_back()
            raise NotSentError(f"not sent: it is past {send_by.isoformat()}", method=method, path=path)
        # A transport may apply the bound to the connection and once more to its TLS.
        return min(within, left / 2)


class _Tries:
    """The tries of one request: how many failed, and how long they have taken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: float | None = None
        self._failures = 0

    def start(self) -> None:
        """Let the time run from the first lane on, not while queueing for it."""
        if self._ends is None:
            self._ends = self._clock.monotonic() + RETRY_FOR

    def time_for(self, wait: float) -> bool:
        """Tell whether a wait fits in."""
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


async def _read(response: httpx.Response, about: dict[str, Any]) -> bytes:
    """Read a body of bounded size."""
    parts: list[bytes] = []
    size = 0
    packed = "content-encoding" in response.headers
    async for part in response.aiter_bytes() if packed else cast("httpx.AsyncByteStream", response.stream):
        size += len(part)
        if size > MAX_BODY:
            reason = f"the body is larger than {MAX_BODY // 2**20} MiB"
            raise ContractError(reason, status=response.status_code, **about)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
