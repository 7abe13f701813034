"""The console wherever it is mounted, whichever account is looked at, and whatever the ledger is like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.support.airflow_server import CONSOLE, ORIGIN, Server, airflow_server
from tests.support.ledgers import new_database, new_file
from tests.support.receivers import url_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = "TELNYX_PORTING_LEDGER_URL"
SECRET = "s3cret-of-the-ledger"


@pytest.fixture(scope="module")
def prefixed(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with new_file() as handle, pytest.MonkeyPatch.context() as patch:
        patch.setenv(URL, str(handle.url))
        with airflow_server(tmp_path_factory.mktemp("prefixed"), "/team/airflow") as server:
            yield server


def test_every_address_is_behind_the_prefix(prefixed: Server) -> None:
    browser = prefixed.browser("viewer")
    text = browser.get(f"/team/airflow{CONSOLE}/").text
    addresses = re.findall(r'(?:href|src|action)="([^"#]+)"', text)
    assert len(addresses) > 5
    assert [each for each in addresses if not each.startswith(f"/team/airflow{CONSOLE}/")] == ["/team/airflow/"]
    assert 'data-airflow="/team/airflow"' in text
    for path in re.findall(r'(?:href|src)="(/team[^"]+static[^"]+)"', text):
        assert browser.get(path).status_code == 200


def test_the_nav_entry_leads_behind_the_prefix(prefixed: Server) -> None:
    from telnyx_porting.plugin import TelnyxPortingPlugin

    answer = prefixed.browser("viewer").get("/team/airflow/api/v2/plugins").json()
    (ours,) = (each for each in answer["plugins"] if each["name"] == "telnyx_porting")
    assert ours["external_views"][0]["name"] == "Port-in"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__API__BASE_URL", f"{ORIGIN}/team/airflow/")
        assert TelnyxPortingPlugin().external_views[0]["href"] == f"/team/airflow{CONSOLE}/"


def test_airflow_shows_the_plugin_without_an_import_error(console: Server) -> None:
    assert console.browser("admin").get("/api/v2/plugins/importErrors").json()["total_entries"] == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("", "telnyx_porting_ledger", id="nowhere"),
        pytest.param("sqlite:////proc/nothing/ledger.db", "ledger", id="a file that cannot be"),
        pytest.param(f"postgresql://me:{SECRET}@127.0.0.1:1/ledger", "ledger", id="a server that is down"),
        pytest.param(f"nonsense://me:{SECRET}@here/ledger", "ledger", id="no such database"),
        pytest.param("not a url", "ledger", id="no URL"),
    ],
)
def test_a_ledger_that_cannot_be_read_is_said(
    console: Server, url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, url)
    if not url:
        monkeypatch.delenv(URL)
    browser = console.browser("admin")
    answer = browser.get(f"{CONSOLE}/")
    assert answer.status_code == 503
    assert "The ledger cannot be read" in answer.text
    assert said in answer.text
    assert "Traceback" not in answer.text
    assert SECRET not in answer.text
    assert browser.get("/api/v2/version").status_code == 200
    monkeypatch.undo()
    assert browser.get(f"{CONSOLE}/").status_code == 200, "put right, it is read without a restart"


@pytest.mark.postgres
def test_what_nobody_foresaw_is_said_in_words(
    console: Server, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = console.browser("admin")
    with new_database(postgres_server) as ledger:
        with ledger.write() as connection:
            connection.execute(text("DROP TABLE porting_orders CASCADE"))
        monkeypatch.setenv(URL, url_of(ledger))
        answer = browser.get(f"{CONSOLE}/orders")
        monkeypatch.undo()
        assert browser.get(f"{CONSOLE}/orders").status_code == 200
    assert answer.status_code == 500
    assert "Something failed here" in answer.text
    assert "Traceback" not in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_each_account_has_addresses_of_its_own(console: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = console.browser("viewer")
    alone = browser.get(f"{CONSOLE}/").text
    assert 'aria-label="Account"' not in alone
    monkeypatch.setenv("TELNYX_PORTING_ACCOUNTS", "north,so/uth&x")
    text = browser.get(f"{CONSOLE}/").text
    assert f'href="{CONSOLE}/?account=so%2Futh%26x"' in text
    text = browser.get(f"{CONSOLE}/", params={"account": "so/uth&x"}).text
    assert f'href="{CONSOLE}/?account=so%2Futh%26x" aria-current="true"' in text
    answer = browser.get(f"{CONSOLE}/", params={"account": "<b>east"})
    assert answer.status_code == 404
    assert "<b>" not in answer.text
    assert "north" in answer.text
