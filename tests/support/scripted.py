"""A client whose requests are answered from a script, in a time of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from telnyx_porting.client import AsyncTelnyxClient
from tests.support import samples
from tests.support.mirror import StillClock
from tests.support.samples import EVENT

if TYPE_CHECKING:
    from datetime import datetime

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
