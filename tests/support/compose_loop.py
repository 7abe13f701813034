"""One loop of the compose file's services with something bad in the middle of it, and what became of every event."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from include.demo import postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.compose import Compose

NEEDS = (
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Redis (Debian: apt install redis-server)"),
    pytest.mark.skipif(postgres.binaries() is None, reason="the PostgreSQL wheel has no build for this platform"),
)
"""Marks of a test that starts the services."""
SOON = {  # seconds: a worker that is gone is missed, and its task tried again
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    "TELNYX_PORTING_REPUBLISH_PER_SECOND": "2",
}


def requests(compose: Compose) -> dict[str, int]:
    """Event id -> how often its republish was asked for, as the simulator counted."""
    token = compose.environment("sandbox")["SANDBOX_CONTROL_TOKEN"]
    url = f"http://127.0.0.1:{compose.ports['8787']}/sandbox/truth"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)
    return dict(answer.raise_for_status().json()["republish_requests"])


def loop(compose: Compose, harm: Callable[[Compose], None] | None = None) -> dict[str, Any]:
    """Run the service `demo` to its end, the harm once part of the batch is sent.

    :return: the last line of what it says.
    """
    log = compose.processes.logs / "demo.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            compose.command("demo"), env=compose.environment("demo"), cwd=compose.cwd, stdout=out, stderr=out
        )
        try:
            if harm is not None:
                compose.processes.wait_for(
                    "the middle of the batch", lambda: process.poll() is not None or len(requests(compose)) >= 4, 240
                )
                assert process.poll() is None, log.read_text()
                harm(compose)
            process.wait(400)
        finally:
            process.kill()
            process.wait()
    said = log.read_text()
    assert process.returncode == 0, said
    return dict(json.loads(said.splitlines()[-1]))


def kill_the_worker_that_sends(compose: Compose) -> None:
    """`kill -9` the worker in which the batch runs."""
    logs = {name: (compose.processes.logs / f"{name}.log").read_text() for name in compose.running if "worker" in name}
    at = {name: text.rfind("porting_republish") for name, text in logs.items()}
    holders = [name for name, where in at.items() if where >= 0]
    assert holders, "no worker runs the batch"
    last = {name: max(line for line in logs[name].splitlines() if "porting_republish" in line) for name in holders}
    compose.kill(max(last, key=lambda name: last[name]))
