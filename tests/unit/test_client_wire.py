"""Real sockets that misbehave: what an error says about what may have been processed."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.client.wire import PART, Wire
from telnyx_porting.errors import ConnectError, RequestTimeout, TelnyxError, TransportError
from tests.support.mirror import StillClock
from tests.support.samples import EVENT
from tests.support.scripted import KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Ending = Callable[[asyncio.StreamWriter], Awaitable[None]]

ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"


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


@pytest.mark.parametrize("late", [b"429 Too Many Requests", b"404 Not Found", b"202 Accepted", b"408 Request Timeout"])
async def test_what_comes_unasked_is_no_answer(late: bytes) -> None:
    """A second POST is sent once, and what it got is its own answer."""
    heard, said = asyncio.Event(), asyncio.Event()

    async def accept_and_say_more(writer: asyncio.StreamWriter) -> None:
        await accept(writer)
        await heard.wait()
        writer.write(ACCEPTED.replace(b"202 Accepted", late))
        await writer.drain()
        said.set()

    async with Server(accept_and_say_more, accept, accept) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            await client.republish_porting_event(EVENT)
            heard.set()
            await said.wait()
            await client.republish_porting_event(EVENT)
    assert (len(server.requests), server.connections) == (2, 2)


@pytest.mark.parametrize("busy", [False, True], ids=["the loop saw it", "the loop was busy"])
def test_a_connection_that_the_provider_closed_is_not_used_again(busy: bool) -> None:
    async def accept_and_leave(writer: asyncio.StreamWriter) -> None:
        await accept(writer)
        await asyncio.to_thread(leaving.wait, 10)
        writer.close()

    async def serve() -> tuple[int, int]:
        async with Server(accept_and_leave, accept) as server:
            address.append(server.url)
            ready.set()
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
            return len(server.requests), server.connections

    async def ask() -> None:
        async with AsyncTelnyxClient(KEY, address[0], clock=StillClock(), max_concurrency=1) as client:
            await client.republish_porting_event(EVENT)
            wire: Any = client._transport.lanes.transport
            ((kept, _),) = next(iter(wire._session.connector._conns.values()))
            looking = select.poll()
            looking.register(kept.transport.get_extra_info("socket").fileno(), select.POLLIN)
            leaving.set()
            if busy:
                assert looking.poll(5_000)  # without giving the loop a turn
            while not busy and kept.is_connected():
                await asyncio.sleep(0)
            await client.republish_porting_event(EVENT)

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
    async with Server(*[accept, leave] * 9) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            await client.republish_porting_event(EVENT)
            with pytest.raises(TelnyxError):
                await client.get_porting_event(EVENT)
            assert client.requests_made == len(server.requests) > 2


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_no_error_holds_a_query_or_the_key(ending: Ending) -> None:
    async with Server(*[ending] * 9) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), timeout=0.2) as client:
            with pytest.raises(TelnyxError) as caught:
                await client.count_porting_events(event_type="porting_order.split")
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert "filter%5B" not in shown
    assert KEY not in shown


async def test_a_body_comes_in_small_parts() -> None:
    """Packed, each may be a thousand times as large, and is looked at before the next."""

    async def much(writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED.replace(b"2\r\n\r\n{}", b"3000000\r\n\r\n") + b"x" * 3_000_000)
        await writer.drain()

    async with Server(much) as server:
        wire = Wire(server.url)
        response = await wire.handle_async_request(httpx.Request("GET", server.url))
        sizes = [len(part) async for part in response.aiter_raw()]
        await wire.aclose()
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= PART


async def test_connections_are_kept() -> None:
    async with Server(*[accept] * 20) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=2) as client:
            await asyncio.gather(*(client.republish_porting_event(EVENT) for _ in range(20)))
    assert (len(server.requests), server.connections) == (20, 2)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this machine's own for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = serialization.Encoding.PEM
    path = tmp_path / "certificate.pem"
    path.write_bytes(signed.public_bytes(pem) + key.private_bytes(pem, *plain))
    return path


async def test_connections_are_kept_over_tls_too(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tickets that TLS 1.3 sends by itself do not count as something unasked."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
    async with Server(*[accept] * 9, tls=serving) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            for _ in range(9):
                await client.republish_porting_event(EVENT)
    assert (len(server.requests), server.connections) == (9, 1)


async def test_a_certificate_that_nobody_vouches_for_is_no_connection(certificate: Path) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    async with Server(accept, tls=serving) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock()) as client:
            with pytest.raises(ConnectError, match="certificate") as caught:
                await client.republish_porting_event(EVENT)
    assert caught.value.not_processed
    assert server.requests == []
