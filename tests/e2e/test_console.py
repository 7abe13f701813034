"""People at the console, in a browser, at a real Airflow: every page, every action, both themes, wide and phone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from telnyx_porting.ledger.tables import findings, plans, windows
from tests.scenarios.loop import ACCOUNT
from tests.support.airflow_desk import CHROMIUM, Desk, open_desk, wait_for
from tests.support.browser import Person, browser
from tests.support.console_world import World, happen, look
from tests.support.running import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, FrameLocator, Locator, Page

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"),
]


@dataclass
class Scene:
    """A desk with work to do, and those who look at it."""

    desk: Desk
    world: World
    chromium: Browser

    def person(self, name: str = "admin") -> Person:
        return Person(self.chromium, self.desk.airflow.api.url, name, PASSWORD)

    def until(self, what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait, while the receiver lives."""
        return wait_for(what, condition, seconds, self.desk.loop.ear.beat)

    def shows(self, where: Page | Locator, text: str) -> None:
        self.until(text, lambda: where.get_by_text(text).first.is_visible())

    def finding(self, role: str) -> dict[str, Any]:
        query = select(findings).where(findings.c.order_id == self.world.orders[role])
        with self.desk.loop.ledger.read() as connection:
            return dict(connection.execute(query.order_by(findings.c.key)).mappings().first() or {})

    def open_plan(self) -> Any:
        with self.desk.loop.ledger.read() as connection:
            return connection.execute(select(plans).where(plans.c.closed_at.is_(None))).one_or_none()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("console")
    with open_desk(folder, dags="*.py", users=("op", "viewer")) as desk, browser() as chromium:
        world = World({})
        happen(desk.loop, world)
        look(desk.loop, world)
        yield Scene(desk, world, chromium)


def test_it_lives_in_airflows_frame(scene: Scene) -> None:
    person = scene.person("viewer")
    page = person.page
    page.get_by_role("link", name="Port-in").click()
    frame: FrameLocator = page.frame_locator("iframe")
    frame.get_by_role("heading", level=1, name="Now").wait_for()
    html = frame.locator("html")
    assert "light" in html.get_attribute("class")
    page.evaluate("document.documentElement.className = 'dark'")
    scene.until("the other theme", lambda: "dark" in html.get_attribute("class"))
    page.evaluate("document.documentElement.className = 'light'")
    scene.until("the theme", lambda: "light" in html.get_attribute("class"))
    frame.get_by_role("link", name="Orders").click()
    frame.get_by_role("heading", level=1, name="Orders").wait_for()
    scene.until("its address", lambda: "/telnyx-porting/orders" in page.url)
    deep = page.url
    page.go_back()
    frame.get_by_role("heading", level=1, name="Now").wait_for()
    page.goto(deep)
    frame.get_by_role("heading", level=1, name="Orders").wait_for()
    frame.get_by_label("Order id, support key").fill(scene.finding("asked")["order_id"])
    frame.get_by_role("button", name="Search").click()
    frame.get_by_role("heading", level=1, name="Orders 1", exact=True).wait_for()
    frame.get_by_role("link", name="Asked").click()
    frame.get_by_role("heading", name="Conversation").wait_for()
    assert person.errors == []
    assert person.elsewhere == []


def test_findings_are_acted_on(scene: Scene) -> None:
    person = scene.person("op")
    person.open(f"orders/{scene.world.orders['rejected']}")
    page = person.page
    line = page.locator("#finding li").first

    def act(button: str, said: str, **filled: str) -> None:
        line.get_by_text("Act", exact=True).click()
        for label, text in filled.items():
            line.get_by_label(label).fill(text)
        line.get_by_role("button", name=button, exact=True).click()
        scene.shows(page.locator("#said"), said)

    act("Take it", "1 owned by op")
    assert scene.finding("rejected")["owner"] == "op"
    act("Acknowledge", "1 acknowledged")
    assert scene.finding("rejected")["triage"]["acked_by"] == "op"
    scene.shows(line, "acknowledged by op until")
    act("Write note", "1 noted", Note="<b>called</b> them")
    scene.shows(line, "Note: <b>called</b> them")
    act("Mute", "1 muted", Because="the carrier is on holiday")
    scene.shows(line, "the carrier is on holiday")
    act("End a mute", "1 not muted")
    assert scene.finding("rejected")["muted_until"] is None
    act("Hand over", "1 owned by Ann", To="Ann")
    act("Give it back", "1 nobody's")
    assert scene.finding("rejected")["owner"] is None

    person.open()
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    page.get_by_text("Act on what is ticked").click()
    page.get_by_role("button", name="Take it").first.click()
    scene.shows(page.locator("#said"), "2 owned by op")
    person.open("?who=mine")
    assert page.locator(".work > li").count() == 2
    person.open("findings?who=mine")
    page.get_by_text("Act on all 2").click()
    page.locator("details[open]").get_by_role("button", name="Give it back").click()
    scene.shows(page.locator("#said"), "2 nobody's")
    assert person.errors == []


