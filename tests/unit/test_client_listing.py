"""A listing while it is read: given as far as it is proved, left without a trace, never held whole."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.client import events as events_module
from telnyx_porting.errors import InvalidRequestError
from telnyx_porting.models.events import PortingEvent, StatusChangedEvent
from tests.support.mirror import NOW, Mirror, StillClock, event, read, spread

pytestmark = pytest.mark.usefixtures("small_windows")


def test_an_open_window_is_closed_at_the_call() -> None:
    future = (NOW + timedelta(hours=1), event(1, NOW + timedelta(hours=1)))
    [window] = read(Mirror([*spread(3), future]))
    assert window.until == NOW
    assert window.since is None
    assert len(window.rows) == 3


def test_a_refused_first_page_is_an_error() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(422, json={"errors": [{"code": "10031"}]}))

    async def run() -> None:
        async with AsyncTelnyxClient("KEY", transport=transport, clock=StillClock()) as client:
            async for _ in client.iter_porting_events():
                pass

    with pytest.raises(InvalidRequestError):
        asyncio.run(run())


async def test_what_is_proved_is_given_before_the_rest_is_read() -> None:
    mirror = Mirror(spread(400))
    async with AsyncTelnyxClient("KEY", transport=mirror.transport(), clock=StillClock()) as client:
        events = client.iter_porting_events(page_size=4)
        await anext(events)
        assert len(mirror.requests) < 40
        await events.aclose()


async def test_leaving_early_ends_what_was_begun() -> None:
    mirror = Mirror(spread(400))
    async with AsyncTelnyxClient("KEY", transport=mirror.transport(), clock=StillClock()) as client:
        before = asyncio.all_tasks()
        async with aclosing(client.iter_porting_events(page_size=4)) as events:
            async for _ in events:
                break
        assert asyncio.all_tasks() == before
        asked = len(mirror.requests)
        await asyncio.sleep(0)
        assert len(mirror.requests) == asked


async def test_no_more_than_a_few_windows_are_held() -> None:
    """Memory does not grow with the list: count the events alive while a deep one is read."""
    mirror = Mirror(spread(600))
    alive: set[int] = set()
    most = 0

    class Watched(StatusChangedEvent):
        __slots__ = ("__weakref__",)

    def watched(raw: dict[str, Any]) -> PortingEvent:
        nonlocal most
        row = Watched(raw, raw["id"], datetime.fromisoformat(raw["created_at"]))
        key = id(row)
        alive.add(key)
        most = max(most, len(alive))
        weakref.finalize(row, alive.discard, key)
        return row

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events_module, "parse_event", watched)
        async with AsyncTelnyxClient("KEY", transport=mirror.transport(), clock=StillClock()) as client:
            count = 0
            async for _ in client.iter_porting_events(page_size=4):
                count += 1
    assert count == 600
    assert most <= 4 * 12
