"""A whole Airflow for a test, on ports and databases of its own, and everything of it ended afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from include.demo.airflow import AirflowApi, Databases, environment
from include.demo.ports import Ports, reserve
from include.demo.processes import Processes
from tests.support.ledgers import shared_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.demo.postgres import Server
    from include.sandbox.testing import RunningSandbox

PASSWORD = "secret"


@cache
def _migrated(server: Server) -> str:
    """The name of a database as Airflow wants it; others are copies of it, made in no time."""
    url = server.url("airflow_migrated", "postgresql+psycopg2")
    server.create("airflow_migrated")
    environ = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=300)
    return "airflow_migrated"


def databases(home: Path) -> Databases:
    """Return fresh databases for one Airflow."""
    server = shared_server()
    if server is None:
        return Databases.in_files(home)
    name = uuid.uuid4().hex[:12]
    metadata, ledger = f"airflow_{name}", f"ledger_{name}"
    server.create(metadata, _migrated(server))
    return Databases(server.url(metadata, "postgresql+psycopg2"), server.create(ledger))


class RunningAirflow:
    """``airflow standalone`` with ``<home>/dags`` as its DAGs; started by ``start``."""

    def __init__(self, processes: Processes, ports: Ports, home: Path, knobs: dict[str, str]) -> None:
        self.dags = home / "dags"
        self.dags.mkdir()
        where = databases(home)
        self._env = environment(home / "airflow", ports, knobs, PASSWORD, where)
        self.ledger_url = where.ledger
        self._env["AIRFLOW__CORE__DAGS_FOLDER"] = str(self.dags)
        self.processes = processes
        self.api = AirflowApi(f"http://localhost:{ports.airflow}", PASSWORD)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is whole."""
        command = [sys.executable, "-m", "airflow", "standalone"]
        self._process = self.processes.start("airflow", command, self._env)
        self.processes.wait_for("Airflow", self.api.healthy, 300, "airflow")

    def kill(self) -> None:
        """End every process of it at once, without a word of warning."""
        assert self._process is not None
        self.processes.kill(self._process)


@contextmanager
def running_airflow(sandbox: RunningSandbox, home: Path, **knobs: str) -> Iterator[RunningAirflow]:
    """Give an Airflow that is not started yet; its connection ``telnyx_default`` leads to the sandbox.

    :param knobs: settings of the watch, as in the environment.
    """
    with reserve(usual=False) as free, Processes(home) as processes:
        ports = replace(free, sandbox=int(sandbox.origin.rsplit(":", 1)[1]))
        running = RunningAirflow(processes, ports, home, knobs)
        try:
            yield running
        finally:
            running.api.close()
