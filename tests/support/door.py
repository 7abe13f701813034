"""One URL behind which several Telnyx users live, as at Telnyx itself: the key decides whose simulator answers."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox

OWN = {"connection", "content-length", "transfer-encoding"}  # headers of a hop


class Door:
    """Forwards each request to the simulator its key belongs to.

    :param users: key -> simulator; several keys may be one user's.
    """

    def __init__(self, users: dict[str, RunningSandbox]) -> None:
        self.users = users
        self.base_url = ""
        self.asked: list[tuple[str, str, str]] = []  # key, verb, path with its query

    def forward(self, request: BaseHTTPRequestHandler, http: httpx.Client) -> None:
        """Answer as the user's simulator does."""
        key = request.headers["Authorization"].removeprefix("Bearer ")
        self.asked.append((key, request.command, request.path))
        sandbox = self.users[key]
        headers = {"Authorization": f"Bearer {sandbox.api_key}", "Accept-Encoding": "identity"}
        answer = http.request(request.command, sandbox.origin + request.path, headers=headers)
        request.send_response_only(answer.status_code)
        for name, value in answer.headers.items():
            if name not in OWN:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(answer.content)))
        request.end_headers()
        request.wfile.write(answer.content)


@contextmanager
def open_door(users: dict[str, RunningSandbox]) -> Iterator[Door]:
    """Listen on a free port of the loopback interface until the end of the block."""
    door = Door(users)
    with httpx.Client(trust_env=False, timeout=30, verify=False) as http:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                door.forward(self, http)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        door.base_url = f"http://127.0.0.1:{server.server_address[1]}/v2"
        try:
            yield door
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
