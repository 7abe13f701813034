"""Real sockets that misbehave: what an error says about what may have been processed."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Self

import pytest

from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.errors import ConnectError, RequestTimeout, TransportError
from tests.unit.mirror import StillClock
from tests.unit.samples import EVENT
from tests.unit.scripted import KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Ending = Callable[[asyncio.StreamWriter], Awaitable[None]]

ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Reads requests whole; each is answered, or ended, as the next of its endings has it."""

    def __init__(self, *endings: Ending) -> None:
        self.endings = list(endings)
        self.requests: list[bytes] = []
        self.connections = 0
        self.serving: list[Any] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v2"
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


async def accept_and_leave(writer: asyncio.StreamWriter) -> None:
    await accept(writer)
    writer.close()


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
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await writer.drain()
    writer.close()


async def shout(writer: asyncio.StreamWriter) -> None:
    writer.write(ACCEPTED.replace(b"202 Accepted\r\n", b"202 Accepted\r\nx-long: " + b"x" * 200_000 + b"\r\n"))
    await writer.drain()


async def say_nothing(writer: asyncio.StreamWriter) -> None:
    pass


ENDINGS = [leave, reset, stop_in_the_head, stop_in_the_body, babble, shout, say_nothing]


@pytest.mark.parametrize("before", [0, 1], ids=["a new connection", "a used connection"])
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_a_republish_that_may_have_been_processed_is_sent_once(ending: Ending, before: int) -> None:
    async with Server(*[accept] * before, ending, *[accept] * 9) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), timeout=0.3) as client:
            for _ in range(before):
                await client.republish_porting_event(EVENT)
            with pytest.raises(RequestTimeout if ending is say_nothing else TransportError) as caught:
                await client.republish_porting_event(EVENT)
    assert not isinstance(caught.value, ConnectError)
    assert not caught.value.not_processed
    assert len(server.requests) == before + 1


async def test_a_connection_that_the_provider_closed_is_not_used_again() -> None:
    async with Server(accept_and_leave, accept) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            await client.republish_porting_event(EVENT)
            wire: Any = client._transport.lanes.transport
            while any(kept.is_connected() for pool in wire._session.connector._conns.values() for kept, _ in pool):
                await asyncio.sleep(0)
            await client.republish_porting_event(EVENT)
    assert (len(server.requests), server.connections) == (2, 2)


async def test_connections_are_kept() -> None:
    async with Server(*[accept] * 20) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=2) as client:
            await asyncio.gather(*(client.republish_porting_event(EVENT) for _ in range(20)))
    assert (len(server.requests), server.connections) == (20, 2)
