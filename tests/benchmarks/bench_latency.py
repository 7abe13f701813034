"""
How long from Telnyx's webhook to the message that people read?

``python -m tests.benchmarks.bench_latency [--quick]`` prints a table of targets. A real Airflow standalone, the real
receiver and the simulator, on this machine; the DAGs as they are. The pace of alerts is the default one, and every
exception follows a confirmed FOC date, so it is critical: it does not wait for others of its group, nor for working
hours. Only `settle`, by which a scan stays behind, is 1 s: by default it is 60 s, and the poll path is as much
longer. Measured from before the order falls into exception to the arrival of the message at the simulator's inbox.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries
from tests.benchmarks.bench_client import Table
from tests.conftest import BUILD, ROOT
from tests.support.receivers import ACCOUNT, PATH, receiver
from tests.support.running import RunningAirflow, running_airflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NEVER = "7d"
SCAN, TELL = "porting_scan", "porting_exception_alerts"
PATIENCE = 120.0  # seconds after which a message counts as lost


class Desk:
    """Somebody with an eye on the inbox."""

    def __init__(self, sandbox: RunningSandbox, airflow: RunningAirflow, orders: int) -> None:
        self.sandbox, self.airflow = sandbox, airflow
        self.begun: dict[str, float] = {}
        self._fresh = [sandbox.order() for _ in range(orders)]
        for order in self._fresh:
            sandbox.act(order, "status", value="foc-date-confirmed", force=True, complete_after=0)

    def first_look(self) -> None:
        """Let the watch know all orders, so that what comes then is news."""
        self._finish(SCAN, self.airflow.api.trigger(SCAN))
        self._finish(TELL, self.airflow.api.trigger(TELL))
        self.airflow.processes.wait_for("rest", self._rests, 120)

    def fall(self, number: int) -> dict[str, float]:
        """Let orders that never were in exception fall into it; gives each one's time, seconds since 1970."""
        begun: dict[str, float] = {}
        for _ in range(number):
            order = self._fresh.pop()
            begun[order] = time.time()
            self.sandbox.act(order, "status", value="exception", force=True, codes=["OTHER"], complete_after=0)
        self.begun |= begun
        return begun

    def latencies(self, begun: dict[str, float]) -> list[float]:
        """Wait for the messages about all of them; seconds each took."""
        arrived = self.airflow.processes.wait_for("the messages", lambda: self._arrived(begun), PATIENCE)
        return [arrived[order] - at for order, at in begun.items()]

    def stages(self) -> str:
        """Say when, at the median, the receiver had stored the webhook and the woken task began."""
        query = select(deliveries.c.order_id, deliveries.c.stored_at, deliveries.c.looked_at)
        ledger = Ledger(self.airflow.ledger_url)
        with ledger.read() as connection:
            rows = connection.execute(query.where(deliveries.c.order_id.in_(self.begun))).all()
        ledger.close()
        stored = [row.stored_at.timestamp() - self.begun[row.order_id] for row in rows]
        began = [row.looked_at.timestamp() - self.begun[row.order_id] for row in rows]
        return f"stored after {share(stored, 0.5):.2f}, task began after {share(began, 0.5):.2f} s"

    def messages(self) -> list[str]:
        """The order of every finding in every message, as often as it was told."""
        return [entry["order_id"] for letter in self.sandbox.inbox() for entry in letter["body"]["findings"]]

    def _arrived(self, begun: dict[str, float]) -> dict[str, float] | None:
        at: dict[str, float] = {}
        for letter in self.sandbox.inbox():
            for entry in letter["body"]["findings"]:
                at.setdefault(entry["order_id"], datetime.fromisoformat(letter["at"]).timestamp())
        return at if begun.keys() <= at.keys() else None

    def _finish(self, dag_id: str, run_id: str) -> None:
        def ended() -> bool:
            state = self.airflow.api.runs(dag_id).get(run_id)
            assert state != "failed", f"{dag_id} failed"
            return state == "success"

        self.airflow.processes.wait_for(dag_id, ended, 180)

    def _rests(self) -> bool:
        states = {state for dag_id in (SCAN, TELL) for state in self.airflow.api.runs(dag_id).values()}
        return states <= {"success"}


