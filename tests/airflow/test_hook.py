"""The hook: what a connection may say, and what its test button says."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.errors import SettingsError
from telnyx_porting.hooks.telnyx import PUBLIC_API, TelnyxHook
from telnyx_porting.provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from include.sandbox.testing import RunningSandbox

KEY = "KEY_that_must_never_show"


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        pytest.param({}, PUBLIC_API, id="nothing: the public API"),
        pytest.param({"port": 443}, PUBLIC_API, id="the seeded port changes nothing"),
        pytest.param({"host": "api.telnyx.com"}, PUBLIC_API, id="host alone"),
        pytest.param({"host": "https://api.telnyx.com/v2/", "port": 443}, PUBLIC_API, id="whole address"),
        pytest.param({"host": "http://127.0.0.1", "port": 8787}, "http://127.0.0.1:8787/v2", id="port from its field"),
        pytest.param({"host": "http://127.0.0.1:8787/v2", "port": 443}, "http://127.0.0.1:8787/v2", id="port in host"),
        pytest.param({"host": "http://[::1]:8787"}, "http://[::1]:8787/v2", id="IPv6"),
    ],
)
def test_base_url(connect: Callable[..., str], fields: dict[str, Any], base_url: str) -> None:
    assert TelnyxHook(connect(password=KEY, **fields)).get_client().base_url == base_url


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"password": ""}, "password", id="no key"),
        pytest.param({"host": "ftp://api.telnyx.com"}, "base_url", id="scheme"),
        pytest.param({"host": "https://user:pw@api.telnyx.com"}, "base_url", id="login in host"),
        pytest.param({"host": "https://api.telnyx.com:http"}, "host", id="port no number"),
        pytest.param({"extra": {"timeout": "soon"}}, "timeout", id="time-out no number"),
        pytest.param({"extra": {"timeout": "nan"}}, "timeout", id="time-out NaN"),
        pytest.param({"extra": {"timeout": 0}}, "timeout", id="time-out zero"),
        pytest.param({"extra": {"max_concurrency": 1.5}}, "max_concurrency", id="half a request"),
        pytest.param({"extra": {"max_concurrency": True}}, "max_concurrency", id="flag as number"),
        pytest.param({"extra": {"requests_per_second": -1}}, "requests_per_second", id="negative rate"),
        pytest.param({"extra": {"allow_insecure_http": "maybe"}}, "allow_insecure_http", id="flag"),
        pytest.param({"extra": {"proxy": "http://evil"}}, "proxy", id="unknown extra"),
    ],
)
def test_impossible_connection_is_refused_by_name(
    connect: Callable[..., str], fields: dict[str, Any], named: str
) -> None:
    hook = TelnyxHook(connect(**{"password": KEY, **fields}))
    with pytest.raises(SettingsError) as caught:
        hook.get_client()
    assert named in str(caught.value)
    assert "telnyx_default" in str(caught.value)
    assert KEY not in str(caught.value)


def test_extras_reach_the_client(connect: Callable[..., str]) -> None:
    extra = {"timeout": "7.5", "max_concurrency": 3, "requests_per_second": 2, "allow_insecure_http": True}
    hook = TelnyxHook(connect(host="http://sandbox:8787", password=KEY, extra=extra))
    assert {name: hook.arguments[name] for name in extra} == {**extra, "timeout": 7.5}
    assert hook.get_client().base_url == "http://sandbox:8787/v2"
    assert KEY not in repr(hook)


def test_connection_is_read_late_and_once(
    connect: Callable[..., str], sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = TelnyxHook("not_there_yet")
    connect("not_there_yet", host=sandbox.base_url, password=sandbox.api_key)
    with hook.get_client() as client:
        assert client.count_porting_events() == 0
    monkeypatch.delenv("AIRFLOW_CONN_NOT_THERE_YET")
    with hook.get_client() as client:
        assert client.count_porting_events() == 0


def test_asynchronous_client(conn_id: str) -> None:
    async def count() -> int:
        async with TelnyxHook(conn_id).aclient() as client:
            return await client.count_porting_events()

    assert asyncio.run(count()) == 0


def test_hook_has_the_verbs(conn_id: str, sandbox: RunningSandbox) -> None:
    sandbox.act(sandbox.order(), "comment")
    assert TelnyxHook(conn_id).count_porting_events() == 1
    with TelnyxHook(conn_id) as telnyx:
        (event,) = telnyx.iter_porting_events()
        assert telnyx.get_porting_event(event.id).id == event.id


@pytest.mark.parametrize(("asked", "used"), [(2, 2), (50, 5), (None, 5)])
def test_ceiling_is_the_lower_of_connection_and_caller(
    connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch, asked: float | None, used: float
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("telnyx_porting.hooks.telnyx.TelnyxClient", lambda **arguments: given.update(arguments))
    TelnyxHook(connect(password=KEY, extra={"requests_per_second": 5})).get_client(requests_per_second=asked)
    assert given["requests_per_second"] == used


def test_connection_form_and_hook_agree() -> None:
    from telnyx_porting.hooks.telnyx import EXTRAS

    (kind,) = get_provider_info()["connection-types"]
    assert set(kind["conn-fields"]) == set(EXTRAS)
    assert kind["connection-type"] == TelnyxHook.conn_type
    assert "port" not in kind["ui-field-behaviour"]["hidden-fields"], "Airflow's Test button would answer 400"


# -- the test button ---------------------------------------------------------------------------------------------------


def test_green(conn_id: str, sandbox: RunningSandbox) -> None:
    order = sandbox.order()
    sandbox.act(order, "comment", body="hello")
    ok, message = TelnyxHook(conn_id).test_connection()
    assert ok, message
    assert sandbox.base_url in message


@pytest.mark.parametrize(("status", "word"), [(401, "401"), (403, "403")])
def test_refused(conn_id: str, sandbox: RunningSandbox, status: int, word: str) -> None:
    sandbox.fault("status", status=status)
    ok, message = TelnyxHook(conn_id).test_connection()
    assert not ok
    assert word in message
    assert sandbox.api_key not in message


def test_wrong_key(connect: Callable[..., str], sandbox: RunningSandbox) -> None:
    ok, message = TelnyxHook(connect(host=sandbox.base_url, password=KEY)).test_connection()
    assert not ok
    assert message.startswith("401: ")
    assert KEY not in message


def test_unknown_host(connect: Callable[..., str]) -> None:
    ok, message = TelnyxHook(connect(host="https://nowhere.invalid/v2", password=KEY)).test_connection()
    assert not ok
    assert message.startswith("DNS ")


def test_nobody_listens(connect: Callable[..., str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    ok, message = TelnyxHook(connect(host=f"http://127.0.0.1:{port}", password=KEY)).test_connection()
    assert not ok
    assert message.startswith("No connection")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_time_out(connect: Callable[..., str], silent_port: int) -> None:
    hook = TelnyxHook(connect(host=f"http://127.0.0.1:{silent_port}", password=KEY, extra={"timeout": 0.2}))
    ok, message = hook.test_connection()
    assert not ok
    assert message.startswith("No answer in time")


@pytest.fixture
def plain_port() -> Iterator[int]:
    """A port that answers a TLS greeting with plain text."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(1024)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_no_tls(connect: Callable[..., str], plain_port: int) -> None:
    ok, message = TelnyxHook(connect(host=f"https://127.0.0.1:{plain_port}", password=KEY)).test_connection()
    assert not ok
    assert message.startswith("TLS ")


def test_impossible_field_is_said_too(connect: Callable[..., str]) -> None:
    ok, message = TelnyxHook(connect(password=KEY, extra={"timeout": "soon"})).test_connection()
    assert not ok
    assert "timeout = 'soon'" in message
