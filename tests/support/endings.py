"""A server on a real socket that answers each request, or ends it, as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Self

from tests.support.scripted import GOOD as EVENT_DATA

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    Ending = Callable[[asyncio.StreamWriter], Awaitable[None]]

GOOD = json.dumps(EVENT_DATA).encode()
ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"
FOUND = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(GOOD), GOOD)


class Server:
    """Reads requests whole; each is answered, or ended, as the next of its endings has it."""

    def __init__(self, *endings: Ending, tls: ssl.SSLContext | None = None) -> None:
        self.endings = list(endings)
        self.tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self.serving: list[Any] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v2"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await asyncio.gather(*self.serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.append(asyncio.current_task())
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await self.endings.pop(0)(writer)


async def accept(writer: asyncio.StreamWriter) -> None:
    writer.write(ACCEPTED)
    await writer.drain()


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def stop_in_the_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 202 Acc")
    await writer.drain()
    writer.close()


async def stop_in_the_body(writer: asyncio.StreamWriter) -> None:
    writer.write(ACCEPTED.replace(b"2\r\n\r\n", b"200\r\n\r\n"))
    await writer.drain()
    writer.close()


async def babble(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 2OO the customer Ada\r\n\r\n")
    await writer.drain()
    writer.close()


async def shout(writer: asyncio.StreamWriter) -> None:
    writer.write(ACCEPTED.replace(b"202 Accepted\r\n", b"202 Accepted\r\nx-long: " + b"x" * 200_000 + b"\r\n"))
    await writer.drain()


async def say_nothing(writer: asyncio.StreamWriter) -> None:
    pass


async def find(writer: asyncio.StreamWriter) -> None:
    writer.write(FOUND)
    await writer.drain()
