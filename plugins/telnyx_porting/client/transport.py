"""
One request to Telnyx: authentication, pace, retries by verb, and the error an answer means.

httpx's transports are used without its client: there is nothing here to follow redirects, keep cookies or read
``.netrc``. Of the environment only the proxy for https is used, and only for https, where it sees no key.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import random
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import orjson

from telnyx_porting.client.pacer import Clock, http_date, pacer_for, retry_after_seconds
from telnyx_porting.errors import (
    AuthenticationError,
    ConnectError,
    ContractError,
    InvalidRequestError,
    NotFoundError,
    NotJsonError,
    NotSentError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeout,
    ServerError,
    SettingsError,
    StatusError,
    TelnyxError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telnyx_porting.client.pacer import Pacer

log = logging.getLogger("telnyx_porting.client")

PUBLIC_HOST = "api.telnyx.com"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BODY = 32 * 2**20
"""Bytes. A full page of events is about 200 kB."""
RETRY_FOR = 90.0
"""Seconds after which a GET is not tried again."""
MAX_TRIES = 6
BACKOFF_BASE = 0.5
BACKOFF_CAP = 8.0
"""Seconds."""
CONNECT_WITHIN = 10.0
"""Seconds, at most, for a connection, and again for its TLS."""
_RETRIED_STATUSES = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    date: datetime | None

    @property
    def request_id(self) -> str | None:
        """Telnyx's id of the request."""
        return self.headers.get("x-request-id")


