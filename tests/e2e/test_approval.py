"""A person approves a plan through Airflow's REST API, as the UI does, and another one is rejected.

And one opens the form in a browser: an order's own URL is hostile, and nothing of it is fetched.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from include.demo.airflow import ROOT
from include.sandbox.testing import running_sandbox
from telnyx_porting.escaping import for_markdown
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import orders, plans
from tests.scenarios.loop import Loop
from tests.support.running import PASSWORD, RunningAirflow, running_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e
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
def open_desk(tmp_path: Path) -> Iterator[Desk]:
    """An Airflow with the DAG of plans, and a closed loop beside it."""
    with running_sandbox() as sandbox, running_airflow(sandbox, tmp_path) as airflow:
        shutil.copy(ROOT / "dags" / "porting_republish.py", airflow.dags)
        airflow._env.update({f"TELNYX_PORTING_{name.upper()}": value for name, value in KNOBS.items()})
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
    return desk


@contextmanager
def counting() -> Iterator[tuple[str, list[str]]]:
    """A server elsewhere, and the paths that somebody fetched from it."""
    fetched: list[str] = []

    class Taken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.timeout(400)
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")
def test_the_form_fetches_nothing_that_an_orders_url_names(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk, counting() as (elsewhere, fetched), sync_playwright() as playwright:
        desk.miss(1)
        hostile = f"http://host/p)![x]({elsewhere}/q)<img src={elsewhere}/r>"
        with desk.loop.ledger.write() as connection:
            connection.execute(orders.update().values(webhook_url=hostile))
        plan = desk.loop.plan()
        assert plan is not None
        assert "![x](" in plan.words
        run = desk.start(plan.id)
        desk.asked(run)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        address = f"{desk.airflow.api.url}/dags/porting_republish/runs/{run}/tasks/approve/required_actions"
        page.goto(address)
        page.locator("input").first.fill("admin")
        page.locator("input[type=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_text("own URL of an order").wait_for()
        page.wait_for_load_state("networkidle")
        assert page.get_by_text("![x](").count() == 1, "it is shown as it is"
        assert fetched == []
        browser.close()


def test_a_person_decides(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk:
        _decides(desk)


def _decides(desk: Desk) -> None:
    loop = desk.loop
    lost = desk.miss(2)
    plan = loop.plan()
    assert plan is not None
    run = desk.start(plan.id)
    shown = desk.asked(run)
    assert "2 port-in notifications" in shown["subject"]
    assert for_markdown(plan.words) in shown["body"]
    assert plan.hash[:12] in shown["body"]
    assert shown["defaults"] == ["Reject"]
    assert not loop.asked()
    desk.answer(run, "Approve")
    assert desk.end(run) == "success"
    with loop.ledger.read() as connection:
        held = connection.execute(plans.select()).one()
    assert (held.approved_by, held.close_reason) == ("admin", "done")
    assert loop.asked() == dict.fromkeys(lost, 1)
    assert loop.verdicts() == {"arrived": 2}
    assert loop.false_verdicts() == []

    unwanted = desk.miss(1)
    plan = loop.plan()
    assert plan is not None
    run = desk.start(plan.id)
    desk.asked(run)
    desk.answer(run, "Reject")
    assert desk.end(run) == "success"
    assert unwanted[0] not in loop.asked()
    with loop.ledger.read() as connection:
        reason = connection.execute(plans.select().where(plans.c.id == plan.id)).one().close_reason
    assert reason == "rejected by admin"
    assert loop.plan() is None, "what a person rejected is not asked again at the next look"
