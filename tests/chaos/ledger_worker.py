"""A nursery of processes that run a ledger flow and die where they are told to.

Edges are not marked in the product: here every write transaction and every request is one, named by the function that
opened it or by its path, so none can be forgotten. One job a line on stdin, one answer a line on stdout; each job runs
in a forked process of its own.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import signal
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from telnyx_porting.client import TelnyxClient, windows
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.maintenance import maintain
from telnyx_porting.flows.events import store
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.flows.events.nights import audit_tonight
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.orders.sync import sync_orders
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

ACCOUNT = "telnyx_default"
# Small pieces: a history of some hundred events has edges between transactions, and between proved parts.
store.CHUNK = 40
windows.ROWS_PER_WINDOW = 60


class Edges:
    """Counts the edges passed, and kills at the one that was named."""

    def __init__(self, kill_at: str | None) -> None:
        self.kill_at, _, count = (kill_at or "").partition("@")
        self.left = int(count or 1)
        self.passed: dict[str, int] = {}

    def __call__(self, name: str) -> None:
        self.passed[name] = self.passed.get(name, 0) + 1
        if name == self.kill_at:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class MortalLedger(Ledger):
    """A ledger whose write transactions are edges: as they begin, before the commit, and after it."""

    edges: Edges

    @contextmanager
    def write(self, lock: str = "") -> Iterator[Connection]:
        frame: Any = sys._getframe(2)
        name = f"{frame.f_globals['__name__'].rpartition('.')[2]}.{frame.f_code.co_name}"
        self.edges(f"{name}:begin")
        with super().write(lock) as connection:
            yield connection
            self.edges(f"{name}:commit")
        self.edges(f"{name}:committed")


class MortalTransport(httpx.AsyncBaseTransport):
    """Sockets whose requests are edges: before one is sent, and after its answer came."""

    def __init__(self, edges: Edges) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.edges = edges

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = re.sub(r"[0-9a-f-]{36}", "{id}", request.url.path)
        self.edges(f"GET {path}:send")
        response = await self.inner.handle_async_request(request)
        self.edges(f"GET {path}:answered")
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


def run(job: dict[str, Any], edges: Edges) -> None:
    ledger = MortalLedger(job["ledger"])
    ledger.edges = edges
    now = datetime.fromisoformat(job["now"])
    knobs = Settings(**job.get("settings", {}))
    with TelnyxClient(job["key"], job["base_url"], transport=MortalTransport(edges)) as client:
        match job["flow"]:
            case "scan":
                scan(Account(ledger, ACCOUNT, knobs, lambda: now), client)
            case "orders":
                sync_orders(Account(ledger, ACCOUNT, knobs, lambda: now), client, full=True)
            case "backfill":
                backfill(Account(ledger, ACCOUNT, knobs, lambda: now), client, now - timedelta(days=job["days"]), now)
            case "audit":
                audit(Account(ledger, ACCOUNT, knobs, lambda: now), client)
                audit_tonight(Account(ledger, ACCOUNT, knobs, lambda: now), client)
            case "maintain":
                maintain(Account(ledger, ACCOUNT, knobs, lambda: now))


def child(job: dict[str, Any], answer: int) -> None:
    edges = Edges(job.get("kill_at"))
    try:
        run(job, edges)
        outcome: dict[str, Any] = {"ended": "well", "edges": edges.passed}
    except BaseException as error:
        outcome = {"ended": f"{type(error).__name__}: {error}"}
    os.write(answer, json.dumps(outcome).encode())
    os._exit(0)


def main() -> None:
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        job = json.loads(line)
        readable, writable = os.pipe()
        began = time.monotonic()
        if (pid := os.fork()) == 0:
            os.close(readable)
            child(job, writable)
        os.close(writable)
        if job.get("kill_after"):
            time.sleep(random.Random(job["seed"]).random() * job["kill_after"])
            os.kill(pid, signal.SIGKILL)
        with os.fdopen(readable) as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        outcome = json.loads(said) if said and not killed else {"ended": "killed" if killed else "badly"}
        sys.stdout.write(json.dumps({**outcome, "seconds": time.monotonic() - began}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
