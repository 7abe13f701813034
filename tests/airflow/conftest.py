"""A simulated Telnyx behind an Airflow connection, and the surroundings of a running task."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.client import pacer
from telnyx_porting.compat import IS_3_3
from telnyx_porting.ledger.engine import Ledger
from tests.support.ledgers import upgraded_file
from tests.support.rows import add_event, add_feed, add_watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.ledgers import OpenLedger
    from tests.support.runs import Scene
    from tests.support.stores import Comms


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    """A simulated Telnyx without orders, events or faults, of whose pace nothing is known."""
    pacer._PACERS.clear()
    running.reset("empty", seed=1)
    running.clear_faults()
    running.forget_requests()
    return running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define a connection; gives its id."""

    def define(conn_id: str = "telnyx_default", **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "telnyx", **fields}))
        return conn_id

    return define


@pytest.fixture
def conn_id(sandbox: RunningSandbox, connect: Callable[..., str]) -> str:
    """The connection to the sandbox."""
    return connect(host=sandbox.base_url, password=sandbox.api_key)


@pytest.fixture
def ledger_file(connect: Callable[..., str], tmp_path: Path) -> Path:
    """An empty, upgraded ledger behind its connection."""
    path = Path(shutil.copy(upgraded_file(), tmp_path / "ledger.db"))
    connect("telnyx_porting_ledger", conn_type="sqlite", host=str(path))
    return path


@pytest.fixture
def ledger(ledger_file: Path, conn_id: str, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The same, open; beside it the connection to the sandbox."""
    monkeypatch.setenv("TELNYX_PORTING_REQUESTS_PER_SECOND", "1000")
    return open_ledger(ledger_file)


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    """The wire between a task or trigger and Airflow."""
    if not IS_3_3:
        pytest.skip("Airflow 3.2 has no state stores")
    from airflow.sdk.execution_time import task_runner

    from tests.support.stores import Comms

    wire = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", wire, raising=False)
    return wire


@pytest.fixture
def context(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The context of a running task; with a state store where Airflow has one."""
    task = {"ti": SimpleNamespace(max_tries=2, map_index=-1, try_number=1)}
    return {"task_state_store": request.getfixturevalue("comms").task_store(), **task} if IS_3_3 else dict(task)


@pytest.fixture
def scene(
    sandbox: RunningSandbox,
    conn_id: str,
    ledger_file: Path,
    airflow_db: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """What a run of any DAG finds: see the class."""
    from tests.support.runs import Scene

    knobs = {
        "REPUBLISH_MODE": "auto",
        "CONSUMER_IS_IDEMPOTENT": "true",
        "CONSUMER_OF_RECORD": "receiver",
        "CONFIRM_WITHIN": "0s",
        "REQUESTS_PER_SECOND": "1000",
    }
    for name, value in knobs.items():
        monkeypatch.setenv(f"TELNYX_PORTING_{name}", value)
    monkeypatch.setenv("EVENTS_FOLDER", tmp_path.as_uri())
    order = sandbox.order(status="submitted")
    sandbox.act(order, "status", value="foc-date-confirmed")
    event = sandbox.act(order, "comment", complete_after=0)[0]["id"]
    now, hour = datetime.now(UTC), timedelta(hours=1)
    conf = {
        "porting_backfill": {"from": (now - 5 * hour).isoformat(), "to": (now - hour).isoformat()},
        "telnyx_resend_order": {"order": order},
    }
    with Ledger(f"sqlite:///{ledger_file}") as ledger:
        add_feed(ledger, heartbeat=now, covers_from=now - 7 * 24 * hour, proved_at=now - 7 * 24 * hour)
        until = now - timedelta(minutes=1)
        add_watch(ledger, now - 7 * 24 * hour, covers_from=now - 3 * hour, covered_until=until)
        add_event(ledger, id=event, created_at=now - hour, delivery="missed")
        yield Scene(ledger, order, event, conf)


@pytest.fixture
def home(
    sandbox: RunningSandbox,
    conn_id: str,
    connect: Callable[..., str],
    ledger_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RunningSandbox:
    """An account whose alerts go to the simulator's inbox, at any hour."""
    sandbox.control("DELETE", "/inbox")
    connect("alerts", conn_type="http", host=sandbox.inbox_url, password="S3CRET")
    monkeypatch.setenv("TELNYX_PORTING_ALERT_CHANNELS", "alerts:json")
    monkeypatch.setenv("TELNYX_PORTING_REQUESTS_PER_SECOND", "1000")  # nobody else shares this account
    monkeypatch.setenv("TELNYX_PORTING_GROUP_WAIT", "0")
    monkeypatch.setenv("TELNYX_PORTING_BUSINESS_DAYS", "mon-sun")
    monkeypatch.setenv("TELNYX_PORTING_BUSINESS_HOURS", "00:00-24:00")
    return sandbox
