"""The simulator: a world, the loop that lets its time pass, and the API in front of it. It knows no socket."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from include.sandbox import scenarios
from include.sandbox.api import deliveries as api_deliveries
from include.sandbox.api import events as api_events
from include.sandbox.api import notifications as api_notifications
from include.sandbox.api import orders as api_orders
from include.sandbox.api.errors import ApiError, plain
from include.sandbox.api.ratelimit import RateLimiter
from include.sandbox.api.wire import Gate
from include.sandbox.mail.postman import Postman, Rules

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from include.sandbox.world.world import World


@dataclass(slots=True)
class Options:
    """How a simulator is started."""

    host: str = "127.0.0.1"
    port: int = 8787
    api_key: str = "KEY_SANDBOX"
    scenario: str = "empty"
    events: int = 0
    latency_ms: float = 0.0
    rate_limit: int = 0
    seed: int = 1
    control_token: str = ""
    """Asked for under /sandbox/; needed where others could reach it."""


class Simulator:
    """One simulated Telnyx: its world, the postman who carries its webhooks, and the API in front of it."""

    def __init__(self, options: Options) -> None:
        if not _is_loopback(options.host) and not options.control_token:
            raise ValueError(
                f"host {options.host!r} lets others reach /sandbox/: set SANDBOX_CONTROL_TOKEN, or use 127.0.0.1"
            )
        self.options = options
        self.rules = Rules()
        self.inbox: list[dict[str, object]] = []
        self._wake = asyncio.Event()
        self.postman: Postman = None  # type: ignore[assignment]
        self.start_over(options.scenario, options.seed, options.events)

    def start_over(self, scenario: str, seed: int, events: int) -> None:
        """Replace the world by a new one; the inbox, which is not part of it, stays."""
        world = scenarios.build(scenario, seed, events)
        if self.postman is not None:
            self._closing = asyncio.ensure_future(self.postman.close())
        self.world = world
        self.world.on_schedule = self._wake.set
        self.postman = Postman(self.world, self.rules, on_idle=self._wake.set)
        api = Starlette(
            routes=[
                Mount(
                    "/v2",
                    routes=[
                        *api_events.routes,
                        *api_orders.routes,
                        *api_deliveries.routes,
                        *api_notifications.routes,
                    ],
                )
            ],
            exception_handlers={ApiError: _api_error, HTTPException: _http_error},
        )
        api.state.world = self.world
        limiter = RateLimiter(self.world, self.options.rate_limit)
        self.gate = Gate(api, self.world, self.options.api_key, limiter, self.options.latency_ms / 1000)
        self._wake.set()

    async def tick(self) -> None:
        """Let the world's time pass."""
        while True:
            self._wake.clear()
            try:
                self.world.run_due()
            except Exception:
                self.world.phase = "broken"
                traceback.print_exc()
            if self.world.phase == "ending" and not self.postman.in_flight:
                self.world.clock.set(frozen=True)
                self.world.phase = "frozen"
            due = self.world.next_due_us
            wait = None if due is None else self.world.clock.wall_seconds_until(due)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait if wait is None else min(wait, 60.0))

    async def stop(self) -> None:
        """Let nothing more happen, and nothing be on its way."""
        self.world.clock.set(frozen=True)
        await self.postman.drop()

    def due_now(self) -> bool:
        """Say whether something scheduled is due."""
        due = self.world.next_due_us
        return due is not None and due <= self.world.clock.now_us()

    def clock_changed(self) -> None:
        """Look at the agenda again."""
        self.world.run_due()
        self._wake.set()


async def _api_error(request: Request, error: Exception) -> Response:
    world: World = request.app.state.world
    return cast("ApiError", error).response(world.switches)


async def _http_error(request: Request, error: Exception) -> Response:
    world: World = request.app.state.world
    refused = cast("HTTPException", error)
    return plain(refused.status_code, refused.detail, dict(refused.headers or {})).response(world.switches)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
