"""What the receiver answers: webhooks, and whether it and the watch behind it are alive.

Only a JSON object with a valid signature is stored, and 200 means that it is on disk. The signature is verified
before anything is parsed. An unknown account is answered exactly like a bad signature.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from telnyx_porting.errors import MalformedWebhook, SignatureError, StaleSignature
from telnyx_porting.flows.deliveries.receipts import read_receipt
from telnyx_porting.web.receiver.guard import Guard
from telnyx_porting.web.receiver.store import Recorder, Watch
from telnyx_porting.webhooks import verify_signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    Headers: TypeAlias = list[tuple[bytes, bytes]]

log = logging.getLogger(__name__)
_WEBHOOK = re.compile(r"/+webhooks/+telnyx/+([^/]+)/*")  # a slash too many in the portal, or by a proxy, is one path
BODY_LIMIT = 1 << 20  # bytes
ANSWER_WITHIN = 1.8  # seconds; Telnyx gives up after 2


class Receiver:
    """The ASGI application of both ports.

    :param keys: per account, its public keys of 32 bytes; several while one replaces the other; none: all is refused.
    :param counters_port: requests to this port see the counters, and nothing else.
    """

    def __init__(
        self,
        keys: Mapping[str, Sequence[bytes]],
        recorder: Recorder,
        watch: Watch,
        guard: Guard,
        counters_port: int,
    ) -> None:
        # Every account has as many keys to try as any other, so that time does not tell which ones exist.
        most = max(len(own) for own in keys.values())
        self._decoys = tuple(Ed25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(most))
        self._keys = {account: (*own, *self._decoys)[:most] for account, own in keys.items()}
        self._keyless = sum(not own for own in keys.values())
        self._recorder = recorder
        self._watch = watch
        self._guard = guard
        self._counters_port = counters_port
        self._answers: Counter[tuple[str, int]] = Counter()
        self._clock: asyncio.Task[None] | None = None
        self._counters = Starlette(routes=[Route("/metrics", self.metrics)])
        self._public = Starlette(
            routes=[
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/watch", self.watch),
            ],
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, on the port it came in."""
        if scope["type"] == "lifespan":
            await self._public(scope, receive, send)
        elif scope["server"][1] == self._counters_port:
            await self._counters(scope, receive, send)
        elif scope["method"] == "POST":
            # Not through the router and its middleware: they would cost an eighth of a webhook's time.
            if path := _WEBHOOK.fullmatch(scope["path"]):
                response = await self.webhook(scope, receive, path[1])
            else:
                response = PlainTextResponse("not a path for webhooks", 404)
                self._answers["", 404] += 1
            await response(scope, receive, send)
        else:
            await self._public(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._clock = asyncio.create_task(self._guard.watch())
        self._recorder.start()
        yield
        self._clock.cancel()
        await self._recorder.close()

    async def webhook(self, scope: Scope, receive: Receive, account: str) -> Response:
        """Verify, store, and only then say 200."""
        try:
            response = await self._answer(scope, receive, account)
        except MalformedWebhook as error:
            response = PlainTextResponse(str(error), 400)
        except Exception as error:  # its message may quote the body, so only its class is logged
            log.error("a webhook could not be taken: %s", type(error).__name__)
            response = PlainTextResponse("not stored", 503)
        self._answers[account if account in self._keys else "", response.status_code] += 1
        return response

    async def _answer(self, scope: Scope, receive: Receive, account: str) -> Response:
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_WITHIN
        headers = scope["headers"]
        body = await _read(headers, receive)
        if body is None:
            # The connection stays open for a moment: closed with bytes unread, it would take the answer with it.
            return PlainTextResponse("larger than 1 MiB", 413)
        now = datetime.now(UTC)
        try:
            signed_at = verify_signature(
                body,
                _only(headers, b"telnyx-timestamp"),
                _only(headers, b"telnyx-signature-ed25519"),
                self._keys.get(account, self._decoys),
                now,
            )
        except SignatureError as error:
            if account in self._keys:
                self._recorder.refuse(account, error.offset if isinstance(error, StaleSignature) else None)
            return PlainTextResponse("signature refused", 401, headers={"connection": "close"})
        scope["state"]["connection"].is_verified = True
        receipt = read_receipt(account, body, signed_at, f"/webhooks/telnyx/{account}", now)
        if await self._recorder.keep(receipt, max(0.0, until - loop.time())):
            return PlainTextResponse("stored")
        return PlainTextResponse("not stored", 503)

    async def healthz(self, _request: Request) -> Response:
        """Say that the process answers, and that its clock and its writer go on."""
        well = self._clock is not None and not self._clock.done() and self._recorder.alive
        return PlainTextResponse("ok") if well else PlainTextResponse("not ok", 503)

    async def readyz(self, _request: Request) -> Response:
        """Say whether a webhook would be stored now, and that some would not: names no account, the port is public."""
        lacking = f"{self._keyless} of {len(self._keys)} accounts have no public key: their webhooks are refused"
        if not self._recorder.healthy:
            return PlainTextResponse("not ok: the ledger takes no webhooks", 503)
        if self._keyless == len(self._keys):
            return PlainTextResponse(f"not ok: {lacking}", 503)
        return PlainTextResponse(f"ok, but {lacking}" if self._keyless else "ok")

    async def watch(self, _request: Request) -> Response:
        """Say whether the watch keeps up: for an uptime monitor, because a dead Airflow cannot speak.

        Names no account: the port is public.
        """
        ages = await self._watch.ages()
        if ages is not None and all(age is not None and age <= self._watch.limit for age in ages.values()):
            return PlainTextResponse("ok")
        if ages is None:
            return PlainTextResponse("not ok: the ledger cannot be read", 503)
        words = ", ".join(sorted("never" if age is None else f"{age:.0f} s" for age in ages.values()))
        return PlainTextResponse(f"not ok: newest complete reading {words} ago", 503)

    async def metrics(self, _request: Request) -> Response:
        """Show the counters in Prometheus' text format."""
        name = "telnyx_porting_receiver"
        lines = [f"# TYPE {name}_answers_total counter"]
        lines += [
            f'{name}_answers_total{{account="{account}",status="{status}"}} {count}'
            for (account, status), count in sorted(self._answers.items())
        ]
        lines += [f"# TYPE {name}_ended_total counter"]
        lines += [f'{name}_ended_total{{why="{why}"}} {n}' for why, n in sorted(self._guard.ended.items())]
        lines += [f"# TYPE {name}_connections gauge", f"{name}_connections {len(self._guard.connections)}"]
        lines += [f"# TYPE {name}_ready gauge", f"{name}_ready {int(self._recorder.healthy or False)}"]
        lines += ["# TYPE telnyx_porting_watch_age_seconds gauge"]
        lines += [
            f'telnyx_porting_watch_age_seconds{{account="{account}"}} {age:.0f}'
            for account, age in (await self._watch.ages() or {}).items()
            if age is not None
        ]
        return PlainTextResponse("\n".join([*lines, ""]), media_type="text/plain; version=0.0.4")


def _only(headers: Headers, name: bytes) -> str:
    values = [value for key, value in headers if key == name]
    if len(values) != 1:
        raise SignatureError(f"expected the header {name.decode()} once")
    return values[0].decode("latin-1")


async def _read(headers: Headers, receive: Receive) -> bytes | None:
    """Return the body as sent (nothing is decoded), or None as soon as it is too large.

    :raises MalformedWebhook: the connection ended before the body.
    """
    announced = next((value for key, value in headers if key == b"content-length"), b"0")
    if int(announced) > BODY_LIMIT:  # the parser lets nothing but a number through
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedWebhook("the body was cut off")
        body += bytes(message["body"])
        if len(body) > BODY_LIMIT:
            return None
        if not message["more_body"]:
            return body
