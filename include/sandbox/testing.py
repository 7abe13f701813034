"""A simulator for tests: real sockets, a free port, gone when the ``with`` block ends."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx

from include.sandbox.server import Sandbox, bind, server
from include.sandbox.simulator import Options
from include.sandbox.world import jsons

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]


class Refused(Exception):
    """The control API did not do what was asked."""


class RunningSandbox:
    """A simulator that listens. Every method is one control request."""

    def __init__(self, origin: str, api_key: str) -> None:
        self.origin = origin
        self.base_url = f"{origin}/v2"
        self.api_key = api_key
        self.headers = {"Authorization": f"Bearer {api_key}"}
        self.inbox_url = f"{origin}/sandbox/inbox"
        self._http = httpx.Client(base_url=f"{origin}/sandbox", timeout=60.0, trust_env=False, verify=False)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Send a control request and give the decoded answer.

        :raises Refused: with the sentence of the answer.
        """
        response = self._http.request(method, path, content=None if body is None else jsons.dumps(body))
        if response.is_error:
            raise Refused(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def sink_url(self, status: int = 200) -> str:
        """Give the URL of a webhook receiver in the simulator that answers this status."""
        return f"{self.origin}/sandbox/sink/{status}"

    @property
    def public_key(self) -> str:
        """Give the public key webhooks are signed with, base64."""
        return str(self.control("GET", "/public-key")["public_key"])

    def state(self) -> Json:
        """Say how things stand."""
        return self.control("GET", "/state")

    def truth(self) -> Json:
        """Tell the truth."""
        return self.control("GET", "/truth")

    def reset(self, scenario: str | None = None, *, seed: int | None = None, events: int | None = None) -> Json:
        """Begin again with a new world."""
        return self.control("POST", "/reset", {"scenario": scenario, "seed": seed, "events": events})

    def switches(self, **positions: Any) -> Json:
        """Turn switches."""
        return self.control("POST", "/switches", positions)

    def fault(self, kind: str, **fields: Any) -> int:
        """Install a fault; gives its id."""
        return int(self.control("POST", "/faults", {"kind": kind, **fields})["id"])

    def clear_faults(self) -> None:
        """Remove all faults; what a reordering held back goes out."""
        self.control("DELETE", "/faults")

    def clock(self, **fields: Any) -> Json:
        """Set the clock: now, speed, frozen, advance_seconds."""
        return self.control("POST", "/clock", fields)

    def subscribe(self, *webhooks: str, emails: tuple[str, ...] = (), status: str = "enabled") -> None:
        """Replace the account's channels."""
        self.control("POST", "/destinations", {"webhooks": webhooks, "emails": emails, "status": status})

    def delivery_rules(self, *, deadline_seconds: float | None = None, retry_delays: list[float] | None = None) -> None:
        """Set deadline and retries of webhooks."""
        self.control("POST", "/delivery-rules", {"deadline_seconds": deadline_seconds, "retry_delays": retry_delays})

    def rate_limit(self, limit: int, window_seconds: float = 1.0) -> None:
        """Set the rate limit."""
        self.control("POST", "/rate-limit", {"limit": limit, "window_seconds": window_seconds})

    def order(self, **fields: Any) -> str:
        """Make an order; gives its id."""
        return str(self.control("POST", "/orders", fields)["id"])

    def act(self, order_id: str, action: str, **fields: Any) -> list[Json]:
        """Let something happen to an order; gives the events."""
        return self.control("POST", f"/orders/{order_id}/{action}", fields)["events"]

    def insert(self, *rows: Json) -> list[Json]:
        """Put rows into the event list; gives the events."""
        return self.control("POST", "/events", {"events": rows})

    def burst(self, events: int, **fields: Any) -> list[str]:
        """Let many comments be written; gives the event ids."""
        return self.control("POST", "/burst", {"events": events, **fields})["events"]

    def complete(self, event_id: str) -> None:
        """Generate the payload of an event now."""
        self.control("POST", f"/events/{event_id}/complete")

    def remove(self, event_id: str) -> None:
        """Make an event vanish."""
        self.control("DELETE", f"/events/{event_id}")

    def settle(self, timeout_seconds: float = 30.0) -> Json:
        """Wait until no webhook is on its way and nothing scheduled is due."""
        return self.control("POST", "/settle", {"timeout_seconds": timeout_seconds})

    def inbox(self) -> list[Json]:
        """Show the letters in the inbox."""
        return self.control("GET", "/inbox")

    def sent(self) -> list[Json]:
        """Show every webhook POST, with headers and body."""
        return self.control("GET", "/sent")

    def republishes(self) -> list[Json]:
        """Show every republish the API has received."""
        return self.control("GET", "/republishes")

    def requests(self) -> Json:
        """Show the requests the API has received."""
        return self.control("GET", "/requests")

    def forget_requests(self) -> None:
        """Forget the requests the API has received."""
        self.control("DELETE", "/requests")

    def close(self) -> None:
        """Close the control connection."""
        self._http.close()


@contextlib.contextmanager
def running_sandbox(scenario: str = "empty", **options: Any) -> Iterator[RunningSandbox]:
    """Run a simulator in a thread on a free port of the loopback interface.

    :param options: fields of :class:`Options`: seed, events, api_key, rate_limit, latency_ms ...
    """
    chosen = Options(scenario=scenario, port=0, **options)
    listener = bind(chosen)
    app = Sandbox(chosen)
    running = server(app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        if not thread.is_alive():
            raise RuntimeError("the sandbox did not start")
        time.sleep(0.002)
    sandbox = RunningSandbox(f"http://{chosen.host}:{listener.getsockname()[1]}", chosen.api_key)
    try:
        yield sandbox
    finally:
        sandbox.close()
        running.should_exit = True
        thread.join(timeout=10)
        listener.close()
