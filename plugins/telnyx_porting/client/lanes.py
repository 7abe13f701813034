"""Lanes bound the requests in flight; a slot is a granted lane, held until its request is written."""

from __future__ import annotations

import asyncio
import heapq
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

from telnyx_porting.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from telnyx_porting.client.pacer import Pacer

CLOSED = "this client is closed: no request leaves it any more"


class Lanes:
    """
    Bound the requests in flight; the lowest rank goes first, then the first come.

    :param number: of requests in flight at most
    :param transport: what they are sent over; closed with the lanes
    """

    def __init__(self, number: int, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.number = number
        self.closed = False
        self._free = number
        self._on_their_way = 0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    async def acquire(self, rank: float) -> None:
        """
        Wait for a lane.

        :raises RuntimeError: when the client is closed meanwhile
        """
        if self._free:
            self._free -= 1
            return
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._order), ready))
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled() and not ready.exception():
                self.release()
            raise

    def release(self) -> None:
        """Hand a lane on."""
        while self._waiting:
            ready = heapq.heappop(self._waiting)[2]
            if not ready.done():
                ready.set_result(None)
                return
        self._free += 1

    @asynccontextmanager
    async def on_the_way(self) -> AsyncIterator[httpx.AsyncBaseTransport]:
        """
        Give what to send one request over; after a close, the last of them closes the connections.

        :raises RuntimeError: when the client is closed
        """
        if self.closed:
            raise RuntimeError(CLOSED)
        self._on_their_way += 1
        try:
            yield self.transport
        finally:
            self._on_their_way -= 1
            if self.closed:
                await self._close_when_idle()

    async def aclose(self) -> None:
        """Let nobody send any more, and close all connections: with requests on their way, when these have ended."""
        self.closed = True
        while self._waiting:
            ready = heapq.heappop(self._waiting)[2]
            if not ready.done():
                ready.set_exception(RuntimeError(CLOSED))
        await self._close_when_idle()

    async def _close_when_idle(self) -> None:
        if not self._on_their_way:
            await self.transport.aclose()


class Slot:
    """
    A granted request: a lane and the pacer's word. Used by one request, or given back.

    :param lanes: where the lane came from
    :param pacer: who granted it
    :param ticket: the grant's number
    """

    def __init__(self, lanes: Lanes, pacer: Pacer, ticket: int) -> None:
        self._lanes = lanes
        self._pacer = pacer
        self._ticket = ticket
        self._open = True

    def use(self) -> int:
        """
        Take what the slot holds, and return its ticket; the taker releases the lane.

        :raises SettingsError: when it is used or released already
        """
        if not self._open:
            raise SettingsError("slot", "used", "a slot that was neither used nor released: reserve another")
        self._open = False
        return self._ticket

    def release(self) -> None:
        """Give the slot back unused; does nothing after its use."""
        if self._open:
            self._open = False
            self._pacer.give_back()
            self._lanes.release()
