"""While a list is read the garbage collector waits longer, and afterwards as before, however the listing ends."""

from __future__ import annotations

import gc
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.client.collector import YOUNG
from telnyx_porting.errors import TelnyxError
from tests.support.mirror import Mirror, StillClock, spread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _afterwards_all_is_as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    assert gc.get_threshold() == before


def waits() -> bool:
    return gc.get_threshold()[0] == YOUNG


def client(transport: httpx.AsyncBaseTransport | None = None) -> AsyncTelnyxClient:
    transport = transport or Mirror(spread(4_000, timedelta(minutes=10))).transport()
    return AsyncTelnyxClient("KEY", "https://api.example.test/v2", transport=transport, clock=StillClock())


async def test_it_seldom_looks_through_rows() -> None:
    def times() -> int:
        return sum(generation["collections"] for generation in gc.get_stats())

    async with client() as telnyx:
        before = times()
        rows = [event async for event in telnyx.iter_porting_events()]
        assert times() - before < 5  # 30 and more with Python's own patience
    assert len(rows) == 4_000


async def test_two_listings_at_the_same_time() -> None:
    async with client() as telnyx:
        async with aclosing(telnyx.iter_porting_events()) as outer:
            await anext(outer)
            assert len([event async for event in telnyx.iter_porting_events()]) == 4_000
            assert waits()


async def test_a_listing_left_early() -> None:
    async with client() as telnyx:
        async with aclosing(telnyx.iter_porting_events()) as events:
            await anext(events)
            assert waits()


async def test_a_listing_that_fails() -> None:
    async with client(httpx.MockTransport(lambda _: httpx.Response(200, content=b"[]"))) as telnyx:
        with pytest.raises(TelnyxError):
            [event async for event in telnyx.iter_porting_events()]


async def test_a_collector_that_is_switched_off_stays_so() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        async with client() as telnyx, aclosing(telnyx.iter_porting_events()) as events:
            await anext(events)
            assert gc.get_threshold()[0] == 0
        assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
