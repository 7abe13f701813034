"""
The wire: aiohttp's connections behind httpx's seam.

The client speaks httpx's types, so a caller may hand in any of its transports. Its own sockets are aiohttp's (which
Airflow's HTTP provider brings along): a request costs a third of the work, and one pool serves all lanes.

What counts most here is what an error says. Only what aiohttp raises before a request is begun becomes
:class:`httpx.ConnectError`, :class:`httpx.ConnectTimeout` or :class:`httpx.ProxyError`: who sends again after one of
these sends nothing twice. Whatever else breaks may have been processed.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

IDLE = 5.0
"""Seconds after which an unused connection is not used again: the other end may be about to close it."""
BUFFER = 2**20
"""Bytes read ahead: a page and its head come in without a pause."""
LONGEST_HEADER = 2**16
"""Bytes of one header of an answer."""


class Wire(httpx.AsyncBaseTransport):
    """
    Connections to one provider, opened when first used, in the event loop that uses them.

    :param base_url: decides on TLS and, for https only, on the environment's proxy, which sees no key
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        self.proxy = getproxies().get("https") if secure and not proxy_bypass(parts.hostname or "") else None
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
                proxy=self.proxy,
            )
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=BUFFER,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
        )


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it comes in."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_words_of_httpx():
            async for part in self._answer.content.iter_any():
                yield part

    async def aclose(self) -> None:
        # A connection with something left to read is of no further use; one read to the end is back in the pool.
        self._answer.close()


@contextmanager
def _in_words_of_httpx() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except aiohttp.ClientHttpProxyError as error:  # its text tells the proxy's address, password included
        raise httpx.ProxyError(f"the proxy answered {error.status}") from None
    except aiohttp.ClientProxyConnectionError as error:
        raise httpx.ProxyError(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error)) from error
    except TimeoutError as error:  # also aiohttp's own
        raise httpx.ReadTimeout(str(error)) from error
    except aiohttp.ClientError as error:
        raise httpx.ReadError(str(error)) from error
