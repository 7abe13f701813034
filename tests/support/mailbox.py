"""A mail server for tests, on a real socket: it takes mails and keeps them."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Talk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say("220 mailbox")
        while line := self.rfile.readline():
            word = line.strip().upper().split(b" ")[0]
            if word == b"DATA":
                self.say("354 go on")
                lines = []
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(part)
                self.server.mails.append(b"".join(lines).decode())  # type: ignore[attr-defined]
            if word == b"QUIT":
                self.say("221 bye")
                return
            refused = [name for name in self.server.refuses if word == b"RCPT" and name.encode() in line]  # type: ignore[attr-defined]
            self.say("550 5.1.1 no such user" if refused else "250 ok")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@contextmanager
def mailbox(*refuses: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the port and the mails taken.

    :param refuses: addresses that it does not know
    """
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Talk)
    server.daemon_threads = True
    server.mails, server.refuses = [], refuses  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], server.mails  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