class Lane:
    """The right to have one request in flight, and the connection to do so."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport


class Lanes:
    """
    Bound the requests in flight; the lowest rank goes first, then the first come.

    Each lane keeps a connection of its own: httpx's pool looks at all its connections for every request.
    """

    def __init__(self, lanes: list[Lane]) -> None:
        self._all = lanes
        self._free = list(lanes)
        self._waiting: list[tuple[int, int, asyncio.Future[Lane]]] = []
        self._order = count()

    async def acquire(self, rank: int) -> Lane:
        """Wait for a lane."""
        if self._free:
            return self._free.pop()
        ready: asyncio.Future[Lane] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._order), ready))
        try:
            return await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                self.release(ready.result())
            raise

    def release(self, lane: Lane) -> None:
        """Hand a lane on."""
        while self._waiting:
            ready = heapq.heappop(self._waiting)[2]
            if not ready.done():
                ready.set_result(lane)
                return
        self._free.append(lane)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in {id(lane.transport): lane.transport for lane in self._all}.values():
            await transport.aclose()


class Slot:
    """A granted request: a lane and the pacer's word. Used by one request, or given back."""

    def __init__(self, owner: Transport, lane: Lane, ticket: int) -> None:
        self._owner = owner
        self._lane = lane
        self._ticket = ticket
        self._open = True

    def use(self) -> tuple[Lane, int]:
        """
        Take what the slot holds; the taker releases the lane.

        :raises SettingsError: when it is used already
        """
        if not self._open:
            raise SettingsError("slot", "used", "a slot is good for one request; reserve another")
        self._open = False
        return self._lane, self._ticket

    def release(self) -> None:
        """Give the slot back unused; does nothing after its use."""
        if self._open:
            self._open = False
            self._owner.pacer.give_back()
            self._owner.lanes.release(self._lane)


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
        self.base_url = _checked_base_url(base_url, allow_insecure_http)
        _check_key(api_key)
        _check_number("timeout", timeout, 0.001, 3600, "seconds, greater than 0")
        _check_number("max_concurrency", max_concurrency, 1, 256, "a whole number from 1 to 256")
        _check_number("keep_free", keep_free, 0, 0.9, "a share from 0 to 0.9")
        if requests_per_second is not None:
            _check_number("requests_per_second", requests_per_second, 0.001, 100_000, "greater than 0")
        self.clock = clock
        self.pacer: Pacer = pacer_for(self.base_url, api_key, clock)
        self._pacing = asyncio.Lock()
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
        self.lanes = Lanes(_make_lanes(self.base_url, int(max_concurrency), transport))
        self.requests_made = 0
        self.clock_offset: timedelta | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        await self.lanes.aclose()

    # -- verbs -----------------------------------------------------------------------------------------------

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, rank: int = 0) -> Answer:
        """
        GET, tried again while that makes sense and for 90 s at most.

        :param path: below the base URL
        :param params: query
        :param rank: among waiting requests the lowest goes first
        :raises TelnyxError: of the last try
        """
        give_up_at = self.clock.monotonic() + RETRY_FOR
        for attempt in count(1):
            try:
                lane, ticket = await self._grant("GET", path, rank, give_up_at)
                return await self._send("GET", path, params, lane, ticket)
            except TelnyxError as error:
                wait = self._wait_before_retry(error, attempt)
                if wait is None or self.clock.monotonic() + wait > give_up_at:
                    raise
                log.info("%s; trying again in %.1f s", error, wait)
                await self.clock.sleep(wait)
        raise AssertionError("unreachable")

    async def post_once(self, path: str, *, slot: Slot | None = None, send_by: datetime | None = None) -> Answer:
        """
        POST without a body, tried again only after what certainly had no effect, and never with a slot.

        :param path: below the base URL
        :param slot: a grant reserved before; without one it is waited for here
        :param send_by: the latest time to write the request, on our clock
        :raises TelnyxError: with ``not_processed`` when it certainly had no effect
        """
        give_up_at = self.clock.monotonic() + RETRY_FOR
        if slot is not None:
            lane, ticket = slot.use()
            return await self._send("POST", path, None, lane, ticket, send_by)
        for attempt in count(1):
            try:
                lane, ticket = await self._grant("POST", path, 0, give_up_at)
                return await self._send("POST", path, None, lane, ticket, send_by)
            except (ConnectError, RateLimitedError) as error:
                wait = self._wait_before_retry(error, attempt)
                if wait is None or self.clock.monotonic() + wait > give_up_at:
                    raise
                await self.clock.sleep(wait)
        raise AssertionError("unreachable")

    async def reserve(self) -> Slot:
        """
        Wait until one request may go, and hold that right.

        :raises RateLimitedError: when that would take longer than 90 s
        """
        lane, ticket = await self._grant("POST", "", 0, self.clock.monotonic() + RETRY_FOR)
        return Slot(self, lane, ticket)

    # -- one try ---------------------------------------------------------------------------------------------

    async def _grant(self, method: str, path: str, rank: int, give_up_at: float) -> tuple[Lane, int]:
        """Wait for a lane, then for the pacer: so those with a lane are few, and asked in order."""
        lane = await self.lanes.acquire(rank)
        try:
            async with self._pacing:
                while True:
                    wait, ticket = self.pacer.ask(self._rate, self._keep_free)
                    if ticket:
                        return lane, ticket
                    if self.clock.monotonic() + wait > give_up_at:
                        raise RateLimitedError(
                            f"the rate limit lets no request go for another {wait:.0f} s",
                            method=method,
                            path=path,
                            retry_after=wait,
                        )
                    await self.clock.sleep(wait)
        except BaseException:
            self.lanes.release(lane)
            raise

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        lane: Lane,
        ticket: int,
        send_by: datetime | None = None,
    ) -> Answer:
        """Send once over a granted lane, and release it."""
        try:
            connect_within = self._connect_within(method, path, send_by)
            url = f"{self.base_url}{path}?{urlencode(params)}" if params else f"{self.base_url}{path}"
            timeouts = {"connect": connect_within, "read": self._timeout, "write": self._timeout, "pool": None}
            request = httpx.Request(method, url, headers=self._headers, extensions={"timeout": timeouts})
            self.requests_made += 1
            response, body = await self._exchange(request, lane, path, 2 * connect_within)
        finally:
            self.lanes.release(lane)
        now = self.clock.time()
        date = http_date(response.headers.get("date"))
        if date is not None:
            # The header is cut to the second, so on average it is half a second behind.
            said = date + timedelta(seconds=0.5)
            self.clock_offset = said - datetime.fromtimestamp(now, UTC)
        self.pacer.heard(ticket, response.headers)
        if 200 <= response.status_code < 300:
            self.pacer.accepted()
            return Answer(response.status_code, response.headers, body, date)
        error = status_error(method, path, response.status_code, response.headers, body, now)
        if isinstance(error, RateLimitedError):
            error.retry_after = self.pacer.refused(error.retry_after)
        raise error

    async def _exchange(
        self, request: httpx.Request, lane: Lane, path: str, connect_within: float
    ) -> tuple[httpx.Response, bytes]:
        """Write the request and read the whole answer, or say in our words why not."""
        about: dict[str, Any] = {"method": request.method, "path": path}
        try:
            # The time-out of httpx is one per read: a trickle would never end.
            async with asyncio.timeout(self._timeout + connect_within):
                response = await lane.transport.handle_async_request(request)
                try:
                    response.request = request
                    return response, await _read(response, about)
                finally:
                    await response.aclose()
        except httpx.ConnectTimeout as error:
            raise ConnectError("no connection in time", **about) from error
        except (httpx.ConnectError, httpx.PoolTimeout, httpx.ProxyError) as error:
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
            raise NotSentError(f"not sent: it is past {send_by.isoformat()}", method=method, path=path)
        # The bound applies to the connection and once more to its TLS.
        return min(within, left / 2)

    def _wait_before_retry(self, error: TelnyxError, attempt: int) -> float | None:
        """Say how long to wait before the next try; None when there should be none."""
        if attempt >= MAX_TRIES or isinstance(error, NotSentError):
            return None
        if isinstance(error, RateLimitedError):
            return error.retry_after or 0.0
        again = isinstance(error, (TransportError, ServerError, NotJsonError))
        if not again and error.status not in _RETRIED_STATUSES:
            return None
        return random.uniform(0, min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (attempt - 1)))


