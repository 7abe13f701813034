"""Keeps slow and idle peers from taking the receiver's place: deadlines, sizes, and who has to go when it is full.

uvicorn keeps a connection that sends its headers or body slowly, or nothing at all, for as long as its peer likes;
this is uvicorn's HTTP protocol with a clock and a bouncer.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_WITHIN = 5.0  # seconds from the connection, or from the first byte of a further request
BODY_WITHIN = 2.0  # seconds from the end of the headers
HEAD_LIMIT = 64 << 10  # bytes
MESSAGE_LIMIT = 2 << 20  # bytes of one request on the wire; its body is answered 413 earlier
UNFINISHED_LIMIT = 64 << 20  # bytes of all unfinished requests
PER_PEER = 200  # connections of one address (a proxy is one)
IN_ALL = 800  # connections; below the usual limit of 1,024 open files
_LOOK = 0.2  # seconds between two looks at the clock

_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Guard:
    """All connections, oldest first, and how they may end before their time."""

    def __init__(self) -> None:
        self.connections: dict[GuardedProtocol, None] = {}
        self.held = 0  # bytes of their unfinished requests
        self.ended: Counter[str] = Counter()  # slow | large | shed | refused
        self._peers: Counter[str] = Counter()

    def protocol(self) -> type[GuardedProtocol]:
        """Return the protocol class for uvicorn whose connections this guard watches."""
        return type("Protocol", (GuardedProtocol,), {"guard": self})

    def admit(self, new: GuardedProtocol) -> None:
        """Take a connection in. When there are too many another one goes, or none can and this one does."""
        admitted = True
        if self._peers[new.peer] >= PER_PEER:
            admitted = self._shed([other for other in self.connections if other.peer == new.peer])
        elif len(self.connections) >= IN_ALL:
            admitted = self._shed(list(self.connections))
        self.connections[new] = None
        self._peers[new.peer] += 1
        if not admitted:
            self.end(new, "refused")

    def forget(self, gone: GuardedProtocol) -> None:
        """Let go of a connection that is closed."""
        if gone in self.connections:
            del self.connections[gone]
            self.held -= gone.received
            self._peers -= Counter({gone.peer: 1})

    def end(self, connection: GuardedProtocol, why: str, last_words: bytes = b"") -> None:
        """Close a connection; its peer is told why unless it has an answer already."""
        self.ended[why] += 1
        self.forget(connection)
        if last_words and not connection.is_answered:
            connection.transport.write(last_words)
            connection.transport.close()
        else:
            connection.transport.abort()

    async def watch(self) -> None:
        """End connections past their deadline."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            now = loop.time()
            for connection in [one for one in self.connections if one.deadline and one.deadline < now]:
                self.end(connection, "slow", _TIMEOUT)

    def hold(self, connection: GuardedProtocol, size: int) -> None:
        """Keep how much a connection holds; when all hold too much, the largest have to go."""
        if connection not in self.connections:
            return
        self.held += size - connection.received
        connection.received = size
        if self.held > UNFINISHED_LIMIT:
            unfinished = sorted(self.connections, key=lambda one: one.received)
            while self.held > UNFINISHED_LIMIT:
                self.end(unfinished.pop(), "large")

    def _shed(self, candidates: list[GuardedProtocol]) -> bool:
        """End the oldest that never sent a valid webhook, else the oldest; never one that waits for an answer."""
        idle = (one for one in candidates if not one.is_waiting)
        victim = min(idle, key=lambda one: one.is_verified, default=None)
        if victim is not None:
            self.end(victim, "shed")
        return victim is not None


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the guard see what it waits for."""

    guard: Guard

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self.is_verified = False  # set by the app once a valid webhook came in on this connection
        self.received = 0  # bytes of the unfinished message
        self.in_head = True
        self.deadline: float | None = self.loop.time() + HEAD_WITHIN
        self.guard.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.forget(self)
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether a complete request waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    @property
    def is_answered(self) -> bool:
        """Whether the unfinished message has its answer already."""
        return not self.in_head and self.cycle.response_started

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.deadline is None and not self.is_waiting:
            self.deadline = self.loop.time() + HEAD_WITHIN
        self.guard.hold(self, self.received + len(data))
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.received > (HEAD_LIMIT if self.in_head else MESSAGE_LIMIT) and not self.transport.is_closing():
            self.guard.end(self, "large", _TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["connection"] = self
        self.guard.hold(self, 0)
        if self.deadline is None:
            self.deadline = self.loop.time() + HEAD_WITHIN

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.in_head = False
        self.deadline = self.loop.time() + BODY_WITHIN

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.in_head = True
        self.guard.hold(self, 0)
        self.deadline = None
