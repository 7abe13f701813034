"""Preflight on the demo and on broken set-ups: each line is good, or says what to do. Written to build/preflight."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.__main__ import main
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.hooks.ledger import TelnyxLedgerHook
from telnyx_porting.operators.preflight import check
from tests.support.places import ROOT
from tests.support.rows import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox

HOOK = "https://hooks.example.net/portin"


@pytest.fixture
def airflow(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Airflow's database, with the pool."""
    from airflow.models.pool import Pool

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    Pool.create_or_update_pool("telnyx_api", 4, "requests to Telnyx", include_deferred=False)
    return airflow_db


def beat(refused: int = 0) -> None:
    """Let a receiver be alive, and have verified a webhook unless all were refused."""
    now = datetime.now(UTC)
    with TelnyxLedgerHook().get_ledger() as ledger, ledger.write() as connection:
        proved = None if refused else now
        touch_feed(ledger, connection, ACCOUNT, "receiver", heartbeat=now, proved_at=proved, refused=refused)


def command(capsys: pytest.CaptureFixture[str], name: str) -> tuple[int, str]:
    """Run the command; keep what it printed for reading."""
    status = main(["preflight"])
    text = capsys.readouterr().out
    folder = ROOT / "build" / "preflight"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(text)
    return status, text


def todo(text: str) -> list[str]:
    return [line.split("TO DO", 1)[1].strip() for line in text.splitlines() if "TO DO" in line]


# -- the command, as people run it -----------------------------------------------------------------------------------


