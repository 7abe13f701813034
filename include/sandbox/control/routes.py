"""/sandbox/: look behind the scenes and pull the strings. Not a part of what is simulated."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route

from include.sandbox.control import inbox as control_inbox
from include.sandbox.control import truth
from include.sandbox.control import world as control_world
from include.sandbox.control.body import BadBody, Body, answer, refuse
from include.sandbox.mail import webhooks
from include.sandbox.world.faults import BadFault
from include.sandbox.world.lifecycle import ImpossibleMove
from include.sandbox.world.switches import BadSwitch
from include.sandbox.world.times import SECOND, iso

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from include.sandbox.simulator import Simulator


def application(sandbox: Simulator) -> ASGIApp:
    """Make the application behind /sandbox/."""
    app = Starlette(
        routes=[Mount("/sandbox", routes=[*routes, *control_world.routes, *control_inbox.routes])],
        exception_handlers={
            BadBody: refuse,
            BadFault: refuse,
            BadSwitch: refuse,
            ImpossibleMove: refuse,
            ValueError: refuse,
            HTTPException: refuse,
        },
    )
    app.state.sandbox = sandbox
    return _Door(app, sandbox.options.control_token) if sandbox.options.control_token else app


class _Door:
    """Asks for the token; but anybody may post a letter and ask how things stand."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        method, path = scope["method"], scope["path"]
        letter = method == "POST" and (path + "/").startswith("/sandbox/inbox/")
        harmless = letter or (method, path) == ("GET", "/sandbox/state")
        if harmless or hmac.compare_digest(given, self._token):
            await self._app(scope, receive, send)
        else:
            await answer({"error": "the control token is missing or wrong"}, 401)(scope, receive, send)


async def state(request: Request) -> Response:
    """Say how things stand."""
    sandbox: Simulator = request.app.state.sandbox
    world = sandbox.world
    return answer(
        {
            "phase": world.phase,
            "scenario": sandbox.options.scenario,
            "seed": world.seed,
            "now": iso(world.now_us()),
            "wall": iso(world.clock.wall_us()),
            "frozen": world.clock.frozen,
            "scheduled": world.scheduled,
            "webhooks_in_flight": sandbox.postman.in_flight,
            "events": len(world.timeline),
            "orders": world.order_count(),
        }
    )


async def tell_truth(request: Request) -> Response:
    """Tell the truth."""
    sandbox: Simulator = request.app.state.sandbox
    return answer(truth.tell(sandbox.world, sandbox.postman))


async def switches(request: Request) -> Response:
    """Show, turn or reset switches."""
    sandbox: Simulator = request.app.state.sandbox
    world = sandbox.world
    if request.method == "POST":
        world.switches.set((await Body.read(request)).all())
    elif request.method == "DELETE":
        world.switches.reset()
    world.clock.set_skew(int(world.switches.clock_skew_seconds * SECOND))
    sandbox.clock_changed()
    return answer(world.switches.as_dict())


async def faults(request: Request) -> Response:
    """Show, install or remove faults."""
    sandbox: Simulator = request.app.state.sandbox
    world = sandbox.world
    if request.method == "POST":
        fault = world.faults.add((await Body.read(request)).all())
        return answer({"id": fault.id, "kind": fault.kind}, 201)
    if request.method == "DELETE":
        wanted = request.path_params.get("id")
        world.faults.remove(wanted)
        sandbox.postman.release()
    return answer(world.faults.as_list())


async def clock(request: Request) -> Response:
    """Show or set the clock of the world."""
    sandbox: Simulator = request.app.state.sandbox
    world = sandbox.world
    if request.method == "POST":
        body = await Body.read(request, "now", "speed", "frozen", "advance_seconds")
        now = body.time("now")
        if (seconds := body.number("advance_seconds")) is not None:
            now = (world.clock.now_us() if now is None else now) + int(seconds * SECOND)
        world.clock.set(now_us=now, speed=body.number("speed"), frozen=body.flag("frozen"))
        sandbox.clock_changed()
    return answer(
        {
            "now": iso(world.now_us()),
            "wall": iso(world.clock.wall_us()),
            "speed": world.clock.speed,
            "frozen": world.clock.frozen,
        }
    )


async def public_key(request: Request) -> Response:
    """Give the key that webhooks are signed with."""
    sandbox: Simulator = request.app.state.sandbox
    return answer({"public_key": webhooks.public_key(sandbox.world.signing_key)})


async def destinations(request: Request) -> Response:
    """Show or replace the account's channels."""
    sandbox: Simulator = request.app.state.sandbox
    world = sandbox.world
    if request.method == "POST":
        body = await Body.read(request, "webhooks", "emails", "status")
        world.subscribe(body.texts("webhooks"), body.texts("emails"), body.text("status") or "enabled")
    return answer(
        {
            "webhooks": [c.destination for c in world.channels if c.type == "webhook"],
            "emails": [c.destination for c in world.channels if c.type == "email"],
        }
    )


