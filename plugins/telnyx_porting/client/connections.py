"""
Connections to one provider, and one request over one of them: transports of httpx, used without its client.

So there is nothing to follow redirects, keep cookies or read ``.netrc``. Of the environment only the proxy for https is
used, where it sees no key. What counts most is what an error says: who sends again after a :class:`ConnectError` or a
:class:`NotSentError` sends nothing twice.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from telnyx_porting.client.answers import proxy_error
from telnyx_porting.errors import (
    ConnectError,
    ContractError,
    NotJsonError,
    NotSentError,
    RequestTimeout,
    SettingsError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from telnyx_porting.client.clock import Clock

MAX_BODY = 32 * 2**20
"""Bytes. A full page of events is about 150 kB."""
OWN_CA = (
    "where your company signs certificates itself, name its authority's file in SSL_CERT_FILE or REQUESTS_CA_BUNDLE"
)
IDLE = 5.0
"""Seconds after which an unused connection is not used again: the other end may be about to close it."""


def open_connections(base_url: str, number: int) -> tuple[list[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport]:
    """
    Return so many connections that are kept for the next request, and what opens one for each request.

    What is left over on a kept one, or its close, can cross with the next request: a POST must not meet either. Each
    of the kept is a pool of its own, as a pool looks at all its connections before and after each request.

    :param base_url: decides on TLS and, for https only, on the environment's proxy
    :raises SettingsError: when that proxy cannot be one
    """
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    tls = trusted() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    proxy = _proxy(tls) if secure and not _is_direct(parts.hostname or "", parts.port or 443) else None
    opened = partial(httpx.AsyncHTTPTransport, verify=tls, proxy=proxy)
    kept: list[httpx.AsyncBaseTransport] = [
        opened(limits=httpx.Limits(max_connections=1, keepalive_expiry=IDLE)) for _ in range(number)
    ]
    return kept, opened(limits=httpx.Limits(max_keepalive_connections=0))


def trusted() -> ssl.SSLContext:
    """
    Return what is trusted: the machine's authorities, and a company's own, whichever usual variable names them.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` stand in for the machine's, as OpenSSL does it; ``REQUESTS_CA_BUNDLE`` adds.

    :raises SettingsError: when nothing can be read where REQUESTS_CA_BUNDLE says
    """
    context = ssl.create_default_context()
    if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        place = {"capath" if Path(bundle).is_dir() else "cafile": bundle}
        try:
            context.load_verify_locations(**place)
        except OSError:
            raise SettingsError("REQUESTS_CA_BUNDLE", bundle, "a file or folder of certificates (PEM)") from None
    return context


def _is_direct(host: str, port: int) -> bool:
    """Whether NO_PROXY names the host, with its port or without, or a network that it lies in."""
    if proxy_bypass(f"{host}:{port}"):
        return True
    with suppress(ValueError):
        address = ip_address(host)
        for name in getproxies().get("no", "").split(","):
            with suppress(ValueError):
                if address in ip_network(name.strip(), strict=False):
                    return True
    return False


def _proxy(tls: ssl.SSLContext) -> httpx.Proxy | None:
    given = getproxies().get("https")
    if not given:
        return None
    expected = "a proxy such as http://proxy.example.com:3128"
    try:
        url = httpx.URL(given)
    except httpx.InvalidURL:
        raise SettingsError("HTTPS_PROXY", "(not shown)", expected) from None
    if url.scheme not in ("http", "https") or not url.host or ":" in url.username or (url.port or 80) > 65535:
        raise SettingsError("HTTPS_PROXY", "(not shown)", expected)
    return httpx.Proxy(url, ssl_context=tls if url.scheme == "https" else None)


async def exchange(
    connection: httpx.AsyncBaseTransport, request: httpx.Request, way: Way
) -> tuple[httpx.Response, bytes]:
    """
    Write the request and read the whole answer, or say in our words why not.

    :raises ConnectError: nothing was sent
    :raises NotSentError: nothing was sent, as it was too late
    :raises TelnyxError: the request may have been processed
    """
    about: dict[str, Any] = {"method": request.method, "path": way.path}
    timeouts = request.extensions["timeout"]
    try:
        # The time-out of httpx is one per read: a trickle would never end.
        async with asyncio.timeout(timeouts["read"] + 2 * timeouts["connect"]):
            response = await connection.handle_async_request(request)
            try:
                return response, await _read(response, about)
            finally:
                await response.aclose()
    except httpx.ProxyError as error:
        raise proxy_error(error, **about) from None  # its text is the proxy's
    except httpx.ConnectTimeout as error:
        raise ConnectError("no connection in time", **about) from error
    except (httpx.ConnectError, httpx.PoolTimeout) as error:
        advice = f"; {OWN_CA}" if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
        raise ConnectError(f"no connection: {error}{advice}", **about) from error
    except httpx.DecodingError:
        raise NotJsonError("the body cannot be unpacked", **about) from None
    except (httpx.TransportError, OSError) as error:  # its text may be what the provider sent
        if way.connecting:
            raise ConnectError(f"no connection through the proxy ({type(error).__name__})", **about) from None
        if isinstance(error, (httpx.TimeoutException, TimeoutError)):
            raise RequestTimeout(f"no complete answer within {timeouts['read']:g} s", **about) from None
        raise TransportError(f"the connection broke ({type(error).__name__})", **about) from None


class Way:
    """
    How far a POST has come, as httpx's trace tells it: until its own first byte is written, nothing was sent.

    :param send_by: our clock; past it nothing is written
    """

    def __init__(self, clock: Clock, path: str, send_by: datetime | None) -> None:
        self._clock = clock
        self.path = path
        self._send_by = send_by
        self.connecting = False

    def check_time(self) -> None:
        """Give up what would be written too late."""
        if self._send_by is not None and self._send_by.timestamp() <= self._clock.time():
            reason = f"not sent: it is past {self._send_by.isoformat()}"
            raise NotSentError(reason, method="POST", path=self.path)

    async def look(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            self.connecting = True
        elif event == "http11.send_request_headers.started" and info["request"].method != b"CONNECT":
            self.check_time()  # a connection, or a proxy, may have taken long
            self.connecting = False


async def _read(response: httpx.Response, about: dict[str, Any]) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_BODY:
            reason = f"the body is larger than {MAX_BODY // 2**20} MiB"
            raise ContractError(reason, status=response.status_code, **about)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
