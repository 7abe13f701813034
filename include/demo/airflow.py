"""Airflow standalone for the demo: its environment, and the few REST calls the demo makes."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from sqlalchemy import URL

from include.demo.processes import DemoError

if TYPE_CHECKING:
    from include.demo.ports import Ports
    from include.demo.postgres import Server

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0  # seconds for which a request that failed is asked again: on a busy machine one may take a minute
PAUSE = 1.0  # seconds until then


@dataclass(frozen=True)
class Databases:
    """SQLAlchemy URLs of Airflow's own database and of the ledger."""

    metadata: str
    ledger: str

    @classmethod
    def on(cls, server: Server, metadata: str = "airflow", ledger: str = "ledger") -> Databases:
        """Make both on one server."""
        server.create(metadata)
        return cls(server.url(metadata, "postgresql+psycopg2"), server.create(ledger))

    @classmethod
    def in_files(cls, home: Path) -> Databases:
        """Name a SQLite file for each."""
        metadata = URL.create("sqlite", database=str(home / "airflow.db")).render_as_string()
        return cls(metadata, f"sqlite:///{quote(str(home / 'porting_ledger.db'))}")


def environment(home: Path, ports: Ports, given: dict[str, str], password: str, databases: Databases) -> dict[str, str]:
    """Return the environment of Airflow and of the receiver: nothing is written outside `home`."""
    api = f"http://localhost:{ports.airflow}"
    sandbox = f"http://127.0.0.1:{ports.sandbox}"
    passwords = home / "passwords.json"
    home.mkdir(parents=True, exist_ok=True)
    passwords.touch(0o600)
    passwords.write_text(json.dumps({"admin": password}))
    settings = {
        "DATABASE__SQL_ALCHEMY_CONN": databases.metadata,
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
        "TELNYX_PORTING_LEDGER_URL": databases.ledger,
        **{f"TELNYX_PORTING_{name.upper()}": value for name, value in given.items()},
    }


class AirflowApi:
    """The REST calls of a person at the Airflow UI. Each is safe to repeat, and is, until Airflow gives an answer."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._password = password
        here = url.replace("//localhost:", "//127.0.0.1:")  # where ours listens; ::1 may be somebody else's
        self._http = httpx.Client(base_url=here, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def healthy(self) -> bool:
        """Whether all four components are; also whether it is *our* Airflow (the login works)."""
        try:
            answer = self._http.get("/api/v2/monitor/health")
            parts = answer.json() if answer.status_code == httpx.codes.OK else {}
            names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
            if not all(parts.get(name, {}).get("status") == "healthy" for name in names):
                return False
            if "Authorization" not in self._http.headers:
                login = {"username": "admin", "password": self._password}
                token = self._http.post("/auth/token", json=login).raise_for_status().json()["access_token"]
                self._http.headers["Authorization"] = f"Bearer {token}"
        except (httpx.HTTPError, ValueError, KeyError, AttributeError):
            return False
        return True

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Send a request below /api/v2 that is safe to repeat; again after a 5xx or a broken connection.

        :return: the decoded answer; None when what was to be done is done already (409).
        :raises DemoError: for any other answer, or none within `PATIENCE` seconds.
        """
        said, until = "", time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                answer = self._http.request(method, f"/api/v2{path}", json=body, params=params)
            except httpx.TransportError as error:
                said = f"did not answer ({type(error).__name__})"
            else:
                if answer.status_code == httpx.codes.CONFLICT and method != "GET":
                    return None
                said = f"answered {answer.status_code} {answer.text.strip()[:200]}"
                if answer.is_success:
                    with suppress(ValueError):
                        return answer.json()
                if not answer.is_server_error and not answer.is_success:
                    break
            time.sleep(PAUSE)
        raise DemoError(f"Airflow {said} to {method} /api/v2{path}", "airflow")

    def get(self, path: str, **params: Any) -> Any:
        """GET below /api/v2."""
        return self.ask("GET", path, **params)

    def make_pool(self, name: str, slots: int) -> None:
        """Create the pool, as a deployment does once."""
        self.ask("POST", "/pools", {"name": name, "slots": slots})

    def known_dags(self) -> set[str]:
        """The DAGs that have been parsed."""
        return {dag["dag_id"] for dag in self.get("/dags", limit=100)["dags"]}

    def import_errors(self) -> list[str]:
        """What could not be parsed."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run by hand and return its id, which is ours: asked twice, it is still one run."""
        run_id = f"demo__{uuid.uuid4()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        self.ask("POST", f"/dags/{dag_id}/dagRuns", body)
        return run_id

    def runs(self, dag_id: str) -> dict[str, str]:
        """Run id -> state."""
        return {run["dag_run_id"]: run["state"] for run in self.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]}

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """The tasks of a run that failed."""
        rows = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        return [row["task_id"] for row in rows if row["state"] in ("failed", "upstream_failed")]
