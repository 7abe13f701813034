"""A wrong secret is tried once: what tries it again and again locks an account."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from telnyx_porting import errors
from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.compat import IS_3_3
from telnyx_porting.errors import FOR_GOOD, AuthenticationError, PermissionDeniedError, ProxyRefusedError, TelnyxError
from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.notifications.deliver import deliver
from telnyx_porting.operators.porting import TelnyxRepublishPortingEventsOperator, TelnyxRetryPolicy
from telnyx_porting.triggers import watching as watchers
from telnyx_porting.triggers.porting import TelnyxPortingWebhooksTrigger
from tests.support.mirror import StillClock
from tests.support.samples import EVENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.airflow
PUBLIC = "https://api.example.test/v2"
PASSWORD = "s3cr3t-word"
NOW = datetime(2026, 10, 1, tzinfo=UTC)


class _Refuse(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        if server.greeting:
            self.wfile.write(server.greeting)
        while line := self.rfile.readline():
            if server.greeting is None:  # HTTP: one refusal a head
                while line.strip():
                    line = self.rfile.readline()
                server.tries += 1
                self.wfile.write(f"HTTP/1.1 {server.status} No\r\ncontent-length: 0\r\n\r\n".encode())
            elif line.upper().startswith(b"EHLO"):
                self.wfile.write(b"250-mail\r\n250 AUTH PLAIN\r\n")
            elif line.upper().startswith(b"AUTH"):
                server.tries += 1
                self.wfile.write(b"535 5.7.8 no\r\n")
            else:
                self.wfile.write(b"221 bye\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    tries = 0

    def __init__(self, status: int, greeting: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), _Refuse)
        self.status, self.greeting = status, greeting
        self.port = self.server_address[1]


@contextmanager
def door(status: int = 407, greeting: bytes | None = None) -> Iterator[_Server]:
    """Somebody who lets nobody in, and counts: an HTTP server or proxy, or with a greeting a mail server."""
    with _Server(status, greeting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(timeout=5)


async def listing(client: AsyncTelnyxClient) -> None:
    async for _ in client.iter_porting_events(created_at_gte=NOW - timedelta(days=90), created_at_lte=NOW):
        pass


async def orders(client: AsyncTelnyxClient) -> None:
    async for _ in client.iter_porting_orders():
        pass


VERBS: dict[str, Callable[[AsyncTelnyxClient], Awaitable[object]]] = {
    "get": lambda client: client.get_porting_event(EVENT),
    "count": lambda client: client.count_porting_events(),
    "republish": lambda client: client.republish_porting_event(EVENT),
    "listing": listing,
    "orders": orders,
}


def api(door: _Server, _: pytest.MonkeyPatch) -> AsyncTelnyxClient:
    return AsyncTelnyxClient("KEY", f"http://127.0.0.1:{door.port}/v2", clock=StillClock())


def our_wire(door: _Server, monkeypatch: pytest.MonkeyPatch) -> AsyncTelnyxClient:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@127.0.0.1:{door.port}")
    return AsyncTelnyxClient("KEY", PUBLIC, clock=StillClock())


def httpx_wire(door: _Server, _: pytest.MonkeyPatch) -> AsyncTelnyxClient:
    transport = httpx.AsyncHTTPTransport(proxy=f"http://me:{PASSWORD}@127.0.0.1:{door.port}")
    return AsyncTelnyxClient("KEY", PUBLIC, clock=StillClock(), transport=transport)


REFUSALS = [
    (api, 401, AuthenticationError, "the API key is not accepted"),
    (api, 403, PermissionDeniedError, "the API key may not do this"),
    (api, 407, ProxyRefusedError, "the proxy refused the user"),
    (our_wire, 401, ProxyRefusedError, "the proxy refused the user"),
    (our_wire, 403, ProxyRefusedError, "the proxy refused to connect"),
    (our_wire, 407, ProxyRefusedError, "the proxy refused the user"),
    (httpx_wire, 403, ProxyRefusedError, "the proxy refused to connect"),
    (httpx_wire, 407, ProxyRefusedError, "the proxy refused the user"),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("wire", "status", "kind", "words"), REFUSALS)
async def test_a_refused_secret_is_tried_once(
    monkeypatch: pytest.MonkeyPatch, wire: Any, status: int, kind: type[TelnyxError], words: str, verb: str
) -> None:
    with door(status) as refusing:
        async with wire(refusing, monkeypatch) as client:
            with pytest.raises(kind, match=f"{status}: {words}") as caught:
                await VERBS[verb](client)
        assert refusing.tries == 1
    assert caught.value.not_processed
    assert PASSWORD not in str(caught.value)
    assert "nothing listens" not in str(caught.value)


def test_nor_does_airflow_try_it_again() -> None:
    for kind in (AuthenticationError, PermissionDeniedError, ProxyRefusedError):
        assert issubclass(kind, FOR_GOOD)
        error = getattr(errors, kind.__name__)("refused")
        assert not IS_3_3 or TelnyxRetryPolicy().evaluate(error, 1, 4).action.name == "FAIL"


def test_the_test_of_a_connection_says_who_refused(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., str]
) -> None:
    with door() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}")
        connect(host=PUBLIC, password="KEY")
        good, words = TelnyxHook().test_connection()
        assert proxy.tries == 1
    assert not good
    assert "the proxy refused the user; look at HTTPS_PROXY" in words
    assert PASSWORD not in words


@pytest.mark.parametrize("wire", ["api", "proxy"])
def test_a_batch_stops_at_the_first_refusal(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., str], context: dict[str, Any], wire: str
) -> None:
    ids = [f"5796a670-482c-490e-8d97-82bfcdc830{number:02d}" for number in range(30)]
    with door(401 if wire == "api" else 407) as refusing:
        here = f"127.0.0.1:{refusing.port}"
        if wire == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@{here}")
        connect(host=f"http://{here}/v2" if wire == "api" else PUBLIC, password="KEY")
        with pytest.raises(AuthenticationError if wire == "api" else ProxyRefusedError):
            TelnyxRepublishPortingEventsOperator(task_id="resend", event_ids=ids).execute(context)  # type: ignore[arg-type]
        assert refusing.tries == 1


async def test_a_trigger_that_asks_the_time_rests_after_a_refusal(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., str], tmp_path: Path
) -> None:
    monkeypatch.setattr(watchers, "ASK_AFTER", 0.01)
    connect("telnyx_porting_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    loads: list[Any] = []
    real = watchers.load_settings
    monkeypatch.setattr(watchers, "load_settings", lambda *about: loads.append(about) or real(*about))

    async def events() -> AsyncIterator[Any]:
        async for event in TelnyxPortingWebhooksTrigger(poll_interval=60).run():
            yield event

    with door(401) as refusing:
        connect(host=f"http://127.0.0.1:{refusing.port}/v2", password="KEY")
        asking = asyncio.create_task(anext(events()))
        while not refusing.tries:
            await asyncio.sleep(0.01)
        seen = len(loads)
        while len(loads) < seen + 5:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert refusing.tries == 1


MESSAGE = Message("telnyx_default", "firing", (), "dedup", "text", NOW)


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("json", 401, "answered 401"),
        ("json", 403, "answered 403"),
        ("json", 407, "answered 407"),
        ("proxied", 407, r"the proxy refused the user \(407\)"),
        ("mail", 535, r"the mail server refused the user \(535\)"),
    ],
)
def test_a_channel_tries_it_once_and_rests(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., str], kind: str, status: int, words: str
) -> None:
    with door(status, b"220 mail\r\n" if kind == "mail" else None) as refusing:
        here = f"127.0.0.1:{refusing.port}"
        if kind == "mail":
            extra = {"disable_ssl": True, "disable_tls": True, "from_email": "watch@example.net"}
            mail = {"host": "127.0.0.1", "port": refusing.port, "login": "me", "password": PASSWORD, "extra": extra}
            connect("alerts", conn_type="smtp", **mail)
            channel = Channel("mail", "alerts", "mail", ("desk@example.net",))
        else:
            if kind == "proxied":
                monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@{here}")
            connect(
                "alerts",
                conn_type="http",
                host="https://alerts.example.test" if kind == "proxied" else f"http://{here}",
            )
            channel = Channel("alerts:json", "alerts", "json")
        with pytest.raises(ChannelError, match=words) as caught:
            deliver(channel, MESSAGE)
        assert refusing.tries == 1
    assert caught.value.refused
    assert caught.value.not_sent
    assert PASSWORD not in str(caught.value)
