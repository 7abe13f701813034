"""A porting desk at a real Airflow that executes plans, with a closed loop beside it."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.demo.airflow import ROOT
from include.sandbox.testing import running_sandbox
from telnyx_porting.ledger.engine import Ledger
from tests.scenarios.loop import Loop
from tests.support.running import PASSWORD, RunningAirflow, running_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KNOBS = {"republish_mode": "approve", "grace": "1s", "settle": "0s", "confirm_within": "8s", "overlap": "1h"}
SECONDS = {name: timedelta(seconds=int(KNOBS[name][:-1])) for name in ("grace", "settle", "confirm_within")}
THINKS = 12.0  # seconds a person takes; Airflow 3.3 may fail a task answered while its first process still ends


def wait_for(what: str, condition: Callable[[], Any], seconds: float, beat: Callable[[], None]) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        beat()
        time.sleep(0.2)
    raise AssertionError(f"{what}: nothing after {seconds} s")


class Desk:
    """What the person at the porting desk does."""

    def __init__(self, airflow: RunningAirflow, loop: Loop) -> None:
        self.airflow, self.loop = airflow, loop

    def miss(self, count: int) -> list[str]:
        """Notifications that Telnyx could not deliver, found missed."""
        self.loop.ear.reachable = False
        lost = self.loop.events(count)
        self.loop.ear.reachable = True
        wait_for("missed", lambda: self._all_missed(lost), 60, self.loop.ear.beat)
        return lost

    def _all_missed(self, lost: list[str]) -> bool:
        self.loop.look()
        return all(self.loop.states().get(event) == "missed" for event in lost)

    def start(self, plan_id: str) -> str:
        return self.airflow.api.trigger("porting_republish", {"account": "telnyx_default", "plan_id": plan_id})

    def asked(self, run_id: str) -> dict[str, Any]:
        """Wait until Airflow asks, and return what it shows."""
        path = f"/dags/porting_republish/dagRuns/{run_id}/taskInstances/approve"

        def waiting() -> bool:
            state = str(self.airflow.api.get(path)["state"])
            assert state not in ("failed", "skipped", "success"), state
            return state == "awaiting_input"

        wait_for("the question", waiting, 120, self.loop.ear.beat)
        shown: dict[str, Any] = self.airflow.api.get(f"{path}/-1/hitlDetails")
        return shown

    def answer(self, run_id: str, word: str) -> None:
        time.sleep(THINKS)  # an answer given at once is not what people give
        path = f"/dags/porting_republish/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
        body = {"chosen_options": [word], "params_input": {}}
        self.airflow.api.ask("PATCH", path, body)

    def end(self, run_id: str) -> str:
        def ended() -> str | None:
            state = self.airflow.api.runs("porting_republish")[run_id]
            return state if state in ("success", "failed") else None

        return str(wait_for("the end", ended, 180, self.loop.ear.beat))


@contextmanager
def open_desk(tmp_path: Path, *, dags: str = "porting_republish.py", users: Sequence[str] = ()) -> Iterator[Desk]:
    """An Airflow with the DAG of plans, and a closed loop beside it.

    :param dags: files it has; only the DAG of plans is not paused when there are more.
    :param users: roles of which there is a user of that name, beside the admin.
    """
    with running_sandbox() as sandbox, running_airflow(sandbox, tmp_path) as airflow:
        for file in (ROOT / "dags").glob(dags):
            shutil.copy(file, airflow.dags)
        airflow._env.update({f"TELNYX_PORTING_{name.upper()}": value for name, value in KNOBS.items()})
        airflow._env["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] = str("*" in dags)
        people = ("admin", *users)
        airflow._env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = ",".join(f"{name}:{name}" for name in people)
        passwords = Path(airflow._env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
        passwords.write_text(json.dumps(dict.fromkeys(people, PASSWORD)))
        ledger = Ledger(airflow._env["TELNYX_PORTING_LEDGER_URL"])
        ledger.upgrade()
        loop = Loop(sandbox, ledger, tmp_path, republish_mode="approve", **SECONDS)
        try:
            airflow.start()
            airflow.api.make_pool("telnyx_api", 4)
            yield begun(Desk(airflow, loop))
        finally:
            loop.close()
            ledger.close()


def begun(desk: Desk) -> Desk:
    """After first contact."""
    loop = desk.loop
    loop.sandbox.subscribe(loop.ear.url, emails=())
    loop.ear.beat()
    loop.scan()
    # Telnyx tells whole seconds: what happens within one of first contact may have happened before it, and is nobody's
    begun = loop.clock.now()
    wait_for("a moment after first contact", lambda: loop.clock.now() - begun > timedelta(seconds=2), 10, loop.ear.beat)
    loop.events(6)
    wait_for("the DAG", lambda: "porting_republish" in desk.airflow.api.known_dags(), 120, loop.ear.beat)
    desk.airflow.api.ask("PATCH", "/dags/porting_republish", {"is_paused": False})
    return desk
