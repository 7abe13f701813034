"""Run what docker-compose.yaml says without containers: its commands, variables and health checks, on this machine.

Host names become 127.0.0.1, ports free ones, the containers' folders folders of the test. The rest is the file's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import yaml

from include.demo import postgres
from include.demo.ports import reserve
from include.demo.processes import Processes
from tests.support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE = ROOT / "docker-compose.yaml"
VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::([-?])([^}]*))?\}")
WORKERS = 2


def variables(file: Path) -> dict[str, str]:
    """An env file."""
    lines = (line.partition("=") for line in file.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def interpolate(node: Any, given: Mapping[str, str]) -> Any:
    """Put values in the place of ${NAME}, ${NAME:-default} and ${NAME:?reason}, as compose does."""
    if isinstance(node, dict):
        return {key: interpolate(value, given) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate(value, given) for value in node]
    return VARIABLE.sub(lambda found: _value(found, given), node) if isinstance(node, str) else node


def _value(found: re.Match[str], given: Mapping[str, str]) -> str:
    name, kind, rest = found.groups()
    if name is None:
        return "$"
    value = given.get(name, "")
    assert value or kind != "?", f"{name} is not set: {rest}"
    return value or (rest if kind == "-" else "")


@dataclass
class Compose:
    """Services that run, by name; `airflow-worker` several times."""

    services: dict[str, Any]
    configs: dict[str, Any]
    settings: dict[str, str]
    processes: Processes
    home: Path
    ports: dict[str, int]
    running: dict[str, subprocess.Popen[bytes]]

    def here(self, text: str) -> str:
        """A text of the file, for this machine."""
        text = re.sub(rf"(?<=[@/])(?:{'|'.join(self.services)})(?=:\d)", "127.0.0.1", text)
        text = re.sub(rf"\b(?:{'|'.join(self.ports)})\b", lambda port: str(self.ports[port[0]]), text)
        text = re.sub(r"(?<![\w/])/(opt/airflow|tmp|data)\b", rf"{self.home}/\1", text)
        return text.replace("0.0.0.0", "127.0.0.1")

    def environment(self, service: str, number: int = 1) -> dict[str, str]:
        """The variables of a container: the image's, the settings', the service's; and what this machine needs."""
        image = dict(re.findall(r"\b(AIRFLOW\w*)=(\S+)", (ROOT / "Dockerfile").read_text()))
        said = {**image, **self.settings, **self.services[service].get("environment", {})}
        said = {name: self.here(str(value)) for name, value in said.items()}
        own = {
            "AIRFLOW__API__PORT": self.ports["8080"],
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": self.ports["8974"],
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": self.ports["8794"],
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": self.ports[f"8793.{number}"],
            "HOSTNAME": f"{service}-{number}",
            "TMPDIR": self.home / "tmp",
        }
        assert not set(own) & set(said)
        path = [str(Path(sys.executable).parent), str(postgres.binaries()), os.environ["PATH"]]
        machine = {"PATH": os.pathsep.join(path), "NO_PROXY": "*", "HOME": self.home, "PYTHONDONTWRITEBYTECODE": "1"}
        return {name: str(value) for name, value in {**machine, **said, **own}.items()}

    def command(self, service: str, number: int = 1) -> list[str]:
        """What the container runs."""
        text = [self.here(word) for word in self.services[service]["command"]]
        return [word.replace("worker.pid", f"worker-{number}.pid") for word in text]

    def up(self) -> None:
        """Start everything but the demo, in the file's order, each when what it needs is there, and see all well."""
        for service, said in self.services.items():
            for needed, how in said.get("depends_on", {}).items():
                if how["condition"] == "service_healthy" and service != "demo":
                    self.wait_for_health(needed)
            if service == "postgres":
                self._postgres(said)
            elif service == "airflow-init":
                self.processes.finish(service, self.command(service), self.environment(service), 120, cwd=self.cwd)
            elif service != "demo":
                for number in range(1, WORKERS + 1) if service == "airflow-worker" else [1]:
                    self.start(service, number)
        for service, said in self.services.items():
            if "healthcheck" in said:
                self.wait_for_health(service)

    def start(self, service: str, number: int = 1) -> None:
        """Start one container's process."""
        name = f"{service}-{number}"
        self.running[name] = self.processes.start(
            name, self.command(service, number), self.environment(service, number), cwd=self.cwd
        )

    def kill(self, name: str) -> None:
        """End a container as `docker kill` does: all of its processes, at once."""
        process = self.running.pop(name)
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
        self.processes.kill(process)

    def freeze(self, name: str, *, on: bool) -> None:
        """Let every process of a container stand still, or go on."""
        leader = psutil.Process(self.running[name].pid)
        for each in [leader, *leader.children(recursive=True)]:
            os.kill(each.pid, signal.SIGSTOP if on else signal.SIGCONT)

    def is_healthy(self, service: str, number: int = 1) -> bool:
        """Run its health check."""
        kind, *rest = map(self.here, self.services[service]["healthcheck"]["test"])
        return self.run(service, *(["sh", "-c", *rest] if kind == "CMD-SHELL" else rest), number=number).returncode == 0

    def wait_for_health(self, service: str) -> None:
        """Wait until the health checks of all of its containers succeed."""
        for number in range(1, WORKERS + 1) if service == "airflow-worker" else [1]:
            self.processes.wait_for(f"{service}'s health", lambda n=number: self.is_healthy(service, n), 120)

    def run(self, service: str, *command: str, number: int = 1) -> subprocess.CompletedProcess[str]:
        """Run a command as `docker compose exec` does."""
        env = self.environment(service, number)
        return subprocess.run(command, env=env, cwd=self.cwd, capture_output=True, text=True, check=False, timeout=90)

    @property
    def cwd(self) -> Path:
        """The image's folder."""
        return self.home / "opt" / "airflow"

    def written(self) -> list[Path]:
        """What was written where a container's disk is read-only."""
        image = {"airflow.cfg", "dags", "include", "logs"}
        return [
            path
            for path in self.cwd.iterdir()
            if path.name not in image or path.name == "airflow.cfg" and path.stat().st_size
        ]

    def sql(self, statement: str, database: str = "airflow") -> list[Any]:
        """Ask PostgreSQL as its owner."""
        with psycopg.connect(self._url(database), autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def _url(self, database: str) -> str:
        said = self.services["postgres"]["environment"]
        return f"postgresql://airflow:{said['POSTGRES_PASSWORD']}@127.0.0.1:{self.ports['5432']}/{database}"

    def _postgres(self, said: dict[str, Any]) -> None:
        """The server of the wheel, made as the image makes its own on the first start."""
        server = postgres.start(self.processes, self.ports["5432"])
        assert server is not None
        own = said["environment"]
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(
                f"CREATE ROLE {own['POSTGRES_USER']} SUPERUSER LOGIN PASSWORD '{own['POSTGRES_PASSWORD']}'"
            )
            connection.execute(f"CREATE DATABASE {own['POSTGRES_DB']} OWNER {own['POSTGRES_USER']} TEMPLATE template0")
        for config in said["configs"]:
            for statement in self.configs[config["source"]]["content"].split(";\n"):
                if statement.strip():
                    self.sql(statement)


@contextmanager
def composed(home: Path, **more: str) -> Iterator[Compose]:
    """Give the services of the demo, none of them started.

    :param more: further lines of the settings file.
    """
    subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "env"], cwd=_copied(home / "env"), check=True)
    settings = {**variables(ROOT / "demo.env"), **more}
    given = {**variables(home / "env" / ".env"), **settings, "WORKER_CONCURRENCY": "4"}
    document = interpolate(yaml.safe_load(FILE.read_text()), given)
    for folder in ("opt/airflow/logs", "tmp", "data"):
        (home / folder).mkdir(parents=True)
    (home / "opt/airflow/airflow.cfg").touch()
    for name in ("dags", "include"):
        (home / "opt/airflow" / name).symlink_to(ROOT / name)
    with reserve(usual=False) as one, reserve(usual=False) as two, Processes(home) as processes:
        ports = {"8080": one.airflow, "8787": one.sandbox, "8788": one.receiver, "8789": one.counters}
        ports |= {"5432": one.postgres, "6379": two.postgres, "8974": two.airflow, "8794": one.trigger_log}
        ports |= {"8793.1": one.worker_log, "8793.2": two.worker_log}
        yield Compose(document["services"], document["configs"], settings, processes, home, ports, {})


def _copied(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(ROOT / ".env.example", folder)
    return folder