async def delivery_rules(request: Request) -> Response:
    """Show or set deadline and retries of webhooks."""
    sandbox: Simulator = request.app.state.sandbox
    rules = sandbox.rules
    if request.method == "POST":
        body = await Body.read(request, "deadline_seconds", "retry_delays")
        rules.deadline_s = body.number("deadline_seconds") or rules.deadline_s
        rules.retry_delays_s = body.numbers("retry_delays", rules.retry_delays_s)
    return answer({"deadline_seconds": rules.deadline_s, "retry_delays": rules.retry_delays_s})


async def rate_limit(request: Request) -> Response:
    """Show or set the rate limit and the latency."""
    limiter = request.app.state.sandbox.gate.limiter
    gate = request.app.state.sandbox.gate
    if request.method == "POST":
        body = await Body.read(request, "limit", "window_seconds", "latency_ms")
        limit, window = body.number("limit"), body.number("window_seconds")
        limiter.configure(int(limiter.limit if limit is None else limit), window or limiter.window_s)
        if (latency := body.number("latency_ms")) is not None:
            gate.latency_s = latency / 1000
    return answer(
        {
            "limit": limiter.limit,
            "window_seconds": limiter.window_s,
            "latency_ms": gate.latency_s * 1000,
        }
    )


async def requests(request: Request) -> Response:
    """Show or forget the requests the API has received."""
    gate = request.app.state.sandbox.gate
    if request.method == "DELETE":
        gate.recent.clear()
        gate.counts.clear()
    return answer({"total": sum(gate.counts.values()), "counts": dict(gate.counts), "recent": list(gate.recent)})


async def republishes(request: Request) -> Response:
    """Show every republish the API has received."""
    return answer(request.app.state.sandbox.gate.republishes)


async def sent(request: Request) -> Response:
    """Show or forget every webhook POST, with headers and body."""
    postman = request.app.state.sandbox.postman
    if request.method == "DELETE":
        postman.sent.clear()
    return answer(list(postman.sent))


async def mails(request: Request) -> Response:
    """Show the mails that would have gone out."""
    return answer(request.app.state.sandbox.world.mails)


async def live(request: Request) -> Response:
    """Start the live phase of the scenario."""
    sandbox: Simulator = request.app.state.sandbox
    world = sandbox.world
    body = await Body.read(request, "webhook_url", "seconds")
    url = body.text("webhook_url")
    if not url:
        raise BadBody("webhook_url: a URL is needed")
    if world.go_live is None or world.phase != "history":
        return answer({"error": f"there is no live phase to start: phase is {world.phase}"}, 409)
    world.go_live(url, body.number("seconds") or 20.0)
    sandbox.clock_changed()
    return await state(request)


async def start_over(request: Request) -> Response:
    """Begin again with a new world."""
    sandbox: Simulator = request.app.state.sandbox
    body = await Body.read(request, "scenario", "seed", "events")
    seed, events = body.number("seed"), body.number("events")
    sandbox.start_over(
        body.text("scenario") or sandbox.options.scenario,
        sandbox.options.seed if seed is None else int(seed),
        sandbox.options.events if events is None else int(events),
    )
    return await state(request)


async def settle(request: Request) -> Response:
    """Wait until no webhook is on its way and nothing scheduled is due."""
    sandbox: Simulator = request.app.state.sandbox
    body = await Body.read(request, "timeout_seconds")
    try:
        async with asyncio.timeout(body.number("timeout_seconds") or 30.0):
            while sandbox.postman.in_flight or sandbox.due_now():
                sandbox.world.run_due()
                await sandbox.postman.idle()
    except TimeoutError:
        return answer({"error": "still busy", "webhooks_in_flight": sandbox.postman.in_flight}, 408)
    return await state(request)


routes = [
    Route("/state", state, methods=["GET"]),
    Route("/truth", tell_truth, methods=["GET"]),
    Route("/switches", switches, methods=["GET", "POST", "DELETE"]),
    Route("/faults", faults, methods=["GET", "POST", "DELETE"]),
    Route("/faults/{id:int}", faults, methods=["DELETE"]),
    Route("/clock", clock, methods=["GET", "POST"]),
    Route("/public-key", public_key, methods=["GET"]),
    Route("/destinations", destinations, methods=["GET", "POST"]),
    Route("/delivery-rules", delivery_rules, methods=["GET", "POST"]),
    Route("/rate-limit", rate_limit, methods=["GET", "POST"]),
    Route("/requests", requests, methods=["GET", "DELETE"]),
    Route("/republishes", republishes, methods=["GET"]),
    Route("/sent", sent, methods=["GET", "DELETE"]),
    Route("/mails", mails, methods=["GET"]),
    Route("/live", live, methods=["POST"]),
    Route("/reset", start_over, methods=["POST"]),
    Route("/settle", settle, methods=["POST"]),
]
