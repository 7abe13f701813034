"""Lanes bound the requests in flight; a slot is a granted lane, held until its request is written."""

from __future__ import annotations

import asyncio
import heapq
import ssl
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from telnyx_porting.errors import SettingsError

if TYPE_CHECKING:
    from telnyx_porting.client.pacer import Pacer

CLOSED = "this client is closed: no request leaves it any more"


class Lane:
    """The right to have one request in flight, and the connection to do so."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.busy = False


class Lanes:
    """
    Bound the requests in flight; the lowest rank goes first, then the first come.

    Each lane keeps a connection of its own: httpx's pool looks at all its connections for every request.

    :param base_url: decides on TLS and, for https only, on the environment's proxy
    :param number: of requests in flight at most
    :param transport: used by all lanes instead of sockets
    """

    def __init__(self, base_url: str, number: int, transport: httpx.AsyncBaseTransport | None) -> None:
        own = [transport] * number if transport else _connections(base_url, number)
        self._free = [Lane(connection) for connection in own]
        self._all = list(self._free)
        self._waiting: list[tuple[float, int, asyncio.Future[Lane]]] = []
        self._order = count()
        self.closed = False

    async def acquire(self, rank: float) -> Lane:
        """
        Wait for a lane.

        :raises RuntimeError: when the client is closed meanwhile
        """
        if self._free:
            return self._free.pop()
        ready: asyncio.Future[Lane] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._order), ready))
        try:
            return await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled() and not ready.exception():
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
        """Let nobody send any more, and close all connections: of a busy lane when its request has ended."""
        self.closed = True
        while self._waiting:
            ready = heapq.heappop(self._waiting)[2]
            if not ready.done():
                ready.set_exception(RuntimeError(CLOSED))
        for transport in {id(lane.transport): lane.transport for lane in self._all if not lane.busy}.values():
            await transport.aclose()


def _connections(base_url: str, number: int) -> list[httpx.AsyncBaseTransport]:
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    proxy = getproxies().get("https") if secure and not proxy_bypass(parts.hostname or "") else None
    # Loading the system's certificates takes 20 ms: once for all lanes, and not at all without TLS.
    context: ssl.SSLContext | bool = ssl.create_default_context() if secure else False
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    return [
        httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=False) for _ in range(number)
    ]


class Slot:
    """
    A granted request: a lane and the pacer's word. Used by one request, or given back.

    :param lanes: where the lane came from
    :param lane: the lane
    :param pacer: who granted it
    :param ticket: the grant's number
    """

    def __init__(self, lanes: Lanes, lane: Lane, pacer: Pacer, ticket: int) -> None:
        self._lanes = lanes
        self._lane = lane
        self._pacer = pacer
        self._ticket = ticket
        self._open = True

    def use(self) -> tuple[Lane, int]:
        """
        Take what the slot holds; the taker releases the lane.

        :raises SettingsError: when it is used or released already
        """
        if not self._open:
            raise SettingsError("slot", "used", "a slot that was neither used nor released: reserve another")
        self._open = False
        return self._lane, self._ticket

    def release(self) -> None:
        """Give the slot back unused; does nothing after its use."""
        if self._open:
            self._open = False
            self._pacer.give_back()
            self._lanes.release(self._lane)
