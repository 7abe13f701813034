"""A person makes a connection of type Telnyx in the browser, and its test is green."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, sync_playwright

from include.sandbox.testing import running_sandbox
from tests.support.places import BUILD
from tests.support.running import PASSWORD, RunningAirflow, running_airflow

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"),
]


def sign_in(page: Page, airflow: RunningAirflow) -> None:
    page.goto(f"{airflow.api.url}/connections")
    page.locator("input").first.fill("admin")
    page.locator("input[type=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Add Connection").wait_for()


def test_make_and_test_a_connection(tmp_path: Path) -> None:
    with (
        running_sandbox() as sandbox,
        running_airflow(sandbox, tmp_path) as airflow,
        sync_playwright() as playwright,
    ):
        sandbox.order()
        sandbox.burst(7)
        airflow.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        sign_in(page, airflow)

        page.get_by_role("button", name="Add Connection").click()
        dialog = page.get_by_role("dialog")
        dialog.locator("input[name=connection_id]").fill("my_telnyx")
        dialog.get_by_role("combobox").click()
        page.keyboard.type("Telnyx")
        page.keyboard.press("Enter")
        dialog.locator("input[name=password]").fill(sandbox.api_key)
        host, port = sandbox.origin.rsplit(":", 1)
        dialog.locator("input[name=host]").fill(host)
        dialog.locator("input[name=port]").fill(port)
        assert dialog.locator("input[name=element_timeout]").input_value() == "30"
        assert dialog.locator("input[name=element_max_concurrency]").input_value() == "8"
        screens = BUILD / "screens"
        screens.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=screens / "connection-form.png")
        dialog.get_by_role("button", name="Save").click()

        page.get_by_role("button", name="Test Connection").click()
        page.get_by_text("Test Connection Successful").wait_for()
        page.get_by_text("7 port-in events").wait_for()
        page.screenshot(path=screens / "connection-test.png")
        browser.close()
