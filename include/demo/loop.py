"""The loop as the demo goes through it: what it starts, what it waits for, what it asks of Airflow."""

from __future__ import annotations

import secrets
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from include.demo.airflow import AirflowApi, environment
from include.demo.check import Comparison, compare, row_counts
from include.demo.logs import phase, say
from include.demo.processes import DemoError
from telnyx_porting import settings
from telnyx_porting.flows.deliveries.consumer import COMMIT_LAG
from telnyx_porting.ledger.engine import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from include.demo.airflow import Databases
    from include.demo.ports import Ports
    from include.demo.processes import Processes

ACCOUNT = "telnyx_default"
LIVE_SECONDS = 15
DAGS = ("porting_scan", "porting_stuck_events", "porting_exception_alerts", "porting_missed_notifications")
KNOBS = {  # minutes become seconds, and the loop may run by itself: right for a simulator, not for you
    "first_look_days": "31",
    "settle": "1s",
    "grace": "4s",
    "confirm_within": "8s",
    "stuck_after": "5s",
    "resolve_hold": "0s",
    "group_wait": "0s",
    "group_interval": "0s",
    "alert_channels": "porting_alerts:json",
    "digest_at": "off",
    "business_days": "mon-sun",
    "business_hours": "00:00-24:00",
    "requests_per_second": "100",
    "keep_free": "0",
    "republish_mode": "auto",
    "consumer_is_idempotent": "true",
    "auto_approve_max": "100",
    "republish_per_second": "20",
    "republish_unconfirmed": "50",
    "scan_every": "30m",
    "look_every": "30m",
}


