"""Everything between the socket and the API: key, rate limit, latency, faults, the Date header, the log."""

from __future__ import annotations

import asyncio
import hmac
import re
import socket
import struct
from collections import Counter, deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from include.sandbox.api.errors import ApiError, plain
from include.sandbox.world.times import iso

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from include.sandbox.api.ratelimit import RateLimiter
    from include.sandbox.world.faults import Fault
    from include.sandbox.world.model import Json
    from include.sandbox.world.world import World

_REPUBLISH = re.compile(r"/v2/porting/events/([^/]+)/republish")


@dataclass(slots=True)
class Answer:
    """What the API wants to say; status 0 = nothing, the connection is to be closed."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Gate:
    """Stands before the API and decides what really goes over the wire."""

    def __init__(self, api: ASGIApp, world: World, api_key: str, limiter: RateLimiter, latency_s: float) -> None:
        self._api = api
        self._world = world
        self._key = f"Bearer {api_key}".encode()
        self.limiter = limiter
        self.latency_s = latency_s
        self.republishes: list[Json] = []
        """Every republish POST received, oldest first."""
        self.recent: deque[Json] = deque(maxlen=5_000)
        self.counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        world = self._world
        world.run_due()
        method, path = scope["method"], scope["path"]
        entry: Json = {
            "method": method,
            "path": path,
            "query": scope["query_string"].decode("latin-1"),
            "at": iso(world.clock.wall_us()),
            "status": None,
            "fault": None,
        }
        self.recent.append(entry)
        self.counts[f"{method} {re.sub(r'[0-9a-f-]{36}', '{id}', path)}"] += 1
        if method == "POST" and (republish := _REPUBLISH.fullmatch(path)):
            entry["event_id"] = republish[1].lower()
            self.republishes.append(entry)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        fault = world.faults.for_request(method, path)
        entry["fault"] = fault.kind if fault else None
        answer = await self._answer(scope, receive, fault)
        entry["status"] = answer.status or None
        await self._say(answer, fault, send)

    async def _answer(self, scope: Scope, receive: Receive, fault: Fault | None) -> Answer:
        before = fault is not None and fault.when == "before"
        try:
            headers = self.limiter.take()
            if fault and before:
                self._refuse(fault)
                if fault.kind in ("timeout", "reset"):
                    return Answer(0, [], b"")
            if not hmac.compare_digest(_header(scope, b"authorization"), self._key):
                raise plain(401, "The API key is missing or wrong")
        except ApiError as error:
            return await _collect(error.response(self._world.switches), scope, receive)
        answer = await _collect(self._api, scope, receive)
        answer.headers += [(k.encode(), v.encode()) for k, v in headers.items()]
        if fault and not before:
            try:
                self._refuse(fault)
            except ApiError as error:
                return await _collect(error.response(self._world.switches), scope, receive)
            if fault.kind in ("timeout", "reset"):
                return Answer(0, [], b"")
        return answer

    def _refuse(self, fault: Fault) -> None:
        if fault.kind == "status":
            raise plain(fault.status, "The sandbox was told to answer so")
        if fault.kind == "rate_limited":
            raise self.limiter.refusal(fault.seconds)

    async def _say(self, answer: Answer, fault: Fault | None, send: Send) -> None:
        kind = fault.kind if fault else None
        if fault and kind in ("timeout", "slow"):
            await asyncio.sleep(fault.seconds)
        if answer.status == 0:
            _hang_up(send, reset=kind == "reset")
            return
        body, status = answer.body, answer.status
        media = _find(answer.headers, b"content-type")
        if kind == "truncated_json":
            body = body[: len(body) // 2]
        elif kind == "empty_body":
            body = b""
        elif kind == "html" and fault:
            body, media = b"<html><body><h1>Bad gateway</h1></body></html>", b"text/html"
            status = fault.status
        headers = [(k, v) for k, v in answer.headers if k not in (b"content-type", b"content-length", b"date")]
        if media and body:
            headers.append((b"content-type", media))
        if status != 204:
            headers.append((b"content-length", str(len(body)).encode()))
        headers.append((b"date", formatdate(self._world.clock.wall_us() / 1_000_000, usegmt=True).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if kind == "truncated_body" and body:
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            await asyncio.sleep(0.01)
            _hang_up(send, reset=False)
            return
        await send({"type": "http.response.body", "body": body})


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> Answer:
    answer = Answer(500, [], b"")

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = list(message.get("headers", []))
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, keep)
    return answer


def _hang_up(send: Send, *, reset: bool) -> None:
    """Close the connection under the server: ASGI has no word for it, uvicorn's cycle holds the transport."""
    transport = send.__self__.transport  # type: ignore[attr-defined]
    if reset:
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _header(scope: Scope, name: bytes) -> bytes:
    return _find(scope["headers"], name) or b""


def _find(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key.lower() == name), None)
