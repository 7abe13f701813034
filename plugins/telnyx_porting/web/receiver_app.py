"""What the receiver answers: webhooks, and whether it and the watch behind it are alive.

Only a JSON object with a valid signature is stored, and 200 means that it is on disk. The signature is verified before
anything is parsed. An unknown account is answered exactly like a bad signature.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from telnyx_porting.errors import MalformedWebhook, SignatureError
from telnyx_porting.flows.receipts import read_receipt
from telnyx_porting.web.receiver_store import Recorder
from telnyx_porting.webhooks import verify_signature

BODY_LIMIT = 1 << 20  # bytes
ANSWER_WITHIN = 1.8  # seconds; Telnyx gives up after 2


class Receiver:
    """The routes of the public port.

    :param keys: per account, its public keys of 32 bytes; several while one replaces the other.
    """

    def __init__(self, keys: Mapping[str, Sequence[bytes]], recorder: Recorder) -> None:
        # Every account has as many keys to try as any other, so time does not tell which ones exist.
        most = max(len(own) for own in keys.values())
        self._decoys = tuple(secrets.token_bytes(32) for _ in range(most))
        self._keys = {account: (*own, *self._decoys)[:most] for account, own in keys.items()}
        self._recorder = recorder
        self.answers: Counter[tuple[str, int]] = Counter()

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/webhooks/telnyx/{account}", self.webhook, methods=["POST"]),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        writer = asyncio.create_task(self._recorder.run())
        yield
        self._recorder.close()
        await writer

    async def webhook(self, request: Request) -> Response:
        """Verify, store, and only then say 200."""
        account = request.path_params["account"]
        response = await self._answer(request, account)
        self.answers[account if account in self._keys else "", response.status_code] += 1
        return response

    async def _answer(self, request: Request, account: str) -> Response:
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_WITHIN
        body = await _read(request)
        if body is None:
            return _no(413, "larger than 1 MiB")
        now = datetime.now(UTC)
        try:
            signed_at = verify_signature(
                body,
                _only(request, "telnyx-timestamp"),
                _only(request, "telnyx-signature-ed25519"),
                self._keys.get(account, self._decoys),
                now,
            )
        except SignatureError:
            if account in self._keys:
                self._recorder.refuse(account)
            return _no(401, "signature refused")
        try:
            receipt = read_receipt(account, body, signed_at, request.url.path, now)
        except MalformedWebhook:
            return _no(400, "not a JSON object")
        if await self._recorder.keep(receipt, max(0.0, until - loop.time())):
            return PlainTextResponse("stored")
        return PlainTextResponse("not stored", 503)

    async def healthz(self, _request: Request) -> Response:
        """Say that the process answers."""
        return PlainTextResponse("ok")

    async def readyz(self, _request: Request) -> Response:
        """Say whether a webhook would be stored now."""
        return PlainTextResponse("ok") if self._recorder.healthy else PlainTextResponse("not ok", 503)


def _no(status: int, reason: str) -> Response:
    return PlainTextResponse(reason, status, headers={"connection": "close"})


def _only(request: Request, name: str) -> str:
    values = request.headers.getlist(name)
    if len(values) != 1:
        raise SignatureError(f"expected the header {name} once")
    return values[0]


async def _read(request: Request) -> bytes | None:
    """Return the body as sent (nothing is decoded), or None when it is too large: it is not read further."""
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