class Loop:
    """The loop of a watch that runs, with the simulator as its Telnyx; and the seconds each phase took.

    :param home: the folder of its Airflow, where that is here.
    :param webhooks: where the receiver can be reached from the simulator.
    :param env: the environment of the watch.
    """

    def __init__(
        self,
        home: Path,
        processes: Processes,
        airflow: AirflowApi,
        sandbox: httpx.Client,
        ledger: Ledger,
        webhooks: str,
        env: Mapping[str, str],
        seconds: dict[str, float],
    ) -> None:
        self.home, self.processes, self.airflow, self.ledger = home, processes, airflow, ledger
        self.webhooks, self.env, self.seconds = webhooks, env, seconds
        self._http = sandbox

    def close(self) -> None:
        """Close what it has open."""
        self.airflow.close()
        self.ledger.close()
        self._http.close()

    def dags_known(self) -> bool:
        """Whether Airflow has parsed the DAGs of the loop.

        :raises DemoError: one does not parse.
        """
        if errors := self.airflow.import_errors():
            raise DemoError(f"a DAG does not parse: {errors[0].strip().splitlines()[-1]}", "airflow")
        return {*DAGS, "porting_republish"} <= self.airflow.known_dags()

    def as_published(self) -> None:
        """Let a webhook's id not be its event's, as in the published samples."""
        self.sandbox("POST", "/switches", {"webhook_id": "unrelated"})

    def go_through(self) -> tuple[Comparison, list[str]]:
        """Look, live, repair, look again; return truth and found, and what a second cycle changed."""
        self.first_look()
        self.live()
        words = "one full cycle: scan, stuck, exceptions, missed -> plan -> republish -> did it arrive?"
        with phase(self.seconds, "cycle", words):
            self.cycle()
        with phase(self.seconds, "second_cycle", "a second cycle on unchanged input must change nothing"):
            changed = self.second_cycle()
        return self.check(), changed

    def sandbox(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the simulator's control API, once: what it does may not be wanted twice.

        :raises DemoError: when it does not answer, or answers with an error.
        """
        try:
            return self._http.request(method, path, json=body).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise DemoError(f"the simulator did not do {method} {path}: {error}", "sandbox") from error

    def first_look(self) -> None:
        """Read the history; what is wrong now goes out once, nothing is republished."""
        with phase(self.seconds, "first_look", "first look: a month of history, before anything was subscribed"):
            self.cycle()

    def live(self) -> None:
        """Let the world move on, with an outage in the middle."""
        with phase(
            self.seconds, "live", f"{LIVE_SECONDS} s of live port-ins; in the middle the receiver cannot be reached"
        ):
            body = {"webhook_url": f"{self.webhooks}/webhooks/telnyx/{ACCOUNT}", "seconds": LIVE_SECONDS}
            self.sandbox("POST", "/live", body)
            self.processes.wait_for("the end of the live phase", self._frozen, LIVE_SECONDS + 60)
            self.processes.wait_for("the last event to be old enough", self.can_judge, 60)

    def can_judge(self) -> bool:
        """Whether the last event is so old that the watch may seal it, match it, and call it missed or stuck."""
        state = self.sandbox("GET", "/state")
        quiet = datetime.fromisoformat(state["wall"]) - datetime.fromisoformat(state["now"])
        own = settings.load(ACCOUNT, self.env)
        return quiet >= max(own.settle + 2 * own.grace, own.grace + COMMIT_LAG, own.stuck_after)

    def cycle(self) -> None:
        """Run every DAG once, scan first; then wait for the plan that was handed over."""
        self._run(DAGS[0])
        known = set(self.airflow.runs("porting_republish"))
        self._run(*DAGS[1:])
        started = set(self.airflow.runs("porting_republish")) - known
        for run_id in started:
            self._finish("porting_republish", run_id)
        if started:  # what the republish caused is news for the other feed and for people
            self._run(*DAGS[2:])

    def check(self) -> Comparison:
        """Compare with the simulator's truth."""
        truth = self.sandbox("GET", "/truth")
        letters = self.sandbox("GET", "/inbox")
        return compare(self.ledger, ACCOUNT, truth, letters, truth["republish_requests"])

    def second_cycle(self) -> list[str]:
        """Run everything again on unchanged input: return what changed nevertheless."""
        before = row_counts(self.ledger) | {"messages": len(self.sandbox("GET", "/inbox"))}
        posts = len(self.sandbox("GET", "/republishes"))
        self.cycle()
        after = row_counts(self.ledger) | {"messages": len(self.sandbox("GET", "/inbox"))}
        changed = [
            f"a second cycle changed {name}: {before[name]} -> {after[name]}"
            for name in before
            if before[name] != after[name]
        ]
        if posts != len(self.sandbox("GET", "/republishes")):
            changed.append("a second cycle republished again")
        return changed

    def _run(self, *dag_ids: str) -> None:
        begun = {dag_id: self.airflow.trigger(dag_id) for dag_id in dag_ids}
        for dag_id, run_id in begun.items():
            self._finish(dag_id, run_id)

    def _finish(self, dag_id: str, run_id: str) -> None:
        def ended() -> str | None:
            state = self.airflow.runs(dag_id).get(run_id)
            return state if state in ("success", "failed") else None

        begin = time.monotonic()
        state = self.processes.wait_for(f"DAG {dag_id}", ended, 180, "airflow")
        if state == "failed":
            tasks = ", ".join(self.airflow.failed_tasks(dag_id, run_id))
            raise DemoError(f"DAG {dag_id} failed in {tasks or 'no task'}", self._log_of(dag_id, run_id))
        say(f"  {dag_id}: {state} ({time.monotonic() - begin:.0f} s)")

    def _log_of(self, dag_id: str, run_id: str) -> Path | str:
        """The log of the run's last attempt at what failed in it; Airflow's own where no task has any."""
        logs = (self.home / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}").rglob("attempt=*.log")
        tasks = self.airflow.failed_tasks(dag_id, run_id)
        of_failed = [log for log in logs if any(f"task_id={task}" in log.parts for task in tasks)]
        return max(of_failed, key=lambda log: log.stat().st_mtime, default="airflow")

    def _frozen(self) -> bool:
        return bool(self.sandbox("GET", "/state")["phase"] == "frozen")


class Demo(Loop):
    """One demo on this machine: it starts everything itself."""

    def __init__(
        self, home: Path, ports: Ports, processes: Processes, databases: Databases, seconds: dict[str, float]
    ) -> None:
        self.ports = ports
        self.password = secrets.token_urlsafe(12)
        super().__init__(
            home,
            processes,
            AirflowApi(f"http://localhost:{ports.airflow}", self.password),
            httpx.Client(base_url=f"http://127.0.0.1:{ports.sandbox}/sandbox", timeout=30, trust_env=False),
            Ledger(databases.ledger),
            f"http://127.0.0.1:{ports.receiver}",
            environment(home / "airflow", ports, KNOBS, self.password, databases),
            seconds,
        )

    def start(self) -> None:
        """Start simulator, receiver and Airflow."""
        with phase(self.seconds, "start", "starting simulator, receiver and Airflow (about 30 s)"):
            self._python("sandbox", "include.sandbox", "--scenario", "demo", "--port", str(self.ports.sandbox))
            # a log server of Airflow's may still be coming up: everything else does not wait for it
            command = [sys.executable, "-m", "airflow", "standalone"]
            self.processes.start("airflow", command, self.env)
            self.processes.wait_for("the simulator", lambda: self._answers(self.ports.sandbox, "sandbox/state"), 60)
            self.ledger.upgrade()
            self.as_published()
            key = self.sandbox("GET", "/public-key")["public_key"]
            ports = ("--port", str(self.ports.receiver), "--counters-port", str(self.ports.counters))
            self._python("receiver", "telnyx_porting.web.receiver", "--key", f"{ACCOUNT}={key}", *ports)
            self.processes.wait_for("the receiver", lambda: self._answers(self.ports.receiver, "healthz"), 60)
            self.processes.wait_for("Airflow", self.airflow.healthy, 180, "airflow")
            self.airflow.make_pool("telnyx_api", 4)
            self.processes.wait_for("the DAGs", self.dags_known, 90, "airflow")

    def _python(self, name: str, module: str, *arguments: str) -> None:
        self.processes.start(name, [sys.executable, "-m", module, *arguments], self.env)

    @staticmethod
    def _answers(port: int, path: str) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/{path}", trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
