"""How much of a bare web framework's speed is left when nothing may be lost?

``python -m tests.benchmarks.bench_receiver``: webhooks a second that the receiver verifies, stores durably and answers
200, against a Starlette route that verifies the same signature and stores nothing. Both on uvicorn with its fastest
parts, same requests, same senders, in turns; figures are medians.

``python -m tests.benchmarks.bench_receiver --beside 1000000``: the slowest answers while another process fills, prunes
and upgrades the same SQLite file with that many events.
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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import update

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.maintenance import maintain
from telnyx_porting.flows.events.store import store
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import events
from telnyx_porting.models.events import parse_event
from telnyx_porting.settings import Settings
from tests.support.receivers import ACCOUNT, PATH, Signer, encode, raw_request, receiver, webhook

if TYPE_CHECKING:
    from starlette.requests import Request

ROUNDS = 5
SECONDS = 3.0
SENDERS = 128
PREPARED = 8_000  # requests signed for each second: more than any of them answers
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


@dataclass
class Round:
    """What one server did in one round."""

    per_second: float
    p99_ms: float
    cpu_us: float  # of the server, for each webhook
    not_200: int


async def load(server: psutil.Process, port: int, requests: list[bytes], seconds: float) -> Round:
    """Send for some seconds on many connections at once."""
    loop = asyncio.get_running_loop()
    begin, cpu = time.perf_counter(), sum(server.cpu_times()[:2])
    senders = []
    for _ in range(SENDERS):
        _, sender = await loop.create_connection(lambda: Sender(requests, begin + seconds), "127.0.0.1", port)
        senders.append(sender)
    await asyncio.gather(*(sender.ended for sender in senders))
    spent, cpu = time.perf_counter() - begin, sum(server.cpu_times()[:2]) - cpu
    times = sorted(taken for sender in senders for taken in sender.times)
    assert requests, "more webhooks are needed for this machine"
    bad = sum(sender.bad for sender in senders)
    return Round(len(times) / spent, times[int(len(times) * 0.99)] * 1e3, cpu / len(times) * 1e6, bad)


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
                bare_ones, ours = [], []
                for _ in range(rounds):
                    for process, at, kept in (
                        (other, port, bare_ones),
                        (running.process, running.address[1], ours),
                    ):
                        requests = signed(signer, int(PREPARED * seconds))
                        kept.append(uvloop.run(load(psutil.Process(process.pid), at, requests, seconds)))
        finally:
            other.kill()
            other.wait()
    figures = {
        f"{name}_{figure}": round(statistics.median(getattr(one, figure) for one in kept))
        for name, kept in (("receiver", ours), ("bare", bare_ones))
        for figure in ("per_second", "p99_ms", "cpu_us")
    }
    ratios = [one.per_second / other.per_second for one, other in zip(ours, bare_ones, strict=True)]
    return figures | {
        "not_200": sum(one.not_200 for one in ours + bare_ones),
        "cpus": os.cpu_count() or 0,
        "ratio": round(statistics.median(ratios), 2),
    }


def fill(url: str, count: int) -> None:
    """What a first look, a night of maintenance and a new version do to the ledger, in a process of its own."""
    ledger = Ledger(url).ready()
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    for start in range(0, count, 250):  # a page
        page = []
        for number in range(start, start + 250):
            data = webhook()["data"]
            created = (begin + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
            page.append(
                parse_event(
                    {
                        "id": data["id"],
                        "event_type": data["event_type"],
                        "porting_order_id": data["payload"]["id"],
                        "available_notification_methods": ["email", "webhook"],
                        "payload_status": "completed",
                        "payload": data["payload"],
                        "created_at": created,
                        "updated_at": created,
                        "record_type": "porting_event",
                    }
                )
            )
        store(Account(ledger, ACCOUNT), page, begin)
        ledger.breathe()
    for digit in "0123456789abcdef":
        for other in "0123456789abcdef":
            with ledger.write() as connection:
                these = events.c.id.startswith(digit + other)
                connection.execute(update(events).where(these).values(delivery="arrived"))
            ledger.breathe()
    sys.stdout.write(f"{maintain(Account(ledger, ACCOUNT, Settings(retention_days=1)))}\n")
    ledger.upgrade()


def beside(count: int) -> dict[str, float]:
    """Send 20 webhooks a second while the ledger is being filled, and return how long the answers took."""
    signer = Signer()
    times = []
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{Path(folder, 'ledger.db')}"
        with receiver(database, [f"{ACCOUNT}={signer.public}"]) as running:
            line = [sys.executable, "-m", __spec__.name, "--fill", database, str(count)]
            begin = time.perf_counter()
            with subprocess.Popen(line) as filling, httpx.Client(base_url=running.url) as client:
                while filling.poll() is None:
                    body = encode(webhook())
                    sent = time.perf_counter()
                    assert client.post(PATH, content=body, headers=signer.headers(body)).status_code == 200
                    times.append(time.perf_counter() - sent)
                    time.sleep(0.05)
                assert filling.returncode == 0
    times.sort()
    return {
        "events": count,
        "seconds": round(time.perf_counter() - begin),
        "answers": len(times),
        "p50_ms": round(times[len(times) // 2] * 1000),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000),
        "slowest_ms": round(times[-1] * 1000),
    }


@pytest.mark.bench
def test_receiver_keeps_half_of_a_bare_routes_speed() -> None:
    figures = measure()
    assert figures["not_200"] == 0
    assert figures["ratio"] >= WANTED, figures


@pytest.mark.bench
def test_no_answer_is_slow_beside_a_backfill_a_prune_and_an_upgrade() -> None:
    assert beside(100_000)["slowest_ms"] < 1500


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--bare", public, port]:
            bare(public, int(port))
        case ["--fill", url, count]:
            fill(url, int(count))
        case ["--beside", count]:
            sys.stdout.write(json.dumps(beside(int(count))) + "\n")
        case _:
            sys.stdout.write(json.dumps(measure()) + "\n")