async def _read(response: httpx.Response, about: dict[str, Any]) -> bytes:
    """Read a body of bounded size."""
    parts: list[bytes] = []
    size = 0
    chunks = response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()
    async for part in chunks:
        size += len(part)
        if size > MAX_BODY:
            reason = f"the body is larger than {MAX_BODY // 2**20} MiB"
            raise ContractError(reason, status=response.status_code, **about)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def status_error(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes, now: float
) -> StatusError:
    """
    Make the error of an answer other than 2xx; its body may be anything.

    :param now: our clock, seconds since the epoch
    """
    code, title, parameter = _said(body)
    about: dict[str, Any] = {
        "method": method,
        "path": path,
        "status": status,
        "code": code,
        "title": title,
        "request_id": headers.get("x-request-id"),
    }
    if status == 401:
        return AuthenticationError("401: the API key is not accepted", **about)
    if status == 403:
        return PermissionDeniedError("403: the API key may not do this", **about)
    if status == 404:
        return NotFoundError("404: not found", **about)
    if status in (400, 422):
        return InvalidRequestError(f"{status}: the request is refused", parameter=parameter, **about)
    if status == 429:
        wait = retry_after_seconds(headers, now)
        return RateLimitedError("429: too many requests", retry_after=wait, **about)
    if status >= 500:
        return ServerError(f"{status}: Telnyx failed", **about)
    if 300 <= status < 400:
        return StatusError(f"{status}: a redirect, which is not followed", **about)
    # A 408 or 409 may come after the fact; other refusals do not.
    return StatusError(f"{status}: refused", not_processed=status not in (408, 409), **about)


def _said(body: bytes) -> tuple[str | None, str | None, str | None]:
    """Read code, title and parameter of ``{"errors": [...]}``; from anything else, nothing."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return None, None, None
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    source = first.get("source")
    source = source if isinstance(source, dict) else {}
    return (
        _short(first.get("code")),
        _short(first.get("title")),
        _short(source.get("parameter") or source.get("pointer")),
    )


def _short(value: object) -> str | None:
    """Keep a word of theirs on one line and short."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return "".join(character if character.isprintable() else " " for character in value[:120])


def decode_json(answer: Answer, path: str) -> Any:
    """
    Decode a body.

    :raises NotJsonError: when it is empty, truncated or something else
    """
    try:
        return orjson.loads(answer.body)
    except ValueError:
        # orjson refuses lone surrogates; JSON allows them, and a comment may hold one.
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            pass
    what = "empty" if not answer.body.strip() else "not JSON"
    about = {"status": answer.status, "request_id": answer.request_id}
    raise NotJsonError(f"the body is {what}", path=path, **about)  # type: ignore[arg-type]


# -- checking what we are given ------------------------------------------------------------------------------


def _checked_base_url(base_url: str, allow_insecure_http: bool) -> str:
    expected = "a URL such as https://api.telnyx.com/v2"
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        parts.port  # noqa: B018  (raises when it is out of range)
    except ValueError:
        raise SettingsError("base_url", base_url, expected) from None
    if parts.username or parts.password:
        raise SettingsError("base_url", "<hidden>", "without user name and password")
    if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment:
        raise SettingsError("base_url", base_url, expected)
    if parts.scheme == "http" and host not in LOOPBACK:
        if host == PUBLIC_HOST or host.endswith(".telnyx.com"):
            raise SettingsError("base_url", base_url, "the public API is only spoken to over https")
        if not allow_insecure_http:
            expected = "https, or allow_insecure_http for a test server of yours: the key would be readable"
            raise SettingsError("base_url", base_url, expected)
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path.rstrip('/'), safe='/%-._~')}"


def _check_key(api_key: str) -> None:
    if not isinstance(api_key, str) or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise SettingsError("api_key", "<hidden>", "printable characters without spaces")
    if not api_key:
        raise SettingsError("api_key", "", "a Telnyx API key, as in the portal under Keys & Credentials")


def _check_number(field: str, value: float, least: float, most: float, expected: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise SettingsError(field, value, expected)


def _make_lanes(base_url: str, number: int, transport: httpx.AsyncBaseTransport | None) -> list[Lane]:
    if transport is not None:
        return [Lane(transport) for _ in range(number)]
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    proxy = getproxies().get("https") if secure and not proxy_bypass(parts.hostname or "") else None
    # Loading the system's certificates takes 20 ms: once for all lanes, and not at all without TLS.
    context: ssl.SSLContext | bool = ssl.create_default_context() if secure else False
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    return [
        Lane(httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=False))
        for _ in range(number)
    ]
