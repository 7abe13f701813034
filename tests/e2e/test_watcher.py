"""A real Airflow watches for new events, and goes on where it was after being killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from include.demo.airflow import AirflowApi, Ports, environment
from include.demo.processes import Processes, session
from include.sandbox.testing import RunningSandbox, running_sandbox
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
RECIPE = "telnyx_react_to_events"


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def airflow(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Running]:
    with Processes(tmp_path / "logs") as processes:
        running = Running(processes, sandbox, tmp_path)
        yield running
        running.api._http.close()


class Running:
    """An Airflow with the recipe as its only DAG, polling every second instead of every minute."""

    def __init__(self, processes: Processes, sandbox: RunningSandbox, home: Path) -> None:
        web, worker, trigger = free_ports(3)
        ports = Ports(
            airflow=web, sandbox=int(sandbox.origin.rsplit(":", 1)[1]), worker_log=worker, trigger_log=trigger
        )
        dags = home / "dags"
        dags.mkdir()
        recipe = (ROOT / "dags" / "examples" / f"{RECIPE}.py").read_text()
        assert "poll_interval=60" in recipe
        (dags / f"{RECIPE}.py").write_text(recipe.replace("poll_interval=60", "poll_interval=1"))
        self._env = environment(home / "airflow", ports, {}, "secret")
        self._env["AIRFLOW__CORE__DAGS_FOLDER"] = str(dags)
        self.processes = processes
        self.api = AirflowApi(ports, "secret")
        self.leader = 0

    def start(self) -> None:
        """Start Airflow, and wait until it is whole."""
        self.leader = self.processes.start("airflow", [sys.executable, "-m", "airflow", "standalone"], self._env).pid
        self.processes.wait_for("Airflow", self.api.healthy, 180)

    def kill(self) -> None:
        """End every process of it at once, without a word of warning."""
        for pid in set(session(self.leader)):
            os.kill(pid, signal.SIGKILL)
        self.processes._running.pop()[1].wait()

    def told(self) -> set[str]:
        """The ids that have reached the asset."""
        events: list[dict[str, Any]] = self.api.get("/assets/events", limit=100)["asset_events"]
        return {each for event in events for each in event["extra"]["payload"]["event_ids"]}


def test_watcher_survives_a_kill(sandbox: RunningSandbox, airflow: Running) -> None:
    sandbox.order()
    airflow.start()
    airflow.api.make_pool("telnyx_api", 4)
    # The first poll is a count; the second request shows that the first cursor is kept.
    airflow.processes.wait_for("the watcher", lambda: sandbox.requests()["total"] >= 3, 90)

    made = set(sandbox.burst(3))
    airflow.processes.wait_for("the first events", lambda: made <= airflow.told(), 60)
    airflow.processes.wait_for("a run", lambda: "success" in airflow.api.runs(RECIPE).values(), 90)

    airflow.kill()
    missed = set(sandbox.burst(3))
    airflow.start()
    airflow.processes.wait_for("what came while Airflow was dead", lambda: missed <= airflow.told(), 90)
    assert airflow.api.import_errors() == []
