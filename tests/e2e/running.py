"""A whole Airflow for a test, on ports of its own, and everything of it ended afterwards."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from include.demo.airflow import AirflowApi, Ports, environment
from include.demo.processes import Processes, session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox

PASSWORD = "secret"


def free_ports(number: int) -> list[int]:
    """Find ports that nobody listens on right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class RunningAirflow:
    """``airflow standalone`` with ``<home>/dags`` as its DAGs; started by ``start``."""

    def __init__(self, processes: Processes, sandbox: RunningSandbox, home: Path, knobs: dict[str, str]) -> None:
        web, worker, trigger = free_ports(3)
        sandbox_port = int(sandbox.origin.rsplit(":", 1)[1])
        ports = Ports(airflow=web, sandbox=sandbox_port, worker_log=worker, trigger_log=trigger)
        self.dags = home / "dags"
        self.dags.mkdir()
        self._env = environment(home / "airflow", ports, knobs, PASSWORD)
        self.ledger_url = self._env["TELNYX_PORTING_LEDGER_URL"]
        self._env["AIRFLOW__CORE__DAGS_FOLDER"] = str(self.dags)
        self.processes = processes
        self.api = AirflowApi(ports, PASSWORD)
        self._leader = 0

    def start(self) -> None:
        """Start it, and wait until it is whole."""
        command = [sys.executable, "-m", "airflow", "standalone"]
        self._leader = self.processes.start("airflow", command, self._env).pid
        self.processes.wait_for("Airflow", self.api.healthy, 300)

    def kill(self) -> None:
        """End every process of it at once, without a word of warning."""
        for pid in set(session(self._leader)):
            os.kill(pid, signal.SIGKILL)
        self.processes._running.pop()[1].wait()

    def asset_events(self) -> list[dict[str, Any]]:
        """What has reached its assets; nothing while Airflow cannot say.

        Airflow 3.3 answers 500 as long as a run that one of them started is queued: its
        DagRunAssetReference wants a start_date.
        """
        try:
            events: list[dict[str, Any]] = self.api.get("/assets/events", limit=100)["asset_events"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            return []
        return events


@contextmanager
def running_airflow(sandbox: RunningSandbox, home: Path, **knobs: str) -> Iterator[RunningAirflow]:
    """Give an Airflow that is not started yet; its connection ``telnyx_default`` leads to the sandbox.

    :param knobs: settings of the watch, as in the environment.
    """
    with Processes(home / "logs") as processes:
        running = RunningAirflow(processes, sandbox, home, knobs)
        try:
            yield running
        finally:
            running.api._http.close()