def test_what_is_missed_is_sent_again_once_a_person_says_so(scene: Scene) -> None:
    lost = scene.desk.miss(2)
    person = scene.person()
    page = person.page
    person.open("missed")
    page.get_by_text("Send these again").click()
    page.get_by_role("button", name="Say what would be sent").click()
    scene.shows(page.locator("output").first, "dry run: 2 events")
    assert scene.open_plan() is None
    page.get_by_label("Reason").fill("the door was shut")
    page.get_by_role("button", name="Make the plan").dblclick()
    scene.shows(page.locator("#make-plan output"), "waits for an approval")
    plan = scene.open_plan()
    assert (plan.created_by, plan.reason, plan.size) == ("admin", "the door was shut", 2)
    runs = scene.desk.airflow.api.runs("porting_republish")
    assert len([run for run in runs if run.startswith("console__")]) == 2, "two clicks are one run"
    page.get_by_role("link", name="open the plan").click()
    scene.shows(page, "This plan waits for a person")
    watched = scene.person("viewer")
    assert watched.look_at("plan-waits", f"plans/{plan.id}") == []  # takes as long as a person thinks
    assert watched.page.get_by_role("button").count() == 0
    page.get_by_role("button", name="Approve and send").click()
    scene.shows(page.locator("#said"), "Approved")
    scene.shows(page, "2 arrived")
    scene.until("its end", lambda: scene.open_plan() is None)
    assert scene.desk.loop.asked() == dict.fromkeys(lost, 1)
    assert scene.desk.loop.false_verdicts() == []
    assert person.errors == []


def test_a_plan_is_rejected_and_another_closed(scene: Scene) -> None:
    (event,) = scene.desk.miss(1)
    person = scene.person()
    page = person.page
    person.open(f"events/{event}")

    def make() -> str:
        page.get_by_text("Send this event again").click()
        page.get_by_role("button", name="Say what would be sent").click()
        scene.shows(page.locator("output").first, "dry run: 1 event")
        page.get_by_role("button", name="Make the plan").click()
        scene.shows(page.locator("#make-plan output"), "waits for an approval")
        page.get_by_role("link", name="open the plan").click()
        scene.shows(page, "This plan waits for a person")
        return str(scene.open_plan().id)

    make()
    assert person.look_at("plan-asks", page.url.rpartition("/telnyx-porting/")[2]) == []
    scene.shows(page, "This plan waits for a person")
    page.get_by_role("button", name="Reject").click()
    scene.shows(page.locator("#said"), "Rejected")
    scene.shows(page, "rejected by admin")

    person.open(f"orders/{scene.world.orders['first']}" if "first" in scene.world.orders else f"events/{event}")
    make()
    page.get_by_text("Cancel and close").click()
    page.get_by_role("button", name="Close this plan").click()
    scene.until("its end", lambda: scene.open_plan() is None)
    assert event not in scene.desk.loop.asked()
    assert person.errors == []


def test_a_window_is_read_again(scene: Scene) -> None:
    now = scene.desk.loop.clock.now()
    row = {"account": ACCOUNT, "id": "w", "since": now, "until": now, "made_by": "scan", "started_at": now}
    with scene.desk.loop.ledger.write() as connection:
        connection.execute(windows.insert().values(**row, open_reason="its counts differ"))
    person = scene.person("op")
    person.open("health")
    scene.desk.airflow.api.ask("PATCH", "/dags/porting_backfill", {"is_paused": False})
    person.page.get_by_role("button", name="Read again").first.click()
    scene.until(
        "the run", lambda: list(scene.desk.airflow.api.runs("porting_backfill").values()) not in ([], ["queued"])
    )


def test_a_viewer_sees_and_cannot_act(scene: Scene) -> None:
    person = scene.person("viewer")
    for path in ("", "findings", "missed", "plans", "health", f"orders/{scene.world.orders['rejected']}"):
        person.open(path)
        assert person.page.locator("form[data-command], form[data-run], form[data-answer]").count() == 0, path
    headers = "'Content-Type': 'application/json', 'X-Telnyx-Porting': '1'"
    send = f"{{method: 'POST', headers: {{{headers}}}, body: '{{\"keys\": [\"x\"]}}'}}"
    answer = person.page.evaluate(f"fetch('/telnyx-porting/findings/own', {send}).then((answer) => answer.status)")
    assert answer == 403


def test_every_page_in_both_themes_wide_and_on_a_phone(scene: Scene) -> None:
    person, orders = scene.person(), scene.world.orders
    with scene.desk.loop.ledger.read() as connection:
        plan = connection.execute(select(plans.c.id).order_by(plans.c.created_at)).scalars().first()
    pages = {
        "now": "",
        "findings": "findings?section=act",
        "orders": "orders",
        "order": f"orders/{orders['asked']}",
        "order-split": f"orders/{orders['split']}",
        "order-hostile": f"orders/{orders['hostile']}",
        "missed": "missed",
        "plans": "plans",
        "plan": f"plans/{plan}",
        "health": "health",
        "nothing": "orders?search=nobody-is-called-so",
        "not-found": "orders/nobody",
    }
    wrong = [fault for name, path in pages.items() for fault in person.look_at(name, path)]
    assert wrong == []
    assert person.elsewhere == []
    assert [error for error in person.errors if "404" not in error] == []  # the page not-found is one
