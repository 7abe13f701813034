"""A real Airflow, the real receiver and the simulator, and somebody with an eye on the inbox."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries
from tests.support.places import ROOT
from tests.support.receivers import ACCOUNT, PATH, receiver
from tests.support.running import RunningAirflow, running_airflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

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


def share(seconds: Sequence[float], part: float) -> float:
    """Return the time within which this part of them was there."""
    return sorted(seconds)[min(int(len(seconds) * part), len(seconds) - 1)]
