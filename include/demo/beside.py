"""``python -m include.demo.beside AIRFLOW SANDBOX RECEIVER`` (their URLs): the loop of services that run already.

The demo of docker compose. ``ADMIN_PASSWORD``, ``SANDBOX_CONTROL_TOKEN`` and the watch's settings, with the ledger's
URL, come from the environment. It ends with 0 when found equals truth.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import httpx

from include.demo.airflow import AirflowApi
from include.demo.logs import phase, say
from include.demo.loop import Loop
from include.demo.processes import DemoError, Processes
from include.demo.story import summary, table
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.urls import ledger_url


def main(airflow: str, sandbox: str, receiver: str) -> int:
    """Go through the loop once, and compare."""
    seconds: dict[str, float] = {}
    begin = time.monotonic()
    token = {"Authorization": f"Bearer {os.environ['SANDBOX_CONTROL_TOKEN']}"}
    with tempfile.TemporaryDirectory() as home, Processes(Path(home)) as processes:
        loop = Loop(
            Path(home),
            processes,
            AirflowApi(airflow, os.environ["ADMIN_PASSWORD"]),
            httpx.Client(base_url=f"{sandbox}/sandbox", headers=token, timeout=30, trust_env=False),
            Ledger(ledger_url(None)),
            receiver,
            os.environ,
            seconds,
        )
        try:
            with phase(seconds, "start", "waiting for Airflow and its DAGs"):
                processes.wait_for("Airflow", loop.airflow.healthy, 180)
                processes.wait_for("the DAGs", loop.dags_known, 90)
            loop.as_published()
            comparison, changed = loop.go_through()
        except DemoError as error:
            say(f"demo: {error}")
            return 1
        finally:
            loop.close()
    seconds["total"] = round(time.monotonic() - begin, 1)
    say("\n" + table(comparison))
    say(summary(comparison, changed, seconds))
    return 0 if comparison.ok and not changed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
