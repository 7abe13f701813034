"""The running simulator: one world behind sockets, and the loop that lets its time pass."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from include.sandbox import api_deliveries, api_events, api_notifications, api_orders, control, scenarios
from include.sandbox.errors import ApiError, plain
from include.sandbox.postman import Postman, Rules
from include.sandbox.ratelimit import RateLimiter
from include.sandbox.wire import Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from include.sandbox.world import World


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


class Sandbox:
    """The ASGI application."""

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
        self._control = control.application(self)
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(self, scope, receive, send)
        elif scope["path"].startswith("/sandbox"):
            self.world.run_due()
            await self._control(scope, receive, send)
        else:
            await self.gate(scope, receive, send)

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

    def due_now(self) -> bool:
        """Say whether something scheduled is due."""
        due = self.world.next_due_us
        return due is not None and due <= self.world.clock.now_us()

    def clock_changed(self) -> None:
        """Look at the agenda again."""
        self.world.run_due()
        self._wake.set()


def bind(options: Options) -> socket.socket:
    """Open the listening socket.

    :raises OSError: naming host and port when they are taken.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((options.host, options.port))
    listener.listen(512)
    return listener


def server(app: Sandbox) -> uvicorn.Server:
    """Make the server; it runs on a socket of :func:`bind`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
            ws="none",
        )
    )


@contextlib.asynccontextmanager
async def _run(app: Starlette) -> AsyncIterator[None]:
    sandbox: Sandbox = app.state.sandbox
    ticking = asyncio.create_task(sandbox.tick())
    yield
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking
    await sandbox.postman.close()


async def _lifespan(sandbox: Sandbox, scope: Scope, receive: Receive, send: Send) -> None:
    shell = Starlette(lifespan=_run)
    shell.state.sandbox = sandbox
    await shell(scope, receive, send)


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
