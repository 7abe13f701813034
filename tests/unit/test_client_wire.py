"""Real sockets that misbehave: what an error says about what may have been processed."""

from __future__ import annotations

import asyncio
import logging
import select
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from telnyx_porting.client import AsyncTelnyxClient, connections
from telnyx_porting.client.connections import open_connections
from telnyx_porting.errors import (
    ConnectError,
    EnvelopeError,
    PermissionDeniedError,
    RequestTimeout,
    TelnyxError,
    TransportError,
)
from tests.support.endings import (
    ACCEPTED,
    FOUND,
    Server,
    accept,
    babble,
    find,
    leave,
    reset,
    say_nothing,
    shout,
    stop_in_the_body,
    stop_in_the_head,
)
from tests.support.mirror import StillClock
from tests.support.samples import EVENT
from tests.support.scripted import KEY

if TYPE_CHECKING:
    from tests.support.endings import Ending

PART = 2**16
"""Bytes of a body that come at once, at most."""
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


@pytest.mark.parametrize("late", [b"429 Too Many Requests", b"404 Not Found", b"202 Accepted", b"408 Request Timeout"])
@pytest.mark.parametrize("at_once", [True, False], ids=["with the answer", "later"])
async def test_what_comes_unasked_is_no_answer_to_a_republish(late: bytes, at_once: bool) -> None:
    """A second POST is sent once, and what it got is its own answer."""
    heard, said = asyncio.Event(), asyncio.Event()

    async def accept_and_say_more(writer: asyncio.StreamWriter) -> None:
        more = ACCEPTED.replace(b"202 Accepted", late)
        writer.write(ACCEPTED + more if at_once else ACCEPTED)
        await writer.drain()
        await heard.wait()
        if not at_once:
            writer.write(more)
        said.set()

    async def refuse(writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED.replace(b"202 Accepted", b"403 Forbidden"))

    async with Server(accept_and_say_more, refuse) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            await client.republish_porting_event(EVENT)
            heard.set()
            await said.wait()
            with pytest.raises(PermissionDeniedError):
                await client.republish_porting_event(EVENT)
    assert (len(server.requests), server.connections) == (2, 2)


async def test_what_comes_unasked_is_no_answer_to_a_get() -> None:
    heard, said = asyncio.Event(), asyncio.Event()

    async def find_and_say_more(writer: asyncio.StreamWriter) -> None:
        await find(writer)
        await heard.wait()
        writer.write(ACCEPTED.replace(b"202 Accepted", b"404 Not Found"))
        await writer.drain()
        said.set()

    async with Server(find_and_say_more, find) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            await client.get_porting_event(EVENT)
            heard.set()
            await said.wait()
            assert (await client.get_porting_event(EVENT)).id == EVENT
    assert (len(server.requests), server.connections) == (2, 2)


async def test_an_answer_about_another_event_is_an_error() -> None:
    """As where two answers came at once: the second one stands where the next request's is looked for."""

    async def find_two(writer: asyncio.StreamWriter) -> None:
        writer.write(FOUND + FOUND)
        await writer.drain()

    async with Server(find_two, find) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            await client.get_porting_event(EVENT)
            with pytest.raises(EnvelopeError, match="another id"):
                await client.get_porting_event(EVENT.replace("1", "2"))


class Watched(httpx.AsyncBaseTransport):
    """Our connections, and the socket of the last answer."""

    def __init__(self, url: str) -> None:
        (self.inner,), _ = open_connections(url, 1)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        self.socket = response.extensions["network_stream"].get_extra_info("socket")
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.parametrize("busy", [False, True], ids=["the loop saw it", "the loop was busy"])
def test_a_connection_that_the_provider_closed_is_not_used_again(busy: bool) -> None:
    async def find_and_leave(writer: asyncio.StreamWriter) -> None:
        await find(writer)
        await asyncio.to_thread(leaving.wait, 10)
        writer.close()

    async def serve() -> tuple[int, int]:
        async with Server(find_and_leave, find) as server:
            address.append(server.url)
            ready.set()
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
            return len(server.requests), server.connections

    async def ask() -> None:
        watched = Watched(address[0])
        options: dict[str, Any] = {"transport": watched, "max_concurrency": 1, "clock": StillClock()}
        async with AsyncTelnyxClient(KEY, address[0], **options) as client:
            await client.get_porting_event(EVENT)
            looking = select.poll()
            looking.register(watched.socket.fileno(), select.POLLIN)
            leaving.set()
            assert looking.poll(5_000)  # without giving the loop a turn
            for _ in range(0 if busy else 20):
                await asyncio.sleep(0)
            await client.get_porting_event(EVENT)
            assert client.requests_made == 2

    address: list[str] = []
    ready, leaving = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as beside:
        served = beside.submit(asyncio.run, serve())
        assert ready.wait(10)
        asyncio.run(ask())
        assert served.result(10) == (2, 2)


async def test_only_what_is_needed_is_sent() -> None:
    async with Server(accept) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock()) as client:
            await client.republish_porting_event(EVENT)
    first, *headers = server.requests[0].decode().strip().split("\r\n")
    assert first == f"POST /v2/porting/events/{EVENT}/republish HTTP/1.1"
    assert dict(header.lower().split(": ") for header in headers) == {
        "host": server.url.removeprefix("http://").removesuffix("/v2"),
        "authorization": f"bearer {KEY.lower()}",
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "user-agent": "airflow-provider-telnyx-porting",
        "content-length": "0",
    }


async def test_every_try_of_a_get_is_counted() -> None:
    async with Server(find, *[leave] * 9) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            await client.get_porting_event(EVENT)
            with pytest.raises(TelnyxError):
                await client.get_porting_event(EVENT)
            assert client.requests_made == len(server.requests) > 2


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_no_error_and_no_log_holds_a_query_or_the_key(ending: Ending, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Server(*[ending] * 9) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), timeout=0.2) as client:
            with pytest.raises(TelnyxError) as caught:
                await client.count_porting_events(event_type="porting_order.split")
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert not any(word in shown + caplog.text for word in ("filter%5B", KEY))
    assert "customer" not in shown


async def test_a_body_comes_in_small_parts() -> None:
    """Packed, each may be a thousand times as large, and is looked at before the next."""

    async def much(writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED.replace(b"2\r\n\r\n{}", b"3000000\r\n\r\n") + b"x" * 3_000_000)
        await writer.drain()

    async with Server(much) as server:
        (wire,), _ = open_connections(server.url, 1)
        response = await wire.handle_async_request(httpx.Request("GET", server.url))
        sizes = [len(part) async for part in response.aiter_raw()]
        await wire.aclose()
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= PART


async def test_connections_are_kept() -> None:
    async with Server(*[find] * 20) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=2) as client:
            await asyncio.gather(*(client.get_porting_event(EVENT) for _ in range(20)))
    assert (len(server.requests), server.connections) == (20, 2)


async def test_a_connection_unused_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.0)
    async with Server(find, find) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            for _ in range(2):
                await client.get_porting_event(EVENT)
    assert server.connections == 2


async def test_a_republish_has_a_connection_of_its_own() -> None:
    """Nothing that another request left on it, and no close, can cross with it."""
    async with Server(find, *[accept] * 3, find) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=2) as client:
            await client.get_porting_event(EVENT)
            for _ in range(3):
                await client.republish_porting_event(EVENT)
            await client.get_porting_event(EVENT)
    assert (len(server.requests), server.connections) == (5, 4)
