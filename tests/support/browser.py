"""A person at a browser: logs in to Airflow, looks at pages in both themes and two widths, and keeps what was seen."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.support.airflow_desk import CHROMIUM
from tests.support.places import BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

SHOTS = BUILD / "screenshots"
REPORT = BUILD / "console-axe.txt"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


class Person:
    """One who has logged in.

    :param url: Airflow's address.
    """

    def __init__(self, browser: Browser, url: str, name: str, password: str) -> None:
        self.url = url
        self.page: Page = browser.new_page(viewport=WIDE)
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("request", self._asked)
        self.page.goto(url)
        self.page.locator("input").first.fill(name)
        self.page.locator("input[type=password]").fill(password)
        self.page.keyboard.press("Enter")
        self.page.get_by_text("Port-in").first.wait_for()
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def open(self, path: str = "") -> None:
        """Open a page of the console directly."""
        self.page.goto(f"{self.url}/telnyx-porting/{path}")
        self.page.get_by_role("heading", level=1).wait_for()

    def theme(self, name: str) -> None:
        """Choose as Airflow's own switch does."""
        self.page.evaluate("name => localStorage.setItem('theme', name)", name)

    def faults(self, shot: str) -> list[str]:
        """What axe finds serious, and what is wider than the screen; all that axe found goes into its report."""
        found = Axe().run(self.page, options=RULES).response
        violated = [f"    {each['impact']}: {each['id']}: {each['help']}" for each in found["violations"]]
        with REPORT.open("a", encoding="utf-8") as report:
            print(f"{shot}: {len(found['passes'])} rules kept, {len(violated)} not", *violated, sep="\n", file=report)
        wrong = [
            f"{each['id']}: {each['help']}: {node['html'][:160]}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wrong + ([f"{wide} px wider than the screen"] if wide > 0 else [])

    def look_at(self, name: str, path: str) -> list[str]:
        """Look at a page in both themes and both widths; return its faults."""
        wrong = []
        for theme in ("light", "dark"):
            self.theme(theme)
            for size, screen in (("wide", WIDE), ("phone", PHONE)):
                self.page.set_viewport_size(screen)
                self.open(path)
                self.page.wait_for_load_state("networkidle")
                self.page.screenshot(path=SHOTS / f"{name}-{theme}-{size}.png", full_page=True)
                wrong += [f"{name} {theme} {size}: {fault}" for fault in self.faults(f"{name} {theme} {size}")]
        self.page.set_viewport_size(WIDE)
        self.theme("light")
        return wrong


@contextmanager
def browser() -> Iterator[Browser]:
    """Give Debian's Chromium."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("", encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()
