"""Through proxies and TLS: what was not passed on was not sent, and nobody is believed without a certificate."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.errors import (
    ConnectError,
    NotSentError,
)
from tests.support.endings import (
    Server,
    accept,
    find,
    leave,
    say_nothing,
)
from tests.support.mirror import StillClock
from tests.support.samples import EVENT
from tests.support.scripted import KEY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mute", [True, False], ids=["says nothing", "hangs up"])
async def test_what_a_proxy_never_passed_on_was_not_sent(mute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server(*[say_nothing if mute else leave] * 9) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/v2"))
        monkeypatch.setenv("NO_PROXY", "")
        options: dict[str, Any] = {"clock": StillClock(), "timeout": 0.3}
        async with AsyncTelnyxClient(KEY, "https://api.example.test/v2", **options) as client:
            with pytest.raises(ConnectError, match="through the proxy") as caught:
                await client.republish_porting_event(EVENT, slot=await client.reserve_slot())
    assert caught.value.not_processed
    assert len(proxy.requests) == 1


async def test_what_a_proxy_passes_on_too_late_is_not_sent(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, late = StillClock(), 0.0
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            clock.now += late
            inward, outward = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
            with closing(outward):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(_pass(reader, outward), _pass(inward, writer))

    async with Server(accept, tls=serving) as server, await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        async with AsyncTelnyxClient(KEY, server.url, clock=clock) as client:
            for late in (9.0, 11.0):
                send_by = datetime.fromtimestamp(clock.now, UTC) + timedelta(seconds=10)
                slot = await client.reserve_slot()
                if late < 10:
                    await client.republish_porting_event(EVENT, slot=slot, send_by=send_by)
                else:
                    with pytest.raises(NotSentError, match="it is past"):
                        await client.republish_porting_event(EVENT, slot=slot, send_by=send_by)
    assert len(server.requests) == 1


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
        writer.close()


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
    async with Server(*[find] * 9, tls=serving) as server:
        async with AsyncTelnyxClient(KEY, server.url, clock=StillClock(), max_concurrency=1) as client:
            for _ in range(9):
                await client.get_porting_event(EVENT)
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
