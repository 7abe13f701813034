"""A small receiver on a real socket: it verifies and stores exactly as the shipped one does, and can be unwell."""

from __future__ import annotations

import base64
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from telnyx_porting.errors import SignatureError, StaleSignature
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.webhooks import verify_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telnyx_porting.ledger.engine import Ledger


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a sender that hung up between two requests."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Ear:
    """Listens for one account.

    :param clock: the receiver's clock.
    """

    def __init__(self, ledger: Ledger, account: str, key: str, clock: Callable[[], datetime]) -> None:
        self.ledger, self.account, self.clock = ledger, account, clock
        self.learn(key)
        self.up = True  # 503 and no heartbeat otherwise
        self.reachable = True  # 503 with a beating heart otherwise: a proxy in front is down
        self.skew = timedelta(0)
        self.got: Counter[str] = Counter()  # webhook id -> deliveries accepted
        self._closed = False
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhooks/telnyx/{account}"

    def learn(self, key: str) -> None:
        """Take another public key."""
        self.key = base64.b64decode(key)

    def beat(self) -> None:
        """Let the heart beat, as the shipped receiver does every ten seconds."""
        if self.up:
            self._store([], {})

    def has_beaten(self) -> None:
        """While time jumped, the heart beat all along."""
        if self.up:
            moment = self.clock() + self.skew - timedelta(seconds=10)
            with self.ledger.write() as connection:
                touch_feed(self.ledger, connection, self.account, "receiver", heartbeat=moment)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._lock:  # what is still being answered is not stored: the ledger may be another test's by then
            self._closed = True

    def take(self, body: bytes, headers: Any) -> int:
        """Answer one request with a status."""
        if not (self.up and self.reachable):
            return 503
        now = self.clock() + self.skew
        try:
            signed_at = verify_signature(
                body, headers.get("telnyx-timestamp"), headers.get("telnyx-signature-ed25519"), [self.key], now
            )
        except SignatureError as error:
            stale = {self.account: error.offset} if isinstance(error, StaleSignature) else {}
            self._store([], {self.account: 1}, stale)
            return 401
        row = read_receipt(self.account, body, signed_at, self.url, now)
        self._store([row], {})
        with self._lock:
            self.got[row["webhook_id"]] += 1
        return 200

    def _store(
        self, rows: list[dict[str, Any]], refused: dict[str, int], stale: Mapping[str, timedelta] = MappingProxyType({})
    ) -> None:
        with self._lock:
            if self._closed:
                return
            store_receipts(self.ledger, [self.account], rows, refused, self.clock() + self.skew, stale)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ear = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                status = ear.take(self.rfile.read(int(self.headers["content-length"])), self.headers)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        return Handler
