"""What a large ledger costs those beside it: a backfill's memory, and a receiver's wait.

``python -m tests.benchmarks.bench_beside [--quick]``: how much memory a backfill takes, and how long a receiver's
insert waits beside a backfill, a prune and an upgrade of the same file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from telnyx_porting.client import TelnyxClient
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.maintenance import maintain
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries, events
from telnyx_porting.settings import Settings
from tests.support.measured import say

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = "telnyx_default"
DAY = timedelta(days=1)
FAST = Settings(requests_per_second=1000)


@contextmanager
def provider_process(count: int) -> Iterator[str]:
    arguments = [sys.executable, "-m", "include.sandbox", "--port", "0", "--scenario", "volume", "--events", str(count)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def child(url: str, origin: str) -> None:
    """Backfill all of history in a process of its own, and say how much memory that took."""
    ledger, now = Ledger(url).ready(), datetime.now(UTC)
    with TelnyxClient("KEY_SANDBOX", f"{origin}/v2") as client:
        scan(Account(ledger, ACCOUNT, FAST, lambda: now), client)
        began = time.perf_counter()
        result = backfill(Account(ledger, ACCOUNT, FAST, lambda: now), client, now - 1200 * DAY, now)
    # This program's own: what getrusage tells survives the start from a larger process.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024
    print(json.dumps({"read": result.read, "seconds": time.perf_counter() - began, "peak_mib": peak}))


def run_child(url: str, origin: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_beside", "--child", url, origin],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


class Receiver(threading.Thread):
    """Durable inserts of one delivery, fifty a second, and how long the slowest waited."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.ledger = Ledger(url, durable=True)
        self.waits: list[float] = []
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.02):
            began = time.perf_counter()
            row = {"account": ACCOUNT, "source": "receiver", "source_id": uuid.uuid4().hex, "ok": True}
            with self.ledger.write() as connection:
                connection.execute(deliveries.insert().values(**row, stored_at=datetime.now(UTC)))
            self.waits.append(time.perf_counter() - began)

    def slowest(self) -> tuple[float, float]:
        ordered, self.waits = sorted(self.waits), []
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0, ordered[-1] if ordered else 0.0


def beside(folder: Path, count: int) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    url = f"sqlite:///{folder / 'beside.db'}"
    ledger = Ledger(url).ready()
    receiver = Receiver(url)
    receiver.start()
    waits: dict[str, tuple[float, float]] = {}
    with provider_process(count) as origin:
        memory = run_child(url, origin)
    waits[f"backfill of {count:,}"] = receiver.slowest()
    with ledger.read() as connection:
        total = connection.execute(select(func.count()).select_from(events)).scalar_one()
    for _ in range(0, total, 5_000):  # decided, as the delivery rule would have done long ago
        with ledger.write() as connection:
            some = select(events.c.id).where(events.c.delivery.is_(None)).limit(5_000)
            connection.execute(update(events).where(events.c.id.in_(some)).values(delivery="undetermined"))
        time.sleep(0.02)
    receiver.slowest()
    removed = maintain(Account(ledger, ACCOUNT, Settings(retention_days=30))).payloads_removed
    waits[f"prune of {removed:,}"] = receiver.slowest()
    for _ in range(5):
        ledger.upgrade()
        time.sleep(0.1)
    waits["upgrade"] = receiver.slowest()
    receiver.stop.set()
    receiver.join()
    return waits, memory


def main(quick: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with provider_process(10_000) as origin:
            little = run_child(f"sqlite:///{folder / 'memory.db'}", origin)
        waits, much = beside(folder, 50_000 if quick else 1_000_000)
    ratio = much["peak_mib"] / little["peak_mib"]
    compared = f"{much['read']:,} against {little['read']:,}"
    say(f"backfill's memory, {compared}", f"{ratio:.2f}", f"<= 1.2 ({much['peak_mib']:.0f} MiB)")
    speed = f"{much['read'] / much['seconds']:,.0f} events/s"
    say("  its speed", speed, "over sockets, from a simulator on the same cores")
    for what, (most, worst) in waits.items():
        limit = f"< 1500 ms (99 %: {most * 1e3:.0f} ms)"
        say(f"receiver's insert beside {what}: slowest", f"{worst * 1e3:.0f} ms", limit)


@pytest.mark.bench
def test_bench_beside() -> None:
    main(quick=os.environ.get("BENCH_QUICK") == "1")


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(*sys.argv[-2:])
    else:
        main("--quick" in sys.argv)
