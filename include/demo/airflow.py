"""Airflow standalone for the demo: its environment, and the few REST calls the demo makes."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on 127.0.0.1."""

    airflow: int = 8080
    sandbox: int = 8787
    receiver: int = 8788
    counters: int = 8789
    worker_log: int = 8793
    trigger_log: int = 8794


def environment(home: Path, ports: Ports, knobs: dict[str, str], password: str) -> dict[str, str]:
    """Return the environment of Airflow and of the receiver: nothing is written outside `home`."""
    api = f"http://localhost:{ports.airflow}"
    sandbox = f"http://127.0.0.1:{ports.sandbox}"
    passwords = home / "passwords.json"
    home.mkdir(parents=True, exist_ok=True)
    passwords.write_text(json.dumps({"admin": password}))
    passwords.chmod(0o600)
    settings = {
        "CORE__DAGS_FOLDER": ROOT / "dags",
        "CORE__PLUGINS_FOLDER": ROOT / "plugins",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__PARALLELISM": "6",
        "CORE__EXECUTION_API_SERVER_URL": f"{api}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "CORE__TEST_CONNECTION": "Enabled",
        "API__HOST": "127.0.0.1",
        "API__PORT": ports.airflow,
        "API__BASE_URL": api,
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "LOGGING__WORKER_LOG_SERVER_PORT": ports.worker_log,
        "LOGGING__TRIGGER_LOG_SERVER_PORT": ports.trigger_log,
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    }
    telnyx = {"conn_type": "telnyx", "host": sandbox, "password": "KEY_SANDBOX"}  # the sandbox's own, public key
    inbox = {"conn_type": "http", "host": f"{sandbox}/sandbox/inbox"}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "TELNYX_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1,localhost",
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
        "AIRFLOW_CONN_TELNYX_DEFAULT": json.dumps(telnyx),
        "AIRFLOW_CONN_PORTING_ALERTS": json.dumps(inbox),
        "TELNYX_PORTING_LEDGER_URL": f"sqlite:///{home / 'porting_ledger.db'}",
        **{f"TELNYX_PORTING_{name.upper()}": value for name, value in knobs.items()},
    }


class AirflowApi:
    """The REST calls of a person at the Airflow UI."""

    def __init__(self, ports: Ports, password: str) -> None:
        self.url = f"http://localhost:{ports.airflow}"
        self._password = password
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{ports.airflow}", timeout=30, trust_env=False)

    def healthy(self) -> bool:
        """Whether all four components are; also whether it is *our* Airflow (the login works)."""
        try:
            answer = self._http.get("/api/v2/monitor/health")
            parts = answer.json() if answer.status_code == 200 else {}
            names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
            if not all(parts.get(name, {}).get("status") == "healthy" for name in names):
                return False
            if "Authorization" not in self._http.headers:
                login = {"username": "admin", "password": self._password}
                token = self._http.post("/auth/token", json=login).raise_for_status().json()["access_token"]
                self._http.headers["Authorization"] = f"Bearer {token}"
        except (httpx.TransportError, ValueError):
            return False
        return True

    def get(self, path: str, **params: Any) -> Any:
        """GET below /api/v2."""
        return self._http.get(f"/api/v2{path}", params=params).raise_for_status().json()

    def make_pool(self, name: str, slots: int) -> None:
        """Create the pool, as a deployment does once."""
        self._http.post("/api/v2/pools", json={"name": name, "slots": slots}).raise_for_status()

    def known_dags(self) -> set[str]:
        """The DAGs that have been parsed."""
        return {dag["dag_id"] for dag in self.get("/dags", limit=100)["dags"]}

    def import_errors(self) -> list[str]:
        """What could not be parsed."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str) -> str:
        """Start a run by hand and return its id."""
        answer = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None})
        return str(answer.raise_for_status().json()["dag_run_id"])

    def runs(self, dag_id: str) -> dict[str, str]:
        """Run id -> state."""
        return {run["dag_run_id"]: run["state"] for run in self.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]}

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """The tasks of a run that failed."""
        rows = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        return [row["task_id"] for row in rows if row["state"] in ("failed", "upstream_failed")]
