"""``python -m include.demo [--once]``: the whole loop on this machine, checked against the simulator's truth."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from include.demo.airflow import ROOT, AirflowApi, Ports, environment
from include.demo.check import Comparison, compare, row_counts
from include.demo.processes import DemoError, Processes, require_free
from telnyx_porting import settings
from telnyx_porting.flows.record import COMMIT_LAG
from telnyx_porting.ledger.engine import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


class Demo:
    """One demo: its processes, its clients, and the seconds each phase took."""

    def __init__(self, home: Path, ports: Ports, processes: Processes) -> None:
        self.home, self.ports, self.processes = home, ports, processes
        self.password = secrets.token_urlsafe(12)
        self.env = environment(home / "airflow", ports, KNOBS, self.password)
        self.airflow = AirflowApi(ports, self.password)
        self.sandbox = httpx.Client(base_url=f"http://127.0.0.1:{ports.sandbox}/sandbox", timeout=30, trust_env=False)
        self.ledger = Ledger(self.env["TELNYX_PORTING_LEDGER_URL"])
        self.seconds: dict[str, float] = {}

    def start(self) -> None:
        """Start simulator, receiver and Airflow."""
        with self.phase("start", "starting simulator, receiver and Airflow (about 30 s)"):
            self._python("sandbox", "include.sandbox", "--scenario", "demo", "--port", str(self.ports.sandbox))
            # a log server of Airflow's may still be coming up: everything else does not wait for it
            command = [sys.executable, "-m", "airflow", "standalone"]
            self.processes.start("airflow", command, self.env)
            self.processes.wait_for("the simulator", self._sandbox_answers, 60)
            self.ledger.upgrade()
            # as in the published samples: a webhook's id is not its event's
            self.sandbox.post("/switches", json={"webhook_id": "unrelated"}).raise_for_status()
            key = self.sandbox.get("/public-key").json()["public_key"]
            ports = ("--port", str(self.ports.receiver), "--counters-port", str(self.ports.counters))
            self._python("receiver", "telnyx_porting.web.receiver", "--key", f"{ACCOUNT}={key}", *ports)
            self.processes.wait_for("the receiver", self._receiver_answers, 60)
            self.processes.wait_for("Airflow", self.airflow.healthy, 180)
            self.airflow.make_pool("telnyx_api", 4)
            self.processes.wait_for("the DAGs", self._dags_known, 90)

    def first_look(self) -> None:
        """Read the history; what is wrong now goes out once, nothing is republished."""
        with self.phase("first_look", "first look: 30 days of history, before any notification was subscribed"):
            self.cycle()

    def live(self) -> None:
        """Let the world move on, with an outage in the middle."""
        with self.phase("live", f"{LIVE_SECONDS} s of live port-ins; in the middle the receiver cannot be reached"):
            url = f"http://127.0.0.1:{self.ports.receiver}/webhooks/telnyx/{ACCOUNT}"
            body = {"webhook_url": url, "seconds": LIVE_SECONDS}
            self.sandbox.post("/live", json=body).raise_for_status()
            self.processes.wait_for("the end of the live phase", self._frozen, LIVE_SECONDS + 60)
            self.processes.wait_for("the last event to be old enough", self.can_judge, 60)

    def can_judge(self) -> bool:
        """Whether the last event is so old that the watch may seal it, and call it missed or stuck."""
        state = self.sandbox.get("/state").json()
        quiet = datetime.fromisoformat(state["wall"]) - datetime.fromisoformat(state["now"])
        knobs = settings.load(ACCOUNT, self.env)
        return quiet >= max(knobs.settle, knobs.grace + COMMIT_LAG, knobs.stuck_after)

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
        truth = self.sandbox.get("/truth").json()
        letters = self.sandbox.get("/inbox").json()
        return compare(self.ledger, ACCOUNT, truth, letters, truth["republish_requests"])

    def second_cycle(self) -> list[str]:
        """Run everything again on unchanged input: return what changed nevertheless."""
        before = row_counts(self.ledger) | {"messages": len(self.sandbox.get("/inbox").json())}
        posts = len(self.sandbox.get("/republishes").json())
        self.cycle()
        after = row_counts(self.ledger) | {"messages": len(self.sandbox.get("/inbox").json())}
        changed = [
            f"a second cycle changed {name}: {before[name]} -> {after[name]}"
            for name in before
            if before[name] != after[name]
        ]
        if posts != len(self.sandbox.get("/republishes").json()):
            changed.append("a second cycle republished again")
        return changed

    @contextmanager
    def phase(self, name: str, words: str) -> Iterator[None]:
        """Say what happens and measure it."""
        say(f"* {words}")
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 1)
        say(f"  done in {self.seconds[name]} s")

    def _python(self, name: str, module: str, *arguments: str) -> None:
        self.processes.start(name, [sys.executable, "-m", module, *arguments], self.env)

    def _run(self, *dag_ids: str) -> None:
        begun = {dag_id: self.airflow.trigger(dag_id) for dag_id in dag_ids}
        for dag_id, run_id in begun.items():
            self._finish(dag_id, run_id)

    def _finish(self, dag_id: str, run_id: str) -> None:
        def ended() -> str | None:
            state = self.airflow.runs(dag_id).get(run_id)
            return state if state in ("success", "failed") else None

        begin = time.monotonic()
        state = self.processes.wait_for(f"DAG {dag_id}", ended, 180)
        if state == "failed":
            tasks = ", ".join(self.airflow.failed_tasks(dag_id, run_id))
            raise DemoError(f"DAG {dag_id} failed in {tasks}; its logs are in {self.home / 'airflow' / 'logs'}")
        say(f"  {dag_id}: {state} ({time.monotonic() - begin:.0f} s)")

    def _sandbox_answers(self) -> bool:
        try:
            return self.sandbox.get("/state").status_code == 200
        except httpx.TransportError:
            return False

    def _receiver_answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports.receiver}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _dags_known(self) -> bool:
        if errors := self.airflow.import_errors():
            raise DemoError(f"a DAG does not parse:\n{errors[0]}")
        return {*DAGS, "porting_republish"} <= self.airflow.known_dags()

    def _frozen(self) -> bool:
        return bool(self.sandbox.get("/state").json()["phase"] == "frozen")


def table(comparison: Comparison) -> str:
    """Truth and found side by side, with the ids that differ."""
    lines = [f"{'':14}{'truth':>8}{'found':>8}"]
    for name, truth in comparison.truth.items():
        found = comparison.found[name]
        shown = [next(iter(s)) if name in ("events", "orders") and s else str(len(s)) for s in (truth, found)]
        lines.append(f"{name:14}{shown[0]:>8}{shown[1]:>8}  {'' if truth == found else '<-- differs'}")
        lines += [f"    only in truth: {one}" for one in sorted(truth - found)[:5]]
        lines += [f"    only found:    {one}" for one in sorted(found - truth)[:5]]
    return "\n".join([*lines, *(f"wrong: {text}" for text in comparison.wrong)])


def summary(comparison: Comparison, changed: list[str], seconds: dict[str, float]) -> str:
    """Return the last line: one JSON object."""

    def counts(side: dict[str, frozenset[str]]) -> dict[str, int]:
        return {k: int(next(iter(v), 0)) if k in ("events", "orders") else len(v) for k, v in side.items()}

    ok = comparison.ok and not changed
    document: dict[str, Any] = {"ok": ok, "truth": counts(comparison.truth), "found": counts(comparison.found)}
    if not ok:
        document["wrong"] = [*comparison.wrong, *changed]
    return json.dumps(document | {"seconds": seconds})


def run(home: Path, ports: Ports, *, once: bool) -> int:
    """Run the demo; 0 when found equals truth."""
    require_free({name.replace("_", "-"): port for name, port in asdict(ports).items()})
    begin = time.monotonic()
    shutil.rmtree(home, ignore_errors=True)
    with Processes(home / "logs") as processes:
        demo = Demo(home, ports, processes)
        say(f"  settings of the demo: {', '.join(f'{name}={value}' for name, value in KNOBS.items())}")
        demo.start()
        demo.first_look()
        demo.live()
        with demo.phase(
            "cycle", "one full cycle: scan, stuck, exceptions, missed -> plan -> republish -> did it arrive?"
        ):
            demo.cycle()
        with demo.phase("second_cycle", "a second cycle on unchanged input must change nothing"):
            changed = demo.second_cycle()
        comparison = demo.check()
        demo.seconds["total"] = round(time.monotonic() - begin, 1)
        say("\n" + table(comparison))
        for text in changed:
            say(f"wrong: {text}")
        if not once:
            say(f"\nAirflow: {demo.airflow.url}  login admin / {demo.password}\nCtrl-C stops everything.")
            wait_for_ctrl_c(processes)
        demo.ledger.close()
    say(summary(comparison, changed, demo.seconds))
    return 0 if comparison.ok and not changed else 1


def wait_for_ctrl_c(processes: Processes) -> None:
    """Stay until a person has seen enough, or a process ends."""
    try:
        while True:
            processes.check()
            time.sleep(1)
    except KeyboardInterrupt:
        say("\nstopping ...")


def say(text: str) -> None:
    """Print for the person at the terminal, at once."""
    print(text, flush=True)


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m include.demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="end after one full cycle; the last line is one JSON object"
    )
    for name, port in asdict(Ports()).items():
        parser.add_argument(f"--{name.replace('_', '-')}-port", dest=name, type=int, default=port, metavar="PORT")
    options = vars(parser.parse_args())
    once = options.pop("once")
    for stop in (signal.SIGTERM, signal.SIGINT):  # a shell starts background jobs deaf to Ctrl-C
        signal.signal(stop, signal.default_int_handler)
    try:
        return run(ROOT / "build" / "demo", Ports(**options), once=once)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
