"""What never shows, and where nothing is ever sent."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from typing import Any, Self

import httpx
import pytest

from telnyx_porting.client import AsyncTelnyxClient, TelnyxClient
from telnyx_porting.errors import (
    ConnectError,
    SettingsError,
    StatusError,
    TelnyxError,
)
from tests.support.mirror import StillClock
from tests.support.samples import EVENT
from tests.support.scripted import KEY, Script, Step, fail, get, ok, republish


@pytest.mark.parametrize("trouble", [fail(401), fail(500), httpx.ReadError("x"), httpx.Response(200, content=b"{")])
def test_the_key_is_nowhere_but_in_its_header(trouble: Step, caplog: pytest.LogCaptureFixture) -> None:
    script = Script(trouble)
    with caplog.at_level(logging.DEBUG), pytest.raises(TelnyxError) as caught:
        get(script)
    client = script.client()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(client) + repr(vars(caught.value))
    assert KEY not in shown
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert client.key_fingerprint != KEY


@pytest.mark.parametrize("key", ["", "two words", "new\nline", "schlüssel", None, 7])
def test_an_impossible_key_is_refused_and_not_shown(key: Any) -> None:
    with pytest.raises(SettingsError, match="api_key") as caught:
        TelnyxClient(key)
    assert not key or str(key) not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "good"),
    [
        ("https://api.telnyx.com/v2", {}, True),
        ("https://api.telnyx.com/v2/", {}, True),
        ("http://localhost:8787/v2", {}, True),
        ("http://127.0.0.1:8787/v2", {}, True),
        ("http://[::1]:8787/v2", {}, True),
        ("http://sandbox:8787/v2", {}, False),
        ("http://sandbox:8787/v2", {"allow_insecure_http": True}, True),
        ("http://api.telnyx.com/v2", {"allow_insecure_http": True}, False),
        ("http://API.Telnyx.com/v2", {"allow_insecure_http": True}, False),
        ("http://api.telnyx.com./v2", {"allow_insecure_http": True}, False),
        ("http://localhost.evil.test/v2", {}, False),
        ("https://user:pw@api.telnyx.com/v2", {}, False),
        ("https://api.telnyx.com/v2?x=1", {}, False),
        ("https://api.telnyx.com:99999/v2", {}, False),
        ("ftp://api.telnyx.com/v2", {}, False),
        ("api.telnyx.com", {}, False),
        ("https:///v2", {}, False),
        ("", {}, False),
        (None, {}, False),
    ],
)
def test_the_key_goes_over_https_or_stays_on_this_machine(url: Any, options: Any, good: bool) -> None:
    if good:
        assert TelnyxClient(KEY, url, **options).base_url == url.rstrip("/")
    else:
        with pytest.raises(SettingsError, match="base_url") as caught:
            TelnyxClient(KEY, url, **options)
        assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", "30"),
        ("max_concurrency", 0),
        ("max_concurrency", True),
        ("requests_per_second", 0),
        ("keep_free", 0.95),
        ("keep_free", -0.1),
    ],
)
def test_impossible_options_are_named(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{name} = "):
        TelnyxClient(KEY, **{name: value})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    script = Script(httpx.Response(status, headers={"location": "https://evil.test/v2/porting/events"}))
    with pytest.raises(StatusError, match="not followed"):
        get(script)
    with pytest.raises(StatusError) as caught:
        republish(script)
    assert not caught.value.not_processed
    assert {request.url.host for request in script.requests} == {"api.example.test"}


def test_a_cookie_is_not_kept() -> None:
    script = Script(httpx.Response(500, headers={"set-cookie": "a=b"}), ok())
    get(script)
    assert "cookie" not in script.requests[1].headers


@pytest.mark.parametrize("bad", ["", "x", "../secrets", f"{EVENT}/republish", f"{EVENT}\n", f" {EVENT}", None, 7])
async def test_only_uuids_enter_a_path(bad: Any) -> None:
    script = Script(ok())
    async with script.client() as client:
        for verb in (
            client.get_porting_event,
            client.get_porting_order,
            client.get_webhook_delivery,
            client.republish_porting_event,
        ):
            with pytest.raises(SettingsError, match="a UUID such as"):
                await verb(bad)
    assert script.requests == []


class Proxy:
    """Notes what it is asked for, and refuses it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 the customer Ada may not\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("url", "variable", "around", "proxied"),
    [
        ("https://api.example.test/v2", "HTTPS_PROXY", "", True),
        ("https://127.0.0.1:1/v2", "HTTPS_PROXY", "127.0.0.1", False),
        ("http://127.0.0.1:1/v2", "HTTP_PROXY", "", False),
        ("http://127.0.0.1:1/v2", "HTTPS_PROXY", "", False),
        ("https://127.0.0.1:1/v2", "HTTP_PROXY", "", False),
    ],
)
async def test_of_the_environment_only_the_https_proxy_is_used(
    url: str,
    variable: str,
    around: str,
    proxied: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And it hears where to, no more; what it refuses was certainly not processed."""
    caplog.set_level(logging.DEBUG)
    async with Proxy() as proxy:
        monkeypatch.setenv(variable, f"http://me:pass@{proxy.address}")
        monkeypatch.setenv("NO_PROXY", around)
        async with AsyncTelnyxClient(KEY, url, clock=StillClock()) as client:
            with pytest.raises(ConnectError) as caught:
                await client.republish_porting_event(EVENT)
    assert caught.value.not_processed
    shown = "".join(traceback.format_exception(caught.value))
    assert "customer" not in shown
    shown += caplog.text
    assert not any(secret in shown for secret in ("me:pass", base64.b64encode(b"me:pass").decode(), KEY))
    assert bool(proxy.heard) is proxied
    for head in proxy.heard:
        assert head.startswith(b"CONNECT api.example.test:443 ")
        assert b"Proxy-Authorization: Basic " in head
        assert KEY.encode() not in head


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://me:s3cr3t@h:1",
        "proxyhost:9",
        "http://me:s3cr3t@h:99999",
        "http://m%3Ae:s3cr3t@h:1",
    ],
)
def test_a_proxy_that_cannot_be_one_is_named_and_not_shown(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(SettingsError, match="^HTTPS_PROXY = ") as caught:
        AsyncTelnyxClient(KEY)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
