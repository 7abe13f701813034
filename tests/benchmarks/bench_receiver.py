"""How much of a bare web framework's speed is left when nothing may be lost?

``python -m tests.benchmarks.bench_receiver``: webhooks a second that the receiver verifies, stores durably and answers
200, against a Starlette route that verifies the same signature and stores nothing. Both on uvicorn with its fastest
parts, same requests, same senders, in turns; figures are medians.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.web.receivers import ACCOUNT, Signer, encode, raw_request, receiver, webhook

if TYPE_CHECKING:
    from starlette.requests import Request

ROUNDS = 5
SECONDS = 3.0
SENDERS = 64
WANTED = 0.5


def bare(public: str, port: int) -> None:
    """The other side of the comparison, in a process of its own."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))

    async def accept(request: Request) -> PlainTextResponse:
        signed = request.headers["telnyx-timestamp"].encode() + b"|" + await request.body()
        try:
            key.verify(base64.b64decode(request.headers["telnyx-signature-ed25519"]), signed)
        except InvalidSignature:
            return PlainTextResponse("not stored", 401)
        return PlainTextResponse("stored")

    app = Starlette(routes=[Route("/webhooks/telnyx/{account}", accept, methods=["POST"])])
    uvicorn.run(app, port=port, access_log=False, log_level="error")


class Sender(asyncio.Protocol):
    """One connection: the next webhook goes out when the last one is answered."""

    def __init__(self, requests: list[bytes], until: float) -> None:
        self.requests = requests
        self.until = until
        self.ended = asyncio.get_running_loop().create_future()
        self.times: list[float] = []
        self.bad = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.started = time.perf_counter()
        if not self.requests or self.started > self.until:
            self.transport.close()
        else:
            self.answer = b""
            self.transport.write(self.requests.pop())

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if self.answer.endswith(b"stored"):  # both say so
            self.times.append(time.perf_counter() - self.started)
            self.bad += not self.answer.startswith(b"HTTP/1.1 200")
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


async def load(port: int, requests: list[bytes], seconds: float) -> tuple[float, float, int]:
    """Return answers a second, the 99th percentile in ms, and how many answers were no 200."""
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    senders = []
    for _ in range(SENDERS):
        _, sender = await loop.create_connection(lambda: Sender(requests, begin + seconds), "127.0.0.1", port)
        senders.append(sender)
    await asyncio.gather(*(sender.ended for sender in senders))
    spent = time.perf_counter() - begin
    times = sorted(taken for sender in senders for taken in sender.times)
    assert requests, "more webhooks are needed for this machine"
    return len(times) / spent, times[int(len(times) * 0.99)] * 1000, sum(sender.bad for sender in senders)


def signed(signer: Signer, count: int) -> list[bytes]:
    return [raw_request(body, signer.headers(body)) for body in (encode(webhook()) for _ in range(count))]


def measure(rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, float]:
    """Run both in turns and return the figures."""
    import uvloop

    signer = Signer()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        database = f"sqlite:///{Path(folder, 'ledger.db')}"
        other = subprocess.Popen([sys.executable, "-m", __spec__.name, "--bare", signer.public, str(port)])
        try:
            with receiver(database, [f"{ACCOUNT}={signer.public}"]) as running:
                figures: dict[str, list[tuple[float, float, int]]] = {"receiver": [], "bare": []}
                for _ in range(rounds):
                    for name, at in (("bare", port), ("receiver", running.address[1])):
                        requests = signed(signer, int(8_000 * seconds))
                        figures[name].append(uvloop.run(load(at, requests, seconds)))
        finally:
            other.kill()
            other.wait()
    middle = {name: statistics.median(rate for rate, _, _ in runs) for name, runs in figures.items()}
    pairs = zip(figures["receiver"], figures["bare"], strict=True)
    return {
        "receiver_per_second": round(middle["receiver"]),
        "receiver_p99_ms": round(statistics.median(p99 for _, p99, _ in figures["receiver"]), 1),
        "bare_per_second": round(middle["bare"]),
        "bare_p99_ms": round(statistics.median(p99 for _, p99, _ in figures["bare"]), 1),
        "not_200": sum(bad for runs in figures.values() for _, _, bad in runs),
        "ratio": round(statistics.median(one[0] / other[0] for one, other in pairs), 2),
        "cpus": os.cpu_count() or 0,
    }


@pytest.mark.bench
def test_receiver_keeps_half_of_a_bare_routes_speed() -> None:
    figures = measure()
    assert figures["not_200"] == 0
    assert figures["ratio"] >= WANTED, figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        bare(sys.argv[2], int(sys.argv[3]))
    else:
        sys.stdout.write(json.dumps(measure()) + "\n")
