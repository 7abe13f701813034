"""The simulator behind sockets: its API under /v2, and what pulls its strings under /sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from include.sandbox.control import routes as control
from include.sandbox.simulator import Options, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send


class Sandbox:
    """The ASGI application."""

    def __init__(self, options: Options) -> None:
        self.simulator = Simulator(options)
        self._control = control.application(self.simulator)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(self.simulator, scope, receive, send)
        elif scope["path"].startswith("/sandbox"):
            self.simulator.world.run_due()
            await self._control(scope, receive, send)
        else:
            await self.simulator.gate(scope, receive, send)


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


class _Server(uvicorn.Server):
    def __init__(self, simulator: Simulator, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._simulator = simulator

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop our own traffic first: a webhook to a sink of ours would come in while the doors are closing."""
        await self._simulator.stop()
        await super().shutdown(sockets)


def server(app: Sandbox) -> uvicorn.Server:
    """Make the server; it runs on a socket of :func:`bind`."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
        ws="none",
    )
    return _Server(app.simulator, config)


@contextlib.asynccontextmanager
async def _run(app: Starlette) -> AsyncIterator[None]:
    simulator: Simulator = app.state.simulator
    ticking = asyncio.create_task(simulator.tick())
    yield
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking
    await simulator.postman.close()


async def _lifespan(simulator: Simulator, scope: Scope, receive: Receive, send: Send) -> None:
    shell = Starlette(lifespan=_run)
    shell.state.simulator = simulator
    await shell(scope, receive, send)
