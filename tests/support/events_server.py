"""
A provider as fast as one can be, for measuring clients: a list of events, and republish under a limit.

``python -m tests.support.events_server EVENTS LATENCY_MS LIMIT``: prints its port, serves until killed. Events are a
minute apart, newest first, of mixed types; bodies are put together from rows encoded once. Every answer goes out
LATENCY_MS after its request came in. LIMIT is per second for republish (0: none); a GET of ``/halve`` halves it.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import unquote

import orjson

from tests.support.samples import event

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)

KINDS = ("status_changed", "new_comment", "split", "messaging_changed")
_PARAMETER = re.compile(r"[?&]([^=&]+)=([^&]*)")


def row(number: int) -> bytes:
    """Encode one event."""
    kind = KINDS[0] if number % 2 else KINDS[number // 2 % 4]
    written = (START + STEP * number).isoformat().replace("+00:00", ".123456Z")
    named = f"{number:08x}-0000-4000-8000-000000000000"
    return orjson.dumps(event(kind, id=named, created_at=written, updated_at=written))


class Shop:
    """What all connections share."""

    def __init__(self, events: int, latency: float, limit: int) -> None:
        self.events, self.latency, self.limit = events, latency, limit
        # A list of a million is made of rows that repeat but for id and times.
        self.rows = [row(number) for number in range(min(events, 50_000))]
        self.window, self.used, self.refused = 0, 0, 0

    def row(self, number: int) -> bytes:
        if number < len(self.rows):
            return self.rows[number]
        old = self.rows[number % len(self.rows)]
        written = (START + STEP * number).isoformat().replace("+00:00", ".123456Z").encode()
        return (
            b'{"id":"%08x' % number
            + old[15 : old.rindex(b'"created_at"')]
            + (b'"created_at":"%s","updated_at":"%s"}' % (written, written))
        )

    def page(self, query: str) -> bytes:
        given = {unquote(name): unquote(value) for name, value in _PARAMETER.findall(query)}
        low, high = 0, self.events - 1
        if since := given.get("filter[created_at][gte]"):
            low = max(low, math.ceil((datetime.fromisoformat(since) - START) / STEP))
        if until := given.get("filter[created_at][lte]"):
            high = min(high, math.floor((datetime.fromisoformat(until) - START) / STEP))
        total, size, number = (
            max(0, high - low + 1),
            int(given.get("page[size]", 20)),
            int(given.get("page[number]", 1)),
        )
        first = high - (number - 1) * size
        rows = [self.row(position) for position in range(first, max(first - size, low - 1), -1)]
        meta = {"page_number": number, "page_size": size, "total_pages": -(-total // size), "total_results": total}
        return b'{"data":[' + b",".join(rows) + b'],"meta":' + orjson.dumps(meta) + b"}"

    def republish(self) -> bytes:
        now = time.time()
        if int(now) != self.window:
            self.window, self.used = int(now), 0
        left = self.limit - self.used
        headers = b"x-ratelimit-limit: %d\r\nx-ratelimit-remaining: %d\r\nx-ratelimit-reset: %d\r\n" % (
            self.limit,
            max(0, left - 1),
            math.ceil(self.window + 1 - now),
        )
        if left <= 0:
            self.refused += 1
            return b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n" + headers
        self.used += 1
        return b"HTTP/1.1 204 No Content\r\n" + headers

    def answer(self, line: str) -> bytes:
        method, target, _ = line.split(" ", 2)
        date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n\r\n"
        if method == "POST":
            return self.republish() + date
        if target.endswith("/halve"):
            self.limit //= 2
        body = self.page(target) if "?" in target else orjson.dumps({"data": {"refused": self.refused}})
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        return head + date + body


class Connection(asyncio.Protocol):
    """Answers one request after another."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.buffer = shop, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            loop = asyncio.get_running_loop()
            due = loop.time() + self.shop.latency
            answer = self.shop.answer(head[: head.index(b"\r\n")].decode())
            if self.shop.latency:
                loop.call_at(due, self.transport.write, answer)  # type: ignore[attr-defined]
            else:
                self.transport.write(answer)  # type: ignore[attr-defined]


async def serve(shop: Shop) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(shop), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def serving(shop: Shop) -> Iterator[str]:
    """Serve in a thread of this process; gives the base URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Connection(shop), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


if __name__ == "__main__":
    import uvloop

    events, latency_ms, limit = (float(word) for word in sys.argv[1:4])
    uvloop.run(serve(Shop(int(events), latency_ms / 1000, int(limit))))
