"""One request: what is tried again, what is certain, and what is never sent twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from telnyx_porting.client import transport
from telnyx_porting.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    NotSentError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeout,
    ServerError,
    SettingsError,
    StatusError,
    TelnyxError,
)
from tests.support import samples
from tests.support.samples import EVENT
from tests.support.scripted import Script, Step, fail, get, ok, republish

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


async def test_a_slot_holds_nobody_up() -> None:
    """Used or not: who reserved it may never come back."""
    script = Script(httpx.Response(204))
    async with script.client(max_concurrency=1) as client:
        assert await client.reserve_slot() < await client.reserve_slot()
        with pytest.raises(SettingsError):
            await client.republish_porting_event("x", slot=await client.reserve_slot())
        await client.republish_porting_event(EVENT)
        assert len(script.requests) == 1


async def test_a_slot_is_refused_when_the_provider_blocks_for_long() -> None:
    script = Script(fail(429, retry_after="600"))
    async with script.client() as client:
        with pytest.raises(RateLimitedError):
            await client.get_porting_event(EVENT)
        with pytest.raises(RateLimitedError) as caught:
            await client.reserve_slot()
    assert caught.value.not_processed
    assert caught.value.retry_after == pytest.approx(600)


async def test_requests_in_flight_are_bounded_and_a_cancelled_one_makes_room() -> None:
    gate = asyncio.Event()
    begun = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal begun
        begun += 1
        await gate.wait()
        return httpx.Response(200, json={"data": samples.event()})

    async with Script(ok()).client(max_concurrency=2, transport=httpx.MockTransport(answer)) as client:
        waiting = [asyncio.ensure_future(client.get_porting_event(EVENT)) for _ in range(6)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert begun == 2
        for one in (waiting[0], waiting[3]):  # on its way, and in line
            one.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert begun == 3
        gate.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [getattr(each, "id", type(each)) for each in done] == [
        asyncio.CancelledError,
        EVENT,
        EVENT,
        asyncio.CancelledError,
        EVENT,
        EVENT,
    ]


async def test_nothing_leaves_a_closed_client() -> None:
    """Whoever waits, has a slot or begins anew: what runs on after an error sends no more."""
    begun, gate = 0, asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal begun
        begun += 1
        await gate.wait()
        return httpx.Response(204)

    client = Script(ok()).client(max_concurrency=1, transport=httpx.MockTransport(answer))
    slot = await client.reserve_slot()
    waiting = [asyncio.ensure_future(client.republish_porting_event(EVENT)) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert begun == 1
    await client.aclose()
    gate.set()
    await waiting[0]  # it was on its way
    late = (*waiting[1:], client.republish_porting_event(EVENT, slot=slot), client.republish_porting_event(EVENT))
    for each in (*late, client.reserve_slot()):
        with pytest.raises(RuntimeError, match="closed"):
            await each
    assert begun == 1
