"""One request: what is retried, what is certain, what is never sent, and what never shows."""

from __future__ import annotations

import asyncio
import gzip
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from telnyx_porting.client import AsyncTelnyxClient, TelnyxClient, transport
from telnyx_porting.errors import (
    AuthenticationError,
    ConnectError,
    ContractError,
    EnvelopeError,
    InvalidRequestError,
    NotFoundError,
    NotJsonError,
    NotSentError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeout,
    ServerError,
    SettingsError,
    StatusError,
    TelnyxError,
    TransportError,
)
from tests.unit import samples
from tests.unit.mirror import StillClock
from tests.unit.samples import EVENT

KEY = "KEY0123SECRET"
GOOD = {"data": samples.event()}
Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Script:
    """Answers in turn; the last one for ever."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests: list[httpx.Request] = []
        self.clock = StillClock()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else step(request)

    def client(self, **options: Any) -> AsyncTelnyxClient:
        options = {"transport": httpx.MockTransport(self._answer), "clock": self.clock} | options
        return AsyncTelnyxClient(KEY, "https://api.example.test/v2", **options)


def get(script: Script, **options: Any) -> Any:
    async def run() -> Any:
        async with script.client(**options) as client:
            return await client.get_porting_event(EVENT)

    return asyncio.run(run())


def republish(script: Script, *, reserved: bool = False, send_by: datetime | None = None) -> Any:
    async def run() -> Any:
        async with script.client() as client:
            slot = await client.reserve_slot() if reserved else None
            return await client.republish_porting_event(EVENT, slot=slot, send_by=send_by)

    return asyncio.run(run())


def ok() -> httpx.Response:
    return httpx.Response(200, json=GOOD)


def fail(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


# -- GET ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
        httpx.ReadTimeout("late"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("gone"),
        fail(408),
        fail(425),
        fail(429, retry_after="1"),
        fail(500),
        fail(502),
        fail(503),
        httpx.Response(200, content=b'{"data":{"id":'),
        httpx.Response(200, content=b""),
    ],
)
def test_a_get_is_tried_again(trouble: Step) -> None:
    script = Script(trouble, trouble, ok())
    assert get(script).id == EVENT
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, StatusError),
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, StatusError),
        (418, StatusError),
        (422, InvalidRequestError),
    ],
)
def test_a_refused_get_is_not(status: int, error: type[TelnyxError]) -> None:
    script = Script(fail(status))
    with pytest.raises(error) as caught:
        get(script)
    assert type(caught.value) is error
    assert caught.value.status == status
    assert len(script.requests) == 1


def test_a_get_ends_after_a_few_failures() -> None:
    script = Script(fail(503))
    with pytest.raises(ServerError):
        get(script)
    assert len(script.requests) == transport.MAX_FAILURES
    assert all(seconds <= transport.BACKOFF_CAP for seconds in script.clock.slept)


def test_a_get_ends_at_its_deadline() -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        script.clock.now += 40
        raise httpx.ReadTimeout("late")

    script = Script(slow)
    with pytest.raises(RequestTimeout):
        get(script)
    assert len(script.requests) == 3


def test_a_get_waits_as_long_as_a_429_says() -> None:
    script = Script(fail(429, retry_after="17"), ok())
    get(script)
    assert sum(script.clock.slept) == pytest.approx(17)


def test_but_not_longer_than_its_deadline() -> None:
    script = Script(fail(429, retry_after="3600"))
    with pytest.raises(RateLimitedError) as caught:
        get(script)
    assert caught.value.retry_after == 3600
    assert caught.value.status == 429
    assert script.clock.slept == []


def test_waiting_for_a_lane_is_no_failure() -> None:
    """Two a second, one at a time: the last of 300 starts after two minutes and is not out of time."""
    script = Script(ok())

    async def run() -> None:
        async with script.client(requests_per_second=2, max_concurrency=1) as client:
            await asyncio.gather(*(client.get_porting_event(EVENT) for _ in range(300)))

    started = script.clock.now
    asyncio.run(run())
    assert script.clock.now - started == pytest.approx(149.5, abs=1)


# -- republish ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [httpx.ConnectError("refused"), httpx.ConnectTimeout("late"), fail(429)])
def test_a_republish_is_sent_again_when_it_certainly_had_no_effect(trouble: Step) -> None:
    script = Script(trouble, httpx.Response(204))
    republish(script)
    assert len(script.requests) == 2


@pytest.mark.parametrize(
    "trouble",
    [httpx.ReadTimeout("late"), httpx.WriteError("reset"), httpx.ReadError("x"), fail(500), fail(503), fail(408)],
)
def test_a_republish_that_may_have_been_done_is_never_sent_again(trouble: Step) -> None:
    """The SDK sends it three times."""
    script = Script(trouble)
    with pytest.raises(TelnyxError) as caught:
        republish(script)
    assert not caught.value.not_processed
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("trouble", "certain"),
    [(httpx.ConnectError("refused"), True), (fail(429), True), (fail(404), True), (fail(500), False)],
)
def test_with_a_slot_nothing_is_sent_again(trouble: Step, certain: bool) -> None:
    script = Script(trouble)
    with pytest.raises(TelnyxError) as caught:
        republish(script, reserved=True)
    assert caught.value.not_processed is certain
    assert len(script.requests) == 1


def test_a_receipt_carries_the_providers_date() -> None:
    script = Script(httpx.Response(204, headers={"date": "Mon, 23 Nov 2026 12:00:00 GMT", "x-request-id": "r1"}))
    receipt = republish(script, reserved=True)
    assert receipt.date == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert receipt.request_id == "r1"
    assert script.requests[0].method == "POST"
    assert script.requests[0].url.path == f"/v2/porting/events/{EVENT}/republish"
    assert script.requests[0].content == b""


def test_past_its_time_nothing_is_sent() -> None:
    script = Script(httpx.Response(204))
    past = datetime.fromtimestamp(script.clock.now, UTC) - timedelta(seconds=1)
    with pytest.raises(NotSentError) as caught:
        republish(script, reserved=True, send_by=past)
    assert caught.value.not_processed
    assert script.requests == []


def test_the_connect_may_not_outlast_send_by() -> None:
    seen: list[dict[str, float]] = []

    def look(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(204)

    script = Script(look)
    republish(script, reserved=True, send_by=datetime.fromtimestamp(script.clock.now + 3, UTC))
    assert seen[0]["connect"] == pytest.approx(1.5)


async def test_a_slot_holds_its_place_until_it_is_used_or_released() -> None:
    script = Script(httpx.Response(204))
    async with script.client(max_concurrency=1) as client:
        slot = await client.reserve_slot()
        other = asyncio.ensure_future(client.reserve_slot())
        await asyncio.sleep(0)
        assert not other.done()
        slot.release()
        slot.release()
        second = await other
        await client.republish_porting_event(EVENT, slot=second)
        with pytest.raises(SettingsError, match="neither used nor released"):
            await client.republish_porting_event(EVENT, slot=second)
        assert len(script.requests) == 1
        (await client.reserve_slot()).release()


async def test_a_slot_is_not_lost_to_a_bad_id() -> None:
    script = Script(httpx.Response(204))
    async with script.client(max_concurrency=1) as client:
        with pytest.raises(SettingsError):
            await client.republish_porting_event("x", slot=await client.reserve_slot())
        (await client.reserve_slot()).release()


async def test_a_slot_is_refused_when_the_provider_blocks_for_long() -> None:
    script = Script(fail(429, retry_after="600"))
    async with script.client() as client:
        with pytest.raises(RateLimitedError):
            await client.get_porting_event(EVENT)
        with pytest.raises(RateLimitedError) as caught:
            await client.reserve_slot()
    assert caught.value.not_processed
    assert caught.value.retry_after == pytest.approx(600)


async def test_a_cancelled_wait_gives_its_lane_back() -> None:
    script = Script(ok())
    async with script.client(max_concurrency=1) as client:
        slot = await client.reserve_slot()
        waiting = [asyncio.ensure_future(client.get_porting_event(EVENT)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        slot.release()
        waiting[1].cancel()
        assert (await waiting[2]).id == EVENT
        await asyncio.gather(*waiting, return_exceptions=True)
        (await client.reserve_slot()).release()


async def test_nothing_leaves_a_closed_client() -> None:
    """Whoever still waits for a lane, holds a slot or begins anew: what runs on after an error sends no more."""
    script = Script(httpx.Response(204))
    client = script.client(max_concurrency=1)
    slot = await client.reserve_slot()
    waiting = asyncio.ensure_future(client.republish_porting_event(EVENT))
    await asyncio.sleep(0)
    await client.aclose()
    for late in (waiting, client.republish_porting_event(EVENT, slot=slot), client.republish_porting_event(EVENT)):
        with pytest.raises(RuntimeError, match="closed"):
            await late
    assert not script.requests


# -- error bodies ---------------------------------------------------------------------------------------------------

BODIES = [
    b"",
    b"   ",
    b"<html><body>Bad gateway</body></html>",
    b'{"errors":[{"code":"10031","ti',
    b'{"errors":[]}',
    b'{"errors":{}}',
    b'{"errors":[7]}',
    b'{"errors":[{"code":7,"title":["x"],"source":"y"}]}',
    b"[]",
    b"null",
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 302])
@pytest.mark.parametrize("body", BODIES)
def test_any_error_body_is_survived(status: int, body: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        get(Script(httpx.Response(status, content=body)))
    assert caught.value.status == status


def test_an_error_says_what_telnyx_said_and_nothing_of_its_detail() -> None:
    error = {"code": "10031", "title": "Invalid\nfilter", "detail": "of Jane Doe", "source": {"parameter": "filter[x]"}}
    with pytest.raises(InvalidRequestError) as caught:
        get(Script(httpx.Response(422, json={"errors": [error]}, headers={"x-request-id": "r-1"})))
    assert (caught.value.code, caught.value.title, caught.value.parameter) == ("10031", "Invalid filter", "filter[x]")
    assert caught.value.request_id == "r-1"
    assert caught.value.path == f"/porting/events/{EVENT}"
    assert "Jane" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", EnvelopeError),
        (b"null", EnvelopeError),
        (b"{}", EnvelopeError),
        (b'{"data":[]}', EnvelopeError),
        (b'{"data":{}}', EnvelopeError),
        (b'{"data":{"id":7}}', EnvelopeError),
        (b"<html>", NotJsonError),
        (b"[" * 100_000, NotJsonError),
    ],
)
def test_a_body_that_is_not_the_envelope_is_a_contract_error(body: bytes, error: type[ContractError]) -> None:
    with pytest.raises(error):
        get(Script(httpx.Response(200, content=body)))


def test_a_bad_row_is_named() -> None:
    script = Script(httpx.Response(200, json={"data": [samples.event(), {"id": None}], "meta": {"total_results": 2}}))

    async def run() -> None:
        async with script.client() as client:
            async for _ in client.iter_porting_events():
                pass

    with pytest.raises(EnvelopeError, match=r"data\[1\] is an event without id"):
        asyncio.run(run())


class Endless(httpx.AsyncByteStream):
    """A body without end."""

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" " * 2**20

    async def aclose(self) -> None:
        self.closed = True


def test_a_body_without_end_is_given_up() -> None:
    stream = Endless()
    with pytest.raises(ContractError, match="larger than"):
        get(Script(lambda request: httpx.Response(200, stream=stream)))
    assert stream.closed


def test_a_packed_bomb_is_given_up() -> None:
    bomb = gzip.compress(b" " * (transport.MAX_BODY + 1))

    class Packed(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield bomb

    with pytest.raises(ContractError, match="larger than"):
        get(Script(lambda request: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Packed())))


def test_a_packed_body_is_unpacked_and_a_broken_one_is_no_json() -> None:
    packed = gzip.compress(httpx.Response(200, json=GOOD).content)

    class Stream(httpx.AsyncByteStream):
        def __init__(self, body: bytes) -> None:
            self.body = body

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield self.body

    def answer(body: bytes) -> Callable[[httpx.Request], httpx.Response]:
        return lambda request: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Stream(body))

    assert get(Script(answer(packed))).id == EVENT
    with pytest.raises(NotJsonError):
        get(Script(answer(b"not gzip")))


async def test_a_trickle_is_ended_by_the_timeout() -> None:
    """httpx's own time-out starts anew with every byte."""

    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0)

    script = Script(lambda request: httpx.Response(200, stream=Trickle()))
    async with script.client(timeout=0.02) as client:
        with pytest.raises(RequestTimeout):
            await client.republish_porting_event(EVENT)