@contextmanager
def desk(home: Path, orders: int, *, webhooks: bool, scan_every: str) -> Iterator[Desk]:
    """Run everything, past the first look."""
    knobs = {"alert_channels": "porting_alerts:json", "scan_every": scan_every, "look_every": NEVER, "settle": "1s"}
    with running_sandbox() as sandbox, running_airflow(sandbox, home, **knobs) as airflow:
        with Ledger(airflow.ledger_url) as ledger:
            ledger.upgrade()
        with receiver(airflow.ledger_url, [f"{ACCOUNT}={sandbox.public_key}"]) as ear:
            for dag_id in (SCAN, TELL):
                shutil.copy(ROOT / "dags" / f"{dag_id}.py", airflow.dags)
            found = Desk(sandbox, airflow, orders)
            airflow.start()
            airflow.api.make_pool("telnyx_api", 4)
            airflow.processes.wait_for("the DAGs", lambda: {SCAN, TELL} <= airflow.api.known_dags(), 120)
            found.first_look()
            if webhooks:
                sandbox.subscribe(ear.url + PATH)
            yield found


def spaced(desk: Desk, samples: int) -> list[float]:
    """One after the other, at moments that have nothing to do with anybody's clock."""
    found = []
    for _ in range(samples):
        time.sleep(random.uniform(2, 4))
        found += desk.latencies(desk.fall(1))
    return found


def burst(desk: Desk, number: int) -> tuple[list[float], float]:
    """All within a second; also gives how long that took."""
    begun = desk.fall(number)
    return desk.latencies(begun), max(begun.values()) - min(begun.values())


def shown(seconds: Sequence[float]) -> str:
    """Say how they are spread."""
    ordered = sorted(seconds)
    return f"n={len(ordered)}, fastest {ordered[0]:.1f}, median {share(ordered, 0.5):.1f}, slowest {ordered[-1]:.1f} s"


def share(seconds: Sequence[float], part: float) -> float:
    """Return the time within which this part of them was there."""
    return sorted(seconds)[min(int(len(seconds) * part), len(seconds) - 1)]


def machine() -> str:
    """Say how busy it is: with more load than CPUs everything takes longer than it must."""
    return f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"


def webhook_path(table: Table, home: Path, samples: int, at_once: int) -> None:
    """With the sweep off: neither scan nor schedule can tell."""
    with desk(home, samples + at_once + 1, webhooks=True, scan_every=NEVER) as found:
        found.latencies(found.fall(1))  # by then the watcher watches
        single = spaced(found, samples)
        sys.stdout.write(f"     {found.stages()}\n")
        many, within = burst(found, at_once)
        table.line("webhook to inbox, spaced: p95, s", share(single, 0.95), "<=", 5, f"{shown(single)}; {machine()}")
        table.line(f"{at_once} webhooks in a second: the last, s", max(many), "<=", 15, machine())
        table.line("  sent in, s", within, "<=", 1, "")
        told = found.messages()
        table.line("  told more than once", len(told) - len(set(told)), "<=", 0, f"{len(told)} told")


def poll_path(table: Table, home: Path, samples: int, interval: int) -> None:
    """Without any webhook: a scan finds the event and wakes the DAG that tells."""
    with desk(home, samples, webhooks=False, scan_every=f"{interval}s") as found:
        waited = spaced(found, samples)
        wanted = interval + 10
        table.line(
            f"poll path, scan every {interval} s: the slowest, s",
            max(waited),
            "<=",
            wanted,
            f"{shown(waited)}; {machine()}",
        )


def main(quick: bool = False, folder: Path | None = None) -> list[str]:
    """Print the table; returns the targets missed."""
    table = Table()
    home = folder or Path(tempfile.mkdtemp(prefix="latency-", dir=BUILD / "tmp"))
    for name in ("webhooks", "polls"):
        (home / name).mkdir()
    sys.stdout.write("alerts at the default pace, all critical; " + machine() + "\n")
    webhook_path(table, home / "webhooks", 10 if quick else 50, 20)
    poll_path(table, home / "polls", 2 if quick else 5, 30)
    if folder is None:
        shutil.rmtree(home)
    return table.missed


@pytest.mark.bench
def test_people_are_told_in_time(tmp_path: Path) -> None:
    assert main(folder=tmp_path) == []


if __name__ == "__main__":
    sys.exit(1 if main(quick="--quick" in sys.argv) else 0)
