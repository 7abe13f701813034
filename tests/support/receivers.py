"""A real receiver process for tests, and somebody with Telnyx's key who sends it webhooks over sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import RowMapping, func, select

from telnyx_porting.ledger.tables import deliveries, feeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from telnyx_porting.ledger.engine import Ledger

ACCOUNT = "telnyx_default"
PATH = f"/webhooks/telnyx/{ACCOUNT}"
OTHER = "telnyx_other"


class Signer:
    """Holds a private key and signs as Telnyx does."""

    def __init__(self, seed: bytes | None = None) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
        self.public = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def headers(self, body: bytes, timestamp: str | None = None) -> dict[str, str]:
        """Sign a body, now unless a timestamp is given."""
        written = timestamp or str(int(time.time()))
        signature = self._key.sign(written.encode() + b"|" + body)
        return {"telnyx-timestamp": written, "telnyx-signature-ed25519": base64.b64encode(signature).decode()}


def webhook(**changes: Any) -> dict[str, Any]:
    """A status change in the published envelope, about an order of its own."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    data = {
        "event_type": "porting_order.status_changed",
        "id": str(uuid.uuid4()),
        "occurred_at": now,
        "payload": {
            "customer_reference": "north-branch-17",
            "id": str(uuid.uuid4()),
            "status": {"details": [], "value": "in-process"},
            "support_key": "sr_4d71e9",
            "updated_at": now,
            "webhook_url": "https://hooks.example.net/portin",
        },
        "record_type": "event",
    }
    return {"data": data | changes, "meta": {"attempt": 1, "delivered_to": "https://hooks.example.net/portin"}}


def encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def raw_request(body: bytes, headers: Mapping[str, str], path: str = PATH) -> bytes:
    """One HTTP request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: receiver", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


class Running:
    """A receiver that runs. It speaks no TLS: whoever asks it need not read certificates, which takes 30 ms."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: IO[bytes]) -> None:
        self.process = process
        self._log = log_file.fileno()
        self.url, self.counters = wait_for(self._urls)

    def log(self) -> str:
        """All it has written."""
        return os.pread(self._log, 1 << 20, 0).decode()

    def _urls(self) -> list[str]:
        assert self.process.poll() is None, self.log()
        urls = re.findall(r"http://[^\s,]+", self.log())
        return urls if len(urls) == 2 else []

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        return host, int(port)

    def post(self, body: bytes, headers: Mapping[str, str], path: str = PATH) -> httpx.Response:
        return httpx.post(self.url + path, content=body, headers=dict(headers), timeout=10, verify=False)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, verify=False)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=15)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own, say that no more will come, and read all that comes back."""
        with self.connect() as connection:
            with suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def counter(self, name: str) -> float:
        """The sum of a counter's values."""
        lines = httpx.get(f"{self.counters}/metrics", verify=False).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes; a reset ends it too."""
    received = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def read_answer(connection: socket.socket) -> bytes:
    """Read one answer and leave the connection open."""
    received = b""
    while not (match := re.search(rb"content-length: (\d+)\r\n(?:.*\r\n)*?\r\n", received)) or len(
        received
    ) < match.end() + int(match[1]):
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    return received


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until a condition holds and return its value."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "it did not become true in time"
        time.sleep(0.02)
    return value


@contextmanager
def receiver(
    ledger_url: str,
    keys: Sequence[str],
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "telnyx_porting.web.receiver"),
) -> Iterator[Running]:
    """Start a receiver on free ports, wait until it is ready, end it afterwards.

    :param keys: ``ACCOUNT=BASE64``, as on its command line.
    """
    line = [*command, "--port", "0", "--counters-port", "0", *arguments]
    for key in keys:
        line += ["--key", key]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            line, env={**os.environ, "TELNYX_PORTING_LEDGER_URL": ledger_url, **(environ or {})}, stderr=log
        )
        try:
            running = Running(process, log)
            wait_for(lambda: _answers(running))
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _answers(running: Running) -> bool:
    assert running.process.poll() is None
    try:
        answer = running.get("/readyz")
        return answer.status_code == 200 or "no public key" in answer.text
    except httpx.TransportError:
        return False


def url_of(ledger: Ledger) -> str:
    return ledger.url.render_as_string(hide_password=False)


def stored(ledger: Ledger, body: bytes) -> list[RowMapping]:
    """The deliveries that hold this body."""
    digest = hashlib.sha256(body).hexdigest()
    with ledger.read() as connection:
        query = select(deliveries).where(deliveries.c.source_id.like(f"%:{digest}"))
        return list(connection.execute(query.order_by(deliveries.c.source_id)).mappings())


def count(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.execute(select(func.count()).select_from(deliveries)).scalar_one()


def feed(ledger: Ledger, account: str = ACCOUNT) -> RowMapping:
    with ledger.read() as connection:
        query = select(feeds).where(feeds.c.source == "receiver", feeds.c.account == account)
        return connection.execute(query).mappings().one()


@dataclass
class World:
    """A receiver of two accounts, the first with an old and a new key."""

    running: Running
    ledger: Ledger
    old: Signer
    new: Signer
    other: Signer

    def post(self, body: bytes, **changes: str) -> httpx.Response:
        return self.running.post(body, self.new.headers(body) | changes)

    def raw(self, body: bytes, headers: list[tuple[str, str]], path: str = PATH) -> tuple[int, bytes]:
        lines = [f"POST {path} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in headers)]
        head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
        with self.running.connect() as connection:
            connection.sendall(head.encode("latin-1") + body)
            answer = read_answer(connection)
        return int(answer.split(b" ", 2)[1]), re.sub(rb"date: [^\r]*", b"", answer)