# -- what never shows, and where nothing is ever sent ---------------------------------------------------------------


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


async def test_errors_keep_their_cause() -> None:
    cause = OSError("no route to host")

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from cause

    script = Script(refuse)
    async with script.client() as client:
        with pytest.raises(ConnectError) as caught:
            async for _ in client.iter_porting_events():
                pass
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    assert caught.value.__cause__.__cause__ is cause


async def test_the_providers_clock_is_noticed() -> None:
    script = Script(
        ok(), lambda request: httpx.Response(200, json=GOOD, headers={"date": "Sat, 31 Oct 2026 00:02:00 GMT"})
    )
    async with script.client() as client:
        await client.get_porting_event(EVENT)
        assert client.clock_offset is None
        await client.get_porting_event(EVENT)
        assert client.clock_offset == timedelta(seconds=120.5)
        assert client.requests_made == 2


def test_other_trouble_is_a_transport_error() -> None:
    with pytest.raises(TransportError):
        get(Script(httpx.LocalProtocolError("x")))
    with pytest.raises(TransportError):
        get(Script(OSError("x")))


@pytest.mark.parametrize(
    ("url", "env", "proxied"),
    [
        ("https://api.telnyx.com/v2", {"HTTPS_PROXY": "http://proxy.test:3128"}, True),
        ("https://api.telnyx.com/v2", {"HTTPS_PROXY": "http://proxy.test:3128", "NO_PROXY": "telnyx.com"}, False),
        ("http://127.0.0.1:1/v2", {"HTTP_PROXY": "http://proxy.test:3128"}, False),
        ("https://api.telnyx.com/v2", {"HTTP_PROXY": "http://proxy.test:3128"}, False),
    ],
)
def test_of_the_environment_only_the_https_proxy_is_used(
    url: str, env: dict[str, str], proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    seen: list[Any] = []
    real = httpx.AsyncHTTPTransport

    def watched(**options: Any) -> httpx.AsyncHTTPTransport:
        seen.append(options["proxy"])
        return real(**options)

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", watched)
    AsyncTelnyxClient(KEY, url)
    assert set(seen) == ({"http://proxy.test:3128"} if proxied else {None})