def test_demo_is_in_place(home: RunningSandbox, airflow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.reset("demo")
    home.subscribe(HOOK, emails=("desk@example.net",))
    beat()
    status, text = command(capsys, "demo")
    assert (status, todo(text)) == (0, [])
    for good in (
        "settings are valid",
        "ledger sqlite",
        "API key is accepted",
        "porting orders can be read",
        f"subscribed: webhook {HOOK}",
        "subscribed: email desk@example.net",
        "clock agrees with Telnyx's",
        "receiver is alive",
        "receiver's key fits",
        "channel alerts:json is configured",
        "connection 'alerts' is there",
        "pool telnyx_api has 4 slots",
    ):
        assert good in text
    assert home.api_key not in text


def test_set_up_that_nobody_is_told_by(
    home: RunningSandbox, airflow: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.subscribe()
    beat(refused=9)
    monkeypatch.delenv("TELNYX_PORTING_ALERT_CHANNELS")
    monkeypatch.setenv("TELNYX_PORTING_ALERT_FILTERS", '{"desk:json": {"severity": "high"}}')
    status, text = command(capsys, "nobody-is-told")
    assert status == 1
    assert [line.partition(":")[0] for line in todo(text)] == [
        "subscription",
        "receiver's keys",
        "filter for desk",
        "channels",
    ]
    assert "Account Settings > Notifications, add a setting Port In Notifications with a webhook channel" in text


def test_set_up_with_a_refused_key_and_no_pool(
    home: RunningSandbox, airflow: Path, connect: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.models.pool import Pool

    Pool.delete_pool("telnyx_api")
    connect(ACCOUNT, password="KEY_WRONG", host=home.base_url)
    status, text = command(capsys, "refused-key")
    assert status == 1
    assert todo(text) == [
        "API key: Telnyx refuses it: put a valid key (v2) into the connection's password",
        'pool telnyx_api: airflow pools set telnyx_api 4 "requests to Telnyx"',
    ]


def test_set_up_with_a_wrong_host_a_wrong_setting_and_a_missing_connection(
    home: RunningSandbox,
    airflow: Path,
    connect: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TELNYX_PORTING_GRACE", "soon")
    monkeypatch.delenv("AIRFLOW_CONN_ALERTS")
    connect(ACCOUNT, password="KEY", host="http://127.0.0.1:9")
    status, text = command(capsys, "wrong-host")
    assert status == 1
    first, second, third = todo(text)
    assert first.startswith("settings: TELNYX_PORTING_GRACE = 'soon'")
    assert second.startswith("Telnyx API at http://127.0.0.1:9")
    assert third == "connection 'alerts': create it: an alert channel uses it"


def test_connections_of_airflows_own_database_are_found(
    home: RunningSandbox, airflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the first day says: made in the UI or with `airflow connections add`, not in the environment."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    home.subscribe(HOOK)
    for name in (ACCOUNT, "alerts"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}")
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT")
    fields: dict[str, Any] = {"conn_id": ACCOUNT, "conn_type": "telnyx", "host": home.base_url}
    with create_session() as session:
        session.add(Connection(**fields, password=home.api_key))
        session.add(Connection(conn_id="alerts", conn_type="http", host=home.inbox_url))
    run = subprocess.run(
        [sys.executable, "-m", "telnyx_porting", "preflight"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert todo(run.stdout) == [], run.stderr
    assert "API key is accepted" in run.stdout


# -- every night -----------------------------------------------------------------------------------------------------


def test_missing_subscription_is_a_finding_of_its_own(home: RunningSandbox) -> None:
    from telnyx_porting.operators.porting import TelnyxPreflightPortingOperator

    def open_now() -> dict[str, str]:
        TelnyxPreflightPortingOperator(task_id="preflight", telnyx_conn_id=ACCOUNT).execute({})  # type: ignore[arg-type]
        with TelnyxLedgerHook().get_ledger() as ledger, ledger.read() as connection:
            rows = open_findings(connection, ACCOUNT)
        return {row["key"]: row["severity"] for row in rows if row["absent_since"] is None}

    home.subscribe()
    assert open_now() == {"health:subscription": "high"}
    home.subscribe(HOOK)
    assert open_now() == {}


# -- line by line ----------------------------------------------------------------------------------------------------


def preflight() -> dict[str, str]:
    """Return what is to do: what -> how."""
    return {line.what: line.todo for line in check(ACCOUNT) if not line.ok}


def test_preflight_of_a_good_set_up_has_nothing_to_do(home: RunningSandbox) -> None:
    home.subscribe("https://hooks.example.net/portin?token=S3CRET", emails=("desk@example.net",))
    lines = [str(line) for line in check(ACCOUNT)]
    assert [line for line in lines if line.startswith("TO DO")] == []
    text = "\n".join(lines)
    assert "subscribed: webhook https://hooks.example.net/portin" in text
    assert "S3CRET" not in text
    assert home.api_key not in text


def test_preflight_of_an_account_nobody_subscribed_for(home: RunningSandbox) -> None:
    home.subscribe()
    assert "Account Settings > Notifications" in preflight()["subscription"]


def test_preflight_with_a_refused_key(home: RunningSandbox, connect: Callable[..., str]) -> None:
    connect(ACCOUNT, password="KEY_WRONG", host=home.base_url)
    assert "put a valid key" in preflight()["API key"]


def test_preflight_without_connections(home: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    home.subscribe("https://hooks.example.net/portin")
    monkeypatch.delenv("AIRFLOW_CONN_ALERTS")
    assert preflight() == {"connection 'alerts'": "create it: an alert channel uses it"}
    monkeypatch.delenv(f"AIRFLOW_CONN_{ACCOUNT.upper()}")
    assert preflight() == {f"connection '{ACCOUNT}'": "create it: type telnyx, the API key as password"}


def test_preflight_with_an_invalid_setting_and_an_unreachable_host(
    home: RunningSandbox, connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELNYX_PORTING_GRACE", "soon")
    connect(ACCOUNT, password="KEY", host="http://127.0.0.1:9")
    todo = preflight()
    assert "TELNYX_PORTING_GRACE = 'soon'" in todo["settings"]
    assert any(what.startswith("Telnyx API at http://127.0.0.1:9") for what in todo)
