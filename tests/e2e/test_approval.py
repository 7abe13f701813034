"""A person approves a plan through Airflow's REST API, as the UI does, and another one is rejected.

And one opens the form in a browser: an order's own URL is hostile, and nothing of it is fetched.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from telnyx_porting.escaping import for_markdown
from telnyx_porting.ledger.tables import orders, plans
from tests.support.airflow_desk import CHROMIUM, Desk, open_desk
from tests.support.running import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e


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
