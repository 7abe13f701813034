"""
The wire: aiohttp's connections behind httpx's seam.

The client speaks httpx's types, so a caller may hand in any of its transports. Its own sockets are aiohttp's (which
Airflow's HTTP provider brings along): a request costs about half the work, and one pool serves all lanes.

What counts most here is what an error says. Only what aiohttp raises before a request is begun becomes
:class:`httpx.ConnectError`, :class:`httpx.ConnectTimeout` or :class:`httpx.ProxyError`: who sends again after one of
these sends nothing twice. Whatever else breaks may have been processed.
"""

from __future__ import annotations

import select
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from telnyx_porting.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

IDLE = 5.0
"""Seconds after which an unused connection is not used again: the other end may be about to close it."""
BUFFER = 2**20
"""Bytes read ahead: a page and its head come in without a pause."""
LONGEST_HEADER = 2**16
"""Bytes of one header of an answer."""
PART = 2**16
"""Bytes of a body handed on at once: packed, they may be a thousand times as many."""


class Wire(httpx.AsyncBaseTransport):
    """
    Connections to one provider, opened when first used, in the event loop that uses them.

    :param base_url: decides on TLS and, for https only, on the environment's proxy, which sees no key
    :raises SettingsError: when that proxy cannot be one
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        self._proxy = _proxy() if secure and not proxy_bypass(parts.hostname or "") else None
        self._tls: ssl.SSLContext | bool = ssl.create_default_context() if secure else True
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Send one request without a body, over TLS where its address says so; redirects are not followed.

        :raises httpx.TransportError: see above
        """
        if self._session is None:
            self._session = self._open()
        bounds = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(total=None, connect=bounds.get("connect"), sock_read=bounds.get("read"))
        with _in_words_of_httpx():
            answer = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers,
                allow_redirects=False,
                timeout=timeout,
                proxy=self._proxy,
            )
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=_Connections(limit=0, keepalive_timeout=IDLE, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=["Content-Type"],
            read_bufsize=BUFFER,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
        )
        session._retry_connection = False  # a second try is the client's to make: it is paced, and counted
        return session


class _Connections(aiohttp.TCPConnector):
    """Connections of which one is used again only while it is silent, and still there."""

    async def _get(self, *about: Any) -> Any:
        # What came unasked would be taken for the answer to the next request; and a close shows here although the
        # event loop had no time yet to look.
        while True:
            kept: Any = await super()._get(*about)
            if kept is None or not (kept.protocol.should_close or _readable(kept.transport)):
                return kept
            kept.close()


def _readable(transport: Any) -> bool:
    waiting = select.poll()
    waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _proxy() -> str | None:
    given = getproxies().get("https")
    if not given:
        return None
    try:
        url = URL(given)
        f"{url.user}{url.password}".encode("latin-1")
        good = url.scheme in ("http", "https") and bool(url.host and url.port) and ":" not in (url.user or "")
    except ValueError:
        good = False
    if not good:
        raise SettingsError("HTTPS_PROXY", "(not shown)", "a proxy such as http://proxy.example.com:3128")
    return given


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it comes in."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_words_of_httpx():
            async for part in self._answer.content.iter_chunked(PART):
                yield part

    async def aclose(self) -> None:
        # A connection with something left to read is of no further use; one read to the end is back in the pool.
        self._answer.close()


@contextmanager
def _in_words_of_httpx() -> Iterator[None]:
    """Say what happened, without aiohttp's own error: it may hold headers, a query or the proxy's password."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise httpx.ConnectTimeout("no connection in time") from None
    except aiohttp.ClientHttpProxyError as error:
        raise httpx.ProxyError(f"the proxy answered {error.status}") from None
    except aiohttp.ClientConnectorError as error:  # its text is the host, the port and the reason
        raise httpx.ConnectError(str(error)) from error.__cause__
    except TimeoutError as error:  # also aiohttp's own
        raise httpx.ReadTimeout(type(error).__name__) from None
    except (aiohttp.ClientError, ValueError) as error:
        raise httpx.ReadError(type(error).__name__) from None
