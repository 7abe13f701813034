"""What a listing sets aside, the garbage collector has back when the listing is over, however it ends."""

from __future__ import annotations

import gc
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.errors import TelnyxError
from tests.unit.mirror import Mirror, StillClock
from tests.unit.test_client_paging import spread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _nothing_is_left_aside() -> Iterator[None]:
    assert gc.get_freeze_count() == 0
    yield
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()


def client(transport: httpx.AsyncBaseTransport | None = None) -> AsyncTelnyxClient:
    transport = transport or Mirror(spread(4_000, timedelta(minutes=10))).transport()
    return AsyncTelnyxClient("KEY", "https://api.example.test/v2", transport=transport, clock=StillClock())


async def test_rows_are_not_looked_through_while_the_list_is_read() -> None:
    async with client() as telnyx:
        async for window in telnyx.iter_proved_windows():
            looked_through = {id(each) for each in gc.get_objects()}
            assert looked_through.isdisjoint(map(id, window.events))


async def test_two_listings_at_the_same_time() -> None:
    async with client() as telnyx:
        async with aclosing(telnyx.iter_porting_events()) as outer:
            await anext(outer)
            assert len([event async for event in telnyx.iter_porting_events()]) == 4_000
            assert gc.get_freeze_count() > 0


async def test_a_listing_left_early() -> None:
    async with client() as telnyx:
        async with aclosing(telnyx.iter_porting_events()) as events:
            await anext(events)
            assert gc.get_freeze_count() > 0


async def test_a_listing_that_fails() -> None:
    async with client(httpx.MockTransport(lambda _: httpx.Response(200, content=b"[]"))) as telnyx:
        with pytest.raises(TelnyxError):
            [event async for event in telnyx.iter_porting_events()]


async def test_one_page_outside_of_a_listing_is_not_set_aside() -> None:
    async with client() as telnyx:
        assert await telnyx.count_porting_events() == 4_000
        assert gc.get_freeze_count() == 0


async def test_what_somebody_else_set_aside_stays_so() -> None:
    gc.freeze()
    try:
        async with client() as telnyx:
            assert len([event async for event in telnyx.iter_porting_events()]) == 4_000
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
